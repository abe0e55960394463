//! The mechanism itself: its attributes, its names, its trace.

use core::ffi::c_uchar;

use libgssapi_sys as g;

use super::{
    COMPLETE, Major,
    oid::{NTLM, OidSet, StaticOid, ensure_ntlm, libgssapi, private},
    ptr::{Bytes, ConstOid, Oid, Out, Unused},
};
use crate::{
    error::{ApiMisuse, Result},
    sys::{self, Malloced, System},
};

/// The mechanism's name in SASL (RFC 5801).
const SASL_NAME: &str = "GS2-NTLM";

/// `gss_inquire_names_for_mech`, RFC 2744 5.24.
pub(super) fn inquire_names(mech: Oid, types: Out<OidSet>) -> Result<Major> {
    types.ensure_given()?;
    ensure_ntlm(&mech)?;
    types.put(OidSet::of(&[
        libgssapi::GSS_C_NT_USER_NAME,
        libgssapi::GSS_C_NT_HOSTBASED_SERVICE,
        libgssapi::GSS_C_NT_HOSTBASED_SERVICE_X,
        libgssapi::GSS_C_NT_MACHINE_UID_NAME,
        libgssapi::GSS_C_NT_STRING_UID_NAME,
        libgssapi::GSS_C_NT_ANONYMOUS,
        libgssapi::GSS_C_NT_EXPORT_NAME,
    ])?);
    Ok(COMPLETE)
}

/// `gss_inquire_attrs_for_mech`, RFC 5587 3.4.3. Nothing more is known than what RFC 5587 has, which the mechglue adds itself.
pub(super) fn inquire_attributes(mech: ConstOid, attributes: Out<OidSet>, _known: Out<OidSet>) -> Result<Major> {
    ensure_ntlm(&mech)?;
    attributes.put(OidSet::of(&[
        libgssapi::GSS_C_MA_MECH_CONCRETE,
        libgssapi::GSS_C_MA_AUTH_INIT,
        libgssapi::GSS_C_MA_AUTH_INIT_INIT,
        libgssapi::GSS_C_MA_AUTH_INIT_ANON,
        libgssapi::GSS_C_MA_INTEG_PROT,
        libgssapi::GSS_C_MA_CONF_PROT,
        libgssapi::GSS_C_MA_MIC,
        libgssapi::GSS_C_MA_WRAP,
        libgssapi::GSS_C_MA_REPLAY_DET,
        libgssapi::GSS_C_MA_OOS_DET,
        libgssapi::GSS_C_MA_CBINDINGS,
        libgssapi::GSS_C_MA_CTX_TRANS,
    ])?);
    Ok(COMPLETE)
}

/// `gss_inquire_saslname_for_mech`, RFC 5801 10.1.
pub(super) fn inquire_sasl_name(
    mech: Oid, sasl_name: Out<Malloced>, name: Out<Malloced>, description: Out<Malloced>,
) -> Result<Major> {
    ensure_ntlm(&mech)?;
    let texts = [SASL_NAME, "NTLM", "NTLM Mechanism"].map(|text| Malloced::copy(text.as_bytes()));
    let [sasl_text, name_text, description_text] = texts;
    let texts = (sasl_text?, name_text?, description_text?);
    sasl_name.put(texts.0);
    name.put(texts.1);
    description.put(texts.2);
    Ok(COMPLETE)
}

/// `gss_inquire_mech_for_saslname`, RFC 5801 10.2.
pub(super) fn for_sasl_name(name: Bytes, mech: Out<StaticOid>) -> Result<Major> {
    if name.required()? != SASL_NAME.as_bytes() {
        return Err(ApiMisuse::BadMech.into());
    }
    mech.put(NTLM);
    Ok(COMPLETE)
}

/// `gssspi_mech_invoke`: starts the trace to where `value` says, or stops it when `value` is empty.
pub(super) fn invoke(mech: Oid, object: Oid, value: Bytes) -> Result<Major> {
    ensure_ntlm(&mech)?;
    let object = object.required()?;
    let value = value.get()?.unwrap_or(&[]);
    if object != private::DEBUG {
        return Err(ApiMisuse::UnknownOption.into());
    }
    let place = str::from_utf8(value.strip_suffix(b"\0").unwrap_or(value)).map_err(|_| ApiMisuse::BadArgument)?;
    sys::trace_to(place, &System).map(|()| COMPLETE)
}

/// `gssspi_query_mechanism_info`: what SPNEGO asks each mechanism before it begins, for a kind of negotiation that NTLM has no
/// part in. The question tells that there is an SPNEGO in this process.
pub(super) fn query_info(_mech: Unused<g::gss_const_OID>, _auth_scheme: Unused<*mut c_uchar>) -> Result<Major> {
    sys::note_spnego();
    Err(ApiMisuse::UnknownOption.into())
}
