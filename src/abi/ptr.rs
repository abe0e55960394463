//! The only pointer operations: outputs, buffers, handles, memory that the caller frees.
//!
//! C memory is touched by value: a caller's variable may be uninitialised, or passed twice, so no reference to one is made.

use core::{ffi::c_void, marker::PhantomData, ptr::NonNull};

use libgssapi_sys as g;
use zeroize::Zeroize as _;

use crate::error::{ApiMisuse, HostError, Result};

/// A place of the caller's for one value; NULL where the caller does not want it.
pub(super) struct Out<'call, T>(Option<NonNull<T>>, PhantomData<&'call ()>);

impl<T> Out<'_, T> {
    /// The place, with `cleared` in it.
    ///
    /// # Safety
    /// `place` is NULL or writable during the call.
    pub(super) unsafe fn cleared(place: *mut T, cleared: T) -> Self {
        let mut out = Self(NonNull::new(place), PhantomData);
        out.put(cleared);
        out
    }

    /// The place, if the caller gave one.
    ///
    /// # Errors
    /// [`ApiMisuse::NullOutput`].
    pub(super) fn required(self) -> Result<Self> {
        if self.0.is_some() { Ok(self) } else { Err(ApiMisuse::NullOutput.into()) }
    }

    /// Whether the caller wants the value.
    pub(super) const fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Puts the value.
    pub(super) fn put(&mut self, value: T) {
        if let Some(place) = self.0 {
            // SAFETY: `cleared` was promised a writable place.
            unsafe { place.write(value) };
        }
    }
}

/// No bytes.
pub(super) const EMPTY: g::gss_buffer_desc = g::gss_buffer_desc { length: 0, value: core::ptr::null_mut() };

/// The bytes of a caller's buffer: `None` for a NULL descriptor, empty for one of length 0.
///
/// # Errors
/// [`ApiMisuse::NullInput`] for a length without a value, [`ApiMisuse::BadArgument`] for one that no object has.
///
/// # Safety
/// `buffer` is NULL or points at a descriptor of readable bytes that stay unchanged during the call.
pub(super) unsafe fn bytes<'call>(buffer: g::gss_buffer_t) -> Result<Option<&'call [u8]>> {
    if buffer.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's contract; read by value.
    let g::gss_buffer_desc { length, value } = unsafe { buffer.read() };
    // SAFETY: by this function's contract.
    unsafe { slice(length, value) }.map(Some)
}

/// The bytes that a length and a pointer describe.
///
/// # Errors
/// As [`bytes`].
///
/// # Safety
/// As [`bytes`].
pub(super) unsafe fn slice<'call>(length: usize, value: *const c_void) -> Result<&'call [u8]> {
    if length == 0 {
        return Ok(&[]);
    }
    if value.is_null() {
        return Err(ApiMisuse::NullInput.into());
    }
    if isize::try_from(length).is_err() {
        return Err(ApiMisuse::BadArgument.into());
    }
    // SAFETY: by this function's contract; not NULL, and no longer than an object can be.
    Ok(unsafe { core::slice::from_raw_parts(value.cast(), length) })
}

/// The same, to be changed in place.
///
/// # Errors
/// As [`bytes`].
///
/// # Safety
/// The bytes are readable and writable during the call, and nobody else uses them meanwhile.
pub(super) unsafe fn slice_mut<'call>(length: usize, value: *mut c_void) -> Result<&'call mut [u8]> {
    if length == 0 {
        return Ok(&mut []);
    }
    if value.is_null() {
        return Err(ApiMisuse::NullInput.into());
    }
    if isize::try_from(length).is_err() {
        return Err(ApiMisuse::BadArgument.into());
    }
    // SAFETY: by this function's contract; not NULL, and no longer than an object can be.
    Ok(unsafe { core::slice::from_raw_parts_mut(value.cast(), length) })
}

/// Memory that the caller will free with `free`, ours until then.
pub(super) struct Malloced {
    value: NonNull<u8>,
    length: usize,
}

impl Malloced {
    /// A copy of the parts, one after the other.
    ///
    /// # Errors
    /// [`HostError::Memory`].
    pub(super) fn concat(parts: &[&[u8]]) -> Result<Self> {
        let length = total(parts.iter().map(|part| part.len())).ok_or(HostError::Memory)?;
        // SAFETY: malloc takes any length; 0 would be allowed to give NULL.
        let value = unsafe { libc::malloc(length.max(1)) };
        let value = NonNull::new(value.cast::<u8>()).ok_or(HostError::Memory)?;
        let mut at = value;
        for part in parts {
            // SAFETY: `at` is as far into the fresh memory as the parts before are long, and it has room for all of them.
            unsafe { at.as_ptr().copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            // SAFETY: likewise; at the end one past the last byte.
            at = unsafe { at.add(part.len()) };
        }
        Ok(Self { value, length })
    }

    /// The bytes.
    pub(super) const fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `concat` initialised that many bytes, and they are ours.
        unsafe { core::slice::from_raw_parts_mut(self.value.as_ptr(), self.length) }
    }

    /// The descriptor for the caller, who frees it. Where there are no bytes there is no memory either: `gss_release_buffer`
    /// would not free it.
    pub(super) fn into_buffer(self) -> g::gss_buffer_desc {
        if self.length == 0 {
            return EMPTY;
        }
        let owned = core::mem::ManuallyDrop::new(self);
        g::gss_buffer_desc { length: owned.length, value: owned.value.as_ptr().cast() }
    }
}

/// What never reached the caller may be clear text.
impl Drop for Malloced {
    fn drop(&mut self) {
        self.as_mut_slice().zeroize();
        // SAFETY: it came from malloc and was given to nobody.
        unsafe { libc::free(self.value.as_ptr().cast()) };
    }
}

/// The sum of the lengths of parts, unless it is more than an object has, which two of them can be where addresses have 32 bits.
fn total(lengths: impl IntoIterator<Item = usize>) -> Option<usize> {
    lengths.into_iter().try_fold(0_usize, usize::checked_add).filter(|sum| isize::try_from(*sum).is_ok())
}

/// A copy of `bytes` for the caller.
///
/// # Errors
/// [`HostError::Memory`].
pub(super) fn buffer(bytes: &[u8]) -> Result<g::gss_buffer_desc> {
    Ok(Malloced::concat(&[bytes])?.into_buffer())
}

/// A copy of `text` for the caller, with a NUL behind it that the length does not count.
///
/// # Errors
/// [`HostError::Memory`].
pub(super) fn text(text: &str) -> Result<g::gss_buffer_desc> {
    if text.is_empty() {
        return Ok(EMPTY);
    }
    let g::gss_buffer_desc { value, .. } = Malloced::concat(&[text.as_bytes(), b"\0"])?.into_buffer();
    Ok(g::gss_buffer_desc { length: text.len(), value })
}

/// What a handle of ours stands for.
///
/// # Safety
/// `handle` is NULL or came from [`handle`] with the same `T` and was not given to [`release`] since.
pub(super) unsafe fn borrow<'call, T, H>(handle: *mut H) -> Option<&'call T> {
    // SAFETY: by this function's contract; shared, for other threads may use the handle as well.
    unsafe { handle.cast::<T>().as_ref() }
}

/// The handle of `value`, which lives until [`release`].
pub(super) fn handle<T, H>(value: T) -> *mut H {
    Box::into_raw(Box::new(value)).cast()
}

/// Ends the life of what the handle at `place` stands for, and clears the place. NULL is no handle.
///
/// # Safety
/// `place` is NULL or readable and writable; the handle in it is as [`borrow`] says, and nobody uses it any more.
pub(super) unsafe fn release<T, H>(place: *mut *mut H) {
    if place.is_null() {
        return;
    }
    // SAFETY: by this function's contract.
    let handle = unsafe { place.replace(core::ptr::null_mut()) };
    if !handle.is_null() {
        // SAFETY: by this function's contract it came from `Box::into_raw` and is not used again.
        drop(unsafe { Box::from_raw(handle.cast::<T>()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_memory_is_no_memory() {
        let g::gss_buffer_desc { length, value } = buffer(b"").unwrap();
        assert_eq!((length, value), (0, core::ptr::null_mut()));
        assert_eq!(text("").unwrap().value, core::ptr::null_mut());
    }

    #[test]
    fn no_memory_is_longer_than_an_object() {
        let longest = isize::MAX.cast_unsigned();
        assert_eq!(total([longest - 16, 16]), Some(longest));
        assert_eq!(total([longest, 1]), None);
        assert_eq!(total([usize::MAX, 2]), None);
    }

    #[test]
    fn a_length_without_a_value_is_refused() {
        let mut descriptor = g::gss_buffer_desc { length: 1, value: core::ptr::null_mut() };
        // SAFETY: the descriptor is one, and says nothing that is read.
        assert!(unsafe { bytes(&raw mut descriptor) }.is_err());
        descriptor.length = 0;
        // SAFETY: likewise.
        assert_eq!(unsafe { bytes(&raw mut descriptor) }, Ok(Some(&[][..])));
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { bytes(core::ptr::null_mut()) }, Ok(None));
    }

    #[test]
    fn text_has_a_nul_behind_it() {
        let g::gss_buffer_desc { length, value } = text("abc").unwrap();
        // SAFETY: `text` stored one byte more than the length.
        assert_eq!(unsafe { core::slice::from_raw_parts(value.cast::<u8>(), length + 1) }, b"abc\0");
        // SAFETY: it came from malloc.
        unsafe { libc::free(value) };
    }
}
