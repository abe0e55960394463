//! Names: importing, displaying, comparing, exporting, copying, releasing.

use core::ffi::c_int;

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    oid::{self, StaticOid, libgssapi, name_type},
    ptr::{Bytes, Malloced, Object, Oid, Out, Ref, Slot},
};
use crate::{
    error::{ApiMisuse, Result},
    host::Host as _,
    name::{Name, Principal},
    sys::{self, System},
};

impl Object for Principal {
    type C = g::gss_name_struct;
}

impl Ref<Principal> {
    /// The name that the handle stands for; NULL is [`ApiMisuse::BadName`].
    pub(super) fn required(&self) -> Result<&Principal> {
        Ok(self.get().ok_or(ApiMisuse::BadName)?)
    }
}

/// `gss_import_name`, RFC 2744 5.16.
pub(super) fn import(bytes: Bytes, kind: Oid, name: Out<Box<Principal>>) -> Result<Major> {
    name.ensure_given()?;
    let bytes = bytes.required()?;
    name.put(Box::new(read(bytes, kind.get()?.unwrap_or(name_type::USER))?.into()));
    Ok(COMPLETE)
}

/// The name that `bytes` are, read as one of type `kind`.
fn read(bytes: &[u8], kind: &[u8]) -> Result<Name> {
    // Some programs count the NUL of their C string.
    let text = || str::from_utf8(without_nul(bytes)).map_err(|_| ApiMisuse::BadName);
    match kind {
        name_type::USER => Name::parse_user(text()?),
        name_type::SERVICE | name_type::SERVICE_X => Name::parse_service(text()?, &System.names().host_name),
        name_type::ANONYMOUS => Ok(Name::Anonymous),
        name_type::EXPORT_NAME => {
            let text = exported_text(bytes).and_then(|text| str::from_utf8(text).ok()).ok_or(ApiMisuse::BadName)?;
            Name::parse_canonical(text)
        }
        name_type::STRING_UID | name_type::MACHINE_UID => {
            let account = uid(bytes, kind).and_then(sys::user_name).ok_or(ApiMisuse::BadName)?;
            Name::parse_user(&account)
        }
        _ => Err(ApiMisuse::BadNameType.into()),
    }
}

/// The user id that `bytes` are, in digits or as a number of this machine, by their `kind`.
pub(super) fn uid(bytes: &[u8], kind: &[u8]) -> Option<u32> {
    match kind {
        name_type::STRING_UID => str::from_utf8(without_nul(bytes)).ok()?.parse().ok(),
        name_type::MACHINE_UID => bytes.try_into().map(u32::from_ne_bytes).ok(),
        _ => None,
    }
}

/// Some programs count the NUL of their C string.
fn without_nul(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\0").unwrap_or(bytes)
}

/// The TOK_ID and, in DER, the mechanism of an exported name (RFC 2743 3.2), each behind its length but the TOK_ID.
fn exported_head() -> Vec<u8> {
    [&[0x04, 0x01, 0, 12, 0x06, 10][..], &oid::NTLM_BYTES].concat()
}

/// The name in an exported name, which has to be all of it.
fn exported_text(token: &[u8]) -> Option<&[u8]> {
    let (length, text) = token.strip_prefix(&exported_head()[..])?.split_first_chunk()?;
    (usize::try_from(u32::from_be_bytes(*length)) == Ok(text.len())).then_some(text)
}

/// `gss_export_name`, RFC 2744 5.13.
pub(super) fn export(name: Ref<Principal>, exported: Out<Malloced>) -> Result<Major> {
    exported.ensure_given()?;
    let text = name.required()?.name.canonical();
    let length = u32::try_from(text.len()).map_err(|_| ApiMisuse::BadName)?.to_be_bytes();
    exported.put(Malloced::concat(&[&exported_head(), &length, text.as_bytes()])?);
    Ok(COMPLETE)
}

/// `gss_compare_name`, RFC 2744 5.3.
pub(super) fn compare(first: Ref<Principal>, second: Ref<Principal>, equal: Out<c_int>) -> Result<Major> {
    equal.ensure_given()?;
    equal.put(c_int::from(first.required()?.name.is_same(&second.required()?.name)));
    Ok(COMPLETE)
}

/// `gss_display_name`, RFC 2744 5.12.
pub(super) fn display(name: Ref<Principal>, output: Out<Malloced>, kind: Out<StaticOid>) -> Result<Major> {
    output.ensure_given()?;
    let name = &name.required()?.name;
    output.put(Malloced::text(&name.to_string())?);
    kind.put(match name {
        Name::User(_) => libgssapi::GSS_C_NT_USER_NAME,
        Name::Service(_) => libgssapi::GSS_C_NT_HOSTBASED_SERVICE,
        Name::Anonymous => libgssapi::GSS_C_NT_ANONYMOUS,
    });
    Ok(COMPLETE)
}

/// `gss_release_name`, RFC 2744 5.28.
pub(super) fn release(slot: Slot<Principal>) -> Result<Major> {
    slot.release();
    Ok(COMPLETE)
}

/// `gss_duplicate_name`, RFC 2744 5.13.
pub(super) fn duplicate(name: Ref<Principal>, copy: Out<Box<Principal>>) -> Result<Major> {
    copy.ensure_given()?;
    copy.put(Box::new(name.required()?.clone()));
    Ok(COMPLETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_name_is_all_of_its_token() {
        let token = [&exported_head()[..], &[0, 0, 0, 6], b"DOM\\al"].concat();
        assert_eq!(read(&token, name_type::EXPORT_NAME), Name::parse_user("DOM\\al"));
        for len in 0..token.len() {
            assert!(read(&token[..len], name_type::EXPORT_NAME).is_err(), "accepted {len} bytes");
        }
        assert!(read(&[&token[..], b"x"].concat(), name_type::EXPORT_NAME).is_err());
    }
}
