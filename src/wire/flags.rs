//! NegotiateFlags.

use bitflags::bitflags;

use crate::text::Charset;

bitflags! {
    /// NEGOTIATE, [MS-NLMP] 2.2.2.5. Bits without a name are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct NegotiateFlags: u32 {
        /// Strings in UTF-16LE.
        const UNICODE = 0x0000_0001;
        /// Strings in the OEM code page.
        const OEM = 0x0000_0002;
        /// The CHALLENGE_MESSAGE has a TargetName.
        const REQUEST_TARGET = 0x0000_0004;
        /// Messages are signed.
        const SIGN = 0x0000_0010;
        /// Messages are sealed.
        const SEAL = 0x0000_0020;
        /// The handshake is connectionless.
        const DATAGRAM = 0x0000_0040;
        /// Session keys are made of the LM hash.
        const LM_KEY = 0x0000_0080;
        /// NTLM authentication.
        const NTLM = 0x0000_0200;
        /// The client is anonymous.
        const ANONYMOUS = 0x0000_0800;
        /// The NEGOTIATE_MESSAGE has a DomainName.
        const OEM_DOMAIN_SUPPLIED = 0x0000_1000;
        /// The NEGOTIATE_MESSAGE has a Workstation.
        const OEM_WORKSTATION_SUPPLIED = 0x0000_2000;
        /// Every message has a signature, if only a dummy.
        const ALWAYS_SIGN = 0x0000_8000;
        /// TargetName is the name of a domain.
        const TARGET_TYPE_DOMAIN = 0x0001_0000;
        /// TargetName is the name of a server.
        const TARGET_TYPE_SERVER = 0x0002_0000;
        /// Extended session security.
        const EXTENDED_SESSIONSECURITY = 0x0008_0000;
        /// The server may identify the client, but not impersonate it.
        const IDENTIFY = 0x0010_0000;
        /// The session key is the first half of the LM hash.
        const REQUEST_NON_NT_SESSION_KEY = 0x0040_0000;
        /// The CHALLENGE_MESSAGE has a TargetInfo.
        const TARGET_INFO = 0x0080_0000;
        /// The message has a Version.
        const VERSION = 0x0200_0000;
        /// 128-bit session keys.
        const BITS_128 = 0x2000_0000;
        /// The client sends a session key of its own, encrypted.
        const KEY_EXCH = 0x4000_0000;
        /// 56-bit session keys.
        const BITS_56 = 0x8000_0000;

        const _ = !0;
    }
}

impl NegotiateFlags {
    /// The charset of strings ([MS-NLMP] 2.2.2.5): UNICODE wins over OEM.
    #[must_use]
    pub const fn charset(self) -> Charset {
        if self.contains(Self::UNICODE) { Charset::Unicode } else { Charset::Oem }
    }

    /// Whether messages are protected: SIGN or SEAL.
    #[must_use]
    pub const fn protects(self) -> bool {
        self.intersects(Self::SIGN.union(Self::SEAL))
    }
}

/// The number, then the names of the bits that are set, lowest first.
impl core::fmt::Display for NegotiateFlags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#010x}", self.bits())?;
        self.iter_names().try_for_each(|(name, _)| write!(f, " {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_bits_without_a_name() {
        let unnamed = NegotiateFlags::from_bits_retain(0x0100_0100);
        assert_eq!(unnamed & NegotiateFlags::all(), unnamed);
        assert_eq!(!!unnamed, unnamed);
        assert_eq!(NegotiateFlags::all().bits(), u32::MAX);
        assert_eq!((unnamed | NegotiateFlags::OEM).to_string(), "0x01000102 OEM");
    }
}
