//! What a plugin may do: the only thing enforcement reads.

use std::collections::BTreeSet;

use crate::{Capability, CapabilityKind, Error, ErrorKind, Request, Result};

/// The capabilities in force for a plugin: what it asked for and was granted, and what
/// its ABI gives every plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    allowed: BTreeSet<Capability>,
}

impl Policy {
    /// Decides: `requests` ∩ `grants`, and the ABI's `baseline`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for a grant that this version cannot enforce, so
    /// that no grant is ever taken and silently ignored.
    pub fn decide(requests: &[Request], grants: &[Capability], baseline: &[CapabilityKind]) -> Result<Self> {
        if let Some(grant) = grants.iter().find(|grant| !grant.kind.row().grantable) {
            return Err(Error::new(ErrorKind::InvalidSetting {
                name: grant.to_string(),
                reason: "this version of Airlock cannot grant it yet".to_owned(),
            }));
        }
        let asked =
            grants.iter().filter(|grant| requests.iter().any(|request| request.capability == **grant));
        let given = baseline.iter().map(|kind| Capability::plain(*kind));
        Ok(Policy { allowed: asked.cloned().chain(given).collect() })
    }

    /// Whether a capability without a scope is in force.
    pub fn allows(&self, kind: CapabilityKind) -> bool {
        self.allowed.contains(&Capability::plain(kind))
    }

    /// The first of `requests` that is required and not in force.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] with that capability.
    pub fn require(&self, requests: &[Request]) -> Result<()> {
        match requests.iter().find(|request| request.required && !self.allowed.contains(&request.capability))
        {
            Some(request) => Err(Error::new(ErrorKind::Denied(request.capability.clone()))),
            None => Ok(()),
        }
    }

    /// What is in force, in a fixed order.
    pub fn allowed(&self) -> impl Iterator<Item = &Capability> {
        self.allowed.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use crate::{Capability, CapabilityKind, Request};

    fn request(text: &str, required: bool) -> Request {
        Request { capability: text.parse().expect("a capability"), required }
    }

    #[test]
    fn only_what_is_asked_and_granted_is_in_force() {
        let clock = Capability::plain(CapabilityKind::Clock);
        let random = Capability::plain(CapabilityKind::Random);
        let policy =
            Policy::decide(&[request("clock", false)], &[clock.clone(), random], &[]).expect("grantable");
        assert_eq!(policy.allowed().collect::<Vec<_>>(), [&clock]);
        assert!(!policy.allows(CapabilityKind::Random));
    }

    #[test]
    fn a_baseline_needs_no_grant_and_a_missing_required_one_is_denied() {
        let policy = Policy::decide(&[], &[], &[CapabilityKind::Random]).expect("no grants");
        assert!(policy.allows(CapabilityKind::Random));
        let error = policy.require(&[request("clock", true)]).expect_err("not granted");
        assert_eq!((error.code(), error.exit_code()), ("denied", 126));
        assert_eq!(error.hint(), Some("`--allow clock` grants it"));
    }

    #[test]
    fn a_grant_that_cannot_be_enforced_is_refused() {
        let grant = "net=https://x.example".parse().expect("a capability");
        let error = Policy::decide(&[], &[grant], &[]).expect_err("not enforceable");
        assert_eq!(error.to_string(), "`net=https://x.example`: this version of Airlock cannot grant it yet");
    }
}
