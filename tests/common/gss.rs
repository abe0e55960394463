//! libgssapi's handles as owned values, so that a test reads as a sentence.
//!
//! Every `unsafe` block here is one call of libgssapi with handles that their wrapper owns, and with pointers to locals that
//! outlive the call; the few that do more say so.
#![expect(clippy::undocumented_unsafe_blocks, reason = "one sentence for all of them stands above")]

use std::fmt;
use std::ops::Deref;
use std::ptr::{self, null_mut};

use libgssapi_sys as sys;
use libgssapi_sys::{gss_OID, gss_buffer_desc};

pub(crate) use super::name::Name;
use super::world;

pub(crate) static NTLM: Oid = Oid::new(b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a");
pub(crate) static SPNEGO: Oid = Oid::new(b"\x2b\x06\x01\x05\x05\x02");
pub(crate) static KRB5: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02");

pub(crate) static USER_NAME: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x01");
pub(crate) static HOSTBASED_SERVICE: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04");
pub(crate) static HOSTBASED_SERVICE_X: Oid = Oid::new(b"\x2b\x06\x01\x05\x06\x02");
pub(crate) static MACHINE_UID: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x02");
pub(crate) static STRING_UID: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x03");
pub(crate) static ANONYMOUS: Oid = Oid::new(b"\x2b\x06\x01\x05\x06\x03");
pub(crate) static EXPORT_NAME: Oid = Oid::new(b"\x2b\x06\x01\x05\x06\x04");

pub(crate) static SESSION_KEY: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x05");
pub(crate) static SASL_SSF: Oid = Oid::new(b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x0f");
pub(crate) static SET_SEQ_NUM: Oid = Oid::new(b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x01");
pub(crate) static REQUIRE_MIC: Oid = Oid::new(b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x02");
pub(crate) static RESET_CRYPTO: Oid = Oid::new(b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x03");
pub(crate) static DEBUG: Oid = Oid::new(b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x04");
pub(crate) static NEG_FLAGS: Oid = Oid::new(b"\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x05");
pub(crate) static NO_CI_FLAGS: Oid = Oid::new(b"\x2a\x85\x70\x2b\x0d\x1d");
/// An OID that no mechanism knows.
pub(crate) static UNKNOWN: Oid = Oid::new(b"\x2a\x03\x04\x05");

pub(crate) const CHANNEL_BOUND: u32 = 0x800;
pub(crate) const INDEFINITE: u32 = u32::MAX;

/// An object identifier that lives as long as the program, as those given to libgssapi should.
#[repr(transparent)]
pub(crate) struct Oid(sys::gss_OID_desc);

// SAFETY: it points to constant bytes.
unsafe impl Sync for Oid {}

impl Oid {
    #[expect(clippy::as_conversions, reason = "a constant, and shorter than a byte can count")]
    const fn new(bytes: &'static [u8]) -> Self {
        let elements = bytes.as_ptr().cast_mut().cast();
        Self(sys::gss_OID_desc { length: bytes.len() as u32, elements })
    }

    pub(crate) fn ptr(&'static self) -> gss_OID {
        ptr::from_ref(&self.0).cast_mut()
    }

    pub(crate) fn bytes(&'static self) -> Vec<u8> {
        oid_bytes(self.ptr())
    }
}

/// The bytes of an OID that libgssapi returned; empty for none.
pub(crate) fn oid_bytes(oid: gss_OID) -> Vec<u8> {
    if oid.is_null() {
        return Vec::new();
    }
    // SAFETY: libgssapi's OIDs are valid as long as the object that they came with.
    let oid = unsafe { *oid };
    unsafe { std::slice::from_raw_parts(oid.elements.cast(), to_usize(oid.length)) }.to_vec()
}

unsafe extern "C" {
    /// Exported by libgssapi, and not bound by libgssapi-sys.
    fn gssspi_mech_invoke(minor_status: *mut u32, mech: gss_OID, object: gss_OID, value: sys::gss_buffer_t) -> u32;
}

/// What a call of libgssapi answered when it failed, with the texts for it.
pub(crate) struct Failure {
    pub(crate) call: &'static str,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) major_text: String,
    pub(crate) minor_text: String,
}

impl Failure {
    fn new(call: &'static str, major: u32, minor: u32) -> Self {
        let major_text = display_status(major, sys::GSS_C_GSS_CODE);
        let minor_text = display_status(minor, sys::GSS_C_MECH_CODE);
        Self { call, major, minor, major_text, minor_text }
    }

    /// The routine error alone, without calling errors and supplementary bits.
    pub(crate) fn routine(&self) -> u32 {
        self.major & 0x00ff_0000
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, major, minor, major_text, minor_text } = self;
        write!(f, "{call}: {major:#x} ({major_text}), {minor:#x} ({minor_text})")
    }
}

pub(crate) type Gss<T> = Result<T, Failure>;

/// Every call of a wrapper goes this way, so that none comes before the process is prepared.
pub(super) fn call(what: &'static str, function: impl FnOnce(&mut u32) -> u32) -> Gss<u32> {
    world();
    let mut minor = 0;
    let major = function(&mut minor);
    if major & 0xffff_0000 == 0 { Ok(major) } else { Err(Failure::new(what, major, minor)) }
}

/// The sentences for a code; a major code has one for each of its parts.
fn display_status(code: u32, kind: u32) -> String {
    let (mut sentences, mut more) = (Vec::new(), 0);
    loop {
        let (mut minor, mut text) = (0, Buffer::default());
        let major =
            unsafe { sys::gss_display_status(&mut minor, code, kind.cast_signed(), NTLM.ptr(), &mut more, text.out()) };
        assert_eq!(major, sys::GSS_S_COMPLETE, "no text for {code:#x}");
        sentences.push(String::from_utf8(text.to_vec()).expect("texts are UTF-8"));
        if more == 0 {
            return sentences.join("; ");
        }
    }
}

/// Bytes that libgssapi allocated.
pub(crate) struct Buffer(gss_buffer_desc);

impl Buffer {
    /// Where a call puts its answer.
    pub(crate) fn out(&mut self) -> sys::gss_buffer_t {
        &mut self.0
    }
}

impl Buffer {
    /// A text, behind which a NUL stands that its length does not count: C programs take it for a string.
    pub(super) fn nul_terminated(&self) -> String {
        assert!(!self.is_empty(), "every name has a text");
        // SAFETY: a text of the mechanism's has one byte more than its length says.
        let after = unsafe { self.0.value.cast::<u8>().add(self.0.length) };
        // SAFETY: as above.
        let after = unsafe { after.read() };
        assert!(after == 0 && !self.contains(&0), "one NUL, behind the text");
        String::from_utf8(self.to_vec()).expect("names are UTF-8")
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self(gss_buffer_desc { length: 0, value: null_mut() })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // A length without a value, or an empty value that release would not free, are faults of the mechanism.
        assert_eq!(self.0.length == 0, self.0.value.is_null(), "an empty buffer is {{0, NULL}}");
        if self.0.value.is_null() {
            return &[];
        }
        unsafe { std::slice::from_raw_parts(self.0.value.cast(), self.0.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        unsafe { sys::gss_release_buffer(&mut 0, &mut self.0) };
    }
}

/// Lends bytes to a call that only reads them.
pub(crate) fn lend(bytes: &[u8]) -> gss_buffer_desc {
    gss_buffer_desc { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
}

/// Buffers as a set that libgssapi allocated.
pub(super) fn buffer_set(
    what: &'static str, fill: impl FnOnce(&mut u32, &mut sys::gss_buffer_set_t) -> u32,
) -> Gss<Vec<Vec<u8>>> {
    let mut set: sys::gss_buffer_set_t = null_mut();
    let outcome = call(what, |minor| fill(minor, &mut set));
    let mut values = Vec::new();
    if !set.is_null() {
        // SAFETY: a set that libgssapi made is valid until its release.
        let buffers = unsafe { *set };
        if buffers.count != 0 {
            let buffers = unsafe { std::slice::from_raw_parts(buffers.elements, buffers.count) };
            let bytes = |buffer: &gss_buffer_desc| {
                unsafe { std::slice::from_raw_parts(buffer.value.cast(), buffer.length) }.to_vec()
            };
            values = buffers.iter().map(bytes).collect();
        }
        unsafe { sys::gss_release_buffer_set(&mut 0, &mut set) };
    }
    outcome.map(|_| values)
}

/// OIDs as a set that libgssapi allocated.
pub(super) fn oid_set(
    what: &'static str, fill: impl FnOnce(&mut u32, &mut sys::gss_OID_set) -> u32,
) -> Gss<Vec<Vec<u8>>> {
    let mut set: sys::gss_OID_set = null_mut();
    call(what, |minor| fill(minor, &mut set))?;
    assert!(!set.is_null(), "{what} succeeded without a set");
    // SAFETY: a set that libgssapi made is valid until its release.
    let elements = unsafe { *set };
    // SAFETY: below the count.
    let oids = (0..elements.count).map(|at| oid_bytes(unsafe { elements.elements.add(at) })).collect();
    unsafe { sys::gss_release_oid_set(&mut 0, &mut set) };
    Ok(oids)
}

pub(crate) fn attributes_of(mech: &'static Oid) -> Gss<Vec<Vec<u8>>> {
    oid_set("gss_inquire_attrs_for_mech", |minor, set| unsafe {
        sys::gss_inquire_attrs_for_mech(minor, mech.ptr(), set, null_mut())
    })
}

/// Has a mechanism do what only it knows.
pub(crate) fn invoke(mech: &'static Oid, object: &'static Oid, value: &[u8]) -> Gss<u32> {
    let mut value = lend(value);
    call("gssspi_mech_invoke", |minor| unsafe { gssspi_mech_invoke(minor, mech.ptr(), object.ptr(), &mut value) })
}

pub(crate) fn name_types_of(mech: &'static Oid) -> Gss<Vec<Vec<u8>>> {
    oid_set("gss_inquire_names_for_mech", |minor, set| unsafe {
        sys::gss_inquire_names_for_mech(minor, mech.ptr(), set)
    })
}

/// SASL mechanism name, mechanism name and description.
pub(crate) fn sasl_name_of(mech: &'static Oid) -> Gss<[Buffer; 3]> {
    let mut names = [Buffer::default(), Buffer::default(), Buffer::default()];
    let [sasl, name, description] = &mut names;
    call("gss_inquire_saslname_for_mech", |minor| unsafe {
        sys::gss_inquire_saslname_for_mech(minor, mech.ptr(), sasl.out(), name.out(), description.out())
    })?;
    Ok(names)
}

pub(crate) fn mech_of_sasl_name(sasl_name: &str) -> Gss<Vec<u8>> {
    let (mut name, mut mech) = (lend(sasl_name.as_bytes()), null_mut());
    call("gss_inquire_mech_for_saslname", |minor| unsafe {
        sys::gss_inquire_mech_for_saslname(minor, &mut name, &mut mech)
    })?;
    Ok(oid_bytes(mech))
}

pub(crate) fn to_usize(count: u32) -> usize {
    usize::try_from(count).expect("a 64-bit machine")
}
