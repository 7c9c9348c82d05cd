//! Variables of the environment, by name.
//!
//! A guest gets those that its policy names when it first looks, and keeps them: what it has
//! read cannot be taken back. Names and values that are no UTF-8 are none that a guest could
//! be given.

use std::ffi::OsString;

use airlock_core::{CapabilityKind, NamePattern, Policy, Scope};

/// The variables that `policy` grants, each once, by name.
pub(crate) fn granted(policy: &Policy) -> Vec<(String, String)> {
    let (mut names, mut beginnings): (Vec<&NamePattern>, Vec<&NamePattern>) = (Vec::new(), Vec::new());
    for capability in policy.of(CapabilityKind::Env) {
        if let Scope::Name(pattern) = capability.scope() {
            let of_its_kind = if pattern.exact().is_some() { &mut names } else { &mut beginnings };
            of_its_kind.push(pattern);
        }
    }
    // Those are looked up. All there are, which are copied for that, are only looked through where
    // names are said by their beginnings.
    let known = names.iter().filter_map(|pattern| pattern.exact());
    let looked_up = known.filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?)));
    let all = (!beginnings.is_empty()).then(std::env::vars_os);
    let found = all.into_iter().flatten().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let found = found.filter(|(name, _)| beginnings.iter().any(|pattern| pattern.permits(name)));
    let mut granted: Vec<(String, String)> = looked_up.chain(found).filter_map(text).collect();
    granted.sort();
    granted.dedup();
    granted
}

fn text((name, value): (String, OsString)) -> Option<(String, String)> {
    match value.into_string() {
        Ok(value) => Some((name, value)),
        Err(_) => {
            tracing::warn!(name, "a granted variable is no UTF-8 and left out");
            None
        }
    }
}
