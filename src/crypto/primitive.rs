//! The hashes and ciphers of [MS-NLMP] 6, by their crates. MD5 and HMAC-MD5 for NTLMv2 and for messages are in `md5` and
//! `hmac_md5`.

use des::cipher::{Array, BlockCipherEncrypt, KeyInit as _};
use hmac::{Hmac, Mac};
use md4::Md4;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq as _;

use super::{secret::is_wiped, work::count};

/// MD4 (RFC 1320) of the concatenated parts.
#[must_use]
pub fn md4(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md4::new();
    parts.iter().for_each(|part| hash.update(part));
    count(parts.iter().map(|part| part.len()).sum());
    hash.finalize().into()
}

/// MD5 (RFC 1321) of the concatenated parts.
#[must_use]
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part));
    count(parts.iter().map(|part| part.len()).sum());
    hash.finalize().into()
}

/// HMAC_MD5 (RFC 2104) of the concatenated parts, with a key of any length.
#[must_use]
pub fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    #[expect(clippy::expect_used, reason = "HMAC has keys of any length")]
    let mut mac = <Hmac<Md5> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    parts.iter().for_each(|part| mac.update(part));
    count(parts.iter().fold(key.len(), |sum, part| sum.saturating_add(part.len())));
    mac.finalize().into_bytes().into()
}

// The crates wipe what they keep of a key, for their feature `zeroize` is on. An HMAC keeps states of its hash.
const _: () = is_wiped::<Md5>();
const _: () = is_wiped::<Md4>();
const _: () = is_wiped::<des::Des>();

/// Whether `a` equals `b`. Takes the same time for all contents of one length.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// CRC32 as in zlib (ISO 3309), of the concatenated parts.
#[must_use]
pub fn crc32<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u32 {
    !parts.flatten().fold(!0_u32, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        #[expect(clippy::indexing_slicing, reason = "a u8 indexes 256 entries")]
        let of_byte = CRC32_OF_BYTE[usize::from(low ^ byte)];
        (crc >> 8) ^ of_byte
    })
}

const CRC32_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut rest: &mut [u32] = &mut table;
    let mut byte = 0_u32;
    while let [entry, others @ ..] = rest {
        *entry = byte;
        let mut bit = 0_u32;
        while bit < u8::BITS {
            *entry = (*entry >> 1) ^ if *entry & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit = bit.wrapping_add(1);
        }
        byte = byte.wrapping_add(1);
        rest = others;
    }
    table
};

/// DES(K, D): encrypts one block. The 56 bits of the key are spread over eight bytes, whose lowest bits are for parity.
#[must_use]
pub fn des(key: [u8; 7], data: [u8; 8]) -> [u8; 8] {
    count(data.len());
    let [k0, k1, k2, k3, k4, k5, k6] = key;
    let bits = u64::from_be_bytes([0, k0, k1, k2, k3, k4, k5, k6]);
    let spread = [49, 42, 35, 28, 21, 14, 7, 0].map(|shift: u32| {
        let [.., low] = (bits >> shift).to_be_bytes();
        low << 1
    });
    let mut block = Array::from(data);
    des::Des::new(&Array::from(spread)).encrypt_block(&mut block);
    block.into()
}

/// DESL(K, D): encrypts the block three times, each time with another part of the key.
#[must_use]
pub fn desl(key: &[u8; 16], data: [u8; 8]) -> [u8; 24] {
    let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14, k15] = *key;
    let [first, second, third] =
        [[k0, k1, k2, k3, k4, k5, k6], [k7, k8, k9, k10, k11, k12, k13], [k14, k15, 0, 0, 0, 0, 0]]
            .map(|key| des(key, data));
    let mut response = [0; 24];
    response.iter_mut().zip(first.into_iter().chain(second).chain(third)).for_each(|(to, from)| *to = from);
    response
}
