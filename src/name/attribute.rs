//! The attributes of an authenticated name (RFC 6680).

use std::borrow::Cow;

use crate::{
    bytes::{self, Reader},
    error::{Fault, FieldName, Result},
};

use super::Name;

/// An attribute of an authenticated name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// The SIDs of the account and of its groups, separated by commas.
    Sids,
    /// The domain of the account, in the verifier's spelling.
    Domain,
    /// The NetBIOS name of the client's computer, which the client claims.
    Workstation,
    /// `verified` or `none`: the MIC of the AUTHENTICATE_MESSAGE.
    Mic,
    /// `matched` or `none`: the channel bindings.
    ChannelBindings,
    /// `NTLMv2`, `NTLMv1`, `LM` or `anonymous`.
    Version,
    /// The SID of the account's primary group.
    PrimaryGroup,
    /// The full name of the account's owner.
    FullName,
    /// The account's user principal name.
    UserPrincipalName,
    /// The DNS name of the account's domain.
    DnsDomain,
    /// The NetBIOS name of the domain controller that checked the logon.
    LogonServer,
    /// `yes`: the domain does not know the account and treats it as a guest.
    Guest,
}

impl Attribute {
    /// All attributes.
    pub const ALL: [Self; 12] = [
        Self::Sids,
        Self::Domain,
        Self::Workstation,
        Self::Mic,
        Self::ChannelBindings,
        Self::Version,
        Self::PrimaryGroup,
        Self::FullName,
        Self::UserPrincipalName,
        Self::DnsDomain,
        Self::LogonServer,
        Self::Guest,
    ];

    /// Its name in the API.
    #[must_use]
    pub const fn urn(self) -> &'static str {
        match self {
            Self::Sids => "urn:gssntlmssp:sids",
            Self::Domain => "urn:gss-ntlm:domain",
            Self::Workstation => "urn:gss-ntlm:workstation",
            Self::Mic => "urn:gss-ntlm:mic",
            Self::ChannelBindings => "urn:gss-ntlm:channel-bindings",
            Self::Version => "urn:gss-ntlm:version",
            Self::PrimaryGroup => "urn:gss-ntlm:primary-group",
            Self::FullName => "urn:gss-ntlm:full-name",
            Self::UserPrincipalName => "urn:gss-ntlm:user-principal-name",
            Self::DnsDomain => "urn:gss-ntlm:dns-domain",
            Self::LogonServer => "urn:gss-ntlm:logon-server",
            Self::Guest => "urn:gss-ntlm:guest",
        }
    }

    /// The attribute with this name.
    #[must_use]
    pub fn from_urn(urn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.urn().as_bytes() == urn)
    }

    const fn number(self) -> u8 {
        match self {
            Self::Sids => 1,
            Self::Domain => 2,
            Self::Workstation => 3,
            Self::Mic => 4,
            Self::ChannelBindings => 5,
            Self::Version => 6,
            Self::PrimaryGroup => 7,
            Self::FullName => 8,
            Self::UserPrincipalName => 9,
            Self::DnsDomain => 10,
            Self::LogonServer => 11,
            Self::Guest => 12,
        }
    }
}

/// A name and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name.
    pub name: Name,
    attributes: Attributes,
}

/// Attributes and their values.
pub type Attributes = Vec<(Attribute, Cow<'static, str>)>;

impl From<Name> for Principal {
    fn from(name: Name) -> Self {
        Self { name, attributes: Vec::new() }
    }
}

impl Principal {
    /// The name with `attributes`; those without a value are left out.
    #[must_use]
    pub fn new(name: Name, attributes: impl IntoIterator<Item = (Attribute, Cow<'static, str>)>) -> Self {
        let attributes = attributes.into_iter();
        let mut kept = Attributes::with_capacity(attributes.size_hint().1.unwrap_or(0));
        kept.extend(attributes.filter(|(_, value)| !value.is_empty()));
        Self { name, attributes: kept }
    }

    /// The attributes that the name has.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute> {
        self.attributes.iter().map(|(attribute, _)| *attribute)
    }

    /// The value of an attribute, if the name has it.
    #[must_use]
    pub fn get(&self, attribute: Attribute) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| *other == attribute).map(|(_, value)| &**value)
    }

    /// Whether the attribute is authenticated (RFC 6680 7.5): the verifier or this side says it. The client claims the name of
    /// its computer, which only the MIC protects.
    #[must_use]
    pub fn is_authenticated(&self, attribute: Attribute) -> bool {
        attribute != Attribute::Workstation || self.get(Attribute::Mic) == Some("verified")
    }

    /// Appends the name and its attributes to an exported token.
    ///
    /// # Errors
    /// [`crate::error::ApiMisuse::BadArgument`] if a part is longer than 4 GiB.
    pub fn export(&self, out: &mut Vec<u8>) -> Result<()> {
        self.name.export(out)?;
        for (attribute, value) in &self.attributes {
            out.push(attribute.number());
            bytes::write_prefixed(out, value.as_bytes())?;
        }
        out.push(0);
        Ok(())
    }

    /// The name that [`Principal::export`] wrote.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidMessage`] if there is none.
    pub fn import(reader: &mut Reader<'_>) -> Result<Self> {
        let field = FieldName::Contents;
        let mut principal = Self::from(Name::import(reader)?);
        loop {
            let [number] = reader.array(field)?;
            if number == 0 {
                return Ok(principal);
            }
            let attribute = Attribute::ALL.into_iter().find(|attribute| attribute.number() == number);
            let attribute = attribute.filter(|attribute| principal.get(*attribute).is_none());
            let value = str::from_utf8(reader.read_prefixed(field)?).ok().filter(|value| !value.is_empty());
            let (Some(attribute), Some(value)) = (attribute, value) else {
                return Err(reader.error(field, Fault::WrongValue));
            };
            principal.attributes.push((attribute, Cow::Owned(bytes::copy_text(value)?)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Message;

    use super::*;

    fn import(bytes: &[u8]) -> Result<Principal> {
        let mut reader = Reader::new(Message::ExportedContext, bytes);
        let principal = Principal::import(&mut reader)?;
        reader.end(FieldName::Contents).map(|()| principal)
    }

    #[test]
    fn attributes_are_exported_with_their_name() {
        let name = Name::parse_user("DOM\\alice").unwrap();
        let all = Attribute::ALL.map(|attribute| (attribute, attribute.urn().into()));
        let principal = Principal::new(name, all);
        let mut bytes = Vec::new();
        principal.export(&mut bytes).unwrap();
        assert_eq!(import(&bytes).as_ref(), Ok(&principal));
        for len in 0..bytes.len() {
            assert!(import(&bytes[..len]).is_err(), "accepted {len} bytes");
        }
        for attribute in Attribute::ALL {
            assert_eq!(Attribute::from_urn(attribute.urn().as_bytes()), Some(attribute));
        }
        assert_eq!(Attribute::from_urn(b"urn:gssntlmssp:sids\0"), None);
    }

    #[test]
    fn no_attribute_is_repeated_or_empty() {
        let name = Name::Anonymous;
        assert_eq!(Principal::new(name.clone(), [(Attribute::Domain, "".into())]), Principal::from(name));
        assert_eq!(import(&[3, 4, 1, 0, 0, 0, b'x', 0]).map(|p| p.attributes.len()), Ok(1));
        for wrong in [
            &[3, 4, 1, 0, 0, 0, b'x', 4, 1, 0, 0, 0, b'y', 0][..],
            &[3, 4, 0, 0, 0, 0, 0],
            &[3, 13, 1, 0, 0, 0, b'x', 0],
        ] {
            assert!(import(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_a_mic_authenticates_the_workstation() {
        let with = |mic: &'static str| Principal::new(Name::Anonymous, [(Attribute::Mic, mic.into())]);
        assert!(with("verified").is_authenticated(Attribute::Workstation));
        assert!(!with("none").is_authenticated(Attribute::Workstation));
        assert!(with("none").is_authenticated(Attribute::Version));
    }
}
