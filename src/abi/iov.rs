//! Messages in many buffers: krb5's IOV calls, of which the mechglue also makes the AEAD calls.
//!
//! DATA is sealed in place; DATA and SIGN_ONLY are signed, in their order. The signature stands in HEADER (or MIC_TOKEN),
//! wherever that is in the list; PADDING and TRAILER are empty. Several DATA, and none, are fine.

use core::ffi::{c_int, c_void};

use libgssapi_sys as g;

use super::{
    context::Handle,
    entry,
    message::{refuse_qop, wrong_length},
    ptr::{self, Malloced, Out},
    types::{COMPLETE, Major, same_signature},
};
use crate::{
    error::{ApiMisuse, Message, Result},
    session::{Buffer, MessageSignature},
};

/// What a buffer of the caller's is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
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

impl Kind {
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
struct Part {
    place: *mut g::gss_iov_buffer_desc,
    kind: Kind,
    /// Its type and flags as they are.
    type_: u32,
    length: usize,
    value: *mut c_void,
}

impl Part {
    /// Whether the mechanism is to allocate it.
    const fn is_to_allocate(&self) -> bool {
        self.type_ & Kind::ALLOCATE != 0
    }

    /// Tells the caller what is in the buffer now, and whether the caller is to free it.
    fn put(&self, buffer: g::gss_buffer_desc, is_allocated: bool) {
        let type_ = if is_allocated { self.type_ | Kind::ALLOCATED } else { self.type_ };
        // SAFETY: `Parts::read` was promised an array of writable descriptors.
        unsafe { self.place.write(g::gss_iov_buffer_desc { type_, buffer }) };
    }

    /// Tells the caller how long the buffer has to be.
    fn put_length(&self, length: usize) {
        let value = if self.is_to_allocate() { core::ptr::null_mut() } else { self.value };
        self.put(g::gss_buffer_desc { length, value }, false);
    }
}

/// The caller's buffers.
struct Parts(Vec<Part>);

impl Parts {
    /// # Safety
    /// `iov` is NULL or an array of `count` descriptors that are readable and writable during the call.
    unsafe fn read(iov: *mut g::gss_iov_buffer_desc, count: c_int) -> Result<Self> {
        let count = usize::try_from(count).map_err(|_| ApiMisuse::BadBuffers)?;
        if iov.is_null() && count > 0 {
            return Err(ApiMisuse::NullInput.into());
        }
        let mut parts = Vec::with_capacity(count);
        for at in 0..count {
            // SAFETY: by this function's contract.
            let place = unsafe { iov.add(at) };
            // SAFETY: likewise; read by value.
            let g::gss_iov_buffer_desc { type_, buffer: g::gss_buffer_desc { length, value } } =
                unsafe { place.read() };
            let kind = Kind::of(type_).ok_or(ApiMisuse::BadBuffers)?;
            parts.push(Part { place, kind, type_, length, value });
        }
        Ok(Self(parts))
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Part> {
        self.0.iter().filter(move |part| part.kind == kind)
    }

    /// The one part of that kind.
    fn one(&self, kind: Kind) -> Result<&Part> {
        let mut parts = self.of(kind);
        match (parts.next(), parts.next()) {
            (Some(part), None) => Ok(part),
            _ => Err(ApiMisuse::BadBuffers.into()),
        }
    }

    fn refuse(&self, kind: Kind) -> Result<()> {
        if self.of(kind).next().is_some() { Err(ApiMisuse::BadBuffers.into()) } else { Ok(()) }
    }

    /// PADDING and TRAILER of a token, which must be empty.
    fn refuse_filler(&self) -> Result<()> {
        let mut filler = self.of(Kind::Padding).chain(self.of(Kind::Trailer));
        if filler.any(|part| part.length > 0) { Err(ApiMisuse::BadBuffers.into()) } else { Ok(()) }
    }

    fn clear_filler(&self) {
        self.of(Kind::Padding).chain(self.of(Kind::Trailer)).for_each(|part| part.put_length(0));
    }

    /// Refuses buffers that share bytes with one that is written to: what was given twice could be sealed twice.
    fn refuse_overlap(&self, is_read: &[Kind], is_written: impl Fn(&Part) -> bool) -> Result<()> {
        // The length of others may be unset.
        let is_used = |part: &&Part| (is_written(part) || is_read.contains(&part.kind)) && part.length > 0;
        let mut ranges: Vec<_> = self
            .0
            .iter()
            .filter(is_used)
            .map(|part| (part.value.addr(), part.value.addr().saturating_add(part.length), is_written(part)))
            .collect();
        ranges.sort_unstable();
        let (mut end_of_any, mut end_of_written) = (0, 0);
        for (start, end, is_written) in ranges {
            if start < end_of_written || is_written && start < end_of_any {
                return Err(ApiMisuse::BadBuffers.into());
            }
            end_of_any = end_of_any.max(end);
            end_of_written = if is_written { end_of_written.max(end) } else { end_of_written };
        }
        Ok(())
    }

    /// The bytes that are signed, in their order.
    ///
    /// # Safety
    /// They are readable during the call.
    unsafe fn signed<'call>(&self) -> Result<Vec<&'call [u8]>> {
        let signed = self.0.iter().filter(|part| matches!(part.kind, Kind::Data | Kind::SignOnly));
        // SAFETY: by this function's contract.
        signed.map(|part| unsafe { ptr::slice(part.length, part.value) }).collect()
    }

    /// The bytes that are signed, in their order, those of DATA to be sealed; `data` stands in for DATA where it is not in its
    /// own place.
    ///
    /// # Safety
    /// They are readable during the call, and those of DATA writable; they have passed [`Parts::refuse_overlap`].
    unsafe fn message<'call>(&self, mut data: Option<&'call mut [u8]>) -> Result<Vec<Buffer<'call>>> {
        let mut message = Vec::with_capacity(self.0.len());
        for part in &self.0 {
            match part.kind {
                Kind::Data => message.push(Buffer::Data(match data.take() {
                    Some(data) => data,
                    // SAFETY: by this function's contract.
                    None => unsafe { ptr::slice_mut(part.length, part.value) }?,
                })),
                // SAFETY: by this function's contract.
                Kind::SignOnly => message.push(Buffer::SignOnly(unsafe { ptr::slice(part.length, part.value) }?)),
                Kind::Ignored | Kind::Header | Kind::Trailer | Kind::Padding | Kind::Stream | Kind::MicToken => {}
            }
        }
        Ok(message)
    }
}

/// Where a signature is put: HEADER or MIC_TOKEN.
struct SignaturePlace<'a> {
    part: &'a Part,
    allocated: Option<Malloced>,
}

impl<'a> SignaturePlace<'a> {
    /// The place, with memory if the mechanism is to allocate it.
    fn new(part: &'a Part) -> Result<Self> {
        if part.is_to_allocate() {
            return Ok(Self { part, allocated: Some(Malloced::concat(&[&[0; MessageSignature::LEN]])?) });
        }
        if part.length < MessageSignature::LEN {
            return Err(ApiMisuse::BadBuffers.into());
        }
        if part.value.is_null() {
            return Err(ApiMisuse::NullOutput.into());
        }
        Ok(Self { part, allocated: None })
    }

    fn put(self, signature: &MessageSignature) {
        let is_allocated = self.allocated.is_some();
        let value = self.allocated.map_or(self.part.value, |memory| memory.into_buffer().value);
        // SAFETY: 16 bytes of ours, or of the caller's, who said that they are writable.
        unsafe { value.cast::<[u8; MessageSignature::LEN]>().write_unaligned(signature.0) };
        self.part.put(g::gss_buffer_desc { length: MessageSignature::LEN, value }, is_allocated);
    }
}

/// The signature that came in a HEADER or MIC_TOKEN.
///
/// # Safety
/// The part's bytes are readable.
unsafe fn signature_in(part: &Part, message: Message) -> Result<MessageSignature> {
    // SAFETY: by this function's contract.
    let bytes = unsafe { ptr::slice(part.length, part.value) }?;
    bytes.try_into().map(MessageSignature).map_err(|_| wrong_length(message))
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_wrap_iov(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    _conf_req_flag: c_int,
    qop_req: g::gss_qop_t,
    conf_state: *mut c_int,
    iov: *mut g::gss_iov_buffer_desc,
    iov_count: c_int,
) -> Major {
    // SAFETY: by this function's contract.
    let mut conf_state = unsafe { Out::cleared(conf_state, 0) };
    let body = || {
        refuse_qop(qop_req)?;
        // SAFETY: by this function's contract.
        let parts = unsafe { Parts::read(iov, iov_count) }?;
        parts.refuse(Kind::Stream)?;
        parts.refuse(Kind::MicToken)?;
        let header = SignaturePlace::new(parts.one(Kind::Header)?)?;
        parts.refuse_overlap(&[Kind::SignOnly], |part| {
            part.kind == Kind::Data || part.kind == Kind::Header && !part.is_to_allocate()
        })?;
        // SAFETY: by this function's contract, and no two overlap.
        let mut message = unsafe { parts.message(None) }?;
        // SAFETY: by this function's contract.
        let signature = unsafe { Handle::lock(context_handle) }?.session()?.wrap(&mut message)?;
        header.put(&signature);
        parts.clear_filler();
        conf_state.put(1);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_wrap_iov_length(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    _conf_req_flag: c_int,
    qop_req: g::gss_qop_t,
    conf_state: *mut c_int,
    iov: *mut g::gss_iov_buffer_desc,
    iov_count: c_int,
) -> Major {
    // SAFETY: by this function's contract.
    let mut conf_state = unsafe { Out::cleared(conf_state, 0) };
    let body = || {
        refuse_qop(qop_req)?;
        // SAFETY: by this function's contract.
        let parts = unsafe { Parts::read(iov, iov_count) }?;
        parts.refuse(Kind::Stream)?;
        parts.refuse(Kind::MicToken)?;
        let header = parts.one(Kind::Header)?;
        // SAFETY: by this function's contract.
        unsafe { Handle::lock(context_handle) }?.session()?.refuse_unprotected()?;
        header.put_length(MessageSignature::LEN);
        parts.clear_filler();
        conf_state.put(1);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_unwrap_iov(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    conf_state: *mut c_int,
    qop_state: *mut g::gss_qop_t,
    iov: *mut g::gss_iov_buffer_desc,
    iov_count: c_int,
) -> Major {
    // SAFETY: by this function's contract.
    let mut conf_state = unsafe { Out::cleared(conf_state, 0) };
    // SAFETY: likewise.
    let _qop = unsafe { Out::cleared(qop_state, 0) };
    let body = || {
        // SAFETY: by this function's contract.
        let parts = unsafe { Parts::read(iov, iov_count) }?;
        parts.refuse(Kind::MicToken)?;
        parts.refuse_filler()?;
        if parts.of(Kind::Stream).next().is_some() {
            // SAFETY: by this function's contract.
            unsafe { unwrap_stream(context_handle, &parts) }?;
        } else {
            // SAFETY: likewise.
            let signature = unsafe { signature_in(parts.one(Kind::Header)?, Message::WrapToken) }?;
            parts.refuse_overlap(&[Kind::SignOnly], |part| part.kind == Kind::Data)?;
            // SAFETY: likewise, and no two overlap.
            let mut message = unsafe { parts.message(None) }?;
            // SAFETY: by this function's contract.
            unsafe { Handle::lock(context_handle) }?.session()?.unwrap(&mut message, &signature)?;
        }
        conf_state.put(1);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// A token as `gss_wrap` makes it, in STREAM: its clear text is left there, with DATA pointing at it, or put into memory of its
/// own if DATA is to be allocated.
///
/// # Safety
/// As `gss_unwrap_iov`.
unsafe fn unwrap_stream(context_handle: g::gss_ctx_id_t, parts: &Parts) -> Result<()> {
    parts.refuse(Kind::Header)?;
    let (stream, data) = (parts.one(Kind::Stream)?, parts.one(Kind::Data)?);
    parts.refuse_overlap(&[Kind::SignOnly], |part| part.kind == Kind::Stream)?;
    // SAFETY: by this function's contract, and no two overlap.
    let token = unsafe { ptr::slice_mut(stream.length, stream.value) }?;
    let (signature, sealed) = token.split_first_chunk_mut().ok_or_else(|| wrong_length(Message::WrapToken))?;
    let signature = MessageSignature(*signature);
    let mut copy = if data.is_to_allocate() { Some(Malloced::concat(&[sealed])?) } else { None };
    let place = sealed.as_mut_ptr().cast();
    let length = sealed.len();
    let sealed = copy.as_mut().map_or(sealed, Malloced::as_mut_slice);
    // SAFETY: by this function's contract; DATA's own bytes are not used.
    let mut message = unsafe { parts.message(Some(sealed)) }?;
    // SAFETY: by this function's contract.
    unsafe { Handle::lock(context_handle) }?.session()?.unwrap(&mut message, &signature)?;
    drop(message);
    match copy {
        Some(copy) => data.put(copy.into_buffer(), true),
        None => data.put(g::gss_buffer_desc { length, value: place }, false),
    }
    Ok(())
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_get_mic_iov(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    qop_req: g::gss_qop_t,
    iov: *mut g::gss_iov_buffer_desc,
    iov_count: c_int,
) -> Major {
    let body = || {
        refuse_qop(qop_req)?;
        // SAFETY: by this function's contract.
        let parts = unsafe { Parts::read(iov, iov_count) }?;
        parts.refuse(Kind::Stream)?;
        parts.refuse(Kind::Header)?;
        let token = SignaturePlace::new(parts.one(Kind::MicToken)?)?;
        parts.refuse_overlap(&[Kind::Data, Kind::SignOnly], |part| {
            part.kind == Kind::MicToken && !part.is_to_allocate()
        })?;
        // SAFETY: by this function's contract; nothing is written before all is read.
        let message = unsafe { parts.signed() }?;
        // SAFETY: by this function's contract.
        let signature = unsafe { Handle::lock(context_handle) }?.session()?.get_mic(&message)?;
        token.put(&signature);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_get_mic_iov_length(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    qop_req: g::gss_qop_t,
    iov: *mut g::gss_iov_buffer_desc,
    iov_count: c_int,
) -> Major {
    let body = || {
        refuse_qop(qop_req)?;
        // SAFETY: by this function's contract.
        let parts = unsafe { Parts::read(iov, iov_count) }?;
        parts.refuse(Kind::Stream)?;
        parts.refuse(Kind::Header)?;
        let token = parts.one(Kind::MicToken)?;
        // SAFETY: by this function's contract.
        unsafe { Handle::lock(context_handle) }?.established()?;
        token.put_length(MessageSignature::LEN);
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

/// # Safety
/// As krb5's `gssapi_ext.h` says; the handle is ours.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn gss_verify_mic_iov(
    minor_status: *mut g::OM_uint32,
    context_handle: g::gss_ctx_id_t,
    qop_state: *mut g::gss_qop_t,
    iov: *mut g::gss_iov_buffer_desc,
    iov_count: c_int,
) -> Major {
    // SAFETY: by this function's contract.
    let _qop = unsafe { Out::cleared(qop_state, 0) };
    let body = || {
        // SAFETY: by this function's contract.
        let parts = unsafe { Parts::read(iov, iov_count) }?;
        parts.refuse(Kind::Stream)?;
        parts.refuse(Kind::Header)?;
        // SAFETY: by this function's contract.
        let signature = unsafe { signature_in(parts.one(Kind::MicToken)?, Message::MicToken) }?;
        // SAFETY: likewise.
        let message = unsafe { parts.signed() }?;
        // SAFETY: likewise.
        unsafe { Handle::lock(context_handle) }?.session()?.verify_mic(&message, &signature)?;
        Ok(COMPLETE)
    };
    // SAFETY: by this function's contract.
    unsafe { entry(minor_status, body) }
}

same_signature! {
    gss_wrap_iov, _, _, _, _, _, _, _;
    gss_wrap_iov_length, _, _, _, _, _, _, _;
    gss_unwrap_iov, _, _, _, _, _, _;
    gss_get_mic_iov, _, _, _, _, _;
    gss_get_mic_iov_length, _, _, _, _, _;
    gss_verify_mic_iov, _, _, _, _, _;
}
