//! What is known about a name (RFC 6680), and which account of this computer it may use.

use core::ffi::c_int;
use std::borrow::Cow;

use super::{
    COMPLETE, Major, name,
    oid::{NTLM, StaticOid, ensure_ntlm, name_type},
    ptr::{BufferSet, Bytes, ConstOid, Oid, Out, Ref},
};
use crate::{
    error::{ApiMisuse, PolicyError, Result},
    name::{Attribute, Name, Principal},
    policy::Whom,
    sys::{self, Malloced},
};

/// `gss_inquire_name`, RFC 6680 7.4.
pub(super) fn inquire(
    name: Ref<Principal>, is_mn: Out<c_int>, mech: Out<StaticOid>, attributes: Out<BufferSet>,
) -> Result<Major> {
    let urns = name.required()?.attributes().map(|attribute| attribute.urn().as_bytes());
    attributes.put(BufferSet::of(urns)?);
    is_mn.put(1);
    mech.put(NTLM);
    Ok(COMPLETE)
}

/// What the mechglue asks for a name that comes by another mechanism: through SPNEGO it does not ask `gss_localname` and
/// `gssspi_authorize_localname`, and would let anybody in whose name compares equal.
const LOCAL_LOGIN_USER: &[u8] = b"local-login-user";

/// `gss_get_name_attribute`, RFC 6680 7.5. `more` stays 0 and the buffers empty unless there is a value: the mechglue goes on
/// asking otherwise.
pub(super) fn get(
    name: Ref<Principal>, urn: Bytes, authenticated: Out<c_int>, complete: Out<c_int>, value: Out<Malloced>,
    display_value: Out<Malloced>, _more: Out<c_int>,
) -> Result<Major> {
    let principal = name.required()?;
    let urn = urn.required()?;
    let (text, is_authenticated) = if urn == LOCAL_LOGIN_USER {
        (account_of(&principal.name)?.map(Cow::Owned), true)
    } else {
        let attribute = Attribute::from_urn(urn).ok_or(ApiMisuse::NoAttribute)?;
        (principal.get(attribute).map(Cow::Borrowed), principal.is_authenticated(attribute))
    };
    let text = text.ok_or(ApiMisuse::NoAttribute)?;
    let copies = (Malloced::copy(text.as_bytes())?, Malloced::copy(text.as_bytes())?);
    value.put(copies.0);
    display_value.put(copies.1);
    authenticated.put(c_int::from(is_authenticated));
    complete.put(1);
    Ok(COMPLETE)
}

/// `gss_localname`, of krb5's `gssapi_ext.h`: the account on this computer that a name stands for. This is the bare account where
/// its domain is this computer's or none, else `DOMAIN\account`, so that nobody of a foreign domain passes for a local user. The
/// domain that this computer is a member of is a foreign one, unless NETBIOS_DOMAIN_NAME names it: its accounts need not be this
/// computer's of the same name.
pub(super) fn local_name(name: Ref<Principal>, mech: ConstOid, account: Out<Malloced>) -> Result<Major> {
    account.ensure_given()?;
    ensure_ntlm(&mech)?;
    account.put(Malloced::text(&account_of(&name.required()?.name)?.ok_or(ApiMisuse::NotAvailable)?)?);
    Ok(COMPLETE)
}

/// `gssspi_authorize_localname`: whether a name may use a local account. It may use only the one that `gss_localname` says,
/// letter for letter, because accounts of this computer differ by letter case.
pub(super) fn authorize(name: Ref<Principal>, user: Bytes, kind: Oid) -> Result<Major> {
    let principal = name.required()?;
    let user = user.required()?;
    let kind = kind.get()?.unwrap_or(name_type::USER);
    let account = match kind {
        name_type::USER => str::from_utf8(user).ok().map(str::to_owned),
        // As the system calls that account, with its domain if it has one there.
        _ => name::uid(user, kind).and_then(sys::user_name),
    };
    let own = account_of(&principal.name)?;
    if own.is_some() && own == account { Ok(COMPLETE) } else { Err(PolicyError::NotThisAccount.into()) }
}

/// What the account of a name is called on this computer; nothing for names that are no user's.
fn account_of(name: &Name) -> Result<Option<String>> {
    match name {
        Name::User(user) => Ok(Some(sys::env_for(Whom::Acceptor(None))?.local_name(user))),
        Name::Service(_) | Name::Anonymous => Ok(None),
    }
}
