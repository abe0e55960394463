//! What the fuzz targets share: a tape that libFuzzer writes, changes to messages, a host that is always the same, and its
//! accounts.

pub mod handshake;

use std::{
    fmt::{self, Write as _},
    fs::{File, Permissions},
    io::Write as _,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::fs::PermissionsExt as _,
    },
    path::PathBuf,
    sync::OnceLock,
};

use gss_ntlm::{
    audit::{AuditEvent, Kind},
    crypto::ntowf::nt_hash,
    error::{Error, Result},
    host::{FileTime, Host, LocalNames},
};

/// The input of a target, read from its start. At its end it gives zeros: a zero means the usual case everywhere.
#[derive(Clone, Copy)]
pub struct Tape<'a>(pub &'a [u8]);

impl<'a> Tape<'a> {
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.take(N);
        let mut array = [0; N];
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Whether something unusual is to be done.
    pub fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// One of `all`; the first is the usual one.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.u8()) % all.len()]
    }

    /// At most `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A length of one byte, and as many bytes.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = self.u8();
        self.take(usize::from(len))
    }
}

/// Changes `message` as the tape says: no change is the usual case.
pub fn edit(tape: &mut Tape<'_>, message: &mut Vec<u8>) {
    for _ in 0..tape.u8() % 8 {
        let kind = tape.u8();
        let at = usize::from(tape.u16()) % (message.len() + 1);
        match kind % 8 {
            0 => message.truncate(at),
            1 => message.splice(at..at, tape.bytes().iter().copied()).for_each(drop),
            2 => message.drain(at..(at + usize::from(tape.u8())).min(message.len())).for_each(drop),
            3 => message.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (tape.u8() % 8)),
            4 => overwrite(message, at, &tape.array::<1>()),
            5 => overwrite(message, at, &tape.array::<2>()),
            6 => overwrite(message, at, &tape.array::<4>()),
            _ => overwrite(message, at, tape.bytes()),
        }
    }
}

fn overwrite(message: &mut [u8], at: usize, bytes: &[u8]) {
    message[at..].iter_mut().zip(bytes).for_each(|(old, new)| *old = *new);
}

/// The result, unless the library found a fault of its own.
pub fn no_fault<T>(result: Result<T>) -> Result<T> {
    if let Err(error) = &result {
        assert_ne!(*error, Error::Internal);
        // Every error has a sentence and a number.
        assert_one_line(&error.to_string());
        assert_ne!(error.code().minor, 0);
    }
    result
}

/// Text from elsewhere must not look like several lines, nor control a terminal.
pub fn assert_one_line(text: &str) {
    let bad = text.chars().find(|c| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    assert_eq!(bad, None, "{text:?}");
}

/// A host whose time, random bytes and names are always the same.
pub struct Fixed;

/// In the year 2036: the user file has not changed for long, so it is read once.
pub const NOW: FileTime = FileTime(0x01e8_0000_0000_0000);

impl Host for Fixed {
    fn now(&self) -> FileTime {
        NOW
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        out.fill(0x5a);
        Ok(())
    }

    fn names(&self) -> LocalNames {
        let [computer, domain, host_name] = ["SRV", "DOM", "srv.dom.test"].map(str::to_owned);
        LocalNames { computer: Some(computer), domain: Some(domain), host_name: host_name.into() }
    }

    fn version(&self) -> [u8; 8] {
        [10, 0, 0, 0, 0, 0, 0, 15]
    }

    fn variable(&self, _: &'static str) -> Option<String> {
        None
    }

    // The line is made, as with a trace; the system's trace escapes what is in it.
    fn trace(&self, line: fmt::Arguments<'_>) {
        Nowhere.write_fmt(line).unwrap();
    }

    fn log(&self, line: fmt::Arguments<'_>) {
        Nowhere.write_fmt(line).unwrap();
    }

    fn may_audit(&self, _: Kind) -> bool {
        true
    }

    fn audit(&self, event: &AuditEvent) {
        Nowhere.write_fmt(format_args!("{event:?}")).unwrap();
    }
}

struct Nowhere;

impl fmt::Write for Nowhere {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

/// The path of a file in memory with `content`, which lives as long as the process.
pub fn file_in_memory(content: &[u8]) -> PathBuf {
    // SAFETY: the name is a string.
    let descriptor = unsafe { libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(descriptor >= 0);
    // SAFETY: the descriptor is new, and nobody else has it.
    let mut file = unsafe { File::from_raw_fd(descriptor) };
    file.write_all(content).unwrap();
    file.set_permissions(Permissions::from_mode(0o600)).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::mem::forget(file);
    path.into()
}

/// The path of a user file with accounts of a password, of a hash, disabled, and with a password that is not ASCII.
pub fn user_file() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let by_hash = |user: &str, password: &[u8], flags: &str| {
            let hash = u128::from_be_bytes(*nt_hash(password).unwrap().expose());
            format!("{user}:1:{}:{hash:032X}:[{flags:<11}]:LCT-00000000:\n", "X".repeat(32))
        };
        let [bob, old] = [by_hash("bob", b"Password", "U"), by_hash("old", b"SecREt01", "UD")];
        file_in_memory(format!("DOM:Alice:secret\n{bob}{old}DOM:\u{d6}mer:p\u{e4}ssword\n").as_bytes())
    })
    .clone()
}
