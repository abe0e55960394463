//! Messages in many buffers: memory and descriptors, owned, and released by their wrapper.
#![expect(clippy::undocumented_unsafe_blocks, reason = "one sentence for all of them stands at the top of gss.rs")]

use std::ptr::null_mut;

use libgssapi_sys as sys;

use super::context::{Ctx, told};
use super::gss::{Buffer, Gss, call, lend};

pub(crate) const DATA: u32 = sys::GSS_IOV_BUFFER_TYPE_DATA;
pub(crate) const HEADER: u32 = sys::GSS_IOV_BUFFER_TYPE_HEADER;
pub(crate) const TRAILER: u32 = sys::GSS_IOV_BUFFER_TYPE_TRAILER;
pub(crate) const PADDING: u32 = sys::GSS_IOV_BUFFER_TYPE_PADDING;
pub(crate) const STREAM: u32 = sys::GSS_IOV_BUFFER_TYPE_STREAM;
pub(crate) const SIGN_ONLY: u32 = sys::GSS_IOV_BUFFER_TYPE_SIGN_ONLY;
pub(crate) const MIC_TOKEN: u32 = sys::GSS_IOV_BUFFER_TYPE_MIC_TOKEN;
pub(crate) const ALLOCATE: u32 = sys::GSS_IOV_BUFFER_FLAG_ALLOCATE;
pub(crate) const ALLOCATED: u32 = sys::GSS_IOV_BUFFER_FLAG_ALLOCATED;

/// A list of buffers, each in memory of its own as a program has it.
pub(crate) struct Iov {
    pub(crate) descriptors: Vec<sys::gss_iov_buffer_desc>,
    memory: Vec<Vec<u8>>,
}

/// All that a call could change: type, length and place of each buffer, and the program's memory.
pub(crate) type Snapshot = (Vec<(u32, usize, usize)>, Vec<Vec<u8>>);

impl Iov {
    pub(crate) fn new(parts: &[(u32, &[u8])]) -> Self {
        let mut memory: Vec<_> = parts.iter().map(|(_, bytes)| bytes.to_vec()).collect();
        let descriptor = |((type_, _), bytes): (&(u32, &[u8]), &mut Vec<u8>)| {
            let value = if bytes.is_empty() { null_mut() } else { bytes.as_mut_ptr().cast() };
            let buffer = sys::gss_buffer_desc { length: bytes.len(), value };
            sys::gss_iov_buffer_desc { type_: *type_, buffer }
        };
        let descriptors = parts.iter().zip(&mut memory).map(descriptor).collect();
        Self { descriptors, memory }
    }

    /// What the buffer describes now, wherever that is.
    pub(crate) fn bytes(&self, at: usize) -> Vec<u8> {
        let sys::gss_buffer_desc { length, value } = self.descriptors[at].buffer;
        if length == 0 {
            return Vec::new();
        }
        // SAFETY: the program's memory, as long as it was made, or the mechanism's.
        unsafe { std::slice::from_raw_parts(value.cast(), length) }.to_vec()
    }

    /// What all buffers of these types describe, one after the other.
    pub(crate) fn bytes_of(&self, types: &[u32]) -> Vec<u8> {
        let wanted = |at: &usize| types.contains(&(self.descriptors[*at].type_ & 0xffff));
        (0..self.descriptors.len()).filter(wanted).flat_map(|at| self.bytes(at)).collect()
    }

    pub(crate) fn is_allocated(&self, at: usize) -> bool {
        self.descriptors[at].type_ & ALLOCATED != 0
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let place = |iov: &sys::gss_iov_buffer_desc| (iov.type_, iov.buffer.length, iov.buffer.value.addr());
        (self.descriptors.iter().map(place).collect(), self.memory.clone())
    }

    fn list(&mut self) -> (*mut sys::gss_iov_buffer_desc, i32) {
        (self.descriptors.as_mut_ptr(), i32::try_from(self.descriptors.len()).expect("a short list"))
    }
}

impl Drop for Iov {
    fn drop(&mut self) {
        let (list, count) = self.list();
        // What the mechanism allocated; the program's memory is not marked.
        unsafe { sys::gss_release_iov_buffer(&mut 0, list, count) };
    }
}

impl Ctx {
    /// Tells whether the message is sealed.
    pub(crate) fn wrap_iov(&self, iov: &mut Iov) -> Gss<bool> {
        let ((list, count), mut sealed) = (iov.list(), -1);
        call("gss_wrap_iov", |minor| unsafe { sys::gss_wrap_iov(minor, self.ptr(), 1, 0, &mut sealed, list, count) })?;
        Ok(told(sealed))
    }

    pub(crate) fn wrap_iov_length(&self, iov: &mut Iov) -> Gss<u32> {
        let (list, count) = iov.list();
        call("gss_wrap_iov_length", |minor| unsafe {
            sys::gss_wrap_iov_length(minor, self.ptr(), 1, 0, null_mut(), list, count)
        })
    }

    /// Tells whether the message was sealed.
    pub(crate) fn unwrap_iov(&self, iov: &mut Iov) -> Gss<bool> {
        let ((list, count), mut sealed, mut qop) = (iov.list(), -1, 1);
        call("gss_unwrap_iov", |minor| unsafe {
            sys::gss_unwrap_iov(minor, self.ptr(), &mut sealed, &mut qop, list, count)
        })?;
        assert_eq!(qop, 0, "there is one quality of protection");
        Ok(told(sealed))
    }

    pub(crate) fn get_mic_iov(&self, iov: &mut Iov) -> Gss<u32> {
        let (list, count) = iov.list();
        call("gss_get_mic_iov", |minor| unsafe { sys::gss_get_mic_iov(minor, self.ptr(), 0, list, count) })
    }

    pub(crate) fn get_mic_iov_length(&self, iov: &mut Iov) -> Gss<u32> {
        let (list, count) = iov.list();
        call("gss_get_mic_iov_length", |minor| unsafe {
            sys::gss_get_mic_iov_length(minor, self.ptr(), 0, list, count)
        })
    }

    pub(crate) fn verify_mic_iov(&self, iov: &mut Iov) -> Gss<()> {
        let ((list, count), mut qop) = (iov.list(), 1);
        call("gss_verify_mic_iov", |minor| unsafe {
            sys::gss_verify_mic_iov(minor, self.ptr(), &mut qop, list, count)
        })?;
        assert_eq!(qop, 0, "there is one quality of protection");
        Ok(())
    }

    /// One token of a message, and of what goes with it in the clear.
    pub(crate) fn wrap_aead(&self, beside: &[u8], message: &[u8]) -> Gss<Vec<u8>> {
        let (mut beside, mut message, mut sealed, mut token) = (lend(beside), lend(message), -1, Buffer::default());
        call("gss_wrap_aead", |minor| unsafe {
            sys::gss_wrap_aead(minor, self.ptr(), 1, 0, &mut beside, &mut message, &mut sealed, token.out())
        })?;
        assert!(told(sealed));
        Ok(token.to_vec())
    }

    pub(crate) fn unwrap_aead(&self, token: &[u8], beside: &[u8]) -> Gss<Vec<u8>> {
        let (mut token, mut beside, mut message) = (lend(token), lend(beside), Buffer::default());
        let (mut sealed, mut qop) = (-1, 1);
        call("gss_unwrap_aead", |minor| unsafe {
            sys::gss_unwrap_aead(minor, self.ptr(), &mut token, &mut beside, message.out(), &mut sealed, &mut qop)
        })?;
        assert!(told(sealed) && qop == 0);
        Ok(message.to_vec())
    }
}
