//! Which plugin krb5 loads for NTLM, and whether it can.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::handshake::{Temporary, with_made_up_account};

use super::{Done, Findings, Program};

/// NTLM's object identifier, as a registration has it.
const NTLM: &str = "1.3.6.1.4.1.311.2.2.10";

/// A line that registers a plugin for NTLM.
struct Registration {
    file: PathBuf,
    line: usize,
    plugin: PathBuf,
}

/// Without a policy every handshake fails, so none is tried.
pub(super) fn examine(program: &Program, has_policy: bool, findings: &mut Findings) -> Done {
    let all = registrations(program)?;
    let Some((last, earlier)) = all.split_last() else {
        let place = program.set("GSS_MECH_CONFIG").unwrap_or("/etc/gss/mech and /etc/gss/mech.d");
        findings.wrong(
            format_args!("krb5 knows no plugin for NTLM: nothing registers one in {place}"),
            "install the package gss-ntlm, or run scripts/install",
        )?;
        return Ok(());
    };
    for Registration { file, line, plugin } in earlier {
        let is_there = if plugin.exists() { "" } else { ", which does not exist," };
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
    let Ok(bytes) = fs::read(plugin) else {
        let cure = if plugin.exists() {
            "let everybody read it (chmod a+r), and its directories"
        } else {
            "install the package gss-ntlm again, or remove the line"
        };
        return findings.wrong(format_args!("krb5 cannot load {shown}, which {said} names for NTLM"), cure);
    };
    if !bytes.windows(12).any(|part| part == b"urn:gss-ntlm") {
        return findings.wrong(
            format_args!("krb5 loads another plugin for NTLM, {shown}, as {said} says"),
            "remove the package that it is from (gss-ntlmssp), or this line",
        );
    }
    if !program.may(plugin, 4) {
        return findings.wrong(
            format_args!("{program} may not read the plugin {shown}"),
            "let everybody read it (chmod a+r), and its directories",
        );
    }
    // Word size and processor, of ELF.
    let of_program = program.pid.map_or_else(|| "/proc/self/exe".to_owned(), |pid| format!("/proc/{pid}/exe"));
    let kind = |bytes: &[u8]| Some([*bytes.get(4)?, *bytes.get(18)?, *bytes.get(19)?]);
    if let Ok(own) = fs::read(of_program)
        && kind(&own) != kind(&bytes)
    {
        return findings.wrong(
            format_args!("the plugin {shown} is for another kind of processor than {program}"),
            "install gss-ntlm for the program's architecture",
        );
    }
    findings.ok(format_args!("krb5 loads {shown} for NTLM, as {said} says"))?;
    match program.pid {
        Some(_) => examine_memory(program, plugin, findings),
        None if has_policy => examine_handshake(findings),
        None => Ok(()),
    }
}

/// Looks at what a running program has loaded.
fn examine_memory(program: &Program, plugin: &Path, findings: &mut Findings) -> Done {
    let has = |part: &str| program.maps.contains(part);
    if has("libgssapi.so.3") {
        findings.wrong(
            format_args!("{program} uses Heimdal's GSS library, which loads no plugins of MIT krb5"),
            "use a build of the program with MIT krb5",
        )?;
    }
    if !has("libgssapi_krb5.so.2") {
        return findings.note(
            format_args!("{program} has not loaded MIT krb5's GSS library"),
            "look again once it has been asked to authenticate somebody",
        );
    }
    let real = fs::canonicalize(plugin).unwrap_or_else(|_| plugin.to_owned());
    let mapped = program.maps.lines().find(|line| line.contains(&*real.to_string_lossy()));
    match mapped {
        Some(line) if line.ends_with("(deleted)") => findings
            .wrong(format_args!("{program} still has an old plugin, which was replaced since"), "restart the program"),
        Some(_) => findings.ok(format_args!("{program} has loaded the plugin")),
        None => findings.note(
            format_args!("{program} has not loaded the plugin"),
            "look again once it has been asked for NTLM; if it should have been, restart the program",
        ),
    }
}

/// Does handshakes in a program that has one account.
fn examine_handshake(findings: &mut Findings) -> Done {
    let directory = Temporary::new()?;
    let trace = directory.0.join("trace");
    let done = with_made_up_account("test@localhost", &[("GSSNTLMSSP_DEBUG", &trace)])?;
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        match line.split_once(": ") {
            Some(("ok", what)) => findings.ok(format_args!("a test works: {what}"))?,
            Some((_, what)) => {
                findings.wrong(what, "correct what it says, and what is WRONG below; then gss-ntlm test")?
            }
            None => {}
        }
    }
    if done.stdout.is_empty() {
        findings
            .wrong("the test of a handshake ends without a word", "gss-ntlm test, and ldd -r with the plugin's path")?;
    }
    // A program that did not load the plugin has no trace.
    let trace = fs::read_to_string(&trace).unwrap_or_default();
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
fn registrations(program: &Program) -> io::Result<Vec<Registration>> {
    let files = match program.set("GSS_MECH_CONFIG") {
        Some(file) => vec![PathBuf::from(file)],
        None => {
            let mut added: Vec<_> = match fs::read_dir("/etc/gss/mech.d") {
                Ok(found) => found.filter_map(Result::ok).map(|entry| entry.path()).collect(),
                Err(_) => Vec::new(),
            };
            added.retain(|path| path.extension().is_some_and(|end| end == "conf"));
            added.sort();
            core::iter::once(PathBuf::from("/etc/gss/mech")).chain(added).collect()
        }
    };
    let mut all = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (line, number) in text.lines().zip(1..) {
            let mut words = line.split_whitespace();
            if line.starts_with(|c: char| c == '#' || c.is_whitespace()) || words.nth(1) != Some(NTLM) {
                continue;
            }
            if let Some(plugin) = words.next() {
                all.push(Registration { file: file.clone(), line: number, plugin: absolute(plugin, program) });
            }
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
