//! Names: a user's, a service's.

#![forbid(unsafe_code)]

use core::fmt;

use crate::{
    bytes::{self, Reader},
    error::{ApiMisuse, Fault, FieldName, Result},
    text::same_name,
};

/// A name as the mechanism means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// An account.
    User(UserName),
    /// A service on a host: `svc/host`. The service may be missing: then there is no SPN.
    Service(ServiceName),
    /// Nobody in particular.
    Anonymous,
}

/// An account and its domain, each as it goes to the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    /// The account, in any case; may have an `@` of its own (an enterprise name, a UPN).
    pub user: String,
    /// The domain, in any case, or empty.
    pub domain: String,
}

/// A service and its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// The service class, or empty.
    pub service: String,
    /// The host.
    pub host: String,
}

/// The longest name looked at, in bytes.
pub const MAX_NAME: usize = 1024;

impl Name {
    /// The name of a user: `user`, `DOM\user`, `user@DOM`; enterprise forms `user\@suffix`, `user\@suffix@DOM`,
    /// `\user@suffix`, `DOM\user@suffix`.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] when there is no user in it, it has a NUL, or it is longer than [`MAX_NAME`].
    pub fn parse_user(text: &str) -> Result<Self> {
        let (user, domain) = match text.split_once('\\') {
            // `\@` is an escaped `@`; any other backslash ends the domain.
            Some((_, rest)) if rest.starts_with('@') => split_at_last_plain_at(text),
            Some((domain, user)) => (user.to_owned(), domain.to_owned()),
            None => match text.rsplit_once('@') {
                Some((user, domain)) => (user.to_owned(), domain.to_owned()),
                None => (text.to_owned(), String::new()),
            },
        };
        // An `@` at its start would make the displayed `DOM\@...` an escaped one.
        if user.is_empty() || user.starts_with('@') || user.contains('\\') || domain.contains('\\') || !is_plain(text) {
            return Err(ApiMisuse::BadName.into());
        }
        Ok(Self::User(UserName { user, domain }))
    }

    /// The name of a service: `svc@host`, `svc` on the host `local_host`, `@host` without an SPN; also the SPN `svc/host`.
    ///
    /// # Errors
    /// [`ApiMisuse::BadName`] when it is empty, has a NUL, or is longer than [`MAX_NAME`].
    pub fn parse_service(text: &str, local_host: &str) -> Result<Self> {
        let (service, host) = text.split_once('@').or_else(|| text.split_once('/')).unwrap_or((text, local_host));
        if text.is_empty() || host.is_empty() || host.contains('@') || service.contains('/') || !is_plain(text) {
            return Err(ApiMisuse::BadName.into());
        }
        Ok(Self::Service(ServiceName { service: service.to_owned(), host: host.to_owned() }))
    }

    /// Appends the name to an exported token.
    ///
    /// # Errors
    /// [`ApiMisuse::BadArgument`] when a part is longer than 64 KiB.
    pub fn export(&self, out: &mut Vec<u8>) -> Result<()> {
        let (kind, parts) = match self {
            Self::User(name) => (EXPORTED_USER, Some((&name.user, &name.domain))),
            Self::Service(name) => (EXPORTED_SERVICE, Some((&name.service, &name.host))),
            Self::Anonymous => (EXPORTED_ANONYMOUS, None),
        };
        out.push(kind);
        if let Some((first, second)) = parts {
            bytes::put(out, first.as_bytes())?;
            bytes::put(out, second.as_bytes())?;
        }
        Ok(())
    }

    /// The name that [`Name::export`] wrote.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidMessage`] when there is none.
    pub fn import(reader: &mut Reader<'_>) -> Result<Self> {
        let field = FieldName::Contents;
        let [kind] = reader.array(field)?;
        let mut text = || {
            let bytes = reader.counted(field)?;
            str::from_utf8(bytes).map(str::to_owned).map_err(|_| reader.error(field, Fault::WrongValue))
        };
        match kind {
            EXPORTED_USER => match text()? {
                user if user.is_empty() => Err(reader.error(field, Fault::WrongValue)),
                user => Ok(Self::User(UserName { user, domain: text()? })),
            },
            EXPORTED_SERVICE => Ok(Self::Service(ServiceName { service: text()?, host: text()? })),
            EXPORTED_ANONYMOUS => Ok(Self::Anonymous),
            _ => Err(reader.error(field, Fault::WrongValue)),
        }
    }
}

const EXPORTED_USER: u8 = 1;
const EXPORTED_SERVICE: u8 = 2;
const EXPORTED_ANONYMOUS: u8 = 3;

impl UserName {
    /// The name of an account on this computer, whose domains are `domain` and `computer`: the bare account when it is
    /// of one of those or of none, else with its domain, which is never dropped.
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
    /// The service principal name `svc/host`, or `None` without a service class.
    #[must_use]
    pub fn spn(&self) -> Option<String> {
        (!self.service.is_empty()).then(|| format!("{}/{}", self.service, self.host))
    }
}

/// The form that a person reads and that, with the same name type, gives the same name again.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(UserName { user, domain }) if !domain.is_empty() => write!(f, "{domain}\\{user}"),
            // Without a domain an `@` must not look like the start of one.
            Self::User(UserName { user, .. }) => f.write_str(&user.replace('@', "\\@")),
            Self::Service(name) if name.service.is_empty() => write!(f, "@{}", name.host),
            Self::Service(name) => write!(f, "{}/{}", name.service, name.host),
            Self::Anonymous => f.write_str("NT AUTHORITY\\ANONYMOUS LOGON"),
        }
    }
}

/// Splits `user\@suffix@DOM` at the `@` that has no backslash before it, and takes the backslashes away.
fn split_at_last_plain_at(text: &str) -> (String, String) {
    let plain =
        text.match_indices('@').map(|(at, _)| at).rfind(|at| !text.get(..*at).is_some_and(|b| b.ends_with('\\')));
    let (user, domain) = match plain.and_then(|at| text.split_at_checked(at)) {
        Some((user, domain)) => (user, domain.strip_prefix('@').unwrap_or(domain)),
        None => (text, ""),
    };
    (user.replace("\\@", "@"), domain.to_owned())
}

fn is_plain(text: &str) -> bool {
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
    fn refuses_what_names_no_user() {
        for text in ["", "DOM\\", "@DOM", "\\", "A\\B\\C", "a\0b", "a\\@b\\c", "\\@x@DOM"] {
            assert!(Name::parse_user(text).is_err(), "{text}");
        }
        assert!(Name::parse_user(&"x".repeat(MAX_NAME + 1)).is_err());
    }

    #[test]
    fn the_display_form_gives_the_same_name_again() {
        for name in [user("alice", ""), user("alice", "DOM"), user("alice@suffix", ""), user("alice@suffix", "DOM")] {
            assert_eq!(Name::parse_user(&name.to_string()), Ok(name));
        }
        for text in ["HTTP@www.example", "HTTP", "@www.example", "HTTP/www.example"] {
            let name = Name::parse_service(text, "local").unwrap();
            assert_eq!(Name::parse_service(&name.to_string(), "elsewhere"), Ok(name), "{text}");
        }
    }

    #[test]
    fn refuses_what_names_no_service() {
        for text in ["", "HTTP@", "@", "HTTP@a@b", "HTTP/x@y", "a\0b"] {
            assert!(Name::parse_service(text, "local").is_err(), "{text}");
        }
    }

    #[test]
    fn a_service_without_class_has_no_spn() {
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
