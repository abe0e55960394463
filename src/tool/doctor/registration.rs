//! Which plugin krb5 loads for NTLM, and whether it can.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gss_ntlm::{name::Name, policy::Policy};
use nix::unistd::AccessFlags;

use crate::handshake::{Temporary, with_made_up_account};

use super::{Done, Findings, Program};

/// NTLM's object identifier, as a registration has it.
const NTLM: &str = "1.3.6.1.4.1.311.2.2.10";
/// The longest registration and the longest plugin that are read, in bytes.
const MAX_REGISTRATION: u64 = 1 << 20;
const MAX_PLUGIN: u64 = 1 << 26;

/// A line that registers a plugin for NTLM.
struct Registration {
    file: PathBuf,
    line: usize,
    plugin: PathBuf,
}

/// Without a policy every handshake fails, so none is tried.
pub(super) fn examine(
    program: &Program, policy: Option<&Policy>, target: Option<&Name>, findings: &mut Findings,
) -> Done {
    let all = registrations(program, findings)?;
    let Some((last, earlier)) = all.split_last() else {
        let place = program.raw("GSS_MECH_CONFIG").unwrap_or("/etc/gss/mech and /etc/gss/mech.d");
        return findings.wrong(
            format_args!("krb5 knows no plugin for NTLM: nothing registers one in {place}"),
            "install the package gss-ntlm, or run scripts/install; if GSS_MECH_CONFIG is set, correct it",
        );
    };
    for Registration { file, line, plugin } in earlier {
        let is_there = if program.path(plugin).exists() { "" } else { ", which does not exist," };
        findings.note(
            format_args!(
                "line {line} of {} names {}{is_there} for NTLM, and is not used, because a later line counts",
                file.display(),
                plugin.display()
            ),
            "remove the line, or the package that it is from",
        )?;
    }
    let Registration { file, line, plugin } = last;
    let said = format!("line {line} of {}", file.display());
    let shown = plugin.display();
    let bytes = match program.read(plugin, MAX_PLUGIN) {
        Ok(bytes) => bytes,
        Err(error) => {
            let cure = if error.kind() == io::ErrorKind::NotFound {
                "install the package gss-ntlm again, or remove the line"
            } else {
                "let everybody read it (chmod a+r), and its directories"
            };
            return findings.wrong(format_args!("krb5 cannot load {shown}, which {said} names for NTLM"), cure);
        }
    };
    // A name that only this plugin has.
    if !bytes.windows(12).any(|part| part == b"urn:gss-ntlm") {
        return findings.wrong(
            format_args!("krb5 loads another plugin for NTLM, {shown}, as {said} says"),
            "remove the package that it is from (gss-ntlmssp), or this line",
        );
    }
    if !program.may(plugin, AccessFlags::R_OK) {
        return findings.wrong(
            format_args!("{program} may not read the plugin {shown}"),
            "let everybody read it (chmod a+r), and its directories",
        );
    }
    // Word size and processor, of ELF.
    let of_program = program.pid.map_or_else(|| "/proc/self/exe".to_owned(), |pid| format!("/proc/{pid}/exe"));
    let kind = |bytes: &[u8]| Some([*bytes.get(4)?, *bytes.get(18)?, *bytes.get(19)?]);
    if let Ok(own) = Program::own().read(Path::new(&of_program), 64)
        && kind(&own) != kind(&bytes)
    {
        return findings.wrong(
            format_args!("the plugin {shown} is for another kind of processor than {program}"),
            "install gss-ntlm for the program's architecture",
        );
    }
    findings.ok(format_args!("krb5 loads {shown} for NTLM, as {said} says"))?;
    if program.pid.is_some() {
        return examine_memory(program, plugin, findings);
    }
    match policy {
        Some(policy) if program.may_test(policy) => examine_handshake(target, findings),
        Some(_) => findings.note(
            "the policy does not let a test run between two ends of this computer",
            "gss-ntlm test --server asks a real server",
        ),
        None => Ok(()),
    }
}

/// Looks at what a running program has loaded.
fn examine_memory(program: &Program, plugin: &Path, findings: &mut Findings) -> Done {
    let has = |part: &str| program.maps.contains(part);
    if has("/libgssapi.so.3") {
        findings.wrong(
            format_args!("{program} uses Heimdal's GSS library, which loads no plugins of MIT krb5"),
            "use a build of the program with MIT krb5",
        )?;
    }
    if !has("/libgssapi_krb5.so.2") {
        return findings.note(
            format_args!("{program} has not loaded MIT krb5's GSS library"),
            "look again once it has been asked to authenticate somebody",
        );
    }
    let real = fs::canonicalize(program.path(plugin)).unwrap_or_else(|_| plugin.to_owned());
    let real = if program.has_own_files { plugin.to_owned() } else { real };
    let mapped = program.maps.lines().find_map(|line| {
        let at = line.find('/')?;
        let path = line.get(at..)?;
        let kept = path.strip_suffix(" (deleted)");
        (Path::new(kept.unwrap_or(path)) == real).then_some(kept.is_some())
    });
    match mapped {
        Some(true) => findings
            .wrong(format_args!("{program} still has an old plugin, which was replaced since"), "restart the program"),
        Some(false) => findings.ok(format_args!("{program} has loaded the plugin")),
        None => findings.note(
            format_args!("{program} has not loaded the plugin"),
            "look again once it has been asked for NTLM; if it should have been, restart the program",
        ),
    }
}

/// Does handshakes in a program that has one account.
fn examine_handshake(target: Option<&Name>, findings: &mut Findings) -> Done {
    let target = target.map_or_else(|| "test@localhost".to_owned(), |target| target.to_string().replacen('/', "@", 1));
    let tried = Temporary::new().and_then(|directory| {
        let trace = directory.0.join("trace");
        let done = with_made_up_account(&target, &[("GSSNTLMSSP_DEBUG", &trace)])?;
        // A program that did not load the plugin has no trace.
        Ok((done, fs::read_to_string(&trace).unwrap_or_default()))
    });
    let (done, trace) = match tried {
        Ok(tried) => tried,
        Err(error) => {
            return findings.wrong(
                format_args!("no test of a handshake can be made, {error}"),
                "let this user write to the directory that TMPDIR names, or to /tmp",
            );
        }
    };
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        match line.split_once(": ") {
            Some(("ok", what)) => findings.ok(format_args!("a test works: {what}"))?,
            Some((_, what)) => {
                findings.wrong(format_args!("a test fails: {what}"), "correct that, then gss-ntlm test")?
            }
            None => {}
        }
    }
    if done.stdout.is_empty() {
        findings
            .wrong("a test of a handshake ends without a word", "gss-ntlm test, and ldd -r with the plugin's path")?;
    }
    if trace.contains("loses the mechListMIC") {
        findings.note(
            "this krb5 has a fault in SPNEGO (1.21.0 to 1.22.1): it loses a MIC, so NTLM sends none inside SPNEGO",
            "update krb5 to 1.22.2 or later",
        )?;
    } else if trace.contains("keeps the mechListMIC") {
        findings.ok("this krb5 has no fault in SPNEGO that matters to NTLM")?;
    }
    Ok(())
}

/// The lines for NTLM, in the order in which krb5 reads them: the last one counts.
fn registrations(program: &Program, findings: &mut Findings) -> io::Result<Vec<Registration>> {
    let files = match program.raw("GSS_MECH_CONFIG") {
        Some(file) => vec![PathBuf::from(file)],
        None => {
            let place = Path::new("/etc/gss/mech.d");
            let mut added: Vec<_> = match fs::read_dir(program.path(place)) {
                Ok(found) => found.filter_map(Result::ok).map(|entry| entry.file_name()).collect(),
                Err(_) => Vec::new(),
            };
            added.retain(|name| {
                name.to_str().is_some_and(|name| !name.starts_with('.'))
                    && Path::new(name).extension().is_some_and(|end| end == "conf")
            });
            added.sort();
            let added = added.into_iter().map(|name| place.join(name));
            core::iter::once(PathBuf::from("/etc/gss/mech")).chain(added).collect()
        }
    };
    let mut all = Vec::new();
    for file in files {
        let Ok(text) = program.read(&file, MAX_REGISTRATION) else { continue };
        let text = String::from_utf8_lossy(&text);
        let mut is_for_us = false;
        for (line, number) in text.lines().zip(1..) {
            let mut words = line.split_whitespace();
            let oid = words.nth(1).map(|oid| oid.trim_start_matches('{').trim_end_matches('}'));
            if line.starts_with(|c: char| c == '#' || c.is_whitespace()) || oid != Some(NTLM) {
                continue;
            }
            let Some(plugin) = words.next() else { continue };
            // One of another kind is no mechanism.
            if words.any(|word| word == "<interposer>") {
                continue;
            }
            is_for_us = true;
            all.push(Registration { file: file.clone(), line: number, plugin: absolute(plugin, program) });
        }
        if is_for_us && !program.may(&file, AccessFlags::R_OK) {
            findings.wrong(
                format_args!("{program} may not read {}, which registers the plugin", file.display()),
                "let everybody read it (chmod a+r), and its directories",
            )?;
        }
    }
    Ok(all)
}

/// krb5 looks for a relative path below its own directory.
fn absolute(plugin: &str, program: &Program) -> PathBuf {
    let own = Program::own();
    let library = [&program.maps, &own.maps].into_iter().find_map(|maps| {
        let line = maps.lines().find(|line| line.contains("/libgssapi_krb5.so.2"))?;
        Some(Path::new(line.split_whitespace().nth(5)?).parent()?.join("gss"))
    });
    // An absolute path stays what it is.
    library.unwrap_or_default().join(plugin)
}
