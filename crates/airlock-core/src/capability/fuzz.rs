//! Capabilities in any text, and every decision over three of them.

use std::time::Duration;

use super::Capability;
use crate::text::is_hidden;
use crate::{Basis, Ceiling, Place, Policy, Request};

#[test]
fn any_text_is_refused_or_reads_back_and_decides_within_its_bounds() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let read: Vec<Capability> = text.split('\n').take(3).filter_map(judged).collect();
            if let [request, grant, denied] = read.as_slice() {
                judge(request, grant, denied);
            }
        },
    );
}

fn judged(text: &str) -> Option<Capability> {
    let capability: Capability = match text.parse() {
        Ok(capability) => capability,
        Err(error) => {
            assert!(!error.to_string().chars().any(is_hidden), "{error}");
            return None;
        }
    };
    let shown = capability.to_string();
    assert!(!shown.chars().any(is_hidden) && !capability.sentence().chars().any(is_hidden), "{shown}");
    assert_eq!(shown.parse::<Capability>().as_ref().ok(), Some(&capability), "{shown}");
    assert!(capability.covers(&capability) && capability.overlaps(&capability), "{shown}");
    assert!(Capability::all_of(capability.kind()).covers(&capability.resolved(&place())), "{shown}");
    Some(capability)
}

fn place() -> Place {
    Place { working: "/w".into(), home: Some("/h".into()), own: Some("/o".into()), ..Place::default() }
}

fn judge(request: &Capability, grant: &Capability, denied: &Capability) {
    let place = place();
    let requests = [Request { capability: request.clone(), required: true }];
    let grants = [grant.clone()];
    let ceiling = Ceiling::new().deny([denied.clone()]);
    let basis =
        Basis { requests: &requests, grants: &grants, baseline: &[], ceiling: &ceiling, place: &place };
    let policy = Policy::decide(basis);
    for allowed in policy.allowed() {
        assert!(request.resolved(&place).covers(allowed), "{allowed} was not asked for by {request}");
        assert!(grant.resolved(&place).covers(allowed), "{allowed} was not granted by {grant}");
        assert!(!allowed.overlaps(&denied.resolved(&place)), "{allowed} is denied by {denied}");
    }
}
