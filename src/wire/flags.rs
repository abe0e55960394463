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
        /// The CHALLENGE_MESSAGE is to have a TargetName.
        const REQUEST_TARGET = 0x0000_0004;
        /// Messages are signed.
        const SIGN = 0x0000_0010;
        /// Messages are sealed.
        const SEAL = 0x0000_0020;
        /// Connectionless.
        const DATAGRAM = 0x0000_0040;
        /// LAN Manager session keys.
        const LM_KEY = 0x0000_0080;
        /// NTLM.
        const NTLM = 0x0000_0200;
        /// Nobody in particular authenticates.
        const ANONYMOUS = 0x0000_0800;
        /// DomainName is there.
        const OEM_DOMAIN_SUPPLIED = 0x0000_1000;
        /// Workstation is there.
        const OEM_WORKSTATION_SUPPLIED = 0x0000_2000;
        /// Messages carry a signature, if only a dummy.
        const ALWAYS_SIGN = 0x0000_8000;
        /// TargetName is a domain's.
        const TARGET_TYPE_DOMAIN = 0x0001_0000;
        /// TargetName is a server's.
        const TARGET_TYPE_SERVER = 0x0002_0000;
        /// Extended session security.
        const EXTENDED_SESSIONSECURITY = 0x0008_0000;
        /// The server may identify the client, no more.
        const IDENTIFY = 0x0010_0000;
        /// LMOWF session key.
        const REQUEST_NON_NT_SESSION_KEY = 0x0040_0000;
        /// TargetInfo is there.
        const TARGET_INFO = 0x0080_0000;
        /// Version is there.
        const VERSION = 0x0200_0000;
        /// 128-bit session keys.
        const BITS_128 = 0x2000_0000;
        /// The session key is exchanged.
        const KEY_EXCH = 0x4000_0000;
        /// 56-bit session keys.
        const BITS_56 = 0x8000_0000;

        const _ = !0;
    }
}

impl NegotiateFlags {
    /// What strings are in ([MS-NLMP] 2.2.2.5): UNICODE wins over OEM.
    #[must_use]
    pub const fn charset(self) -> Charset {
        if self.contains(Self::UNICODE) { Charset::Unicode } else { Charset::Oem }
    }

    /// SIGN or SEAL: whether messages are protected.
    #[must_use]
    pub const fn protects(self) -> bool {
        self.intersects(Self::SIGN.union(Self::SEAL))
    }
}

/// The names of the bits that are set, ascending.
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
