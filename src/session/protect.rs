//! GSS_GetMIC, GSS_VerifyMIC, GSS_Wrap and GSS_Unwrap, [MS-NLMP] 3.4.2 to 3.4.9.

use core::cmp::Ordering;

use subtle::ConstantTimeEq;
use zeroize::zeroize_stack;

use crate::{
    bytes::boxed,
    crypto::{keys, primitive::crc32, rc4::Handle},
    error::{ApiMisuse, BadSignature, Message, Result},
    wire::MessageSignature,
};

use super::{
    Agreed, Checksum, Half, Keys, Session, Way,
    token::{self, SIGNATURE_LEN},
};

/// A part of a message to wrap or unwrap. All parts are signed, in the order given.
#[derive(Debug)]
pub enum Buffer<'a> {
    /// Signed, and sealed in place.
    Data(&'a mut [u8]),
    /// Signed, but not sealed.
    SignOnly(&'a [u8]),
}

impl Buffer<'_> {
    const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Data(data) => data,
            Self::SignOnly(data) => data,
        }
    }
}

impl Session {
    /// Signs `message`, whose parts may be empty, and counts the sequence number up.
    ///
    /// With ALWAYS_SIGN alone the signature is the dummy of 3.4.4.3, which protects nothing and is not counted.
    ///
    /// # Errors
    /// As [`Session::ensure_can_sign`]; [`crate::error::HostError::Memory`].
    pub fn get_mic(&mut self, message: &[&[u8]]) -> Result<[u8; SIGNATURE_LEN]> {
        self.ensure_can_sign()?;
        let Some(protection) = &mut self.protection else { return Ok(MessageSignature::DUMMY.0) };
        let send = protection.half(Way::Send);
        let signature = send.begin(&self.agreed, None)?.signature(message.iter().copied());
        send.count();
        Ok(signature.0)
    }

    /// Verifies the peer's `signature` of `message`. If it is wrong, the session stays as it was.
    ///
    /// # Errors
    /// [`BadSignature`]; [`crate::error::InvalidMessage`] for a signature of another length; as
    /// [`Session::ensure_can_sign`]; [`crate::error::HostError::Memory`].
    pub fn verify_mic(&mut self, message: &[&[u8]], signature: &[u8]) -> Result<()> {
        let signature = &token::signature(Message::MicToken, signature)?;
        self.ensure_can_sign()?;
        let Some(protection) = &mut self.protection else {
            let is_dummy = equal(&MessageSignature::DUMMY, signature);
            return if is_dummy { Ok(()) } else { Err(BadSignature::Expected.into()) };
        };
        let receive = protection.half(Way::Receive);
        let before = receive.before();
        let expected = receive.begin(&self.agreed, Some(signature))?.signature(message.iter().copied());
        receive.verify(&expected, signature).inspect_err(|_| receive.go_back(before, &mut []))
    }

    /// Encrypts the data in place, also where only SIGN was negotiated, and returns the signature that goes before it.
    ///
    /// # Errors
    /// As [`Session::ensure_can_wrap`]; [`crate::error::HostError::Memory`].
    pub fn wrap(&mut self, message: &mut [Buffer<'_>]) -> Result<[u8; SIGNATURE_LEN]> {
        self.ensure_can_wrap()?;
        let send = self.protection.as_mut().ok_or(ApiMisuse::NoProtection)?.half(Way::Send);
        let mut running = send.begin(&self.agreed, None)?;
        // The checksum covers the plain text, but is encrypted after it ([MS-NLMP] 3.4.3).
        let sum = running.sum_and_encrypt(message);
        let signature = running.seal(sum);
        send.count();
        Ok(signature.0)
    }

    /// Decrypts the data in place and verifies the `signature` that came before it. If the signature is wrong, the data is
    /// encrypted again and the session stays as it was.
    ///
    /// # Errors
    /// [`BadSignature`]; [`crate::error::InvalidMessage`] for a signature of another length; as
    /// [`Session::ensure_can_wrap`]; [`crate::error::HostError::Memory`].
    pub fn unwrap(&mut self, message: &mut [Buffer<'_>], signature: &[u8]) -> Result<()> {
        let signature = &token::signature(Message::WrapToken, signature)?;
        self.ensure_can_wrap()?;
        let receive = self.protection.as_mut().ok_or(ApiMisuse::NoProtection)?.half(Way::Receive);
        let before = receive.before();
        let mut running = receive.begin(&self.agreed, Some(signature))?;
        let sum = running.decrypt_and_sum(message);
        let expected = running.seal(sum);
        receive.verify(&expected, signature).inspect_err(|_| receive.go_back(before, message))
    }
}

/// The checksum of a message before it is encrypted.
enum Sum {
    Hmac([u8; 8]),
    Crc32(u32),
}

/// How deep in the stack the making of keys leaves keys, in bytes: scripts/check-secrets has found it.
const MAKING_KEYS: usize = 11 << 7;

/// How its direction was before a message, as far as a message changes it.
#[derive(Clone, Copy)]
struct Before {
    seq_num: u32,
    is_running: bool,
}

impl Half {
    /// Begins a message: makes the keys, if there are none yet, and schedules that of a stream that starts with this message.
    /// The signature of a `received` message may say that it has number 1, if that is allowed.
    ///
    /// # Errors
    /// [`crate::error::HostError::Memory`]: then nothing has changed.
    fn begin(&mut self, agreed: &Agreed, received: Option<&MessageSignature>) -> Result<Running<'_>> {
        if self.keys.is_none() {
            self.make_keys(agreed);
            if !cfg!(no_stack_wipe) {
                zeroize_stack::<MAKING_KEYS>();
            }
        }
        let is_running = self.running().is_some();
        let Self { direction, keys, handle, seq_num, is_datagram, may_start_at_one } = self;
        let keys = keys.get_or_insert_with(|| agreed.keys(*direction));
        let [handle] = match handle {
            Some(handle) => &mut **handle,
            None => &mut **handle.insert(boxed(Handle::unscheduled())?),
        };
        if *may_start_at_one && *seq_num == 0 && received.is_some_and(|signature| signature.seq_num() == 1) {
            *seq_num = 1;
        }
        if !is_running {
            keys.schedule(handle, is_datagram.then_some(*seq_num));
        }
        Ok(Running { keys, handle, seq_num: *seq_num })
    }

    #[inline(never)]
    fn make_keys(&mut self, agreed: &Agreed) {
        self.keys = Some(agreed.keys(self.direction));
    }

    fn before(&self) -> Before {
        Before { seq_num: self.seq_num, is_running: self.running().is_some() }
    }

    /// Goes back to before a message that is refused: its data is encrypted again, the last byte first, and the stream goes
    /// backwards. A copy of the stream would cost every message.
    #[cold]
    fn go_back(&mut self, before: Before, message: &mut [Buffer<'_>]) {
        if let (Some(keys), Some([handle])) = (&self.keys, self.handle.as_deref_mut()) {
            let signature = &mut [0; SIGNATURE_LEN];
            handle.go_back(signature.get_mut(..keys.encrypted_len()).unwrap_or_default());
            for buffer in message.iter_mut().rev() {
                if let Buffer::Data(data) = buffer {
                    handle.go_back(data);
                }
            }
        }
        if !before.is_running {
            self.handle = None;
        }
        self.seq_num = before.seq_num;
    }

    const fn count(&mut self) {
        if !self.is_datagram {
            self.seq_num = self.seq_num.wrapping_add(1);
        }
    }

    /// Compares the signature with the expected one and, if they are equal, counts the sequence number up.
    fn verify(&mut self, expected: &MessageSignature, got: &MessageSignature) -> Result<()> {
        let is_crc = matches!(self.keys, Some(Keys { checksum: Checksum::Crc32, .. }));
        let got = if is_crc { got.without_random_pad() } else { *got };
        if equal(expected, &got) {
            self.count();
            self.may_start_at_one = false;
            return Ok(());
        }
        // Anybody may have written the number in a wrong signature, so it is only a hint for a person. Without extended session
        // security it is encrypted and cannot be read.
        let sequence = match got.seq_num().cmp(&self.seq_num) {
            _ if is_crc => BadSignature::Expected,
            Ordering::Equal => BadSignature::Expected,
            _ if self.is_datagram => BadSignature::Other,
            Ordering::Less => BadSignature::Duplicate,
            Ordering::Greater => BadSignature::Gap,
        };
        Err(sequence.into())
    }
}

impl Keys {
    /// How many bytes of a signature [`Running::seal`] encrypts.
    const fn encrypted_len(&self) -> usize {
        match self.checksum {
            Checksum::Hmac { key_exch: false, .. } => 0,
            Checksum::Hmac { key_exch: true, .. } => 8,
            Checksum::Crc32 => 12,
        }
    }

    /// Starts a stream. That of a connectionless session starts with every message, with extended session security under a
    /// key for the message of this number ([MS-NLMP] 3.4, 3.4.4).
    #[inline(never)]
    fn schedule(&self, handle: &mut Handle, datagram: Option<u32>) {
        match (&self.checksum, datagram) {
            (Checksum::Hmac { .. }, Some(seq_num)) => {
                handle.schedule(keys::seal_key_of_message(&self.sealing, seq_num).expose());
            }
            _ => handle.schedule(self.sealing.expose()),
        }
    }
}

/// A message, and what protects it.
struct Running<'a> {
    keys: &'a Keys,
    handle: &'a mut Handle,
    seq_num: u32,
}

impl Running<'_> {
    /// MAC of 3.4.4 with the current sequence number. Does not count it up.
    fn signature<'a>(&mut self, message: impl Iterator<Item = &'a [u8]>) -> MessageSignature {
        let sum = self.sum(message);
        self.seal(sum)
    }

    fn sum<'a>(&self, message: impl Iterator<Item = &'a [u8]>) -> Sum {
        match &self.keys.checksum {
            Checksum::Hmac { signing, .. } => {
                let mut mac = signing.begin(self.seq_num);
                message.for_each(|part| mac.update(part));
                Sum::Hmac(mac.finish())
            }
            Checksum::Crc32 => Sum::Crc32(crc32(message)),
        }
    }

    /// The checksum of the message, which is encrypted.
    fn sum_and_encrypt(&mut self, message: &mut [Buffer<'_>]) -> Sum {
        let Checksum::Hmac { signing, .. } = &self.keys.checksum else {
            let sum = self.sum(message.iter().map(Buffer::as_bytes));
            apply(self.handle, message);
            return sum;
        };
        let mut mac = signing.begin(self.seq_num);
        for part in message {
            match part {
                Buffer::Data(data) => mac.update_and_encrypt(data, self.handle),
                Buffer::SignOnly(data) => mac.update(data),
            }
        }
        Sum::Hmac(mac.finish())
    }

    /// Decrypts the message. Returns its checksum.
    fn decrypt_and_sum(&mut self, message: &mut [Buffer<'_>]) -> Sum {
        let Checksum::Hmac { signing, .. } = &self.keys.checksum else {
            apply(self.handle, message);
            return self.sum(message.iter().map(Buffer::as_bytes));
        };
        let mut mac = signing.begin(self.seq_num);
        for part in message {
            match part {
                Buffer::Data(data) => mac.decrypt_and_update(data, self.handle),
                Buffer::SignOnly(data) => mac.update(data),
            }
        }
        Sum::Hmac(mac.finish())
    }

    fn seal(&mut self, sum: Sum) -> MessageSignature {
        match sum {
            Sum::Hmac(mut checksum) => {
                if matches!(self.keys.checksum, Checksum::Hmac { key_exch: true, .. }) {
                    self.handle.apply(&mut checksum);
                }
                MessageSignature::with_extended_session_security(checksum, self.seq_num)
            }
            Sum::Crc32(checksum) => {
                // RandomPad is sent as zeros, but advances the stream all the same.
                let mut random_pad = [0; 4];
                let [mut checksum, mut seq_num] = [checksum.to_le_bytes(), self.seq_num.to_le_bytes()];
                for part in [&mut random_pad, &mut checksum, &mut seq_num] {
                    self.handle.apply(part);
                }
                MessageSignature::without_extended_session_security(checksum, seq_num)
            }
        }
    }
}

/// Encrypts or decrypts the data of the message.
fn apply(handle: &mut Handle, message: &mut [Buffer<'_>]) {
    for buffer in message {
        if let Buffer::Data(data) = buffer {
            handle.apply(data);
        }
    }
}

fn equal(a: &MessageSignature, b: &MessageSignature) -> bool {
    // As numbers, which are compared at one go.
    u128::from_ne_bytes(a.0).ct_eq(&u128::from_ne_bytes(b.0)).into()
}

#[cfg(test)]
mod tests {
    use crate::{crypto::ExportedSessionKey, error::Error, session::Role, wire::NegotiateFlags};

    use super::*;

    fn pair(flags: NegotiateFlags) -> (Session, Session) {
        let session = |role| Session::new(role, flags, ExportedSessionKey::new([0x55; 16]), None);
        (session(Role::Initiator), session(Role::Acceptor))
    }

    const FULL: NegotiateFlags = NegotiateFlags::SIGN
        .union(NegotiateFlags::SEAL)
        .union(NegotiateFlags::KEY_EXCH)
        .union(NegotiateFlags::EXTENDED_SESSIONSECURITY)
        .union(NegotiateFlags::BITS_128);

    const OLD: NegotiateFlags = NegotiateFlags::SIGN.union(NegotiateFlags::SEAL).union(NegotiateFlags::KEY_EXCH);

    fn state(session: &Session) -> Vec<u8> {
        let mut bytes = Vec::new();
        session.export(&mut bytes);
        bytes
    }

    #[test]
    fn a_refused_message_leaves_the_session_as_it_was() {
        refuses_every_changed_bit(FULL, |_| true);
        refuses_every_changed_bit(FULL - NegotiateFlags::KEY_EXCH, |_| true);
        // RandomPad has no meaning without extended session security.
        refuses_every_changed_bit(OLD, |bit| !(32..64).contains(&bit));
        refuses_every_changed_bit(OLD | NegotiateFlags::LM_KEY, |bit| !(32..64).contains(&bit));
        refuses_every_changed_bit(FULL | NegotiateFlags::DATAGRAM, |_| true);
        refuses_every_changed_bit(OLD | NegotiateFlags::DATAGRAM, |bit| !(32..64).contains(&bit));
    }

    fn refuses_every_changed_bit(flags: NegotiateFlags, means_something: impl Fn(usize) -> bool) {
        let (mut client, mut server) = pair(flags);
        if flags.contains(NegotiateFlags::DATAGRAM) {
            [&mut client, &mut server].into_iter().for_each(|session| session.set_seq_num(7).unwrap());
        }
        let with = |data: &mut [u8; 14], work: &mut dyn FnMut(&mut [Buffer<'_>])| {
            let (first, second) = data.split_at_mut(6);
            work(&mut [Buffer::SignOnly(b"order"), Buffer::Data(first), Buffer::Data(second)]);
        };
        // The first message, for which a stream is made, and one that goes on with it.
        for round in 0..2 {
            let (mut data, mut signature) = (*b"attack at dawn", [0; SIGNATURE_LEN]);
            with(&mut data, &mut |message| signature = client.wrap(message).unwrap());
            let before = state(&server);
            for bit in 0..data.len() * 8 {
                let mut changed = data;
                changed[bit / 8] ^= 1 << (bit % 8);
                let sealed = changed;
                with(&mut changed, &mut |message| assert!(server.unwrap(message, &signature).is_err()));
                assert_eq!(changed, sealed, "returns no plain text");
                assert_eq!(state(&server), before, "{flags}, round {round}");
            }
            for bit in (0..128).filter(|bit| means_something(*bit)) {
                let mut changed = signature;
                changed[bit / 8] ^= 1 << (bit % 8);
                with(&mut data.clone(), &mut |message| assert!(server.unwrap(message, &changed).is_err()));
                assert!(server.verify_mic(&[b"x"], &changed).is_err());
                assert_eq!(state(&server), before, "{flags}, round {round}");
            }
            with(&mut data, &mut |message| server.unwrap(message, &signature).unwrap());
            assert_eq!(&data, b"attack at dawn");
        }
    }

    #[test]
    fn without_extended_session_security_both_directions_share_a_stream_and_a_count() {
        for flags in [OLD, OLD | NegotiateFlags::LM_KEY, OLD | NegotiateFlags::LM_KEY | NegotiateFlags::BITS_56] {
            let (mut client, mut server) = pair(flags);
            for round in 0..3 {
                let mut data = *b"alternating";
                let signature = client.wrap(&mut [Buffer::Data(&mut data)]).unwrap();
                assert_ne!(&data, b"alternating");
                server.unwrap(&mut [Buffer::Data(&mut data)], &signature).unwrap();
                assert_eq!(&data, b"alternating");
                let answer = server.get_mic(&[b"ans", b"wer"]).unwrap();
                assert_eq!(answer[4..8], [0; 4], "zeros in RandomPad");
                client.verify_mic(&[b"answer"], &answer).unwrap();
                if round == 1 {
                    let (exported, mut again) = (state(&client), Vec::new());
                    let mut reader = crate::bytes::Reader::new(crate::error::Message::ExportedContext, &exported);
                    client = Session::import(Role::Initiator, &mut reader).unwrap();
                    client.export(&mut again);
                    assert_eq!((&again, reader.rest()), (&exported, &[][..]));
                }
            }
        }
    }

    #[test]
    fn where_a_mech_list_mic_was_lost_a_forged_message_uses_up_no_number() {
        let (mut client, mut server) = pair(FULL);
        server.forgive_lost_mech_list_mic();
        let before = state(&server);
        let [zero, one] = [(); 2].map(|()| {
            let mut data = *b"message";
            (client.wrap(&mut [Buffer::Data(&mut data)]).unwrap(), data)
        });
        // The forger says that number 0 was lost.
        assert!(server.verify_mic(&[b"forged"], &one.0).is_err());
        assert!(server.unwrap(&mut [Buffer::Data(&mut b"forged!".clone())], &one.0).is_err());
        assert_eq!(state(&server), before);
        for (signature, mut data) in [zero, one] {
            server.unwrap(&mut [Buffer::Data(&mut data)], &signature).unwrap();
            assert_eq!(&data, b"message");
            assert!(!server.may_start_at_one(), "the first message is there");
        }
        // Number 0 was lost: the first message has number 1, and no other message comes before it.
        let (mut client, mut server) = pair(FULL);
        server.forgive_lost_mech_list_mic();
        client.get_mic(&[b"mechTypes"]).unwrap();
        client.reset_crypto(Way::Send);
        server.verify_mic(&[b"first"], &client.get_mic(&[b"first"]).unwrap()).unwrap();
        assert!(server.verify_mic(&[b"first"], &pair(FULL).0.get_mic(&[b"first"]).unwrap()).is_err());
    }

    #[test]
    fn tells_a_replayed_message_from_a_lost_one() {
        let (mut client, mut server) = pair(FULL);
        let (first, second, third) = (client.get_mic(&[b"1"]), client.get_mic(&[b"2"]), client.get_mic(&[b"3"]));
        server.verify_mic(&[b"1"], &first.clone().unwrap()).unwrap();
        let refused = |sequence| Err(Error::BadSignature(sequence));
        assert_eq!(server.verify_mic(&[b"1"], &first.unwrap()), refused(BadSignature::Duplicate));
        assert_eq!(server.verify_mic(&[b"3"], &third.unwrap()), refused(BadSignature::Gap));
        assert_eq!(server.verify_mic(&[b"!"], &second.clone().unwrap()), refused(BadSignature::Expected));
        server.verify_mic(&[b"2"], &second.unwrap()).unwrap();
    }

    #[test]
    fn connectionless_messages_verify_in_any_order_and_again() {
        for flags in [FULL, OLD, NegotiateFlags::SIGN | NegotiateFlags::EXTENDED_SESSIONSECURITY] {
            let (mut client, mut server) = pair(flags | NegotiateFlags::DATAGRAM);
            for session in [&mut client, &mut server] {
                session.set_seq_num(100).unwrap();
            }
            let messages = [&b"one"[..], b"two", b""];
            let signatures = messages.map(|message| client.get_mic(&[message]).unwrap());
            assert_eq!(signatures[0], client.get_mic(&[b"one"]).unwrap(), "the number does not change");
            let before = state(&server);
            for at in [2, 0, 1, 1, 0] {
                server.verify_mic(&[messages[at]], &signatures[at]).unwrap();
                assert!(server.verify_mic(&[b"other"], &signatures[at]).is_err());
            }
            assert_eq!(state(&server), before);
            server.set_seq_num(101).unwrap();
            // The number can be read only with extended session security.
            let is_extended = flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY);
            let sequence = if is_extended { BadSignature::Other } else { BadSignature::Expected };
            let refused = server.verify_mic(&[b"one"], &signatures[0]);
            assert_eq!(refused, Err(sequence.into()));
        }
        assert!(pair(FULL).0.set_seq_num(100).is_err());
    }

    #[test]
    fn connectionless_messages_are_sealed_with_extended_session_security_only() {
        let (mut client, mut server) = pair(FULL | NegotiateFlags::DATAGRAM);
        let refused = client.wrap(&mut [Buffer::Data(&mut [0; 3])]).unwrap_err();
        assert_eq!(refused, ApiMisuse::NoSeqNum.into(), "the same number means the same key stream");
        client.set_seq_num(1).unwrap();
        server.set_seq_num(1).unwrap();
        let mut sealed = [*b"message", *b"message"];
        let [first, second] = sealed.each_mut().map(|data| client.wrap(&mut [Buffer::Data(data)]).unwrap());
        assert_eq!((sealed[0], first), (sealed[1], second));
        server.unwrap(&mut [Buffer::Data(&mut sealed[1])], &second).unwrap();
        server.unwrap(&mut [Buffer::Data(&mut sealed[0])], &first).unwrap();
        assert_eq!(&sealed, &[*b"message", *b"message"]);
        let without = NegotiateFlags::SIGN | NegotiateFlags::KEY_EXCH | NegotiateFlags::DATAGRAM;
        let refused = pair(without).0.wrap(&mut [Buffer::Data(&mut [0; 3])]);
        assert_eq!(refused.unwrap_err(), ApiMisuse::NoProtection.into());
    }

    #[test]
    fn every_protected_session_wraps_but_a_connectionless_one_must_be_able_to_seal() {
        let (sign, seal) = (NegotiateFlags::SIGN, NegotiateFlags::SEAL);
        let (extended, datagram) = (NegotiateFlags::EXTENDED_SESSIONSECURITY, NegotiateFlags::DATAGRAM);
        for (flags, can_wrap) in [
            (sign, true),
            (seal, true),
            (sign | extended, true),
            (sign | datagram, false),
            (seal | datagram, true),
            (sign | extended | datagram, true),
            (extended | datagram, false),
            (NegotiateFlags::ALWAYS_SIGN, false),
        ] {
            let (mut client, mut server) = pair(flags);
            if flags.contains(datagram) {
                client.set_seq_num(1).unwrap();
                server.set_seq_num(1).unwrap();
            }
            let mut data = *b"data";
            let wrapped = client.wrap(&mut [Buffer::Data(&mut data)]);
            assert_eq!(wrapped.as_ref().err(), (!can_wrap).then_some(&ApiMisuse::NoProtection.into()), "{flags}");
            assert_eq!(client.ensure_can_wrap().is_ok(), can_wrap, "{flags}");
            if let Ok(signature) = wrapped {
                server.unwrap(&mut [Buffer::Data(&mut data)], &signature).unwrap();
                assert_eq!(&data, b"data", "{flags}");
            }
        }
    }

    #[test]
    fn a_reflected_message_is_refused() {
        let (mut client, _) = pair(FULL);
        let signature = client.get_mic(&[b"hello"]).unwrap();
        assert!(client.verify_mic(&[b"hello"], &signature).is_err());
    }

    #[test]
    fn an_imported_session_continues_the_exported_one() {
        let (mut client, mut server) = pair(FULL);
        server.verify_mic(&[b"1"], &client.get_mic(&[b"1"]).unwrap()).unwrap();
        let bytes = state(&client);
        let mut reader = crate::bytes::Reader::new(crate::error::Message::ExportedContext, &bytes);
        let mut again = Session::import(Role::Initiator, &mut reader).unwrap();
        assert!(reader.rest().is_empty());
        let mut data = *b"second";
        let signature = again.wrap(&mut [Buffer::Data(&mut data)]).unwrap();
        server.unwrap(&mut [Buffer::Data(&mut data)], &signature).unwrap();
        assert_eq!(&data, b"second");
    }

    #[test]
    fn resetting_restarts_the_stream_and_keeps_the_number() {
        let (mut client, mut server) = pair(FULL);
        server.verify_mic(&[b"1"], &client.get_mic(&[b"1"]).unwrap()).unwrap();
        client.reset_crypto(Way::Send);
        let signature = client.get_mic(&[b"2"]).unwrap();
        assert!(server.verify_mic(&[b"2"], &signature).is_err());
        server.reset_crypto(Way::Receive);
        server.verify_mic(&[b"2"], &signature).unwrap();
        assert_eq!(MessageSignature(signature).seq_num(), 1);
    }

    #[test]
    fn always_sign_alone_gives_the_dummy_and_does_not_wrap() {
        let (mut client, mut server) = pair(NegotiateFlags::ALWAYS_SIGN);
        let signature = client.get_mic(&[b"anything"]).unwrap();
        assert_eq!(signature, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        server.verify_mic(&[b"something else"], &signature).unwrap();
        assert!(server.verify_mic(&[b""], &[0; 16]).is_err());
        assert_eq!(client.wrap(&mut [Buffer::Data(&mut [0; 3])]).unwrap_err(), ApiMisuse::NoProtection.into());
        let (mut none, _) = pair(NegotiateFlags::empty());
        assert_eq!(none.get_mic(&[b""]).unwrap_err(), ApiMisuse::NoProtection.into());
    }
}
