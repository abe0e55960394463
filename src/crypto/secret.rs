//! One type for each key, which is wiped when dropped and never printed, and types for tags, which are compared in constant
//! time.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

macro_rules! sixteen_bytes {
    ($($(#[$attribute:meta])* $name:ident)*) => {$(
        $(#[$attribute])*
        pub struct $name([u8; 16]);

        impl $name {
            /// The value of these bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

macro_rules! secret {
    ($($(#[$doc:meta])* $name:ident)*) => {
        sixteen_bytes! { $($(#[$doc])* $name)* }
        $(
            impl ZeroizeOnDrop for $name {}

            impl Drop for $name {
                fn drop(&mut self) {
                    // The slice is wiped at once, an array would be byte by byte.
                    self.0.as_mut_slice().zeroize();
                }
            }

            impl $name {
                /// The bytes, to compute with: do not keep a copy.
                #[must_use]
                pub const fn expose(&self) -> &[u8; 16] {
                    &self.0
                }
            }
        )*
    };
}

/// Compiles for types whose value is wiped when it is dropped.
pub(super) const fn is_wiped<T: ZeroizeOnDrop>() {}

macro_rules! tag {
    ($($(#[$doc:meta])* $name:ident)*) => {
        sixteen_bytes! { $($(#[$doc])* $name)* }
        $(
            impl $name {
                /// Whether it equals `other`. Always takes the same time.
                #[must_use]
                pub fn matches(&self, other: &[u8; 16]) -> bool {
                    self.0.ct_eq(other).into()
                }

                /// The bytes as they are sent.
                #[must_use]
                pub const fn as_bytes(&self) -> &[u8; 16] {
                    &self.0
                }
            }
        )*
    };
}

secret! {
    /// NTOWFv1: the MD4 of the password. An attacker who has it does not need the password.
    NtHash
    /// LMOWFv1: a weak hash of the first fourteen letters of the password, in upper case.
    LmHash
    /// NTOWFv2.
    ResponseKeyNt
    /// SessionBaseKey: what both sides compute along with the response.
    SessionBaseKey
    /// KeyExchangeKey: what KXKEY makes of SessionBaseKey.
    KeyExchangeKey
    /// ExportedSessionKey: the session's signing and sealing keys are made of it.
    ExportedSessionKey
    /// ClientSigningKey or ServerSigningKey.
    SigningKey
    /// ClientSealingKey or ServerSealingKey.
    SealingKey
}

tag! {
    /// NTProofStr: the proof that the client knows the password.
    NtProofStr
    /// The MIC of an AUTHENTICATE_MESSAGE.
    Mic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", ExportedSessionKey::new([0x55; 16])), "ExportedSessionKey(..)");
        assert_eq!(format!("{:?}", NtProofStr::new([0x55; 16])), "NtProofStr(..)");
    }

    #[test]
    fn a_tag_matches_only_itself() {
        let tag = Mic::new([7; 16]);
        assert!(tag.matches(&[7; 16]));
        for bit in 0..128 {
            let mut other = [7; 16];
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!tag.matches(&other));
        }
    }
}
