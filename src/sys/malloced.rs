//! Memory that the caller frees with `free`.

use core::{mem::ManuallyDrop, ptr::NonNull};

use zeroize::Zeroize as _;

use crate::error::{HostError, Result};

/// Memory that the caller will free with `free`, ours until then.
pub(crate) struct Malloced {
    value: NonNull<u8>,
    length: usize,
}

impl Malloced {
    /// A copy of the parts, one after the other.
    pub(crate) fn concat(parts: &[&[u8]]) -> Result<Self> {
        let length = total(parts.iter().map(|part| part.len())).ok_or(HostError::Memory)?;
        // SAFETY: malloc takes any length; for 0 it could give NULL.
        let value = unsafe { libc::malloc(length.max(1)) };
        let value = NonNull::new(value.cast::<u8>()).ok_or(HostError::Memory)?;
        let mut at = value;
        for part in parts {
            // SAFETY: `at` is as far into the fresh memory as the parts before are long, and it has room for all of them.
            unsafe { at.as_ptr().copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            // SAFETY: the part was copied to there, so this is inside the memory or one past its end.
            at = unsafe { at.add(part.len()) };
        }
        Ok(Self { value, length })
    }

    /// A copy of `bytes`.
    pub(crate) fn copy(bytes: &[u8]) -> Result<Self> {
        Self::concat(&[bytes])
    }

    /// A copy of `text`, with a NUL behind it that the length does not count.
    pub(crate) fn text(text: &str) -> Result<Self> {
        let mut memory = Self::concat(&[text.as_bytes(), b"\0"])?;
        memory.length = text.len();
        Ok(memory)
    }

    /// The bytes.
    pub(crate) const fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `concat` initialised at least that many bytes, and they are ours.
        unsafe { core::slice::from_raw_parts_mut(self.value.as_ptr(), self.length) }
    }

    /// Whether there are no bytes.
    pub(crate) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where the bytes are and how many, for the caller, which frees them.
    pub(crate) fn into_raw(self) -> (NonNull<u8>, usize) {
        let given = ManuallyDrop::new(self);
        (given.value, given.length)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_memory_is_longer_than_an_object() {
        let longest = isize::MAX.cast_unsigned();
        assert_eq!(total([longest - 16, 16]), Some(longest));
        assert_eq!(total([longest, 1]), None);
        assert_eq!(total([usize::MAX, 2]), None);
    }
}
