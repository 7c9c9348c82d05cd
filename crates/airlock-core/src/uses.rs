//! What a call used of what it may, counted so that a loop costs one record.

use crate::{AuditEvent, Capability, Need};

/// Different capabilities that are told apart in one call; what comes beyond is counted
/// with the kind's whole.
const DISTINCT: usize = 64;

/// What one call used, and what it tried to.
#[derive(Debug, Clone, Default)]
pub struct Uses {
    /// Whether it was allowed, and how often it was used.
    counted: Vec<(Capability, bool, u64)>,
}

impl Uses {
    /// Nothing yet.
    pub fn new() -> Self {
        Uses::default()
    }

    /// Whether nothing was counted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }

    /// Counts one use, or with `allowed` false one refusal.
    pub fn count(&mut self, capability: &Capability, allowed: bool) {
        let same = |(known, was_allowed, _): &&mut (Capability, bool, u64)| {
            known == capability && *was_allowed == allowed
        };
        if let Some((_, _, count)) = self.counted.iter_mut().find(same) {
            *count = count.saturating_add(1);
        } else if self.counted.len() < DISTINCT {
            self.counted.push((capability.clone(), allowed, 1));
        } else {
            self.count_whole(&Capability::all_of(capability.kind()), allowed);
        }
    }

    /// Counts a use of what was needed, under the narrowest capability that says it.
    pub fn used(&mut self, need: Need<'_>) {
        if self.again(need, true).is_none() {
            self.count(&need.capability(), true);
        }
    }

    /// Counts a refusal of what was needed, and gives the capability that was lacking. What was
    /// refused before is not said anew: refusals come by the thousand.
    pub fn refused(&mut self, need: Need<'_>) -> Capability {
        if let Some(known) = self.again(need, false) {
            return known.clone();
        }
        let capability = need.capability();
        self.count(&capability, false);
        capability
    }

    /// Counts what was counted before, and gives it.
    fn again(&mut self, need: Need<'_>, allowed: bool) -> Option<&Capability> {
        let same = |(known, was_allowed, _): &&mut (Capability, bool, u64)| {
            *was_allowed == allowed && need.is_called(known)
        };
        let (known, _, count) = self.counted.iter_mut().find(same)?;
        *count = count.saturating_add(1);
        Some(known)
    }

    /// Beyond what is told apart there is one entry for each kind and outcome, of which there
    /// are few.
    fn count_whole(&mut self, whole: &Capability, allowed: bool) {
        match self
            .counted
            .iter_mut()
            .find(|(known, was_allowed, _)| known == whole && *was_allowed == allowed)
        {
            Some((_, _, count)) => *count = count.saturating_add(1),
            None => self.counted.push((whole.clone(), allowed, 1)),
        }
    }

    /// The events to be recorded, in the order in which things were first used. Nothing is
    /// counted afterwards.
    pub fn take(&mut self) -> Vec<AuditEvent> {
        let event = |(capability, allowed, count)| match allowed {
            true => AuditEvent::Used { capability, count },
            false => AuditEvent::Refused { capability, count },
        };
        std::mem::take(&mut self.counted).into_iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{DISTINCT, Uses};
    use crate::{AuditEvent, CAPABILITIES, Capability};

    #[test]
    fn audit_flood_a_loop_of_uses_is_a_bounded_number_of_records() {
        let mut uses = Uses::new();
        for index in 0..100_000 {
            let host: Capability = format!("net=https://h{index}.example").parse().expect("valid");
            uses.count(&host, index % 2 == 0);
        }
        let events = uses.take();
        assert!(events.len() <= DISTINCT + 2 * CAPABILITIES.len(), "{}", events.len());
        let counted: u64 = events
            .iter()
            .map(|event| match event {
                AuditEvent::Used { count, .. } | AuditEvent::Refused { count, .. } => *count,
                other => panic!("{other:?}"),
            })
            .sum();
        assert_eq!(counted, 100_000);
        assert!(uses.take().is_empty());
    }

    #[test]
    fn uses_and_refusals_are_told_apart() {
        let mut uses = Uses::new();
        let clock: Capability = "clock".parse().expect("valid");
        for allowed in [true, false, true] {
            uses.count(&clock, allowed);
        }
        let expected = [
            AuditEvent::Used { capability: clock.clone(), count: 2 },
            AuditEvent::Refused { capability: clock, count: 1 },
        ];
        assert_eq!(uses.take(), expected);
    }
}
