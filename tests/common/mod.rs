//! What every test that goes through libgssapi needs first: the plugin that is meant, a mech configuration that names it and
//! nothing else, accounts, and the proof that the process really talks to the mechglue and through it to that plugin.
//!
//! A test crate that uses this must never name the crate under test: linked in, its exported functions would take libgssapi's
//! place, and the tests would pass without the mechglue having been asked.

#![expect(clippy::disallowed_methods, reason = "the environment of a test is its own")]
#![expect(clippy::disallowed_types, reason = "no test forks while a thread is at these")]

pub(crate) mod context;
pub(crate) mod cred;
pub(crate) mod gss;
pub(crate) mod handshake;
pub(crate) mod iov;
pub(crate) mod name;
pub(crate) mod process;
pub(crate) mod secret;
pub(crate) mod spnego;
pub(crate) mod token;

use std::ffi::{CStr, c_void};
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::gss::NTLM;
pub(crate) use self::process::{Policy, apart, with_environment, with_policy};

/// The password of every account below that is not about passwords.
pub(crate) const PASSWORD: &str = "Password";

/// The accounts of the tests. The first is the one of an initiator that names none. A4F4… is the NT hash of
/// [`PASSWORD`].
pub(crate) const ACCOUNTS: &str = "\
# a comment with colons: DOM:commented:Password
DOM:alice:Password
:bob:Password
DOM:colons:with:colons:in:it
DOM:crlf:Password\r
smb:1001:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:A4F49C406510BDCAB6824EE7C30FD852:[U          ]:LCT-00000000:
OTHER\\domsmb:1002:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:A4F49C406510BDCAB6824EE7C30FD852:[U          ]:LCT-00000000:
locked:1004:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:A4F49C406510BDCAB6824EE7C30FD852:[DU         ]:LCT-00000000:
";

/// Where the plugin and the files of this process are.
pub(crate) struct World {
    pub(crate) plugin: PathBuf,
    pub(crate) dir: PathBuf,
}

/// Prepares the process, once: before its first gss call, at which the mechglue reads its configuration.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        assert_talks_to_the_mechglue();
        let dir = private_dir();
        let world = World { plugin: plugin(), dir };
        let mechs = format!("ntlm 1.3.6.1.4.1.311.2.2.10 {}\n", world.plugin.display());
        let settings = [
            ("GSS_MECH_CONFIG", world.file("mech.conf", &mechs)),
            ("NTLM_USER_FILE", world.file("users", ACCOUNTS)),
            ("KRB5_CONFIG", world.file("krb5.conf", "[libdefaults]\n\tdns_lookup_kdc = false\n")),
            ("NETBIOS_COMPUTER_NAME", "SERVER".into()),
            ("NETBIOS_DOMAIN_NAME", "DOM".into()),
            // Who runs the tests may be logged on.
            ("GSS_NTLM_STORE", "off".into()),
        ];
        let is_child = process::is_child();
        if !is_child {
            forget_the_callers_settings();
        }
        for (key, value) in settings {
            if !is_child || std::env::var_os(key).is_none() {
                // SAFETY: every test waits here before its first gss call, so nobody reads the environment meanwhile.
                unsafe { std::env::set_var(key, value) };
            }
        }
        assert_loads(&world.plugin);
        world
    })
}

impl World {
    /// Writes a file that its owner alone may read, and says where.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.file_of_mode(name, content, 0o600)
    }

    /// Writes a file, and says where. In one step, its mode included, for another test may write one of that name.
    pub(crate) fn file_of_mode(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        static WRITTEN: AtomicUsize = AtomicUsize::new(0);
        let path = self.dir.join(name);
        // A new file each time: an old one would keep its mode.
        let new = self.dir.join(format!("new-{}", WRITTEN.fetch_add(1, Ordering::Relaxed)));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .expect("the test's directory is writable");
        std::io::Write::write_all(&mut file, content.as_ref()).expect("there is room for a file");
        file.set_permissions(fs::Permissions::from_mode(mode)).expect("the file is ours");
        fs::rename(new, &path).expect("the test's directory is writable");
        path
    }
}

/// The plugin under test: a copy in this process's own directory, where its path has a blank.
fn plugin() -> PathBuf {
    let built = built_plugin();
    if !has_blank(&built) {
        return built;
    }
    let copy = private_path().join("gss_ntlm.so");
    fs::copy(&built, &copy).expect("a copy of the plugin has room");
    copy
}

/// Whether krb5 would end this path too early in a mechanism file.
fn has_blank(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_whitespace)
}

/// The plugin that GSSNTLM_PLUGIN names (an installed package, another mechanism), or else our own, built now. `cargo test`
/// refreshes only a copy below `deps/` whose place is cargo's secret, so cargo is asked where it put it.
fn built_plugin() -> PathBuf {
    if let Some(path) = std::env::var_os("GSSNTLM_PLUGIN") {
        return Path::new(&path).canonicalize().expect("GSSNTLM_PLUGIN names a file");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--lib", "--message-format=json", "--manifest-path"]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "gss_ntlm")
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "so"))
        .and_then(|file| file.canonicalize().ok())
        .expect("cargo names the plugin that it built")
}

/// A directory of this process, removed at its end.
fn private_dir() -> PathBuf {
    extern "C" fn remove() {
        let _ = fs::remove_dir_all(private_path());
    }
    let dir = private_path();
    fs::create_dir_all(&dir).expect("the target directory is writable");
    // SAFETY: a function without arguments that lives as long as the program.
    unsafe { libc::atexit(remove) };
    dir
}

fn private_path() -> PathBuf {
    let below = [PathBuf::from(env!("CARGO_TARGET_TMPDIR")), std::env::temp_dir()];
    let below = below.into_iter().find(|path| !has_blank(path)).unwrap_or_else(|| "/tmp".into());
    below.join(format!("mechglue-{}", std::process::id()))
}

/// What the developer's shell sets for the plugin must not decide a test.
fn forget_the_callers_settings() {
    let ours = |name: &str| {
        name.starts_with("GSS_NTLM_")
            || name.starts_with("GSSNTLMSSP_")
            || ["NTLMUSER", process::LM_LEVEL].contains(&name)
    };
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(ours) {
            // SAFETY: as in `world`.
            unsafe { std::env::remove_var(key) };
        }
    }
}

/// Fails where the name of a gss function leads to anything but MIT's library.
fn assert_talks_to_the_mechglue() {
    let library = library_of(libgssapi_sys::gss_init_sec_context as *const c_void);
    assert!(library.contains("libgssapi_krb5.so.2"), "the tests talk to {library}, not to the mechglue");
}

/// The file that an address belongs to.
pub(crate) fn library_of(address: *const c_void) -> String {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked for, and `info` is writable.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    assert_ne!(found, 0, "an address of no library");
    // SAFETY: dladdr filled it.
    let info = unsafe { info.assume_init() };
    // SAFETY: a string of the dynamic linker.
    unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy().into_owned()
}

/// Makes the mechglue load its plugin and fails where that is another file.
fn assert_loads(plugin: &Path) {
    let mut attributes = null_mut();
    // SAFETY: an OID and locals.
    let major = unsafe { libgssapi_sys::gss_inquire_attrs_for_mech(&mut 0, NTLM.ptr(), &mut attributes, null_mut()) };
    // SAFETY: the set that libgssapi has just made, or NULL.
    unsafe { libgssapi_sys::gss_release_oid_set(&mut 0, &mut attributes) };
    assert_eq!(major, 0, "the plugin does not load: LD_DEBUG=files,symbols tells why");
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux has /proc");
    let path = plugin.to_str().expect("a path in UTF-8");
    assert!(maps.lines().any(|line| line.ends_with(path)), "the mechglue did not load {path}");
}
