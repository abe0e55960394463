//! Names: importing, displaying, comparing, exporting, copying, releasing.

use core::ffi::c_int;
use std::sync::Arc;

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    oid::{StaticOid, libgssapi, name_type},
    ptr::{Bytes, Object, Oid, Out, Ref, Slot},
};
use crate::{
    error::{ApiMisuse, Result},
    name::{Name, Principal},
    sys::{self, Malloced},
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
pub(super) fn import(bytes: Bytes, kind: Oid, name: Out<Arc<Principal>>) -> Result<Major> {
    name.ensure_given()?;
    let bytes = bytes.required()?;
    name.put(Arc::new(read(bytes, kind.get()?.unwrap_or(name_type::USER))?.into()));
    Ok(COMPLETE)
}

/// The name that `bytes` are, read as one of type `kind`.
fn read(bytes: &[u8], kind: &[u8]) -> Result<Name> {
    // Some programs count the NUL of their C string.
    let text = || str::from_utf8(without_nul(bytes)).map_err(|_| ApiMisuse::BadName);
    match kind {
        name_type::USER => Name::parse_user(text()?),
        name_type::SERVICE | name_type::SERVICE_X => Name::parse_service(text()?, sys::host_name()),
        name_type::ANONYMOUS => Ok(Name::Anonymous),
        name_type::EXPORT_NAME => Name::from_exported(bytes),
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

/// `gss_export_name`, RFC 2744 5.13.
pub(super) fn export(name: Ref<Principal>, exported: Out<Malloced>) -> Result<Major> {
    exported.ensure_given()?;
    exported.put(Malloced::copy(&name.required()?.name.to_exported()?)?);
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
pub(super) fn duplicate(name: Ref<Principal>, copy: Out<Arc<Principal>>) -> Result<Major> {
    copy.ensure_given()?;
    copy.put(name.share().ok_or(ApiMisuse::BadName)?);
    Ok(COMPLETE)
}
