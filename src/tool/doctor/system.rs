//! The clock, the log of refusals, the trace.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::AccessFlags;

use super::{Done, Findings, Program};

pub(super) fn examine(program: &Program, findings: &mut Findings) -> Done {
    examine_clock(findings)?;
    examine_log(findings)?;
    examine_confinement(findings)?;
    examine_trace(program, findings)
}

/// What a program of the system prints, and its errors; `None` if it is not there, fails or does not end.
fn printed(program: &str, arguments: &[&str]) -> Option<[String; 2]> {
    let done = Command::new("timeout").args(["10", program]).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    done.status.success().then(|| [text(&done.stdout), text(&done.stderr)])
}

fn examine_clock(findings: &Findings) -> Done {
    let said = printed("timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
    match said.as_ref().map(|[out, _]| &**out) {
        Some("yes") => findings.ok("the clock is kept right over the network"),
        Some("no") => findings.note(
            "the clock is not kept right over the network, and servers refuse clients whose clock is far off",
            "timedatectl set-ntp true",
        ),
        _ => findings.note("it is not known whether the clock is right", "compare it with the server's: date"),
    }
}

/// How many lines of the log are shown.
const SHOWN: usize = 3;

fn examine_log(findings: &Findings) -> Done {
    let ours = ["-t", "gss-ntlm", "--since", "-1day", "--priority", "warning", "--output", "cat", "--no-pager"];
    // On standard error it says that there is no journal, or that this user does not see all of it.
    let log = match printed("journalctl", &ours) {
        Some([log, errors]) if errors.is_empty() => log,
        Some(_) | None => {
            return findings
                .note("the journal cannot be read", "run this as root, or look into the system's log for gss-ntlm");
        }
    };
    let lines: Vec<_> = log.lines().filter(|line| *line != "-- No entries --").collect();
    if lines.is_empty() {
        return findings.ok("the journal has no refusal by NTLM of the last day");
    }
    for line in lines.iter().rev().take(SHOWN).rev() {
        findings.note(format_args!("the journal says: {line}"), "gss-ntlm(8), AUDIT, says what its words mean")?;
    }
    Ok(())
}

/// Our files and sockets, as a security module names them.
const CONFINED: [&str; 5] = ["/etc/gss/", "gss_ntlm.so", "ntlm.users", "winbindd", "/gss-ntlm/"];

/// Looks for refusals of AppArmor, and says which rule is missing.
fn examine_confinement(findings: &Findings) -> Done {
    let kernels =
        ["-k", "--since", "-1day", "--grep", "apparmor=\"DENIED\"", "--output", "cat", "--no-pager", "--quiet"];
    // Where nothing is found, journalctl fails.
    let [log, _] = printed("journalctl", &kernels).unwrap_or_default();
    let mut rules = Vec::new();
    for line in log.lines() {
        let part = |key: &str| Some(line.split_once(key)?.1.split_once('"')?.0);
        let parts = part("profile=\"").zip(part(" name=\"")).zip(part("requested_mask=\""));
        if let Some(((profile, path), rights)) =
            parts.filter(|((_, path), _)| CONFINED.iter().any(|ours| path.contains(ours)))
        {
            let rule = (profile, path, rights);
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    for (profile, path, rights) in rules {
        findings.note(
            format_args!("in the last day AppArmor has kept {profile} from {path}"),
            &format!("add the rule \"{path} {rights},\" to the profile (/etc/apparmor.d/local), and load it"),
        )?;
    }
    Ok(())
}

fn examine_trace(program: &Program, findings: &mut Findings) -> Done {
    let place = match program.set("GSSNTLMSSP_DEBUG") {
        None => return findings.ok("there is no trace: GSSNTLMSSP_DEBUG=/path of a file makes one"),
        Some(place @ ("stderr" | "syslog")) => return findings.ok(format_args!("the trace goes to {place}")),
        Some(place) => Path::new(place),
    };
    let shown = place.display();
    let cure = "name a file in a directory that the program may write to";
    match fs::symlink_metadata(program.path(place)) {
        Ok(found) if found.is_symlink() => findings.wrong(format_args!("the trace {shown} is a symbolic link"), cure),
        Ok(found) if !found.is_file() && !found.file_type().is_char_device() => {
            findings.wrong(format_args!("the trace {shown} is neither a file nor a character device"), cure)
        }
        Ok(_) if program.may(place, AccessFlags::W_OK) => findings.ok(format_args!("the trace goes to {shown}")),
        Ok(_) => findings.wrong(format_args!("{program} may not write the trace {shown}"), cure),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match place.parent() {
            Some(directory) if directory.as_os_str().is_empty() && program.may(Path::new("."), AccessFlags::W_OK) => {
                findings.ok(format_args!("the trace goes to {shown}"))
            }
            Some(directory) if program.may(directory, AccessFlags::W_OK) => {
                findings.ok(format_args!("the trace goes to {shown}"))
            }
            Some(_) | None => findings.wrong(format_args!("{program} cannot make the trace {shown}"), cure),
        },
        Err(_) => findings.wrong(format_args!("{program} cannot make the trace {shown}"), cure),
    }
}
