//! Descriptors that we keep between calls.
//!
//! A program may close descriptors that it did not open, as daemons do when they start. The number can then belong to another
//! file or connection. So each use first checks that the descriptor is still the file that we opened.

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

/// A file that we keep open. Dropping it closes the descriptor only if it is still this file.
pub(super) struct KeptFile {
    file: ManuallyDrop<File>,
    identity: Identity,
}

impl KeptFile {
    /// Keeps `file`.
    ///
    /// # Errors
    /// The error of fstat(2).
    pub(super) fn new(file: File) -> io::Result<Self> {
        let identity = Identity::of(&file)?;
        Ok(Self { file: ManuallyDrop::new(file), identity })
    }

    /// The file, or `None` if the program has closed the descriptor or it is another file now.
    pub(super) fn file(&self) -> Option<&File> {
        (Identity::of(&self.file).ok() == Some(self.identity)).then_some(&*self.file)
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        if self.file().is_some() {
            // SAFETY: nothing uses the field after this.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// The program's standard error at one moment. If the program opens another file as descriptor 2 later, that file may be data,
/// so we do not write there.
pub(super) struct StandardError(Identity);

impl StandardError {
    /// The standard error now, or `None` if it is closed.
    pub(super) fn now() -> Option<Self> {
        Identity::of(&borrow_descriptor(libc::STDERR_FILENO)).ok().map(Self)
    }

    /// Writes `bytes`, or as many of them as fit without waiting, and raises no signal.
    pub(super) fn write(&self, bytes: &[u8]) {
        let file = borrow_descriptor(libc::STDERR_FILENO);
        if Identity::of(&file).ok() != Some(self.0) {
            return;
        }
        let Ok(kind) = file.metadata().map(|found| found.file_type()) else { return };
        // O_NONBLOCK would also be set for other processes, which share the status flags. So each kind has a way of its own
        // not to wait.
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

/// The program's file of that descriptor, which is not closed when the value is dropped.
fn borrow_descriptor(descriptor: c_int) -> ManuallyDrop<File> {
    // SAFETY: only system calls use it, and only while the caller runs. If the descriptor is closed they say EBADF.
    ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) })
}

fn write_to_socket(socket: &File, bytes: &[u8]) -> io::Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the slice is readable.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Writes to a pipe by way of a file in memory: splice(2) can move its pages into the pipe without waiting for a reader.
fn write_to_pipe(pipe: &File, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the name is a C string.
    let memory = unsafe { libc::memfd_create(c"gss-ntlm trace".as_ptr(), libc::MFD_CLOEXEC) };
    if memory < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so only this code has it.
    let mut memory = unsafe { File::from_raw_fd(memory) };
    memory.write_all(bytes)?;
    let (mut offset, nowhere) = (0, core::ptr::null_mut());
    let (from, to) = (memory.as_raw_fd(), pipe.as_raw_fd());
    // SAFETY: both descriptors are open, and `offset` is writable.
    let moved = unsafe { libc::splice(from, &raw mut offset, to, nowhere, bytes.len(), libc::SPLICE_F_NONBLOCK) };
    if moved < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens the terminal again, which gives it status flags of its own. A terminal of another user cannot be opened: then poll(2)
/// says whether it has room.
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
    // SAFETY: one element, which is readable and writable.
    let answered = unsafe { libc::poll(&raw mut asked, 1, 0) };
    answered == 1 && asked.revents == libc::POLLOUT
}
