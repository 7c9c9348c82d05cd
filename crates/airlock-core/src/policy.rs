//! What a plugin may do: the only thing enforcement reads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Capability, CapabilityKind, Error, ErrorKind, Need, Request, Result};

/// The capabilities in force for a plugin: what it asked for and was granted, and what its
/// ABI gives every plugin, as far as the operator lets any plugin have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    place: Place,
    /// Sorted, each once.
    allowed: Vec<Capability>,
    /// What was granted, and is not or not wholly under the ceiling.
    forbidden: Vec<Capability>,
}

/// Where a plugin is run, from which relative paths and `~` are resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The folder it works in.
    pub working: PathBuf,
    /// The user's own folder, when there is one.
    pub home: Option<PathBuf>,
    /// The folder that is kept for the plugin, when there is one.
    pub own: Option<PathBuf>,
    /// Where programs are that capabilities call by a name: looked up once, when the policy
    /// is decided, so that another one of the same name is not what was granted.
    pub programs: BTreeMap<String, PathBuf>,
}

/// What a policy is decided over.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// What the plugin asks for.
    pub requests: &'a [Request],
    /// What was granted.
    pub grants: &'a [Capability],
    /// What its ABI gives every plugin.
    pub baseline: &'a [CapabilityKind],
    /// What the operator lets it have.
    pub ceiling: &'a Ceiling,
    /// Where it is run.
    pub place: &'a Place,
}

/// What an operator lets a plugin have, whatever is asked for and granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// The only capabilities there may be; `None` where all may be.
    allow: Option<Vec<Capability>>,
    /// Capabilities of which no part may be had.
    deny: Vec<Capability>,
}

impl Ceiling {
    /// No bound.
    pub fn new() -> Self {
        Ceiling::default()
    }

    /// Nothing but what these cover.
    #[must_use]
    pub fn allow_only(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.allow = Some(capabilities.into_iter().collect());
        self
    }

    /// No part of these. A capability that has a part in common goes whole: where
    /// `net=10.0.0.0/8` is denied, `net=*` is as well. Denying to read denies to write.
    #[must_use]
    pub fn deny(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.deny.extend(capabilities);
        self
    }

    /// What both let through.
    #[must_use]
    pub fn and(self, other: Ceiling) -> Self {
        let allow = match (self.allow, other.allow) {
            (Some(mine), Some(theirs)) => {
                Some(mine.iter().flat_map(|one| theirs.iter().filter_map(|other| one.meet(other))).collect())
            }
            (mine, theirs) => mine.or(theirs),
        };
        Ceiling { allow, deny: [self.deny, other.deny].concat() }
    }

    /// What it speaks of, allowed or denied.
    pub fn capabilities(&self) -> impl Iterator<Item = &Capability> {
        self.allow.iter().flatten().chain(&self.deny)
    }

    /// Whether a part of `capability` is denied, whatever is granted.
    pub fn denies(&self, capability: &Capability, place: &Place) -> bool {
        let capability = capability.resolved(place);
        self.deny.iter().any(|denied| capability.overlaps(&denied.resolved(place)))
    }

    fn resolved(&self, place: &Place) -> Cow<'_, Ceiling> {
        if self.allow.is_none() && self.deny.is_empty() {
            return Cow::Borrowed(self);
        }
        let resolved = |list: &[Capability]| list.iter().map(|one| one.resolved(place)).collect();
        Cow::Owned(Ceiling { allow: self.allow.as_deref().map(resolved), deny: resolved(&self.deny) })
    }

    /// What of `capability` stays under the ceiling.
    fn bounded(&self, capability: &Capability) -> Vec<Capability> {
        let left = match &self.allow {
            None => vec![capability.clone()],
            Some(allow) => allow.iter().filter_map(|bound| capability.meet(bound)).collect(),
        };
        left.into_iter().filter(|left| !self.deny.iter().any(|denied| left.overlaps(denied))).collect()
    }
}

impl Policy {
    /// Decides: requests ∩ grants, and the ABI's baseline, under the ceiling.
    pub fn decide(basis: Basis<'_>) -> Self {
        let Basis { requests, grants, baseline, ceiling, place } = basis;
        let ceiling = ceiling.resolved(place);
        let grants: Vec<Capability> = grants.iter().map(|grant| grant.resolved(place)).collect();
        let asked = requests.iter().flat_map(|request| {
            let request = request.capability.resolved(place);
            let parts: Vec<Capability> = grants.iter().filter_map(|grant| request.meet(grant)).collect();
            parts
        });
        let given = baseline.iter().map(|kind| Capability::all_of(*kind));
        let mut policy = Policy { place: place.clone(), ..Policy::default() };
        for capability in asked.chain(given) {
            let bounded = ceiling.bounded(&capability);
            if !bounded.contains(&capability) {
                policy.forbidden.push(capability);
            }
            policy.allowed.extend(bounded);
        }
        policy.allowed.sort();
        policy.allowed.dedup();
        policy
    }

    /// Whether all of `capability` is in force.
    pub fn allows(&self, capability: &Capability) -> bool {
        let capability = capability.resolved(&self.place);
        self.allowed.iter().any(|allowed| allowed.covers(&capability))
    }

    /// Whether what is in force is enough for this.
    pub fn meets(&self, need: Need<'_>) -> bool {
        let need = match need {
            Need::Program { program, args } => Need::Program { program: self.program(program), args },
            need => need,
        };
        self.allowed.iter().any(|allowed| need.is_met_by(allowed))
    }

    /// The path of the program that goes by this name here; the name itself where none does.
    pub fn program<'a>(&'a self, name: &'a str) -> &'a str {
        self.place.programs.get(name).and_then(|path| path.to_str()).unwrap_or(name)
    }

    /// The folder that the plugin is run in.
    pub fn working(&self) -> &Path {
        &self.place.working
    }

    /// Whether something of this kind is in force.
    pub fn allows_any(&self, kind: CapabilityKind) -> bool {
        self.of(kind).next().is_some()
    }

    /// What is in force of one kind, in a fixed order.
    pub fn of(&self, kind: CapabilityKind) -> impl Iterator<Item = &Capability> {
        self.allowed.iter().filter(move |allowed| allowed.kind() == kind)
    }

    /// The first of `requests` that is required and not wholly in force.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] with that capability.
    pub fn require(&self, requests: &[Request]) -> Result<()> {
        self.missing(requests).map_or(Ok(()), |missing| Err(self.denied(missing)))
    }

    /// The first of `requests` that is required and not wholly in force.
    pub fn missing<'a>(&self, requests: &'a [Request]) -> Option<&'a Capability> {
        let missing = |request: &&Request| request.required && !self.allows(&request.capability);
        requests.iter().find(missing).map(|request| &request.capability)
    }

    /// The error for a capability that is needed and not in force.
    pub fn denied(&self, capability: &Capability) -> Error {
        let error = Error::new(ErrorKind::Denied(capability.clone()));
        let resolved = capability.resolved(&self.place);
        match self.forbidden.iter().any(|forbidden| forbidden.overlaps(&resolved)) {
            true => error.with_hint("it was granted, but the operator's ceiling forbids it"),
            false => error,
        }
    }

    /// What is in force, in a fixed order, with absolute paths.
    pub fn allowed(&self) -> impl Iterator<Item = &Capability> {
        self.allowed.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{Basis, Ceiling, Place, Policy};
    use crate::{Capability, CapabilityKind, Request};

    fn capability(text: &str) -> Capability {
        text.parse().expect("a capability")
    }

    fn capabilities(texts: &[&str]) -> Vec<Capability> {
        texts.iter().map(|text| capability(text)).collect()
    }

    fn requests(texts: &[&str]) -> Vec<Request> {
        capabilities(texts).into_iter().map(|capability| Request { capability, required: true }).collect()
    }

    fn decide(
        requests: &[Request],
        granted: &[&str],
        baseline: &[CapabilityKind],
        ceiling: &Ceiling,
    ) -> Policy {
        let place = Place { working: "/w".into(), home: Some("/h".into()), ..Place::default() };
        let grants = capabilities(granted);
        Policy::decide(Basis { requests, grants: &grants, baseline, ceiling, place: &place })
    }

    fn in_force(asked: &[&str], granted: &[&str], ceiling: &Ceiling) -> Vec<String> {
        decide(&requests(asked), granted, &[], ceiling).allowed().map(Capability::to_string).collect()
    }

    #[test]
    fn only_what_is_asked_and_granted_is_in_force() {
        let open = Ceiling::new();
        assert_eq!(in_force(&["clock"], &["clock", "random"], &open), ["clock"]);
        assert_eq!(in_force(&["clock"], &[], &open), [""; 0]);
        assert_eq!(in_force(&["fs.read=a/b"], &["fs.write=a"], &open), ["fs.read=/w/a/b::/a/b"]);
        assert_eq!(in_force(&["fs.write=a"], &["fs.read=/w/a"], &open), ["fs.read=/w/a::/a"]);
        assert_eq!(in_force(&["fs.read=~/x"], &["fs.read=/h"], &open), ["fs.read=/h/x::/x"]);
        let narrower = in_force(&["net=*"], &["net=https://a.example", "net=b.example"], &open);
        assert_eq!(narrower, ["net=b.example", "net=https://a.example"]);
    }

    #[test]
    fn a_baseline_needs_no_grant_and_a_missing_required_one_is_denied() {
        let policy = decide(&[], &[], &[CapabilityKind::Random], &Ceiling::new());
        assert!(policy.allows_any(CapabilityKind::Random) && policy.allows(&capability("random")));
        let error = policy.require(&requests(&["clock"])).expect_err("not granted");
        assert_eq!((error.code(), error.exit_code()), ("denied", 126));
        assert_eq!(error.hint(), Some("`--allow clock` grants it"));
    }

    #[test]
    fn what_is_granted_in_part_does_not_do_for_what_is_required() {
        let asked = requests(&["fs.read=a"]);
        let policy = decide(&asked, &["fs.read=a/b"], &[], &Ceiling::new());
        assert!(policy.allows(&capability("fs.read=a/b/c")) && !policy.allows(&capability("fs.read=a")));
        assert_eq!(
            policy.require(&asked).expect_err("a part").to_string(),
            "`fs.read=a` is needed and not granted"
        );
    }

    #[test]
    fn nothing_is_in_force_above_the_ceiling() {
        let all = ["clock", "fs.read=a", "fs.write=b", "net=https://x.example", "net=10.1.2.3"];
        let only =
            Ceiling::new().allow_only(capabilities(&["fs.read=a/b", "fs.write=b", "net=https://*.example"]));
        assert_eq!(
            in_force(&all, &all, &only),
            ["fs.read=/w/a/b::/a/b", "fs.write=/w/b::/b", "net=https://x.example"]
        );
        let not = |denied: &[&str]| in_force(&all, &all, &Ceiling::new().deny(capabilities(denied)));
        assert_eq!(not(&["net=*"]), ["clock", "fs.read=/w/a::/a", "fs.write=/w/b::/b"]);
        assert_eq!(
            not(&["fs.write=/", "fs.write=.", "net=10.0.0.0/8"]),
            ["clock", "fs.read=/w/a::/a", "net=https://x.example"]
        );
        assert_eq!(
            not(&["fs.read=b/c", "clock"]),
            ["fs.read=/w/a::/a", "net=10.1.2.3", "net=https://x.example"]
        );
    }

    #[test]
    fn two_ceilings_are_as_low_as_the_lower_one_everywhere() {
        let only = |texts: &[&str]| Ceiling::new().allow_only(capabilities(texts));
        let (a, b) = (only(&["net=*", "clock"]), only(&["net=x.example", "random"]));
        let all = ["clock", "random", "net=*", "net=https://x.example"];
        assert_eq!(in_force(&all, &all, &a.clone().and(b)), ["net=x.example", "net=https://x.example"]);
        let denied = a.and(Ceiling::new().deny(capabilities(&["net=10.0.0.0/8"])));
        assert_eq!(in_force(&all, &all, &denied), ["clock", "net=https://x.example"]);
    }

    #[test]
    fn a_baseline_is_removable_and_the_error_says_what_forbids() {
        let ceiling = Ceiling::new().deny(capabilities(&["clock"]));
        let asked = requests(&["clock"]);
        let policy = decide(&asked, &[], &[CapabilityKind::Clock], &ceiling);
        assert_eq!(
            (policy.allowed().count(), policy.forbidden.as_slice()),
            (0, capabilities(&["clock"]).as_slice())
        );
        let error = policy.require(&asked).expect_err("forbidden");
        assert_eq!(error.hint(), Some("it was granted, but the operator's ceiling forbids it"));
    }
}
