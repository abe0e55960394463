//! Descriptors that are kept between calls. A program may close what it did not open, as daemons do at their start, and the
//! number be another file's or connection's then: each time it is looked whether it still is what it was.

use core::mem::ManuallyDrop;
use std::{
    ffi::c_int,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
};

use super::signal::without_signals_of_writing;

/// What tells one open file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    kind: u32,
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self { device: found.dev(), inode: found.ino(), kind: found.mode() & libc::S_IFMT })
    }
}

/// A file that is kept open. It is closed only if its descriptor still is its own.
pub(super) struct KeptFile {
    file: ManuallyDrop<File>,
    identity: Identity,
}

impl KeptFile {
    /// Keeps `file`.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let identity = Identity::of(&file)?;
        Ok(Self { file: ManuallyDrop::new(file), identity })
    }

    /// The file, unless its descriptor was closed meanwhile or is another one's.
    pub(super) fn file(&self) -> Option<&File> {
        (Identity::of(&self.file).ok() == Some(self.identity)).then_some(&*self.file)
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        if self.file().is_some() {
            // SAFETY: it is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// The program's standard error as it was at a time. Another one that the program puts in its place later may be its data.
pub(super) struct StandardError(Identity);

impl StandardError {
    /// As it is now, if there is one.
    pub(super) fn now() -> Option<Self> {
        Identity::of(&borrow_descriptor(libc::STDERR_FILENO)).ok().map(Self)
    }

    /// Writes `bytes`, or as many of them as there is room for without waiting, and raises no signal.
    pub(super) fn write(&self, bytes: &[u8]) {
        let file = borrow_descriptor(libc::STDERR_FILENO);
        if Identity::of(&file).ok() != Some(self.0) {
            return;
        }
        let Ok(kind) = file.metadata().map(|found| found.file_type()) else { return };
        // Its status flags are shared with other processes: O_NONBLOCK cannot be set there. So each kind has a way of its own.
        without_signals_of_writing(|| {
            let _ = if kind.is_socket() {
                write_to_socket(&file, bytes)
            } else if kind.is_fifo() {
                write_to_pipe(&file, bytes)
            } else if kind.is_char_device() {
                write_to_terminal(&file, bytes)
            } else {
                (&*file).write_all(bytes)
            };
        });
    }
}

/// A descriptor that is the program's: not closed in the end.
fn borrow_descriptor(descriptor: c_int) -> ManuallyDrop<File> {
    // SAFETY: it is only used while this function's caller runs, by system calls that answer EBADF where it is closed.
    ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) })
}

fn write_to_socket(socket: &File, bytes: &[u8]) -> io::Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` are readable.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// By way of a file in memory, which can be moved into a pipe without waiting for those who read there.
fn write_to_pipe(pipe: &File, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the name is a C string.
    let memory = unsafe { libc::memfd_create(c"gss-ntlm trace".as_ptr(), libc::MFD_CLOEXEC) };
    if memory < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    let mut memory = unsafe { File::from_raw_fd(memory) };
    memory.write_all(bytes)?;
    let (mut offset, nowhere) = (0, core::ptr::null_mut());
    let (from, to) = (memory.as_raw_fd(), pipe.as_raw_fd());
    // SAFETY: both descriptors are open, and `offset` is writable.
    let moved = unsafe { libc::splice(from, &raw mut offset, to, nowhere, bytes.len(), libc::SPLICE_F_NONBLOCK) };
    if moved < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opened again, a terminal has status flags of its own. One that belongs to somebody else is asked whether it is ready.
fn write_to_terminal(terminal: &File, bytes: &[u8]) -> io::Result<()> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let again = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2");
    match again {
        Ok(mut again) if Identity::of(&again)? == Identity::of(terminal)? => again.write_all(bytes),
        Ok(_) | Err(_) if is_writable(terminal) => (&*terminal).write_all(bytes),
        Ok(_) | Err(_) => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn is_writable(terminal: &File) -> bool {
    let mut asked = libc::pollfd { fd: terminal.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one element, readable and writable.
    let answered = unsafe { libc::poll(&raw mut asked, 1, 0) };
    answered == 1 && asked.revents == libc::POLLOUT
}
