//! Where a call runs.

use crate::{
    error::{CredentialError, Error},
    host::{Host, HostNames, LocalNames, Membership},
    name::UserName,
    policy::Policy,
};

use super::DomainService;

/// Where a call runs: the administrator's decisions, the host, and the domain. The C edge fills it once per call.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// What the administrator allows.
    pub policy: Policy,
    /// The operating system.
    pub host: &'a dyn Host,
    /// The domain of this computer; `None` where the policy forbids to ask it.
    pub domain: Option<&'static dyn DomainService>,
}

impl<'a> Env<'a> {
    /// Where a test runs.
    #[cfg(test)]
    pub(crate) const fn without_domain(policy: Policy, host: &'a dyn Host) -> Self {
        Self { policy, host, domain: None }
    }

    /// The names that an acceptor shows. The first call may send a request to the domain.
    #[must_use]
    pub fn names(&self) -> HostNames {
        let local = self.host.names();
        let mut names = HostNames::new(&local, self.membership(&local).ok().flatten());
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
                let names = HostNames::new(&local, membership);
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
