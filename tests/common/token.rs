//! The three messages of [MS-NLMP] 2.2.1 taken to pieces and put together again, to make those that libgssapi does not send.

/// Bits of NegotiateFlags, [MS-NLMP] 2.2.2.5.
pub(crate) const UNICODE: u32 = 0x1;
pub(crate) const OEM: u32 = 0x2;
pub(crate) const REQUEST_TARGET: u32 = 0x4;
pub(crate) const TARGET_TYPE_DOMAIN: u32 = 0x1_0000;
pub(crate) const TARGET_TYPE_SERVER: u32 = 0x2_0000;
pub(crate) const SIGN: u32 = 0x10;
pub(crate) const SEAL: u32 = 0x20;
pub(crate) const LM_KEY: u32 = 0x80;
pub(crate) const NTLM_KEY: u32 = 0x200;
pub(crate) const OEM_DOMAIN_SUPPLIED: u32 = 0x1000;
pub(crate) const OEM_WORKSTATION_SUPPLIED: u32 = 0x2000;
pub(crate) const ALWAYS_SIGN: u32 = 0x8000;
pub(crate) const EXTENDED_SESSIONSECURITY: u32 = 0x8_0000;
pub(crate) const TARGET_INFO: u32 = 0x80_0000;
pub(crate) const VERSION: u32 = 0x200_0000;
pub(crate) const BITS_128: u32 = 0x2000_0000;
pub(crate) const KEY_EXCH: u32 = 0x4000_0000;
pub(crate) const BITS_56: u32 = 0x8000_0000;

/// AvIds, [MS-NLMP] 2.2.2.1.
pub(crate) mod av {
    pub(crate) const NB_COMPUTER_NAME: u16 = 1;
    pub(crate) const NB_DOMAIN_NAME: u16 = 2;
    pub(crate) const DNS_COMPUTER_NAME: u16 = 3;
    pub(crate) const DNS_DOMAIN_NAME: u16 = 4;
    pub(crate) const FLAGS: u16 = 6;
    pub(crate) const TIMESTAMP: u16 = 7;
    pub(crate) const SINGLE_HOST: u16 = 8;
    pub(crate) const TARGET_NAME: u16 = 9;
    pub(crate) const CHANNEL_BINDINGS: u16 = 10;
}

/// An id and its value.
pub(crate) type Pair = (u16, Vec<u8>);

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// NegotiateFlags of a message of any of the three types.
pub(crate) fn flags_of(token: &[u8]) -> u32 {
    u32_at(token, flags_at(token))
}

pub(crate) fn with_flags(mut token: Vec<u8>, change: impl FnOnce(u32) -> u32) -> Vec<u8> {
    let at = flags_at(&token);
    let flags = change(u32_at(&token, at));
    token[at..at + 4].copy_from_slice(&flags.to_le_bytes());
    token
}

fn flags_at(token: &[u8]) -> usize {
    match token[8] {
        1 => 12,
        2 => 20,
        3 => 60,
        other => panic!("no message of type {other}"),
    }
}

fn u16_at(token: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(token[at..at + 2].try_into().unwrap())
}

fn u32_at(token: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(token[at..at + 4].try_into().unwrap())
}

/// The field whose Len, MaxLen and BufferOffset stand at `at`.
fn field(token: &[u8], at: usize) -> Vec<u8> {
    let start = usize::try_from(u32_at(token, at + 4)).unwrap();
    token[start..][..usize::from(u16_at(token, at))].to_vec()
}

/// A message as it grows: its fixed part, and the payload behind it.
struct Writer {
    fixed: Vec<u8>,
    header: usize,
    payload: Vec<u8>,
}

impl Writer {
    fn new(kind: u32, header: usize) -> Self {
        Self { fixed: [b"NTLMSSP\0", &kind.to_le_bytes()[..]].concat(), header, payload: Vec::new() }
    }

    fn field(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        let offset = u32::try_from(self.header + self.payload.len()).unwrap().to_le_bytes();
        self.fixed.extend([&length[..], &length, &offset].concat());
        self.payload.extend(bytes);
    }

    /// The fixed part as long as the header, cut off or filled up, and the payload.
    fn finish(mut self) -> Vec<u8> {
        self.fixed.resize(self.header, 0);
        [self.fixed, self.payload].concat()
    }
}

/// A NEGOTIATE_MESSAGE of 32 bytes and the names.
pub(crate) fn negotiate(flags: u32, domain: &[u8], workstation: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(1, 32);
    writer.fixed.extend(flags.to_le_bytes());
    writer.field(domain);
    writer.field(workstation);
    writer.finish()
}

/// A CHALLENGE_MESSAGE.
#[derive(Clone)]
pub(crate) struct Challenge {
    pub(crate) target_name: Vec<u8>,
    pub(crate) flags: u32,
    pub(crate) server_challenge: Vec<u8>,
    /// Without MsvAvEOL.
    pub(crate) target_info: Vec<Pair>,
}

impl Challenge {
    pub(crate) fn read(token: &[u8]) -> Self {
        let target_info = pairs(&field(token, 40));
        Self {
            target_name: field(token, 12),
            flags: flags_of(token),
            server_challenge: token[24..32].to_vec(),
            target_info,
        }
    }

    /// With a header of that length: 56 with Version, 48 without, 32 without TargetInfo as well.
    pub(crate) fn write(&self, header: usize) -> Vec<u8> {
        let mut writer = Writer::new(2, header);
        writer.field(&self.target_name);
        writer.fixed.extend(self.flags.to_le_bytes());
        writer.fixed.extend(&self.server_challenge);
        writer.fixed.extend([0; 8]);
        let info = if header > 32 { write_pairs(&self.target_info) } else { Vec::new() };
        writer.field(&info);
        writer.finish()
    }

    /// The value of the pair `id`.
    pub(crate) fn find(&self, id: u16) -> Option<&[u8]> {
        find(&self.target_info, id)
    }

    pub(crate) fn without(mut self, ids: &[u16]) -> Self {
        self.target_info.retain(|(id, _)| !ids.contains(id));
        self
    }

    /// Says `value` for `id`, whatever it said before.
    pub(crate) fn with(mut self, id: u16, value: &[u8]) -> Self {
        self = self.without(&[id]);
        self.target_info.push((id, value.to_vec()));
        self
    }
}

/// An AUTHENTICATE_MESSAGE.
#[derive(Clone)]
pub(crate) struct Authenticate {
    pub(crate) lm_response: Vec<u8>,
    pub(crate) nt_response: Vec<u8>,
    pub(crate) domain: Vec<u8>,
    pub(crate) user: Vec<u8>,
    pub(crate) workstation: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) flags: u32,
    /// As it stands, which means nothing in a header that is too short for one.
    pub(crate) mic: Vec<u8>,
}

impl Authenticate {
    pub(crate) fn read(token: &[u8]) -> Self {
        let [lm_response, nt_response, domain, user, workstation, key] =
            [12, 20, 28, 36, 44, 52].map(|at| field(token, at));
        let mic = token[72..88].to_vec();
        Self { lm_response, nt_response, domain, user, workstation, key, flags: flags_of(token), mic }
    }

    /// With a header of that length: 88 with MIC, 72 with Version, 64 with flags, 60 with a key, 52 with none of all that.
    pub(crate) fn write(&self, header: usize) -> Vec<u8> {
        let mut writer = Writer::new(3, header);
        let fields = [&self.lm_response, &self.nt_response, &self.domain, &self.user, &self.workstation];
        fields.into_iter().for_each(|part| writer.field(part));
        if header > 52 {
            writer.field(&self.key);
            writer.fixed.extend(self.flags.to_le_bytes());
            writer.fixed.extend([6, 3, 0x80, 0x25, 0, 0, 0, 15]);
            writer.fixed.extend(&self.mic);
        }
        writer.finish()
    }

    /// The AV_PAIRs of an NTLMv2 response.
    pub(crate) fn target_info(&self) -> Vec<Pair> {
        pairs(&self.nt_response[44..])
    }

    /// Puts others in their place, which no proof covers.
    pub(crate) fn set_target_info(&mut self, pairs: &[Pair]) {
        self.nt_response.truncate(44);
        self.nt_response.extend(write_pairs(pairs));
        self.nt_response.extend([0; 4]);
    }
}

pub(crate) fn find(pairs: &[Pair], id: u16) -> Option<&[u8]> {
    pairs.iter().find(|(other, _)| *other == id).map(|(_, value)| &value[..])
}

/// The pairs before MsvAvEOL.
fn pairs(mut bytes: &[u8]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    while bytes.len() >= 4 && u16_at(bytes, 0) != 0 {
        let end = 4 + usize::from(u16_at(bytes, 2));
        pairs.push((u16_at(bytes, 0), bytes[4..end].to_vec()));
        bytes = &bytes[end..];
    }
    pairs
}

fn write_pairs(pairs: &[Pair]) -> Vec<u8> {
    let write = |(id, value): &Pair| {
        let length = u16::try_from(value.len()).unwrap();
        [&id.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
    };
    pairs.iter().flat_map(write).chain([0; 4]).collect()
}
