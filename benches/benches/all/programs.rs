//! Programs run for guests, beside the standard library's own way of running them.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::service::exec::{Programs, SearchPath, locate, normalised};
use airlock_host::{
    Basis, Capability, Ceiling, Digest, Ended, Exec, Gate, Identity, LimitKind, Limits, Overrides, Place,
    Policy, ProgramRun, Request,
};

/// Bytes of output in the row about output.
const BYTES: u64 = 8 << 20;

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let call = Call::new();
    let count = BYTES.to_string();
    for (work, words) in [
        ("run `true`, wall time", &["true"][..]),
        ("run `head` for 8 MiB of output, wall time", &["head", "-c", &count, "/dev/zero"]),
    ] {
        let path = SearchPath::of_process().find(words[0]).unwrap();
        let plain = || {
            let mut command = Command::new(&path);
            let output = command.args(&words[1..]).env_clear().stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success());
        };
        let bounded = || {
            assert_eq!(runtime.block_on(call.run(words)), Ended::Exited(0));
        };
        report.compare(
            work,
            Clock::Wall,
            vec![
                Contender::new("std::process", plain),
                Contender::new("exec of airlock", bounded).target(Target::OfFloor(3.0)),
            ],
        );
    }
}

/// A call with a grant for both programs.
struct Call {
    gate: Gate,
    policy: Arc<Policy>,
    programs: Programs,
}

impl Call {
    fn new() -> Self {
        let grants: Vec<Capability> =
            ["exec=true", "exec=head *"].iter().map(|grant| grant.parse().unwrap()).collect();
        let requests: Vec<Request> = grants
            .iter()
            .map(|capability| Request { capability: capability.clone(), required: true })
            .collect();
        let programs = locate(&SearchPath::of_process(), &grants);
        let place = Place { working: PathBuf::from("/"), programs, ..Place::default() };
        let (grants, ceiling) = (grants.as_slice(), &Ceiling::new());
        let basis = Basis { requests: &requests, grants, baseline: &[], ceiling, place: &place };
        let caller = Identity { name: "bench".to_owned(), digest: Digest::of(b"") };
        let limits = Limits::default().with(&Overrides::from([(LimitKind::Programs, u64::MAX)]));
        Call {
            gate: Gate::new(Arc::new(caller), Arc::new(limits)),
            policy: Arc::new(Policy::decide(basis)),
            programs: Programs::new(),
        }
    }

    async fn run(&self, words: &[&str]) -> Ended {
        let args = words[1..].iter().map(|&arg| arg.to_owned()).collect();
        let run = ProgramRun { program: words[0].to_owned(), args, ..ProgramRun::default() };
        let run = normalised(run, &self.policy).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let permit = self.gate.permit(&self.policy, deadline, run.need()).unwrap();
        let mut output = Vec::new();
        let mut sink = |_, bytes: &[u8]| {
            output.extend_from_slice(bytes);
            Ok(())
        };
        self.programs.run(&permit, &run, &mut sink).await.unwrap()
    }
}
