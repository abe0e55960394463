//! Messages in many buffers: krb5's IOV calls, of which the mechglue also makes the AEAD calls.
//!
//! DATA is sealed in place; DATA and SIGN_ONLY are signed, in their order. The signature stands in HEADER (or MIC_TOKEN),
//! wherever that is in the list; PADDING and TRAILER are empty. Several DATA, and none, are fine.

use core::ffi::{c_int, c_void};

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    context::ContextHandle,
    message::ensure_default_qop,
    ptr::{IovArray, IovCount, IovPlace, Out, Output as _, Ref, Unused},
};
use crate::{
    bytes,
    error::{ApiMisuse, Result},
    session::{self, SIGNATURE_LEN, split_token_mut},
    sys::Malloced,
};

/// What a buffer of the caller's is for: GSS_IOV_BUFFER_TYPE_*.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BufferType {
    /// EMPTY and MECH_PARAMS: none of ours.
    Ignored,
    Data,
    Header,
    Trailer,
    Padding,
    Stream,
    SignOnly,
    MicToken,
}

impl BufferType {
    const FLAGS: u32 = 0xffff_0000;
    const ALLOCATE: u32 = 0x1_0000;
    const ALLOCATED: u32 = 0x2_0000;

    const fn of(kind: u32) -> Option<Self> {
        Some(match kind & !Self::FLAGS {
            0 | 3 => Self::Ignored,
            1 => Self::Data,
            2 => Self::Header,
            7 => Self::Trailer,
            9 => Self::Padding,
            10 => Self::Stream,
            11 => Self::SignOnly,
            12 => Self::MicToken,
            _ => return None,
        })
    }
}

/// One of the caller's buffers.
struct IovBuffer {
    place: IovPlace,
    kind: BufferType,
    /// Its type and flags as they are.
    type_: u32,
    length: usize,
    value: *mut c_void,
}

impl IovBuffer {
    fn new(place: IovPlace) -> Result<Self> {
        let g::gss_iov_buffer_desc { type_, buffer: g::gss_buffer_desc { length, value } } = place.get();
        let kind = BufferType::of(type_).ok_or(ApiMisuse::BadBuffers)?;
        Ok(Self { place, kind, type_, length, value })
    }

    /// Whether the mechanism is to allocate it.
    const fn is_to_allocate(&self) -> bool {
        self.type_ & BufferType::ALLOCATE != 0
    }

    /// Gives memory to the caller in this buffer.
    fn put_allocated(&self, memory: Malloced) {
        self.place.put(self.type_ | BufferType::ALLOCATED, memory.into_c());
    }

    /// Tells the caller how long the buffer has to be.
    fn put_length(&self, length: usize) {
        let value = if self.is_to_allocate() { core::ptr::null_mut() } else { self.value };
        self.place.put(self.type_, g::gss_buffer_desc { length, value });
    }

    /// The bytes of a buffer that is not written to during the call.
    fn bytes(&self) -> Result<&[u8]> {
        // SAFETY: only buffers that share no byte with others are written to.
        unsafe { self.place.bytes() }
    }
}

/// The caller's buffers.
struct IovBuffers(Vec<IovBuffer>);

impl IovBuffers {
    /// The buffers of a call that has no place for those of the types in `excluded`.
    fn new(iov: &IovArray, count: &IovCount, excluded: &[BufferType]) -> Result<Self> {
        let buffers = bytes::collect(iov.get(count)?.map(IovBuffer::new))?;
        if buffers.iter().any(|buffer| excluded.contains(&buffer.kind)) {
            return Err(ApiMisuse::BadBuffers.into());
        }
        Ok(Self(buffers))
    }

    fn of(&self, kind: BufferType) -> impl Iterator<Item = &IovBuffer> {
        self.0.iter().filter(move |buffer| buffer.kind == kind)
    }

    /// The one buffer of that kind.
    fn one(&self, kind: BufferType) -> Result<&IovBuffer> {
        let mut buffers = self.of(kind);
        match (buffers.next(), buffers.next()) {
            (Some(buffer), None) => Ok(buffer),
            _ => Err(ApiMisuse::BadBuffers.into()),
        }
    }

    /// PADDING and TRAILER.
    fn filler(&self) -> impl Iterator<Item = &IovBuffer> {
        self.of(BufferType::Padding).chain(self.of(BufferType::Trailer))
    }

    /// Refuses a token whose filler has bytes.
    fn ensure_no_filler(&self) -> Result<()> {
        if self.filler().any(|buffer| buffer.length > 0) { Err(ApiMisuse::BadBuffers.into()) } else { Ok(()) }
    }

    fn clear_filler(&self) {
        self.filler().for_each(|buffer| buffer.put_length(0));
    }

    /// Refuses buffers that share bytes with one that is written to: what was given twice could be sealed twice.
    fn ensure_apart(&self, is_read: &[BufferType], is_written: impl Fn(&IovBuffer) -> bool) -> Result<()> {
        // The length of others may be unset.
        let is_used = |buffer: &&IovBuffer| is_written(buffer) || is_read.contains(&buffer.kind);
        let ranges = self
            .0
            .iter()
            .filter(is_used)
            .map(|used| (used.value.addr(), used.length, is_written(used)))
            .filter(|(_, length, _)| *length > 0);
        let mut ranges = bytes::collect(ranges.map(Ok))?;
        ranges.sort_unstable();
        let (mut end_of_any, mut end_of_written) = (0, 0);
        for (start, length, is_written) in ranges {
            if start < end_of_written || is_written && start < end_of_any {
                return Err(ApiMisuse::BadBuffers.into());
            }
            let end = start.saturating_add(length);
            end_of_any = end_of_any.max(end);
            end_of_written = if is_written { end_of_written.max(end) } else { end_of_written };
        }
        Ok(())
    }

    /// The bytes that are signed, in their order.
    fn signed(&self) -> Result<Vec<&[u8]>> {
        let is_signed = |buffer: &&IovBuffer| matches!(buffer.kind, BufferType::Data | BufferType::SignOnly);
        bytes::collect(self.0.iter().filter(is_signed).map(IovBuffer::bytes))
    }

    /// The bytes that are signed, in their order, those of DATA to be sealed; `data` stands in for DATA where it is not in its
    /// own place.
    ///
    /// # Safety
    /// Without `data`, DATA was written to in a call of [`IovBuffers::ensure_apart`]; no other message of these is in use.
    unsafe fn message<'call>(&'call self, mut data: Option<&'call mut [u8]>) -> Result<Vec<session::Buffer<'call>>> {
        let mut message = Vec::new();
        bytes::reserve(&mut message, self.0.len())?;
        for buffer in &self.0 {
            match buffer.kind {
                BufferType::Data => message.push(session::Buffer::Data(match data.take() {
                    Some(data) => data,
                    // SAFETY: that is what this function was promised, and each buffer is taken once.
                    None => unsafe { buffer.place.bytes_mut() }?,
                })),
                BufferType::SignOnly => message.push(session::Buffer::SignOnly(buffer.bytes()?)),
                BufferType::Ignored
                | BufferType::Header
                | BufferType::Trailer
                | BufferType::Padding
                | BufferType::Stream
                | BufferType::MicToken => {}
            }
        }
        Ok(message)
    }
}

/// Where a signature is put: HEADER or MIC_TOKEN.
enum SignaturePlace<'call> {
    Allocated(&'call IovBuffer, Malloced),
    OfCaller(&'call IovBuffer, &'call mut [u8; SIGNATURE_LEN]),
}

impl<'call> SignaturePlace<'call> {
    /// The place, with memory if the mechanism is to allocate it.
    ///
    /// # Safety
    /// [`IovBuffers::ensure_apart`] was told that the buffer is written to, and no other slice of it is in use.
    unsafe fn new(buffer: &'call IovBuffer) -> Result<Self> {
        if buffer.is_to_allocate() {
            return Ok(Self::Allocated(buffer, Malloced::copy(&[0; SIGNATURE_LEN])?));
        }
        if buffer.length < SIGNATURE_LEN {
            return Err(ApiMisuse::BadBuffers.into());
        }
        if buffer.value.is_null() {
            return Err(ApiMisuse::NullOutput.into());
        }
        // SAFETY: that is what this function was promised.
        let bytes = unsafe { buffer.place.bytes_mut() }?;
        Ok(Self::OfCaller(buffer, bytes.first_chunk_mut().ok_or(ApiMisuse::BadBuffers)?))
    }

    fn put(self, signature: &[u8; SIGNATURE_LEN]) {
        match self {
            Self::Allocated(buffer, mut memory) => {
                memory.as_mut_slice().copy_from_slice(signature);
                buffer.put_allocated(memory);
            }
            Self::OfCaller(buffer, place) => {
                *place = *signature;
                buffer.put_length(SIGNATURE_LEN);
            }
        }
    }
}

/// The buffers of a message to wrap, whose signature goes to HEADER.
fn buffers_to_wrap(qop: u32, iov: &IovArray, count: &IovCount) -> Result<IovBuffers> {
    ensure_default_qop(qop)?;
    IovBuffers::new(iov, count, &[BufferType::Stream, BufferType::MicToken])
}

/// The buffers of a message to sign, whose signature goes to MIC_TOKEN.
fn buffers_to_sign(qop: u32, iov: &IovArray, count: &IovCount) -> Result<IovBuffers> {
    ensure_default_qop(qop)?;
    IovBuffers::new(iov, count, &[BufferType::Stream, BufferType::Header])
}

/// `gss_wrap_iov`, of krb5's `gssapi_ext.h`.
pub(super) fn wrap(
    context: Ref<ContextHandle>, _conf_req: Unused<c_int>, qop: u32, conf_state: Out<c_int>, iov: IovArray,
    count: IovCount,
) -> Result<Major> {
    let buffers = buffers_to_wrap(qop, &iov, &count)?;
    let header = buffers.one(BufferType::Header)?;
    buffers.ensure_apart(&[BufferType::SignOnly], |buffer| {
        buffer.kind == BufferType::Data || buffer.kind == BufferType::Header && !buffer.is_to_allocate()
    })?;
    // SAFETY: HEADER has just passed `ensure_apart`.
    let header = unsafe { SignaturePlace::new(header) }?;
    // SAFETY: DATA has just passed `ensure_apart`.
    let mut message = unsafe { buffers.message(None) }?;
    let signature = context.lock()?.session()?.wrap(&mut message)?;
    header.put(&signature);
    buffers.clear_filler();
    conf_state.put(1);
    Ok(COMPLETE)
}

/// `gss_wrap_iov_length`, of krb5's `gssapi_ext.h`.
pub(super) fn wrap_length(
    context: Ref<ContextHandle>, _conf_req: Unused<c_int>, qop: u32, conf_state: Out<c_int>, iov: IovArray,
    count: IovCount,
) -> Result<Major> {
    let buffers = buffers_to_wrap(qop, &iov, &count)?;
    let header = buffers.one(BufferType::Header)?;
    context.lock()?.session()?.ensure_can_wrap()?;
    header.put_length(SIGNATURE_LEN);
    buffers.clear_filler();
    conf_state.put(1);
    Ok(COMPLETE)
}

/// `gss_unwrap_iov`, of krb5's `gssapi_ext.h`.
pub(super) fn unwrap(
    context: Ref<ContextHandle>, conf_state: Out<c_int>, _qop_state: Out<u32>, iov: IovArray, count: IovCount,
) -> Result<Major> {
    let buffers = IovBuffers::new(&iov, &count, &[BufferType::MicToken])?;
    buffers.ensure_no_filler()?;
    if buffers.of(BufferType::Stream).next().is_some() {
        unwrap_stream(&context, &buffers)?;
    } else {
        let signature = buffers.one(BufferType::Header)?.bytes()?;
        buffers.ensure_apart(&[BufferType::SignOnly, BufferType::Header], |buffer| buffer.kind == BufferType::Data)?;
        // SAFETY: DATA has just passed `ensure_apart`.
        let mut message = unsafe { buffers.message(None) }?;
        context.lock()?.session()?.unwrap(&mut message, signature)?;
    }
    conf_state.put(1);
    Ok(COMPLETE)
}

/// A token as `gss_wrap` makes it, in STREAM: its clear text is left there, with DATA pointing at it, or put into memory of its
/// own if DATA is to be allocated.
fn unwrap_stream(context: &Ref<ContextHandle>, buffers: &IovBuffers) -> Result<()> {
    if buffers.of(BufferType::Header).next().is_some() {
        return Err(ApiMisuse::BadBuffers.into());
    }
    let (stream, data) = (buffers.one(BufferType::Stream)?, buffers.one(BufferType::Data)?);
    buffers.ensure_apart(&[BufferType::SignOnly], |buffer| buffer.kind == BufferType::Stream)?;
    // SAFETY: STREAM has just passed `ensure_apart`.
    let token = unsafe { stream.place.bytes_mut() }?;
    let (signature, sealed) = split_token_mut(token)?;
    let in_place = g::gss_buffer_desc { length: sealed.len(), value: sealed.as_mut_ptr().cast() };
    let mut copy = if data.is_to_allocate() { Some(Malloced::copy(sealed)?) } else { None };
    let sealed = copy.as_mut().map_or(sealed, Malloced::as_mut_slice);
    // SAFETY: the bytes of DATA itself are not used.
    let mut message = unsafe { buffers.message(Some(sealed)) }?;
    context.lock()?.session()?.unwrap(&mut message, signature)?;
    drop(message);
    match copy {
        Some(copy) => data.put_allocated(copy),
        None => data.place.put(data.type_, in_place),
    }
    Ok(())
}

/// `gss_get_mic_iov`, of krb5's `gssapi_ext.h`.
pub(super) fn get_mic(context: Ref<ContextHandle>, qop: u32, iov: IovArray, count: IovCount) -> Result<Major> {
    let buffers = buffers_to_sign(qop, &iov, &count)?;
    let token = buffers.one(BufferType::MicToken)?;
    buffers.ensure_apart(&[BufferType::Data, BufferType::SignOnly], |buffer| {
        buffer.kind == BufferType::MicToken && !buffer.is_to_allocate()
    })?;
    // SAFETY: MIC_TOKEN has just passed `ensure_apart`.
    let token = unsafe { SignaturePlace::new(token) }?;
    let signature = context.lock()?.session()?.get_mic(&buffers.signed()?)?;
    token.put(&signature);
    Ok(COMPLETE)
}

/// `gss_get_mic_iov_length`, of krb5's `gssapi_ext.h`.
pub(super) fn get_mic_length(context: Ref<ContextHandle>, qop: u32, iov: IovArray, count: IovCount) -> Result<Major> {
    let buffers = buffers_to_sign(qop, &iov, &count)?;
    let token = buffers.one(BufferType::MicToken)?;
    context.lock()?.session()?.ensure_can_sign()?;
    token.put_length(SIGNATURE_LEN);
    Ok(COMPLETE)
}

/// `gss_verify_mic_iov`, of krb5's `gssapi_ext.h`.
pub(super) fn verify_mic(
    context: Ref<ContextHandle>, _qop_state: Out<u32>, iov: IovArray, count: IovCount,
) -> Result<Major> {
    let buffers = IovBuffers::new(&iov, &count, &[BufferType::Stream, BufferType::Header])?;
    let signature = buffers.one(BufferType::MicToken)?.bytes()?;
    context.lock()?.verify_mic(&buffers.signed()?, signature)?;
    Ok(COMPLETE)
}
