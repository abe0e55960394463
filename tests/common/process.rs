//! Processes of their own for tests: because what they are about is the process's, or to have something travel.

use std::env;
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use super::world;

/// Set in a child, to the name of its one test.
const CHILD: &str = "GSSNTLM_TEST_CHILD";
/// Set in a child that was given tokens, to the file that they are in.
const TOKENS: &str = "GSSNTLM_TEST_TOKENS";
/// Which responses are sent and accepted.
pub(crate) const LM_LEVEL: &str = "LM_COMPAT_LEVEL";

/// Whether this process was started by a test.
pub(super) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs `body` in a process of its own that has these settings from its start: policy is the process's, so a test of policy
/// must not share one. At most once in a test, which is what the child is told to run.
pub(crate) fn with_environment<F: FnOnce()>(settings: &[(&str, &str)], body: F) {
    world();
    let name = test_name(&body);
    if is_child_of(&name) {
        return body();
    }
    let mut child = child(&name);
    child.envs(settings.iter().copied());
    let told = run(child, &format!("with {settings:?}"));
    assert!(told.contains("1 passed"), "with {settings:?}: {told}");
}

/// Runs `body` in a process of its own that has `policy` as the directory `/etc/gss`, and these settings. The plugin is the one that
/// programs get, whose path is fixed. Where the kernel lets nobody but root mount, it tests nothing and says so. At most once in a
/// test.
pub(crate) fn with_policy<F: FnOnce()>(policy: &Policy, settings: &[(&str, &str)], body: F) {
    world();
    let name = test_name(&body);
    if is_child_of(&name) {
        return body();
    }
    let mut child = child(&name);
    child.envs(settings.iter().copied());
    let directory = policy.write(&name);
    let mounts = policy.mounts(&directory);
    // SAFETY: the C library lets a forked child allocate, and no thread of this program holds anything else that it needs.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut child, move || mount_all(&mounts)) };
    match child.output() {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            println!("this process may not mount, so that no policy file can be put into its place: it tests nothing");
        }
        output => {
            let output = output.expect("the test's own program runs");
            let told = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && errors.is_empty(), "{}\n{told}{errors}", output.status);
            assert!(told.contains("1 passed"), "{told}");
        }
    }
}

/// The content of `/etc/gss`.
#[derive(Default)]
pub(crate) struct Policy {
    /// `ntlm.conf`, if it exists.
    pub(crate) main: Option<&'static str>,
    /// Files of `ntlm.conf.d`.
    pub(crate) added: &'static [(&'static str, &'static str)],
    /// Whether the kernel says that it runs in FIPS mode.
    pub(crate) fips: bool,
}

impl Policy {
    pub(crate) fn of(main: &'static str) -> Self {
        Self { main: Some(main), ..Self::default() }
    }

    /// Writes the files, and says where.
    fn write(&self, test: &str) -> PathBuf {
        let directory = world().dir.join(format!("policy-{}", test.replace("::", "-")));
        let gss = directory.join("gss");
        for created in
            [&directory, &gss, &gss.join("ntlm.conf.d"), &directory.join("sys"), &directory.join("sys/crypto")]
        {
            fs::create_dir_all(created).expect("the test's directory is writable");
            fs::set_permissions(created, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        let put = |path: PathBuf, text: &str| {
            fs::write(&path, text).expect("the test's directory is writable");
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("it is ours");
        };
        if let Some(main) = self.main {
            put(gss.join("ntlm.conf"), main);
        }
        for (name, text) in self.added {
            put(gss.join("ntlm.conf.d").join(name), text);
        }
        put(directory.join("sys/crypto/fips_enabled"), if self.fips { "1\n" } else { "0\n" });
        directory
    }

    /// What is to be mounted, and where.
    fn mounts(&self, directory: &Path) -> Vec<(CString, &'static CStr)> {
        let from =
            |name: &str| CString::new(directory.join(name).into_os_string().into_encoded_bytes()).expect("a path");
        let mut mounts = vec![(from("gss"), c"/etc/gss")];
        if self.fips {
            mounts.push((from("sys"), c"/proc/sys"));
        }
        mounts
    }
}

/// Gives this process a tree of files of its own, in which these directories are mounted.
fn mount_all(mounts: &[(CString, &CStr)]) -> io::Result<()> {
    let done = |result: i32| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: it only tells who this process is.
    let user = unsafe { libc::geteuid() };
    // SAFETY: as above.
    let group = unsafe { libc::getegid() };
    if user == 0 {
        // SAFETY: it takes a number.
        done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    } else {
        // SAFETY: it takes a number.
        done(unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUSER) })?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    let none = std::ptr::null();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: C strings, and NULL where it may stand.
    done(unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) })?;
    for (from, to) in mounts {
        // SAFETY: as above.
        done(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), none, libc::MS_BIND, none.cast()) })?;
    }
    Ok(())
}

/// Runs `body` in a process of its own, which nobody but `body` has let talk SPNEGO: where the stack does not tell a server who
/// calls it (32-bit ARM), and SPNEGO loses the mechListMIC, it asks nobody for a MIC from then on. At most once in a test.
pub(crate) fn apart<F: FnOnce()>(body: F) {
    with_environment(&[], body);
}

/// Hands `tokens` to another process, which answers with what `body` makes of them and ends there. At most once in a test.
pub(crate) fn elsewhere<F: FnOnce(&[Vec<u8>]) -> Vec<Vec<u8>>>(tokens: &[Vec<u8>], body: F) -> Vec<Vec<u8>> {
    let world = world();
    let name = test_name(&body);
    if is_child_of(&name) {
        let path = env::var(TOKENS).expect("a child is told where its tokens are");
        let answers = body(&read(Path::new(&path)));
        fs::write(path, written(&answers)).expect("the answers have a place");
        process::exit(0);
    }
    let path = world.file(&name.replace("::", "-"), written(tokens));
    let mut child = child(&name);
    child.env(TOKENS, &path);
    run(child, "elsewhere");
    read(&path)
}

/// What both ends obey from now on. For a process that runs one test alone.
pub(crate) fn set_lm_level(level: u8) {
    assert!(is_child(), "the environment belongs to one test alone");
    // SAFETY: the process's other thread waits for the test's end and reads no environment meanwhile.
    unsafe { env::set_var(LM_LEVEL, level.to_string()) };
}

fn is_child_of(name: &str) -> bool {
    env::var(CHILD).is_ok_and(|child| child == name)
}

fn child(name: &str) -> Command {
    let mut child = Command::new(env::current_exe().expect("Linux knows the program's path"));
    child.args([name, "--exact", "--nocapture", "--include-ignored"]);
    // These two are made afresh in the child's own directory.
    child.env_remove("GSS_MECH_CONFIG").env_remove("KRB5_CONFIG");
    child.env(CHILD, name).env("GSSNTLM_PLUGIN", &world().plugin);
    child
}

/// What the child told, which must have ended well, and in which the mechanism has printed nothing.
fn run(mut child: Command, what: &str) -> String {
    let output = child.output().expect("the test's own program runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{what}: {}\n{told}{errors}", output.status);
    told
}

fn written(tokens: &[Vec<u8>]) -> String {
    serde_json::to_string(tokens).expect("bytes are numbers")
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).expect("the tokens are there");
    serde_json::from_str(&text).expect("tokens are lists of bytes")
}

/// `family::test` out of the type name of a closure inside that test.
fn test_name<T>(_: &T) -> String {
    let path = std::any::type_name::<T>().split_once("::").map_or("", |(_, rest)| rest);
    path.split("::{{closure}}").next().unwrap_or_default().to_owned()
}
