//! The arguments of C: one type for each kind of them, made where the call comes in and nowhere else.
//!
//! The caller of an exported function promises that each argument is what the header says. [`Promise`] stands for this, and
//! each type carries its part of it, so that what is done with an argument is safe.
//!
//! A variable of the caller may be uninitialised, or passed twice, so it is read and written by value, and no reference to it
//! is made. All inputs are read before any output is cleared.

use core::{
    ffi::{CStr, c_char, c_int, c_void},
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{NonNull, null_mut},
};
use std::sync::Arc;

use libgssapi_sys as g;

use crate::{
    context::ChannelBindings,
    error::{ApiMisuse, HostError, Result},
    sys::Malloced,
};

/// The promise of a caller of an exported function: each argument is what the header says, and stays so during the call.
pub(super) struct Promise(());

impl Promise {
    /// The promise of one call.
    ///
    /// # Safety
    /// Each argument that is made with it is an argument of this call: NULL, or what its type says. It is not used after the
    /// call.
    pub(super) const unsafe fn of_caller() -> Self {
        Self(())
    }
}

/// An argument as its own type.
pub(super) trait Argument {
    /// The type that C passes.
    type C;

    /// The argument; what it points at is read now if it is an input.
    fn new(argument: Self::C, promise: &Promise) -> Self;

    /// Writes the value of a failed call, if it is an output.
    fn clear(&self) {}
}

/// Numbers, which promise nothing.
macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Argument for $number {
            type C = Self;

            fn new(argument: Self, _: &Promise) -> Self {
                argument
            }
        }

        impl Output for $number {
            type C = Self;
            const CLEARED: Self = 0;

            fn into_c(self) -> Self {
                self
            }
        }
    )*};
}

numbers!(u32, c_int);

/// An argument that says nothing to this mechanism.
pub(super) struct Unused<C>(PhantomData<C>);

impl<C> Argument for Unused<C> {
    type C = C;

    fn new(_: C, _: &Promise) -> Self {
        Self(PhantomData)
    }
}

/// What a pointer of the caller points at, by value; `None` for NULL.
fn read<T: Copy>(pointer: *const T, _: &Promise) -> Option<T> {
    // SAFETY: an argument that is not NULL points at what its type says.
    NonNull::new(pointer.cast_mut()).map(|pointer| unsafe { pointer.read() })
}

/// Bytes of the caller, which do not change during the call.
struct Span {
    length: usize,
    value: *mut c_void,
}

impl Span {
    const fn new(length: usize, value: *mut c_void, _: &Promise) -> Self {
        Self { length, value }
    }

    fn get(&self) -> Result<&[u8]> {
        let value = start(self.length, self.value)?;
        // SAFETY: the caller promised that so many bytes are readable there; `start` has refused what no slice can be.
        Ok(unsafe { core::slice::from_raw_parts(value.as_ptr(), self.length) })
    }
}

/// Where bytes start, which need not be anywhere if there are none.
fn start(length: usize, value: *mut c_void) -> Result<NonNull<u8>> {
    match NonNull::new(value.cast()) {
        _ if length == 0 => Ok(NonNull::dangling()),
        None => Err(ApiMisuse::NullInput.into()),
        Some(_) if isize::try_from(length).is_err() => Err(ApiMisuse::BadArgument.into()),
        Some(value) => Ok(value),
    }
}

/// Bytes to read, of a buffer or of an OID: NULL, or a descriptor of readable bytes.
pub(super) struct Bytes<P = g::gss_buffer_t>(Option<Span>, PhantomData<P>);

/// The elements of an OID.
pub(super) type Oid = Bytes<g::gss_OID>;

/// The elements of an OID that the header declares `const`.
pub(super) type ConstOid = Bytes<g::gss_const_OID>;

impl Argument for Bytes {
    type C = g::gss_buffer_t;

    fn new(argument: g::gss_buffer_t, promise: &Promise) -> Self {
        let span = |buffer: g::gss_buffer_desc| Span::new(buffer.length, buffer.value, promise);
        Self(read(argument, promise).map(span), PhantomData)
    }
}

impl Argument for ConstOid {
    type C = g::gss_const_OID;

    fn new(argument: g::gss_const_OID, promise: &Promise) -> Self {
        let span = |g::gss_OID_desc { length, elements }| {
            // A length that does not fit is one that no object has.
            Span::new(usize::try_from(length).unwrap_or(usize::MAX), elements, promise)
        };
        Self(read(argument, promise).map(span), PhantomData)
    }
}

impl Argument for Oid {
    type C = g::gss_OID;

    fn new(argument: g::gss_OID, promise: &Promise) -> Self {
        Self(ConstOid::new(argument, promise).0, PhantomData)
    }
}

impl<P> Bytes<P> {
    /// The bytes; `None` for NULL. A length without a value is [`ApiMisuse::NullInput`], one that no object has
    /// [`ApiMisuse::BadArgument`].
    pub(super) fn get(&self) -> Result<Option<&[u8]>> {
        self.0.as_ref().map(Span::get).transpose()
    }

    /// The bytes; NULL is [`ApiMisuse::NullInput`].
    pub(super) fn required(&self) -> Result<&[u8]> {
        Ok(self.get()?.ok_or(ApiMisuse::NullInput)?)
    }
}

/// Channel bindings: NULL, or a struct whose buffers describe readable bytes.
pub(super) struct Bindings(Option<(u32, Span, u32, Span, Span)>);

impl Argument for Bindings {
    type C = g::gss_channel_bindings_t;

    fn new(argument: g::gss_channel_bindings_t, promise: &Promise) -> Self {
        let span = |buffer: g::gss_buffer_desc| Span::new(buffer.length, buffer.value, promise);
        Self(read(argument, promise).map(|read| {
            let (initiator, acceptor) = (span(read.initiator_address), span(read.acceptor_address));
            (read.initiator_addrtype, initiator, read.acceptor_addrtype, acceptor, span(read.application_data))
        }))
    }
}

impl Bindings {
    /// The bindings, if there are any. Lengths are hashed as 32 bits, so a longer one is [`ApiMisuse::BadArgument`].
    pub(super) fn get(&self) -> Result<Option<ChannelBindings<'_>>> {
        let Some((initiator_addrtype, initiator, acceptor_addrtype, acceptor, data)) = &self.0 else { return Ok(None) };
        if [initiator, acceptor, data].iter().any(|span| u32::try_from(span.length).is_err()) {
            return Err(ApiMisuse::BadArgument.into());
        }
        Ok(Some(ChannelBindings {
            initiator_addrtype: *initiator_addrtype,
            initiator_address: initiator.get()?,
            acceptor_addrtype: *acceptor_addrtype,
            acceptor_address: acceptor.get()?,
            application_data: data.get()?,
        }))
    }
}

/// The elements of a credential store: NULL, or a set of pairs of C strings.
pub(super) struct KeyValues(Option<g::gss_key_value_set_desc>);

impl Argument for KeyValues {
    type C = g::gss_const_key_value_set_t;

    fn new(argument: g::gss_const_key_value_set_t, promise: &Promise) -> Self {
        Self(read(argument, promise))
    }
}

impl KeyValues {
    /// The elements, in their order: key and value. A missing string or array is [`ApiMisuse::NullInput`].
    pub(super) fn get(&self) -> impl Iterator<Item = Result<(&[u8], &[u8])>> {
        let (count, elements) = self.0.map_or((0, null_mut()), |set| (set.count, set.elements));
        (0..count).map(move |at| {
            let elements = NonNull::new(elements).ok_or(ApiMisuse::NullInput)?;
            let at = usize::try_from(at).map_err(|_| ApiMisuse::BadArgument)?;
            // SAFETY: the array has `count` elements, and `at` is below that.
            let element = unsafe { elements.add(at) };
            // SAFETY: it is one of those elements.
            let g::gss_key_value_element_desc { key, value } = unsafe { element.read() };
            let bytes = |text: *const c_char| -> Result<&[u8]> {
                let text = NonNull::new(text.cast_mut()).ok_or(ApiMisuse::NullInput)?;
                // SAFETY: the strings of a set are C strings, and do not change during the call.
                Ok(unsafe { CStr::from_ptr(text.as_ptr()) }.to_bytes())
            };
            Ok((bytes(key)?, bytes(value)?))
        })
    }
}

/// What a handle of this mechanism stands for.
pub(super) trait Object {
    /// What the header has its pointers point at.
    type C;
}

/// A handle: NULL, or one that [`Out::put`] or [`Slot::put`] gave to the caller and that was not released since.
pub(super) struct Ref<T: Object>(Option<NonNull<T>>);

impl<T: Object> Argument for Ref<T> {
    type C = *mut T::C;

    fn new(argument: *mut T::C, _: &Promise) -> Self {
        Self(NonNull::new(argument.cast()))
    }
}

impl<T: Object> Ref<T> {
    /// What the handle stands for; `None` for NULL. Other threads may use it as well.
    pub(super) fn get(&self) -> Option<&T> {
        // SAFETY: a handle is an `Arc` that lives until it is released, which nobody does during the call.
        self.0.map(|object| unsafe { object.as_ref() })
    }

    /// What the handle stands for, to be kept longer than the handle; `None` for NULL.
    pub(super) fn share(&self) -> Option<Arc<T>> {
        let object = self.0?.as_ptr();
        // SAFETY: as in `get`, it is an `Arc` that lives.
        unsafe { Arc::increment_strong_count(object) };
        // SAFETY: this is the count that was just added.
        Some(unsafe { Arc::from_raw(object) })
    }
}

/// A variable with a handle: NULL, or the place of a handle as in [`Ref`].
pub(super) struct Slot<T: Object>(Option<NonNull<*mut T>>);

impl<T: Object> Argument for Slot<T> {
    type C = *mut *mut T::C;

    fn new(argument: *mut *mut T::C, _: &Promise) -> Self {
        Self(NonNull::new(argument.cast()))
    }
}

impl<T: Object> Slot<T> {
    /// NULL is [`ApiMisuse::NullOutput`].
    pub(super) fn ensure_given(&self) -> Result<()> {
        if self.is_given() { Ok(()) } else { Err(ApiMisuse::NullOutput.into()) }
    }

    /// Whether there is a variable.
    pub(super) const fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// What the handle stands for; `None` where the variable or the handle is NULL.
    pub(super) fn get(&self) -> Option<&T> {
        // SAFETY: the variable is initialised, with NULL at least.
        let handle = unsafe { self.0?.read() };
        // SAFETY: a handle is an `Arc` that lives until it is released, which nobody does during the call.
        unsafe { handle.as_ref() }
    }

    /// Puts the handle of `object`, which lives until it is released.
    pub(super) fn put(self, object: Arc<T>) {
        if let Some(slot) = self.0 {
            // SAFETY: the variable is writable.
            unsafe { slot.write(Arc::into_raw(object).cast_mut()) };
        }
    }

    /// Ends the life of what the handle stands for, and clears the variable.
    pub(super) fn release(self) {
        let Some(slot) = self.0 else { return };
        // SAFETY: the variable is initialised and writable.
        let handle = unsafe { slot.replace(null_mut()) };
        if !handle.is_null() {
            // SAFETY: it came from `Arc::into_raw`, and a caller that releases a handle does not use it again.
            drop(unsafe { Arc::from_raw(handle) });
        }
    }
}

/// A value as the caller gets it.
pub(super) trait Output {
    /// The type of the caller's variable.
    type C;
    /// What is in it after a call that failed.
    const CLEARED: Self::C;

    /// The value as the caller gets it, which owns it from now on.
    fn into_c(self) -> Self::C;
}

impl<T: Object> Output for Arc<T> {
    type C = *mut T::C;
    const CLEARED: Self::C = null_mut();

    fn into_c(self) -> Self::C {
        Self::into_raw(self).cast_mut().cast()
    }
}

/// A variable for a result: NULL where the caller does not want it, or writable.
pub(super) struct Out<V: Output>(Option<NonNull<V::C>>);

impl<V: Output> Argument for Out<V> {
    type C = *mut V::C;

    fn new(argument: *mut V::C, _: &Promise) -> Self {
        Self(NonNull::new(argument))
    }

    fn clear(&self) {
        self.write(V::CLEARED);
    }
}

impl<V: Output> Out<V> {
    /// Whether the caller wants the value.
    pub(super) const fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// NULL is [`ApiMisuse::NullOutput`].
    pub(super) fn ensure_given(&self) -> Result<()> {
        if self.is_given() { Ok(()) } else { Err(ApiMisuse::NullOutput.into()) }
    }

    /// Gives the value to the caller, which frees it; a value that is not wanted is dropped.
    pub(super) fn put(&self, value: V) {
        if self.0.is_some() {
            self.write(value.into_c());
        }
    }

    fn write(&self, value: V::C) {
        if let Some(place) = self.0 {
            // SAFETY: a pointer that is not NULL points at a writable variable.
            unsafe { place.write(value) };
        }
    }
}

impl Output for Malloced {
    type C = g::gss_buffer_desc;
    const CLEARED: g::gss_buffer_desc = g::gss_buffer_desc { length: 0, value: null_mut() };

    /// Where there are no bytes there is no memory either: `gss_release_buffer` would not free it.
    fn into_c(self) -> g::gss_buffer_desc {
        if self.is_empty() {
            return Self::CLEARED;
        }
        let (value, length) = self.into_raw();
        g::gss_buffer_desc { length, value: value.as_ptr().cast() }
    }
}

/// A set of buffers that the caller will free with `gss_release_buffer_set`, ours until then; NULL if it has no member.
pub(super) struct BufferSet(g::gss_buffer_set_t);

impl BufferSet {
    /// A set with copies of the members.
    pub(super) fn of<'a>(members: impl IntoIterator<Item = &'a [u8]>) -> Result<Self> {
        let (mut set, mut minor) = (Self(null_mut()), 0);
        for bytes in members {
            let mut member = g::gss_buffer_desc { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() };
            // SAFETY: all three variables are writable. libgssapi (we export no function of this name) copies the member.
            let major = unsafe { g::gss_add_buffer_set_member(&raw mut minor, &raw mut member, &raw mut set.0) };
            if major != 0 {
                return Err(HostError::Memory.into());
            }
        }
        Ok(set)
    }
}

impl Output for BufferSet {
    type C = g::gss_buffer_set_t;
    const CLEARED: g::gss_buffer_set_t = null_mut();

    fn into_c(self) -> g::gss_buffer_set_t {
        ManuallyDrop::new(self).0
    }
}

impl Drop for BufferSet {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the set is NULL or one that libgssapi made and nobody else has seen.
        unsafe { g::gss_release_buffer_set(&raw mut minor, &raw mut self.0) };
    }
}

/// The buffers of an IOV call: NULL, or an array of as many descriptors as [`IovCount`] says, which are readable and writable
/// as the bytes are that they describe.
pub(super) struct IovArray(*mut g::gss_iov_buffer_desc);

/// How many descriptors the [`IovArray`] of the same call has.
pub(super) struct IovCount(c_int);

impl Argument for IovArray {
    type C = *mut g::gss_iov_buffer_desc;

    fn new(argument: Self::C, _: &Promise) -> Self {
        Self(argument)
    }
}

impl Argument for IovCount {
    type C = c_int;

    fn new(argument: c_int, _: &Promise) -> Self {
        Self(argument)
    }
}

impl IovArray {
    /// The descriptors. A call has one array and one count, so these belong together. A negative count is
    /// [`ApiMisuse::BadBuffers`], a missing array [`ApiMisuse::NullInput`].
    pub(super) fn get(&self, IovCount(count): &IovCount) -> Result<impl ExactSizeIterator<Item = IovPlace>> {
        let count = usize::try_from(*count).map_err(|_| ApiMisuse::BadBuffers)?;
        if self.0.is_null() && count > 0 {
            return Err(ApiMisuse::NullInput.into());
        }
        // SAFETY: the array has `count` descriptors, and `at` is below that.
        Ok((0..count).map(|at| IovPlace(unsafe { self.0.add(at) })))
    }
}

/// One descriptor of an [`IovArray`].
pub(super) struct IovPlace(*mut g::gss_iov_buffer_desc);

impl IovPlace {
    /// The descriptor.
    pub(super) const fn get(&self) -> g::gss_iov_buffer_desc {
        // SAFETY: it is one of the array, which is readable.
        unsafe { self.0.read() }
    }

    /// Changes the descriptor.
    pub(super) const fn put(&self, type_: u32, buffer: g::gss_buffer_desc) {
        // SAFETY: it is one of the array, which is writable.
        unsafe { self.0.write(g::gss_iov_buffer_desc { type_, buffer }) };
    }

    /// The bytes of the buffer, which the header has readable and, but for SIGN_ONLY, writable.
    ///
    /// # Safety
    /// No other slice with one of these bytes is in use.
    #[expect(clippy::mut_from_ref, reason = "they are bytes of the caller's")]
    pub(super) unsafe fn bytes_mut(&self) -> Result<&mut [u8]> {
        let g::gss_buffer_desc { length, value } = self.get().buffer;
        let value = start(length, value)?;
        // SAFETY: `start` has refused what no slice can be; the rest is this function's promise.
        Ok(unsafe { core::slice::from_raw_parts_mut(value.as_ptr(), length) })
    }

    /// The bytes of the buffer, to be read.
    ///
    /// # Safety
    /// No slice with one of these bytes that can be written to is in use.
    pub(super) unsafe fn bytes(&self) -> Result<&[u8]> {
        let g::gss_buffer_desc { length, value } = self.get().buffer;
        let value = start(length, value)?;
        // SAFETY: `start` has refused what no slice can be; the rest is this function's promise.
        Ok(unsafe { core::slice::from_raw_parts(value.as_ptr(), length) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a descriptor.
    fn bytes(descriptor: *mut g::gss_buffer_desc) -> Bytes {
        // SAFETY: the tests give NULL, and descriptors of readable bytes or none.
        Bytes::new(descriptor, &unsafe { Promise::of_caller() })
    }

    #[test]
    fn empty_memory_is_no_memory() {
        for empty in [Malloced::copy(b""), Malloced::text("")] {
            let g::gss_buffer_desc { length, value } = empty.unwrap().into_c();
            assert_eq!((length, value), (0, null_mut()));
        }
    }

    #[test]
    fn a_length_without_a_value_is_refused() {
        let mut descriptor = g::gss_buffer_desc { length: 1, value: null_mut() };
        assert!(bytes(&raw mut descriptor).get().is_err());
        descriptor.length = 0;
        assert_eq!(bytes(&raw mut descriptor).get(), Ok(Some(&[][..])));
        assert_eq!(bytes(null_mut()).get(), Ok(None));
        assert!(bytes(null_mut()).required().is_err());
    }

    #[test]
    fn a_length_that_no_object_has_is_refused() {
        let mut byte = 0_u8;
        let mut descriptor = g::gss_buffer_desc { length: usize::MAX, value: (&raw mut byte).cast() };
        assert!(bytes(&raw mut descriptor).get().is_err());
    }

    #[test]
    fn text_has_a_nul_behind_it() {
        let g::gss_buffer_desc { length, value } = Malloced::text("abc").unwrap().into_c();
        // SAFETY: `text` stored one byte more than the length.
        assert_eq!(unsafe { core::slice::from_raw_parts(value.cast::<u8>(), length + 1) }, b"abc\0");
        // SAFETY: it came from malloc.
        unsafe { libc::free(value) };
    }
}
