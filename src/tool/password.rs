//! A password for the command, from a pipe or from the person at the terminal.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write as _},
    os::fd::{AsFd as _, OwnedFd},
};

use gss_ntlm::{
    name::{Name, UserName},
    text::Escaped,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::SignalFd,
        termios::{self, LocalFlags, SetArg},
    },
};
use zeroize::Zeroizing;

use crate::Failure;

/// The password of `name`: the first line of that file descriptor, of standard input, or what the person types.
pub(crate) fn read(name: &UserName, descriptor: Option<u32>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match descriptor {
        None | Some(0) if io::stdin().is_terminal() => ask(name),
        None | Some(0) => first_line(File::from(input()?)),
        Some(number) => first_line(pipe(number)?),
    }
}

/// Standard input without the buffer of the standard library, which is not wiped.
fn input() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

/// A file descriptor that is a pipe. Another kind of file would be opened anew here, and read from its beginning.
fn pipe(number: u32) -> Result<File, Failure> {
    let path = format!("/proc/self/fd/{number}");
    if std::fs::metadata(&path)?.is_file() {
        return Err(Failure::Impossible(format!(
            "file descriptor {number} is a file: give a pipe, or let standard input come from the file"
        )));
    }
    Ok(File::open(path)?)
}

/// The longest password, in bytes.
const MAX_PASSWORD: usize = 0x1_0000;

/// The first line of `input`, without its end.
fn first_line(input: impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // All the capacity at once: a vector that grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSWORD.saturating_add(2)));
    let limit = u64::try_from(line.capacity()).unwrap_or(0);
    BufReader::with_capacity(1, input.take(limit)).read_until(b'\n', &mut line)?;
    // As in a user file.
    if line.pop_if(|end| *end == b'\n').is_some() {
        line.pop_if(|end| *end == b'\r');
    }
    if line.len() > MAX_PASSWORD {
        return Err(Failure::Impossible("the password is longer than 65,536 bytes".to_owned()));
    }
    Ok(line)
}

/// The password that a person types, which is not shown.
fn ask(name: &UserName) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let terminal = input()?;
    let before = termios::tcgetattr(&terminal).map_err(io::Error::from)?;
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    hidden.local_flags.insert(LocalFlags::ECHONL);
    // Who gives up must get the terminal back as it was: signals wait until then.
    let giving_up: SigSet =
        [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP].into_iter().collect();
    giving_up.thread_block().map_err(io::Error::from)?;
    // Before the question: who answers at once must not be seen or lost.
    termios::tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden).map_err(io::Error::from)?;
    let line = write!(io::stderr(), "Password of {}: ", Escaped(Name::User(name.clone())))
        .and_then(|()| wait_for_line(&terminal, &giving_up))
        .map_err(Failure::from)
        .and_then(|()| first_line(File::from(terminal.try_clone()?)));
    termios::tcsetattr(&terminal, SetArg::TCSAFLUSH, &before).map_err(io::Error::from)?;
    giving_up.thread_unblock().map_err(io::Error::from)?;
    line
}

/// Waits for a line, or for one of these signals, which is an error.
fn wait_for_line(terminal: &OwnedFd, signals: &SigSet) -> io::Result<()> {
    let signals = SignalFd::new(signals)?;
    let mut waited =
        [PollFd::new(terminal.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    poll(&mut waited, PollTimeout::NONE)?;
    let [_, signals] = waited;
    if signals.any() == Some(true) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}
