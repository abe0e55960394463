//! Patterns of services, in the sections of a policy file and in the store of credentials.

use core::fmt;

use crate::{
    name::{Name, ServiceName},
    text,
};

/// A pattern of targets, or of the services of acceptors. The order is that from general to specific.
///
/// Every text is in upper case, and no host ends with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// `*`: everything, also what is no service.
    All,
    /// `SERVICE/*`.
    Service(String),
    /// `*.suffix`: the hosts below this domain, and not the domain itself.
    Suffix(Suffix),
    /// `host`.
    Host(String),
    /// `SERVICE/*.suffix`.
    ServiceSuffix(Suffix, String),
    /// `SERVICE/host`.
    Spn(String, String),
}

/// A domain. Longer ones are more specific.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suffix {
    len: usize,
    /// With the dot before it.
    dotted: String,
}

impl Pattern {
    /// The forms of a pattern, for the error's sentence.
    pub const FORMS: &str = "SERVICE/host, SERVICE/*.suffix, host, *.suffix, SERVICE/* or *";

    /// The pattern with this text; `None` if it has none of the forms.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |text: &str| {
            !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, '*' | '@' | '\\' | '"'))
        };
        let host = |text: &str| Some(normal(text)).filter(|host| is_plain(host) && !host.starts_with('.'));
        if let Some((service, rest)) = text.split_once('/') {
            let service = Some(text::upper(service)).filter(|service| is_plain(service))?;
            return match rest.strip_prefix('*') {
                Some("") => Some(Self::Service(service)),
                Some(suffix) => Some(Self::ServiceSuffix(Suffix::parse(suffix, host)?, service)),
                None => Some(Self::Spn(host(rest)?, service)),
            };
        }
        match text.strip_prefix('*') {
            Some("") => Some(Self::All),
            Some(suffix) => Some(Self::Suffix(Suffix::parse(suffix, host)?)),
            None => Some(Self::Host(host(text)?)),
        }
    }

    /// Whether `name` has this pattern.
    #[must_use]
    pub fn matches(&self, name: &Subject) -> bool {
        let Some(Service { service, host, whole_host }) = &name.0 else { return matches!(self, Self::All) };
        match self {
            Self::All => true,
            Self::Service(of) => of == service,
            Self::Suffix(suffix) => suffix.has(host),
            Self::Host(of) => of == host || of == whole_host,
            Self::ServiceSuffix(suffix, of) => of == service && suffix.has(host),
            Self::Spn(of, of_service) => of_service == service && (of == host || of == whole_host),
        }
    }
}

/// The text, with hosts in lower case where they are ASCII.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lower = str::to_ascii_lowercase;
        match self {
            Self::All => f.write_str("*"),
            Self::Service(service) => write!(f, "{service}/*"),
            Self::Suffix(suffix) => write!(f, "*{}", lower(&suffix.dotted)),
            Self::Host(host) => f.write_str(&lower(host)),
            Self::ServiceSuffix(suffix, service) => write!(f, "{service}/*{}", lower(&suffix.dotted)),
            Self::Spn(host, service) => write!(f, "{service}/{}", lower(host)),
        }
    }
}

impl Suffix {
    /// The domain of `.domain`.
    fn parse(text: &str, host: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let dotted = format!(".{}", host(text.strip_prefix('.')?)?);
        Some(Self { len: dotted.len(), dotted })
    }

    fn has(&self, host: &str) -> bool {
        host.strip_suffix(&*self.dotted).is_some_and(|begin| !begin.is_empty())
    }
}

/// A name, ready to be compared with patterns.
pub struct Subject(Option<Service>);

struct Service {
    service: String,
    /// Without the port or what else may follow a host in an SPN.
    host: String,
    whole_host: String,
}

impl Subject {
    /// The name, or nobody.
    #[must_use]
    pub fn new(name: Option<&Name>) -> Self {
        Self(match name {
            Some(Name::Service(ServiceName { service, host })) => Some(Service {
                service: text::upper(service),
                host: normal(without_port(host.split('/').next().unwrap_or(host))),
                whole_host: normal(host),
            }),
            Some(Name::User(_) | Name::Anonymous) | None => None,
        })
    }
}

/// In upper case, and without a dot at the end.
fn normal(host: &str) -> String {
    text::upper(host.trim_end_matches('.'))
}

/// An address of IPv6 has more than one colon.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((before, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (before.ends_with(']') || !before.contains(':')) =>
        {
            before
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let name = Name::parse_service(name, "").unwrap();
        Pattern::parse(pattern).unwrap().matches(&Subject::new(Some(&name)))
    }

    #[test]
    fn each_pattern_has_its_targets_and_no_others() {
        for (pattern, yes, no) in [
            ("*", &["HTTP@a.b", "@host"][..], &[][..]),
            ("HTTP/*", &["HTTP@a.b", "http@x"], &["HTTPS@a.b", "@HTTP"]),
            (
                "*.corp.example",
                &["ldap@a.corp.example", "ldap@a.b.CORP.example.", "@a.corp.example"],
                &["ldap@corp.example", "ldap@acorp.example", "ldap@a.corp.example.org", "ldap@.corp.example"],
            ),
            (
                "srv.corp.example",
                &["ldap@SRV.corp.example.", "HTTP@srv.corp.example:8080", "ldap/srv.corp.example/corp.example"],
                &["ldap@a.srv.corp.example", "ldap@srv"],
            ),
            ("Srv.Corp.Example.", &["ldap@srv.corp.example"], &["ldap@srv"]),
            ("HTTP/*.corp.example", &["HTTP@a.corp.example"], &["ldap@a.corp.example", "HTTP@corp.example"]),
            ("HTTP/srv", &["http@SRV", "HTTP@srv.", "HTTP@srv:80"], &["ldap@srv", "HTTP@srv.example", "@srv"]),
            ("HTTP/srv:8080", &["HTTP@srv:8080"], &["HTTP@srv", "HTTP@srv:80"]),
            ("::1", &["HTTP@::1"], &["HTTP@::2"]),
            ("[::1]", &["HTTP@[::1]:8080"], &["HTTP@::1"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} has {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} has not {name}");
            }
        }
    }

    #[test]
    fn the_text_of_a_pattern_means_the_same_pattern() {
        for (text, shown) in [
            ("*", "*"),
            ("http/*", "HTTP/*"),
            ("*.Corp.Example.", "*.corp.example"),
            ("SRV", "srv"),
            ("http/*.Corp", "HTTP/*.corp"),
            ("http/[::1]:80", "HTTP/[::1]:80"),
            ("*.\u{130}.\u{df}", "*.\u{130}.\u{df}"),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(pattern.to_string(), shown);
            assert_eq!(Pattern::parse(shown), Some(pattern));
        }
    }

    #[test]
    fn what_is_no_service_has_only_the_pattern_of_everything() {
        for name in [None, Some(Name::Anonymous), Some(Name::parse_user("HTTP/srv").unwrap())] {
            let subject = Subject::new(name.as_ref());
            for pattern in ["HTTP/srv", "HTTP/*.srv", "srv", "*.srv", "HTTP/*"] {
                assert!(!Pattern::parse(pattern).unwrap().matches(&subject), "{pattern} has {name:?}");
            }
            assert!(Pattern::All.matches(&subject), "{name:?}");
        }
    }

    #[test]
    fn the_order_is_from_general_to_specific() {
        let ordered =
            ["*", "HTTP/*", "*.example", "*.corp.example", "srv", "HTTP/*.example", "HTTP/*.corp.example", "HTTP/srv"];
        let ordered = ordered.map(|text| Pattern::parse(text).unwrap());
        assert!(ordered.is_sorted_by(|a, b| a < b), "{ordered:?}");
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for text in [
            "", "**", "*x", "a*", "*.", "*..x", ".x", "HTTP/", "/x", "HTTP/*x", "HTTP/a*", "*/x", "a b", "HTTP/a b",
            "a@b", "a\\b", "a\"b", "HTTP/.x", ".",
        ] {
            assert_eq!(Pattern::parse(text), None, "{text:?}");
        }
    }
}
