//! Names of users and services.

#![forbid(unsafe_code)]

mod attribute;
mod exported;

use core::fmt;

pub use self::attribute::{Attribute, Attributes, Principal};

use crate::{
    bytes::{self, Reader},
    error::{ApiMisuse, Fault, FieldName, Result},
    text::same_name,
};

/// A name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A user account.
    User(UserName),
    /// A service on a host: `svc/host`. Without a service it has no service principal name (SPN).
    Service(ServiceName),
    /// An anonymous user.
    Anonymous,
}

/// An account and its domain, as on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    /// The account, in any case. It may contain an `@` (an enterprise name, a user principal name).
    pub user: String,
    /// The domain, in any case; may be empty.
    pub domain: String,
}

/// A service and its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// The service class; may be empty.
    pub service: String,
    /// The host.
    pub host: String,
}

/// The maximum length of a name, in bytes.
const MAX_NAME: usize = 1024;

impl Name {
    /// The name of a user: `user`, `DOM\user`, `user@DOM`; enterprise forms `user\@suffix`, `user\@suffix@DOM`,
    /// `\user@suffix`, `DOM\user@suffix`.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] if there is no user in it, it contains a NUL, or it is longer than 1024 bytes.
    pub fn parse_user(text: &str) -> Result<Self> {
        ensure_may_be_name(text)?;
        let (user, domain) = match text.split_once('\\') {
            // `\@` is an escaped `@`; any other backslash ends the domain.
            Some((_, rest)) if rest.starts_with('@') => split_at_last_unescaped_at(text),
            Some((domain, user)) => (user.to_owned(), domain.to_owned()),
            None => match text.rsplit_once('@') {
                Some((user, domain)) => (user.to_owned(), domain.to_owned()),
                None => (text.to_owned(), String::new()),
            },
        };
        let name = UserName { user, domain };
        name.ensure_valid()?;
        Ok(Self::User(name))
    }

    /// The name of a service: `svc@host`, `svc` on the host `local_host`, `@host` without an SPN, or the SPN `svc/host`.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] if it is empty, contains a NUL, or is longer than 1024 bytes.
    pub fn parse_service(text: &str, local_host: &str) -> Result<Self> {
        ensure_may_be_name(text)?;
        let (service, host) = text.split_once('@').or_else(|| text.split_once('/')).unwrap_or((text, local_host));
        let name = ServiceName { service: service.to_owned(), host: host.to_owned() };
        name.ensure_valid()?;
        Ok(Self::Service(name))
    }

    /// The canonical form, in which the name is exported (RFC 2743 3.2): a user's name contains a backslash, a service's does
    /// not.
    #[must_use]
    pub fn canonical(&self) -> String {
        match self {
            Self::User(UserName { user, domain }) => format!("{domain}\\{user}"),
            Self::Service(_) | Self::Anonymous => self.to_string(),
        }
    }

    /// The name with this canonical form, which is that of [`Name::canonical`] or of gss-ntlmssp. The latter ends with a NUL, and
    /// contains no backslash if a user has no domain.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] if it is neither.
    pub fn parse_canonical(text: &str) -> Result<Self> {
        ensure_may_be_name(text)?;
        if let Some(text) = text.strip_suffix('\0') {
            return match text {
                ANONYMOUS => Ok(Self::Anonymous),
                _ if text.contains('\\') => Self::parse_user(text),
                _ if text.contains('/') => Self::parse_service(text, ""),
                _ => Self::parse_user(&format!("\\{text}")),
            };
        }
        let name = match text {
            ANONYMOUS => Self::Anonymous,
            _ if text.contains('\\') => Self::parse_user(text)?,
            _ => Self::parse_service(text, "")?,
        };
        // A name has one canonical form only.
        if name.canonical() == text { Ok(name) } else { Err(ApiMisuse::BadName.into()) }
    }

    /// Whether both are the same name, in any letter case. The domain counts too, and an anonymous name is never the same as
    /// another one (RFC 2743 2.4.3).
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User(a), Self::User(b)) => same_name(&a.user, &b.user) && same_name(&a.domain, &b.domain),
            (Self::Service(a), Self::Service(b)) => same_name(&a.service, &b.service) && same_name(&a.host, &b.host),
            (Self::User(_) | Self::Service(_) | Self::Anonymous, _) => false,
        }
    }

    /// Appends the name to an exported token.
    ///
    /// # Errors
    /// [`ApiMisuse::BadArgument`] if a part is longer than 4 GiB.
    pub fn export(&self, out: &mut Vec<u8>) -> Result<()> {
        let (kind, parts) = match self {
            Self::User(name) => (EXPORTED_USER, Some((&name.user, &name.domain))),
            Self::Service(name) => (EXPORTED_SERVICE, Some((&name.service, &name.host))),
            Self::Anonymous => (EXPORTED_ANONYMOUS, None),
        };
        out.push(kind);
        if let Some((first, second)) = parts {
            bytes::write_prefixed(out, first.as_bytes())?;
            bytes::write_prefixed(out, second.as_bytes())?;
        }
        Ok(())
    }

    /// The name that [`Name::export`] wrote.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidMessage`] if there is none.
    pub fn import(reader: &mut Reader<'_>) -> Result<Self> {
        let field = FieldName::Contents;
        let [kind] = reader.array(field)?;
        let mut text = || {
            let bytes = reader.read_prefixed(field)?;
            let text = str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_NAME);
            text.map(str::to_owned).ok_or_else(|| reader.error(field, Fault::WrongValue))
        };
        match kind {
            EXPORTED_USER => {
                let name = UserName { user: text()?, domain: text()? };
                name.ensure_valid().map_err(|_| reader.error(field, Fault::WrongValue))?;
                Ok(Self::User(name))
            }
            EXPORTED_SERVICE => {
                let name = ServiceName { service: text()?, host: text()? };
                name.ensure_valid().map_err(|_| reader.error(field, Fault::WrongValue))?;
                Ok(Self::Service(name))
            }
            EXPORTED_ANONYMOUS => Ok(Self::Anonymous),
            _ => Err(reader.error(field, Fault::WrongValue)),
        }
    }
}

const EXPORTED_USER: u8 = 1;
const EXPORTED_SERVICE: u8 = 2;
const EXPORTED_ANONYMOUS: u8 = 3;

/// The name of an anonymous user in Windows.
const ANONYMOUS: &str = "NT AUTHORITY\\ANONYMOUS LOGON";

impl UserName {
    /// Ensures that the text form of the name means this name only.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] if a part contains a backslash, the account starts with an `@` (`DOM\@` is an escaped one), it is
    /// the name of an anonymous user, or a part contains a NUL or is longer than 1024 bytes.
    pub fn ensure_valid(&self) -> Result<()> {
        let Self { user, domain } = self;
        let is_unambiguous =
            !user.is_empty() && !user.starts_with('@') && !user.contains('\\') && !domain.contains('\\');
        let is_anonymous =
            || ANONYMOUS.split_once('\\').is_some_and(|(d, u)| same_name(domain, d) && same_name(user, u));
        if is_unambiguous && has_valid_bytes(user) && has_valid_bytes(domain) && !is_anonymous() {
            Ok(())
        } else {
            Err(ApiMisuse::BadName.into())
        }
    }

    /// The name of the account on this computer, whose own domains are `domain` and `computer`. A name in one of them, or
    /// without a domain, is the bare account; every other name keeps its domain.
    #[must_use]
    pub fn local(&self, domain: &str, computer: &str) -> String {
        if self.domain.is_empty() || same_name(&self.domain, domain) || same_name(&self.domain, computer) {
            self.user.clone()
        } else {
            format!("{}\\{}", self.domain, self.user)
        }
    }
}

impl ServiceName {
    /// Ensures that the text form of the name means this name only.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] if a part contains a separator, the host is empty, or a part contains a NUL or is longer than 1024
    /// bytes.
    pub fn ensure_valid(&self) -> Result<()> {
        let Self { service, host } = self;
        let is_unambiguous = !service.contains(['/', '@', '\\']) && !host.is_empty() && !host.contains(['@', '\\']);
        if is_unambiguous && has_valid_bytes(service) && has_valid_bytes(host) {
            Ok(())
        } else {
            Err(ApiMisuse::BadName.into())
        }
    }

    /// The service principal name `svc/host`; `None` without a service class.
    #[must_use]
    pub fn spn(&self) -> Option<String> {
        (!self.service.is_empty()).then(|| [&*self.service, "/", &*self.host].concat())
    }
}

/// The text form; imported with the same name type it gives the same name again.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(UserName { user, domain }) if !domain.is_empty() => write!(f, "{domain}\\{user}"),
            // Without a domain, an `@` must not look like the start of one.
            Self::User(UserName { user, .. }) => f.write_str(&user.replace('@', "\\@")),
            Self::Service(name) if name.service.is_empty() => write!(f, "@{}", name.host),
            Self::Service(name) => write!(f, "{}/{}", name.service, name.host),
            Self::Anonymous => f.write_str(ANONYMOUS),
        }
    }
}

/// Splits `user\@suffix@DOM` at the last `@` without a backslash before it, and removes the backslashes.
fn split_at_last_unescaped_at(text: &str) -> (String, String) {
    let at = text.match_indices('@').map(|(at, _)| at).rfind(|at| !text.get(..*at).is_some_and(|b| b.ends_with('\\')));
    let (user, domain) = match at.and_then(|at| text.split_at_checked(at)) {
        Some((user, domain)) => (user, domain.strip_prefix('@').unwrap_or(domain)),
        None => (text, ""),
    };
    (user.replace("\\@", "@"), domain.to_owned())
}

/// Refuses what is no name, however it is read, before it is copied: it is empty, or longer than two parts in which each letter
/// is escaped.
fn ensure_may_be_name(text: &str) -> Result<()> {
    if text.is_empty() || text.len() > 3 * MAX_NAME { Err(ApiMisuse::BadName.into()) } else { Ok(()) }
}

fn has_valid_bytes(text: &str) -> bool {
    text.len() <= MAX_NAME && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user: &str, domain: &str) -> Name {
        Name::User(UserName { user: user.to_owned(), domain: domain.to_owned() })
    }

    #[test]
    fn reads_every_form_of_a_user_name() {
        for (text, expected) in [
            ("alice", user("alice", "")),
            ("DOM\\alice", user("alice", "DOM")),
            ("alice@DOM", user("alice", "DOM")),
            ("alice\\@suffix", user("alice@suffix", "")),
            ("alice\\@suffix@DOM", user("alice@suffix", "DOM")),
            ("\\alice@suffix", user("alice@suffix", "")),
            ("DOM\\alice@suffix", user("alice@suffix", "DOM")),
        ] {
            assert_eq!(Name::parse_user(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_the_name_of_a_user() {
        for text in
            ["", "DOM\\", "@DOM", "\\", "A\\B\\C", "a\0b", "a\\@b\\c", "\\@x@DOM", "NT Authority\\Anonymous Logon"]
        {
            assert!(Name::parse_user(text).is_err(), "{text}");
        }
        assert!(Name::parse_user(&"x".repeat(MAX_NAME + 1)).is_err());
        assert!(Name::parse_user(&"x".repeat(MAX_NAME)).is_ok());
        for text in ["NT AUTHORITY\\alice", "DOM\\Anonymous Logon"] {
            assert!(Name::parse_user(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_display_form_gives_the_same_name_again() {
        for (name, shown) in [
            (user("alice", ""), "alice"),
            (user("alice", "DOM"), "DOM\\alice"),
            (user("alice@suffix", ""), "alice\\@suffix"),
            (user("alice@suffix", "DOM"), "DOM\\alice@suffix"),
        ] {
            assert_eq!(name.to_string(), shown);
            assert_eq!(Name::parse_user(shown), Ok(name));
        }
        for (text, shown) in [
            ("HTTP@www.example", "HTTP/www.example"),
            ("HTTP", "HTTP/local"),
            ("@www.example", "@www.example"),
            ("HTTP/www.example", "HTTP/www.example"),
        ] {
            let name = Name::parse_service(text, "local").unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(Name::parse_service(shown, "elsewhere"), Ok(name));
        }
    }

    #[test]
    fn refuses_what_is_not_the_name_of_a_service() {
        for text in ["", "HTTP@", "@", "HTTP@a@b", "HTTP/x@y", "a\0b", "DOM\\alice"] {
            assert!(Name::parse_service(text, "local").is_err(), "{text}");
        }
    }

    #[test]
    fn the_canonical_form_gives_the_same_name_again() {
        let users = ["alice", "DOM\\alice", "alice\\@suffix", "alice\\@suffix@DOM", "HTTP/www"];
        let users = users.iter().map(|text| Name::parse_user(text).unwrap());
        let services = ["HTTP@www", "HTTP@www/extra", "@www"].iter().map(|text| Name::parse_service(text, "").unwrap());
        for name in users.chain(services).chain([Name::Anonymous]) {
            assert_eq!(Name::parse_canonical(&name.canonical()), Ok(name));
        }
        for text in ["", "alice", "alice@DOM", "a\\b\\c", "\\", "nt authority\\anonymous logon"] {
            assert!(Name::parse_canonical(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_the_canonical_form_of_gss_ntlmssp() {
        for (text, expected) in [
            ("alice\0", user("alice", "")),
            ("DOM\\alice\0", user("alice", "DOM")),
            ("alice@suffix\0", user("alice@suffix", "")),
            ("HTTP/www\0", Name::parse_service("HTTP@www", "").unwrap()),
            ("NT AUTHORITY\\ANONYMOUS LOGON\0", Name::Anonymous),
        ] {
            assert_eq!(Name::parse_canonical(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn compares_every_part_of_a_name() {
        let same = |a: &Name, b: &Name| a.is_same(b);
        assert!(same(&user("Alice", "dom"), &user("aLICE", "DOM")));
        for other in [user("alice", ""), user("alice", "OTHER"), user("bob", "DOM"), Name::Anonymous] {
            assert!(!same(&user("alice", "DOM"), &other) && !same(&other, &user("alice", "DOM")));
        }
        let service = |text| Name::parse_service(text, "").unwrap();
        assert!(same(&service("HTTP@WWW"), &service("http/www")) && !same(&service("HTTP@www"), &service("@www")));
        assert!(!same(&Name::Anonymous, &Name::Anonymous));
    }

    #[test]
    fn a_host_without_service_has_no_spn() {
        let spn = |text| match Name::parse_service(text, "local") {
            Ok(Name::Service(name)) => name.spn(),
            other => panic!("{other:?}"),
        };
        assert_eq!(spn("HTTP@www").as_deref(), Some("HTTP/www"));
        assert_eq!(spn("HTTP").as_deref(), Some("HTTP/local"));
        assert_eq!(spn("@www"), None);
    }

    #[test]
    fn a_foreign_domain_is_never_dropped() {
        let name = UserName { user: "root".to_owned(), domain: "EVIL".to_owned() };
        assert_eq!(name.local("DOM", "HOST"), "EVIL\\root");
        assert_eq!(name.local("evil", "HOST"), "root");
    }
}
