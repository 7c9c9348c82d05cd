//! How a program is fed, read and ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use airlock_host::service::exec::Programs;
use airlock_host::{Ended, Exec, LimitKind, Limits, ProgramRun, ServiceError, Stream};
use rustix::process::{Pid, test_kill_process};

use super::{Output, folder, shell, words_of};
use crate::gated::Call;
use crate::support::Mode;

/// Waits until there is no such process, and fails when there still is one after a while.
fn is_gone(pid: i32) {
    let pid = Pid::from_raw(pid).unwrap();
    let give_up = Instant::now() + Duration::from_secs(20);
    while test_kill_process(pid).is_ok() && !is_zombie(pid) {
        assert!(Instant::now() < give_up, "process {pid:?} goes on");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether it has ended, and its parent, whoever that is by now, has not asked for it.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// The number in a file, once somebody has written it.
fn number_in(path: &Path) -> i32 {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        match std::fs::read_to_string(path).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok()) {
            Some(number) => return number,
            None => assert!(Instant::now() < give_up, "nobody wrote {}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn exec_both_outputs_of_1_mib_and_as_much_input() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=sh *", "exec=cat"]);
    let script = "head -c 1048576 /dev/zero & head -c 1048576 /dev/zero >&2; wait";
    let output = call.run(shell(script)).unwrap();
    assert_eq!(
        (output.ended, output.stdout.len(), output.stderr.len()),
        (Ended::Exited(0), 1 << 20, 1 << 20)
    );
    let stdin: Vec<u8> = (0..1 << 20).map(|index| (index % 251) as u8).collect();
    let run = ProgramRun { stdin: stdin.clone(), ..words_of(&["cat"]) };
    assert_eq!(call.run(run).unwrap().stdout, stdin);
    // Without any there is an end, and what is not read does no harm.
    assert_eq!(call.text(&["cat"]), "");
    let unread = ProgramRun { stdin, ..shell("exec <&-; echo done") };
    assert_eq!(call.run(unread).unwrap().stdout, b"done\n");
}

#[test]
fn exec_100_mb_of_output_hits_its_limit() {
    let at = folder();
    for redirect in ["", ">&2"] {
        let call = Call::new(at.path(), &["exec=sh *"]);
        let maximum = Limits::default().value(LimitKind::ProgramOutput);
        let error = call.run(shell(&format!("head -c 100000000 /dev/zero {redirect}"))).unwrap_err();
        assert_eq!(error, ServiceError::Limit { limit: LimitKind::ProgramOutput, maximum });
    }
    // Up to the limit is not past it, also where the program has ended by then.
    let call = || Call::new(at.path(), &["exec=sh *"]).limited(LimitKind::ProgramOutput, 1000);
    assert_eq!(call().run(shell("head -c 1000 /dev/zero")).unwrap().stdout.len(), 1000);
    assert_eq!(call().run(shell("head -c 1001 /dev/zero")).unwrap_err().code(), "limit-program-output");
}

#[test]
fn exec_a_slow_taker_makes_the_program_wait() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=head *"]);
    let run = words_of(&["head", "-c", "8388608", "/dev/zero"]);
    let permit = call.permit(run.need()).unwrap();
    let mut taken = 0;
    let mut sink = |_: Stream, bytes: &[u8]| {
        taken += bytes.len();
        std::thread::yield_now();
        Ok(())
    };
    let programs = Programs::new();
    let ended = Mode::NoRuntime.wait(programs.run(&permit, &run, &mut sink));
    assert_eq!((ended, taken), (Ok(Ended::Exited(0)), 8 << 20));
}

#[test]
fn exec_an_error_of_the_taker_ends_the_program() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=sh *"]);
    let run = shell("echo $$; exec sleep 1000");
    let permit = call.permit(run.need()).unwrap();
    let mut pid = None;
    let mut sink = |_: Stream, bytes: &[u8]| {
        pid = Some(std::str::from_utf8(bytes).unwrap().trim().parse().unwrap());
        Err(ServiceError::Failed("enough".to_owned()))
    };
    let programs = Programs::new();
    let result = Mode::NoRuntime.wait(programs.run(&permit, &run, &mut sink));
    assert_eq!(result, Err(ServiceError::Failed("enough".to_owned())));
    is_gone(pid.unwrap());
}

#[test]
fn exec_exit_code_and_signal_are_told_apart() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=sh *"]);
    let ended = |script: &str| call.run(shell(script)).unwrap().ended;
    assert_eq!(ended("exit 0"), Ended::Exited(0));
    assert_eq!(ended("exit 137"), Ended::Exited(137));
    assert_eq!(ended("kill -9 $$"), Ended::Signalled(9));
    assert_eq!(ended("kill -15 $$"), Ended::Signalled(15));
}

#[test]
fn exec_its_own_time_is_told_apart_from_the_calls() {
    let at = folder();
    let short = Some(Duration::from_millis(50));
    let call = || Call::new(at.path(), &["exec=sh *"]);
    let output = call().run(ProgramRun { timeout: short, ..shell("echo begun; exec sleep 1000") });
    let Ok(Output { ended: Ended::TimedOut, .. }) = output else { panic!("{output:?}") };
    let limited = call().limited(LimitKind::ProgramTime, 50_000_000);
    let long = ProgramRun { timeout: Some(Duration::from_secs(1000)), ..shell("exec sleep 1000") };
    assert_eq!(limited.run(long).unwrap().ended, Ended::TimedOut);
}

#[test]
fn slow_host_call_a_program_that_never_ends_is_cut_at_the_deadline() {
    let at = folder();
    for mode in [Mode::NoRuntime, Mode::CurrentThread, Mode::MultiThread] {
        let call = Call::new(at.path(), &["exec=sh *"]).lasting(Duration::from_millis(200));
        let file = at.path().join(format!("{mode:?}"));
        let run = shell(&format!("echo $$ > {}; trap '' TERM INT; exec sleep 1000", file.display()));
        let result = mode.wait(call.run_with(&Programs::new(), run));
        assert_eq!(result, Err(ServiceError::Ended), "{mode:?}");
        // It may not have got as far as to write it.
        if file.exists() {
            is_gone(number_in(&file));
        }
    }
}

#[test]
fn exec_a_grandchild_ends_with_its_deadline() {
    let at = folder();
    let file = at.path().join("pid");
    let script = format!("sh -c 'sleep 1000 & echo $! > {}; wait' & wait", file.display());
    let mut time = Duration::from_millis(200);
    // There has to be time enough for somebody to be there who could outlive it.
    while !file.exists() {
        let call = Call::new(at.path(), &["exec=sh *"]).lasting(time);
        assert_eq!(call.run(shell(&script)), Err(ServiceError::Ended));
        time *= 2;
    }
    is_gone(number_in(&file));
}

#[test]
fn exec_what_is_left_in_the_background_ends_with_the_program() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=sh *"]);
    let text = call.text(&["sh", "-c", "sleep 1000 & echo $!"]);
    is_gone(text.trim().parse().unwrap());
}

#[test]
fn exec_dropped_it_is_killed() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=sh *"]);
    let file = at.path().join("pid");
    let run = shell(&format!("sleep 1000 & echo $! > {}; wait", file.display()));
    let programs = Programs::new();
    let mut future = Box::pin(call.run_with(&programs, run));
    let waker = std::task::Waker::noop();
    assert!(future.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    let child = number_in(&file);
    drop(future);
    is_gone(child);
}

#[test]
fn exec_dropped_at_once_it_never_starts_or_is_killed() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=sleep *"]);
    let programs = Programs::new();
    for _ in 0..50 {
        let mut future = Box::pin(call.run_with(&programs, words_of(&["sleep", "98765"])));
        let waker = std::task::Waker::noop();
        assert!(future.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    }
    let give_up = Instant::now() + Duration::from_secs(20);
    while sleepers() != 0 {
        assert!(Instant::now() < give_up, "some go on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes that were told to sleep for a time nobody else does.
fn sleepers() -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let is_one = |entry: &std::fs::DirEntry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.ends_with(b"sleep\098765\0"))
    };
    entries.flatten().filter(is_one).count()
}

#[test]
fn exec_in_a_control_group_nobody_gets_away() {
    let Some(groups) = delegated() else { return };
    let at = folder();
    let call = Call::new(at.path(), &["exec=sh *"]);
    let programs = Programs::new().cgroup(&groups);
    let file = at.path().join("pid");
    let script = format!(
        "setsid sh -c 'echo $$ > {0}; exec sleep 1000' & until [ -s {0} ]; do :; done",
        file.display()
    );
    let output = Mode::NoRuntime.wait(call.run_with(&programs, shell(&script))).unwrap();
    assert_eq!(output.ended, Ended::Exited(0), "{}", String::from_utf8_lossy(&output.stderr));
    is_gone(number_in(&file));
    let left: Vec<_> =
        std::fs::read_dir(&groups).unwrap().flatten().filter(|entry| entry.path().is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir(groups).unwrap();
}

/// A control group of our own, on a machine where one can be made.
fn delegated() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (root, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(root))
    })?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = root.join(own).join(format!("airlock-test-{}", std::process::id()));
    std::fs::create_dir(&group).ok()?;
    let can_kill = group.join("cgroup.kill").exists();
    can_kill.then_some(group)
}
