//! Where a call runs.

use crate::{
    error::{CredentialError, Error},
    host::{Host, HostNames, LocalNames, Membership},
    name::UserName,
    policy::Policy,
};

use super::{DomainService, Store};

/// Where a call runs: the administrator's decisions, the host, and the domain. The C edge fills it once per call.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// What the administrator allows.
    pub policy: Policy,
    /// The operating system.
    pub host: &'a dyn Host,
    /// The domain of this computer; `None` where the policy forbids to ask it.
    pub domain: Option<&'static dyn DomainService>,
    /// The credentials that the user has stored; `None` where the policy or the rights of this process forbid to look.
    pub store: Option<&'static dyn Store>,
}

impl<'a> Env<'a> {
    /// Where a test runs.
    #[cfg(test)]
    pub(crate) const fn without_domain(policy: Policy, host: &'a dyn Host) -> Self {
        Self { policy, host, domain: None, store: None }
    }

    /// The names that an acceptor shows. The first call may send a request to the domain.
    #[must_use]
    pub fn names(&self) -> HostNames {
        let local = self.host.names();
        let membership = self.membership(&local).ok().flatten();
        let mut names = HostNames::new(local, membership);
        if let Some(domain) = self.domain.filter(|_| names.is_member) {
            domain.dns_tree(self).unwrap_or_default().clone_into(&mut names.dns_tree);
        }
        names
    }

    /// What this computer calls the account `user`: the bare account if it is one of this computer's own, else with its
    /// domain. The first call may send a request to the domain.
    ///
    /// If the domain does not answer, only names that the administrator has set count as this computer's own: the first
    /// label of a host name may be the name of the domain.
    #[must_use]
    pub fn local_name(&self, user: &UserName) -> String {
        let local = self.host.names();
        match self.membership(&local) {
            Ok(membership) => {
                let names = HostNames::new(local, membership);
                let own_domain = if names.is_member { &names.computer } else { &names.domain };
                user.local(own_domain, &names.computer)
            }
            Err(_) => {
                let [domain, computer] = [&local.domain, &local.computer].map(|name| name.as_deref().unwrap_or(""));
                user.local(domain, computer)
            }
        }
    }

    /// What the domain calls this computer; `None` where there is no domain to ask.
    fn membership(&self, local: &LocalNames) -> Result<Option<&'static Membership>, Error> {
        match self.domain {
            // An administrator who sets both names means a computer that is in no domain.
            Some(domain) if local.computer.is_none() || local.domain.is_none() => match domain.membership(self) {
                Ok(membership) => Ok(Some(membership)),
                Err(Error::Credential(CredentialError::NoUserFile)) => Ok(None),
                Err(error) => Err(error),
            },
            Some(_) | None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        cred::responder::tests::TestDomain,
        error::Result,
        host::{FileTime, Host, tests::Silent},
    };

    use super::*;

    /// A host with these names.
    struct Named(LocalNames);

    impl Host for Named {
        fn now(&self) -> FileTime {
            Silent::default().now()
        }

        fn random(&self, out: &mut [u8]) -> Result<()> {
            Silent::default().random(out)
        }

        fn names(&self) -> LocalNames {
            self.0.clone()
        }

        fn version(&self) -> [u8; 8] {
            Silent::default().version()
        }

        fn variable(&self, _: &'static str) -> Option<String> {
            None
        }

        fn trace(&self, _: core::fmt::Arguments<'_>) {}
    }

    /// A host in the domain CORP, whose name begins like the domain's.
    fn corp(computer: Option<&str>, domain: Option<&str>) -> Named {
        let [computer, domain] = [computer, domain].map(|name| name.map(str::to_owned));
        Named(LocalNames { computer, domain, host_name: "corp.example.com".into() })
    }

    fn winbind(answer: Option<[&str; 2]>) -> Option<&'static dyn DomainService> {
        let membership = answer.map(|names| {
            let [computer, domain] = names.map(str::to_owned);
            Membership { computer, domain, dns_domain: "corp.example.com".to_owned() }
        });
        Some(TestDomain { membership, ..TestDomain::default() }.domain())
    }

    #[test]
    fn only_accounts_of_this_computer_lose_their_domain() {
        let member = Some(["SRV", "CORP"]);
        let alone = Some(["CORP", "CORP"]);
        for (what, host, domain, corp_root, srv_root) in [
            ("a member", corp(None, None), winbind(member), "CORP\\root", "root"),
            ("winbindd does not answer", corp(None, None), winbind(None), "CORP\\root", "SRV\\root"),
            ("it does not, and one name is set", corp(Some("SRV"), None), winbind(None), "CORP\\root", "root"),
            ("it does not, and the domain is set", corp(None, Some("CORP")), winbind(None), "root", "SRV\\root"),
            ("both names are set", corp(Some("SRV"), Some("CORP")), winbind(None), "root", "root"),
            ("a computer in no domain", corp(None, None), winbind(alone), "root", "SRV\\root"),
            ("winbind is not in use", corp(None, None), None, "root", "SRV\\root"),
        ] {
            let env = Env { domain, ..Env::without_domain(Policy::default(), &host) };
            let local = |domain: &str| env.local_name(&UserName { user: "root".to_owned(), domain: domain.to_owned() });
            assert_eq!([local("CORP"), local("SRV"), local("")], [corp_root, srv_root, "root"], "{what}");
            assert_eq!(local("corp.example.com"), "corp.example.com\\root", "{what}");
        }
    }

    #[test]
    fn a_domain_is_not_asked_for_names_that_are_set() {
        let asked = |host: &Named| {
            let domain = TestDomain::default();
            let requests = std::sync::Arc::clone(&domain.requests);
            let _ = Env { domain: Some(domain.domain()), ..Env::without_domain(Policy::default(), host) }.names();
            requests.load(core::sync::atomic::Ordering::Relaxed)
        };
        assert_eq!(asked(&corp(Some("SRV"), Some("CORP"))), 0);
        assert_eq!([asked(&corp(Some("SRV"), None)), asked(&corp(None, Some("CORP")))], [1, 1]);
    }

    #[test]
    fn an_acceptor_shows_what_is_set_then_what_winbind_says_then_the_host_name() {
        let names = |host: &Named, domain| Env { domain, ..Env::without_domain(Policy::default(), host) }.names();
        let member = names(&corp(None, None), winbind(Some(["SRV", "CORP"])));
        assert_eq!([&*member.computer, &*member.domain, &*member.dns_tree], ["SRV", "CORP", "corp.example.com"]);
        assert!(member.has_domain && member.is_member);
        let set = names(&corp(Some("S"), Some("D")), winbind(Some(["SRV", "CORP"])));
        assert_eq!([&*set.computer, &*set.domain, &*set.dns_domain, &*set.dns_tree], ["S", "D", "example.com", ""]);
        assert!(set.has_domain && !set.is_member);
        for domain in [None, winbind(None)] {
            let alone = names(&corp(None, None), domain);
            assert_eq!([&*alone.computer, &*alone.domain, &*alone.dns_tree], ["CORP", "CORP", ""]);
            assert!(!alone.has_domain && !alone.is_member);
        }
        let short = Named(LocalNames { host_name: "a-very-long-host-name".into(), ..LocalNames::default() });
        assert_eq!(names(&short, None).computer, "A-VERY-LONG-HOS");
        let short = names(&short, winbind(Some(["SRV", "CORP"])));
        assert_eq!(short.dns_computer, "a-very-long-host-name.corp.example.com");
    }
}
