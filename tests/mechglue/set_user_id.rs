//! A set-user-ID program runs with rights that its caller does not have, so the caller's environment decides nothing in it.
//!
//! The mechglue ignores the environment as well, and would load another plugin: so here the plugin is called without it.

#![expect(clippy::disallowed_methods, reason = "the parent tells its child where the plugin is")]

use std::env;
use std::ffi::{CStr, CString};
use std::fs;
use std::mem::transmute_copy;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::ptr::{null, null_mut};

use libgssapi_sys as sys;

use crate::common::world;

/// Set in a copy of this program: the directory of the plugin and the user file.
const DIRECTORY: &str = "GSSNTLM_TEST_SET_USER_ID";
const NOBODY: u32 = 65534;

/// Loads the plugin in `directory` and prints whether this is a set-user-ID program, and the major statuses of acquiring a
/// credential with the user file of a store and with that of the environment, of storing one, and of acquiring a stored one.
fn print_majors(directory: &Path) {
    let text = |file| CString::new(directory.join(file).to_str().unwrap()).unwrap();
    // SAFETY: a path.
    let plugin = unsafe { libc::dlopen(text("plugin.so").as_ptr(), libc::RTLD_NOW) };
    let function: unsafe extern "C" fn(_, _, _, _, _, _, _, _, _) -> _ = sys::gss_acquire_cred_from;
    let function = in_plugin(plugin, function, c"gss_acquire_cred_from");
    let put: unsafe extern "C" fn(_, _, _, _, _, _, _, _, _) -> _ = sys::gss_store_cred_into;
    let put = in_plugin(plugin, put, c"gss_store_cred_into");
    let release: unsafe extern "C" fn(_, _) -> _ = sys::gss_release_cred;
    let release = in_plugin(plugin, release, c"gss_release_cred");
    let initiate = sys::GSS_C_INITIATE.cast_signed();
    // What acquiring returns, and then storing what was acquired.
    let acquire_and = |store: *const sys::gss_key_value_set_desc, into: *const sys::gss_key_value_set_desc| {
        let (mut minor, mut cred) = (0, null_mut());
        let (none, no_time) = (null_mut(), null_mut());
        // SAFETY: locals, and NULL where it may stand.
        let acquired =
            unsafe { function(&mut minor, null_mut(), 0, null_mut(), initiate, store, &mut cred, none, no_time) };
        // SAFETY: as above.
        let stored = unsafe { put(&mut minor, cred, initiate, null_mut(), 1, 0, into, null_mut(), null_mut()) };
        // SAFETY: NULL, or the credential that the plugin has just made.
        unsafe { release(&mut minor, &mut cred) };
        (acquired, stored)
    };
    let mut target = sys::gss_key_value_element_desc { key: c"ntlmssp_target".as_ptr(), value: c"srv".as_ptr() };
    let stored = sys::gss_key_value_set_desc { count: 1, elements: &mut target };
    let acquire = |store| acquire_and(store, &stored).0;
    let users = text("users");
    let mut element = sys::gss_key_value_element_desc { key: c"ntlmssp_keyfile".as_ptr(), value: users.as_ptr() };
    let store = sys::gss_key_value_set_desc { count: 1, elements: &mut element };
    // SAFETY: a number.
    let is_secure = unsafe { libc::getauxval(libc::AT_SECURE) };
    let [first, second, third, fourth] =
        [acquire(&store), acquire(null()), acquire_and(&store, &stored).1, acquire(&stored)];
    println!("majors: {is_secure} {first:#x} {second:#x} {third:#x} {fourth:#x}");
}

/// The plugin's function of that type and name.
fn in_plugin<F>(plugin: *mut libc::c_void, _: F, name: &CStr) -> F {
    // SAFETY: a library that is loaded, and a name.
    let address = unsafe { libc::dlsym(plugin, name.as_ptr()) };
    assert!(!address.is_null());
    // SAFETY: the mechglue calls it as a function of this type.
    unsafe { transmute_copy(&address) }
}

/// Whether the file system of that path has set-user-ID programs.
fn has_set_user_id(path: &CStr) -> bool {
    // SAFETY: `statvfs` consists of numbers, so zeros are a valid value.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string, and `found` is writable.
    let failed = unsafe { libc::statvfs(path.as_ptr(), &raw mut found) };
    failed == 0 && found.f_flag & libc::ST_NOSUID == 0
}

/// A directory that only nobody may use, so that no other user can run the program in it; removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        // Not TMPDIR, which may be closed to nobody.
        let base =
            [c"/tmp", c"/var/tmp"].into_iter().find(|path| has_set_user_id(path)).expect("a place without nosuid");
        let path = Path::new(base.to_str().unwrap()).join(format!("gss-ntlm-set-user-id-{}", id()));
        fs::create_dir(&path).unwrap();
        let directory = Self(path);
        directory.set_mode("", 0o700);
        fs::copy(env::current_exe().unwrap(), directory.0.join("program")).unwrap();
        fs::copy(&world().plugin, directory.0.join("plugin.so")).unwrap();
        fs::write(directory.0.join("users"), "DOM:alice:Password\n").unwrap();
        fs::create_dir(directory.0.join("run")).unwrap();
        std::os::unix::fs::chown(directory.0.join("run"), Some(NOBODY), Some(NOBODY)).unwrap();
        directory.set_mode("run", 0o700);
        std::os::unix::fs::chown(&directory.0, Some(NOBODY), Some(NOBODY)).unwrap();
        directory.set_mode("plugin.so", 0o755);
        directory.set_mode("users", 0o644);
        directory
    }

    fn set_mode(&self, file: &str, mode: u32) {
        fs::set_permissions(self.0.join(file), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What the program prints if it has that mode and nobody runs it in this environment, and whether it traces.
    fn run(&self, mode: u32, settings: &[(&str, &str)]) -> (String, bool) {
        self.set_mode("program", mode);
        let mut program = Command::new(self.0.join("program"));
        program.args(["set_user_id::the_environment_decides_nothing", "--exact", "--nocapture"]);
        program.current_dir("/").env_remove("GSS_MECH_CONFIG").env(DIRECTORY, &self.0);
        program.env("NTLM_USER_FILE", self.0.join("users")).env("GSSNTLMSSP_DEBUG", self.0.join("trace"));
        program.env("XDG_RUNTIME_DIR", self.0.join("run")).env("GSS_NTLM_STORE", "runtime");
        let output = program.envs(settings.iter().copied()).uid(NOBODY).gid(NOBODY).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        let majors = told.lines().find_map(|line| line.split_once("majors: ")).map(|(_, majors)| majors.to_owned());
        (majors.unwrap_or_else(|| panic!("{told}")), fs::remove_file(self.0.join("trace")).is_ok())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_environment_decides_nothing() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return print_majors(Path::new(&directory));
    }
    // SAFETY: it only tells who this process is.
    if unsafe { libc::geteuid() } != 0 {
        return eprintln!("only root can make a set-user-ID program for this test: it tests nothing");
    }
    let directory = Directory::new();
    let majors = |is_secure, first: u32, second: u32, third: u32, fourth: u32| {
        format!("{is_secure} {first:#x} {second:#x} {third:#x} {fourth:#x}")
    };
    let (done, failed, no_cred) = (sys::GSS_S_COMPLETE, sys::_GSS_S_FAILURE, sys::_GSS_S_NO_CRED);
    let wrong = [("GSS_NTLM_MIC", "nonsense")];
    // In any other program the environment decides: a wrong switch is an error, told at once or when the credential is used.
    let expected = majors(0, failed, done, sys::_GSS_S_CALL_INACCESSIBLE_READ, failed);
    assert_eq!(directory.run(0o755, &wrong).0, expected);
    let own_policy = [("GSS_NTLM_CONFIG", "/nonexistent")];
    assert_eq!(directory.run(0o755, &own_policy).0, expected);
    let expected = (majors(0, done, done, done, done), true);
    assert_eq!(directory.run(0o755, &[]), expected);
    // It does not even find what the same user has stored.
    let expected = (majors(1, done, no_cred, sys::_GSS_S_UNAVAILABLE, no_cred), false);
    assert_eq!(directory.run(0o4755, &wrong), expected);
    assert_eq!(directory.run(0o4755, &own_policy), expected);
}
