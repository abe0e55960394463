//! What the SPNEGO of this process's libgssapi does, found out without asking the plugin.

use std::sync::OnceLock;

use libgssapi_sys::{_GSS_S_CONTINUE_NEEDED, _GSS_S_DEFECTIVE_TOKEN};

use super::gss::SPNEGO;
use super::handshake::Handshake;

/// A NegTokenResp (RFC 4178 4.2.2) with a mechListMIC and nothing else.
pub(crate) const MIC_ALONE: &[u8] = b"\xa1\x16\x30\x14\xa3\x12\x04\x100123456789abcdef";

/// Whether it loses a mechListMIC, as that of krb5 1.21.0 to 1.22.1 does: an acceptor that waits for more then sees an empty
/// token, which is defective.
pub(crate) fn loses_mech_list_mic() -> bool {
    static LOSES: OnceLock<bool> = OnceLock::new();
    *LOSES.get_or_init(|| {
        let handshake = Handshake::of(&SPNEGO);
        let mut acceptor = handshake.acceptor();
        acceptor.token(&handshake.initiator().token(None));
        match acceptor.step(MIC_ALONE) {
            Ok(step) if !step.complete => false,
            Err(failure) if failure.major == _GSS_S_DEFECTIVE_TOKEN => true,
            other => panic!("neither {_GSS_S_CONTINUE_NEEDED:#x} nor {_GSS_S_DEFECTIVE_TOKEN:#x}: {:?}", other.err()),
        }
    })
}

/// The NTLM message of that type inside a token of SPNEGO's, if it is there.
pub(crate) fn message_in(token: &[u8], message_type: u8) -> Option<&[u8]> {
    let start = [b"NTLMSSP\0", &[message_type][..]].concat();
    let at = token.windows(start.len()).position(|part| part == start)?;
    Some(&token[at..])
}
