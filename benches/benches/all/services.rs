//! What a plugin's way to the world costs, beside the way itself.

use airlock_bench::Report;

use crate::{kept, programs, requests};

pub(crate) fn run(report: &mut Report) {
    kept::run(report);
    requests::run(report);
    programs::run(report);
}
