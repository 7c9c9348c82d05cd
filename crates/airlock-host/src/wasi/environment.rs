//! Variables of the environment, by name.
//!
//! A guest gets those that its policy names when it first looks, and keeps them: what it has
//! read cannot be taken back. Names and values that are no UTF-8 are none that a guest could
//! be given.

use std::collections::BTreeMap;

use airlock_core::{CapabilityKind, NamePattern, Policy, Scope};

/// The variables that `policy` grants, each once, by name.
pub(super) fn granted(policy: &Policy) -> Vec<(String, String)> {
    let patterns: Vec<&NamePattern> = policy
        .of(CapabilityKind::Env)
        .filter_map(|capability| match capability.scope() {
            Scope::Name(pattern) => Some(pattern),
            _ => None,
        })
        .collect();
    if patterns.is_empty() {
        return Vec::new();
    }
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let is_granted = patterns.iter().any(|pattern| pattern.permits(&name));
        match value.into_string() {
            Ok(value) if is_granted => Some((name, value)),
            Err(_) if is_granted => {
                tracing::warn!(name, "a granted variable is no UTF-8 and left out");
                None
            }
            _ => None,
        }
    });
    variables.collect::<BTreeMap<_, _>>().into_iter().collect()
}
