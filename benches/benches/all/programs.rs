//! Programs run for guests, beside the standard library's own way of running them.

use std::process::{Command, Stdio};

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::service::exec::{Programs, SearchPath, normalised};
use airlock_host::{Ended, Exec, ProgramRun};

use crate::gated::Call;

/// Bytes of output in the row about output.
const BYTES: u64 = 8 << 20;

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (call, programs) = (Call::new(&["exec=true", "exec=head *"]), Programs::new());
    let count = BYTES.to_string();
    for (work, words, target) in [
        ("run `true`, wall time", &["true"][..], Some(Target::OverFloor(2e6))),
        // Bounded and handed over piece by piece, where the floor reads it all.
        ("run `head` for 8 MiB of output, wall time", &["head", "-c", &count, "/dev/zero"], None),
    ] {
        let path = SearchPath::of_process().find(words[0]).unwrap();
        let plain = || {
            let mut command = Command::new(&path);
            let output = command.args(&words[1..]).env_clear().stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success());
        };
        let bounded = || {
            assert_eq!(runtime.block_on(run_one(&call, &programs, words)), Ended::Exited(0));
        };
        let ours = Contender::new("exec of airlock", bounded);
        let ours = match target {
            Some(target) => ours.target(target),
            None => ours,
        };
        report.compare(work, Clock::Wall, vec![Contender::new("std::process", plain), ours]);
    }
}

/// Runs one for a call.
async fn run_one(call: &Call, programs: &Programs, words: &[&str]) -> Ended {
    let args = words[1..].iter().map(|&arg| arg.to_owned()).collect();
    let run = ProgramRun { program: words[0].to_owned(), args, ..ProgramRun::default() };
    let run = normalised(run, &call.policy).unwrap();
    let permit = call.permit(run.need()).unwrap();
    let mut output = Vec::new();
    let mut sink = |_, bytes: &[u8]| {
        output.extend_from_slice(bytes);
        Ok(())
    };
    programs.run(&permit, &run, &mut sink).await.unwrap()
}
