//! Programs that guests run: real ones of this machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use airlock_host::service::exec::{Programs, SearchPath, normalised};
use airlock_host::{Ended, Exec, LimitKind, Limits, ProgramRun, ServiceError, Stream};
use rustix::process::{Pid, test_kill_process};

use crate::gated::{Call, denied};
use crate::support::Mode;

impl Call {
    /// Runs a program as an adapter does.
    fn run(&self, run: ProgramRun) -> Result<Output, ServiceError> {
        Mode::NoRuntime.wait(self.run_with(&Programs::new().search(self.search.clone()), run))
    }

    async fn run_with(&self, programs: &Programs, run: ProgramRun) -> Result<Output, ServiceError> {
        let run = normalised(run, &self.policy)?;
        let permit = self.permit(run.need())?;
        let mut output = Output { ended: Ended::TimedOut, stdout: Vec::new(), stderr: Vec::new() };
        let mut sink = |stream: Stream, bytes: &[u8]| {
            match stream {
                Stream::Stdout => output.stdout.extend_from_slice(bytes),
                Stream::Stderr => output.stderr.extend_from_slice(bytes),
            }
            Ok(())
        };
        let ended = programs.run(&permit, &run, &mut sink).await?;
        Ok(Output { ended, ..output })
    }

    fn text(&self, words: &[&str]) -> String {
        let output = self.run(words_of(words)).unwrap();
        assert_eq!(output.ended, Ended::Exited(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Output {
    ended: Ended,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn words_of(words: &[&str]) -> ProgramRun {
    let (program, args) = words.split_first().unwrap();
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    ProgramRun { program: (*program).to_owned(), args, ..ProgramRun::default() }
}

fn shell(script: &str) -> ProgramRun {
    words_of(&["sh", "-c", script])
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A script in `folder` that says who it is.
pub(crate) fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

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
fn exec_shell_metacharacters_are_text() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=echo *"]);
    let text = "a; touch b $(touch c) `touch d` | e > f && g * ~ $HOME";
    assert_eq!(call.text(&["echo", text]), format!("{text}\n"));
    assert_eq!(std::fs::read_dir(at.path()).unwrap().count(), 0);
}

#[test]
fn exec_without_grant_is_denied() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=echo *", "fs.read=."]);
    assert_eq!(call.run(words_of(&["ls"])), Err(denied("exec=ls")));
    assert_eq!(call.run(words_of(&["/usr/bin/ls"])), Err(denied("exec=/usr/bin/ls")));
    assert_eq!(call.run(words_of(&["/nowhere/at/all"])), Err(denied("exec=/nowhere/at/all")));
    assert_eq!(call.run(words_of(&["ECHO", "x"])), Err(denied("exec=ECHO")));
}

#[test]
fn exec_a_permit_for_one_program_runs_no_other() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=echo *"]);
    let permit = call.permit(words_of(&["echo", "x"]).need()).unwrap();
    let (programs, other) = (Programs::new(), words_of(&["ls"]));
    let error = Mode::NoRuntime.wait(programs.run(&permit, &other, &mut |_, _| Ok(())));
    assert_eq!(error, Err(denied("exec=ls")));
}

#[test]
fn exec_sh_only_when_granted() {
    let at = folder();
    let without = Call::new(at.path(), &["exec=echo *"]);
    assert_eq!(without.run(shell("echo x")), Err(denied("exec=sh")));
    let with = Call::new(at.path(), &["exec=sh -c 'echo x'"]);
    assert_eq!(with.text(&["sh", "-c", "echo x"]), "x\n");
    assert_eq!(with.run(shell("echo y")), Err(denied("exec=sh")));
}

#[test]
fn exec_arguments_by_pattern() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=echo say a*"]);
    assert_eq!(call.text(&["echo", "say", "abc"]), "say abc\n");
    for words in [&["echo", "say"][..], &["echo", "say", "b"], &["echo", "say", "a", "c"], &["echo"]] {
        assert_eq!(call.run(words_of(words)), Err(denied("exec=echo")), "{words:?}");
    }
}

#[test]
fn exec_a_path_and_a_name_are_one_program() {
    let at = folder();
    let echo = SearchPath::of_process().find("echo").unwrap();
    let by_name = Call::new(at.path(), &["exec=echo *"]);
    assert_eq!(by_name.text(&[echo.to_str().unwrap(), "x"]), "x\n");
    // Through a link to its folder it is the same one, on either side.
    let link = at.path().join("link");
    std::os::unix::fs::symlink(echo.parent().unwrap(), &link).unwrap();
    let linked = link.join("echo").to_str().unwrap().to_owned();
    assert_eq!(by_name.text(&[&linked, "x"]), "x\n");
    let by_link = Call::new(at.path(), &[&format!("exec={linked} *")]);
    assert_eq!(by_link.text(&[&linked, "x"]), "x\n");
    assert_eq!(by_link.text(&[echo.to_str().unwrap(), "x"]), "x\n");
}

#[test]
fn exec_what_is_no_program_makes_no_sense() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=*"]);
    for program in ["", ".", "..", "./sh", "a/b", "/usr/../bin/sh", "/bin//sh", "/bin/", "/", "sh\0x"] {
        let result = call.run(words_of(&[program]));
        assert!(matches!(result, Err(ServiceError::Invalid(_))), "{program:?}: {result:?}");
    }
    let args = ProgramRun { args: vec!["a\0b".to_owned()], ..words_of(&["echo"]) };
    assert!(matches!(call.run(args), Err(ServiceError::Invalid(_))));
    let missing = call.run(words_of(&["no-such-program"])).unwrap_err();
    assert_eq!(missing, ServiceError::NotFound("program `no-such-program`".to_owned()));
    // A folder and a file that is not executable are no programs.
    std::fs::write(at.path().join("text"), "x").unwrap();
    for path in [at.path().to_owned(), at.path().join("text")] {
        let path = path.to_str().unwrap();
        let missing = ServiceError::NotFound(format!("program `{path}`"));
        assert_eq!(call.run(words_of(&[path])), Err(missing));
    }
}

#[test]
fn exec_a_program_of_the_same_name_elsewhere_is_not_run() {
    let (at, first, last) = (folder(), folder(), folder());
    script(at.path(), "tool", "echo from the working folder");
    script(last.path(), "tool", "echo the right one");
    let path = format!(".::{}:{}", first.path().display(), last.path().display());
    let call = Call::on(at.path(), &["exec=tool"], SearchPath::new(path));
    // It was looked up when the policy was decided: what comes before it later is another.
    script(first.path(), "tool", "echo put there later");
    assert_eq!(call.text(&["tool"]), "the right one\n");
    assert_eq!(
        call.run(words_of(&[first.path().join("tool").to_str().unwrap()])).unwrap_err().code(),
        "denied"
    );
}

#[test]
fn exec_a_name_that_stood_for_nothing_stands_for_nothing_later() {
    let (at, on_path) = (folder(), folder());
    let call = Call::on(at.path(), &["exec=tool"], SearchPath::new(on_path.path()));
    script(on_path.path(), "tool", "echo put there later");
    assert_eq!(call.run(words_of(&["tool"])), Err(ServiceError::NotFound("program `tool`".to_owned())));
    let any = Call::on(at.path(), &["exec=*"], SearchPath::new(on_path.path()));
    assert_eq!(any.text(&["tool"]), "put there later\n");
}

#[test]
fn exec_what_the_plugin_could_have_written_is_not_run() {
    let (at, on_path) = (folder(), folder());
    let out = at.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let own = script(&out, "own", "echo own");
    let own = own.to_str().unwrap();
    std::os::unix::fs::symlink(own, on_path.path().join("tool")).unwrap();
    let search = SearchPath::new(on_path.path());
    let grants = ["fs.write=out", "exec=tool", &format!("exec={own}")];
    for program in ["tool", own] {
        let error = Call::on(at.path(), &grants, search.clone()).run(words_of(&[program])).unwrap_err();
        let reason =
            format!("`{program}` is not run: the plugin may write to it, so it may be the plugin's own");
        assert_eq!(error, ServiceError::Failed(reason));
        assert_eq!(Call::on(at.path(), &grants[1..], search.clone()).text(&[program]), "own\n");
    }
    // Nor is it found by programs that are run.
    let path = format!("{}:{}:/usr/bin:/bin", out.display(), on_path.path().display());
    let call = Call::on(at.path(), &["fs.write=out", "exec=sh *"], SearchPath::new(path));
    assert_eq!(
        call.text(&["sh", "-c", "echo $PATH"]),
        format!("{}:/usr/bin:/bin\n", on_path.path().display())
    );
}

#[test]
fn exec_inherits_no_environment() {
    let at = folder();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "there is something to inherit");
    let call = Call::new(at.path(), &["exec=env"]);
    let text = call.text(&["env"]);
    for line in text.lines() {
        let name = line.split('=').next().unwrap();
        assert!(matches!(name, "PATH" | "LANG" | "LANGUAGE") || name.starts_with("LC_"), "{line}");
    }
    assert!(text.contains("PATH=/"));
}

#[test]
fn exec_a_variable_needs_a_grant() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=env", "env=MODE", "env=APP_*"]);
    let run = |name: &str| {
        let env = [(name.to_owned(), "set by the guest".to_owned())].into();
        call.run(ProgramRun { env, ..words_of(&["env"]) })
    };
    for name in ["MODE", "APP_X"] {
        let text = String::from_utf8(run(name).unwrap().stdout).unwrap();
        assert!(text.contains(&format!("{name}=set by the guest\n")), "{text}");
    }
    for name in ["LD_PRELOAD", "PATH", "GIT_SSH_COMMAND", "BASH_ENV", "MODEL"] {
        assert_eq!(run(name), Err(denied(&format!("env={name}"))), "{name}");
    }
    for name in ["", "A=B", "A\0"] {
        assert!(matches!(run(name), Err(ServiceError::Invalid(_))), "{name:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn exec_inherits_no_open_files() {
    let at = folder();
    let _open = std::fs::File::open(at.path()).unwrap();
    let call = Call::new(at.path(), &["exec=ls *"]);
    let text = call.text(&["ls", "/proc/self/fd"]);
    // A process that was itself started with more hands that on, as it does to any program.
    let handed_on = |name: &str| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{name}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
        flags.is_some_and(|flags| i64::from_str_radix(flags, 8).is_ok_and(|flags| flags & 0o2_000_000 == 0))
    };
    let more: Vec<&str> = text.lines().filter(|name| name.len() > 1 || *name > "2").collect();
    let own: Vec<&&str> = more.iter().filter(|name| !handed_on(name)).collect();
    // The one is what it reads the others from.
    assert_eq!(own.len(), 1, "{text}");
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
fn exec_working_folder_is_the_plugins_own_or_one_it_may_read() {
    let at = folder();
    let elsewhere = folder();
    for name in ["in/below", "out", "secret"] {
        std::fs::create_dir_all(at.path().join(name)).unwrap();
    }
    let real = |path: &Path| format!("{}\n", path.canonicalize().unwrap().display());
    let also = format!("fs.read={}", elsewhere.path().display());
    let call = Call::new(at.path(), &["exec=pwd *", "fs.read=in", "fs.write=out", &also]);
    let pwd = |folder: &Path| {
        let run = ProgramRun { folder: Some(folder.to_owned()), ..words_of(&["pwd", "-P"]) };
        call.run(run).map(|output| String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(call.text(&["pwd", "-P"]), real(at.path()));
    for inside in [".", "in", "in/below", "out", "in/../in", "in/.."] {
        assert_eq!(pwd(inside.as_ref()), Ok(real(&at.path().join(inside))), "{inside}");
    }
    for inside in [at.path().join("in"), elsewhere.path().to_owned()] {
        assert_eq!(pwd(&inside), Ok(real(&inside)));
    }
    for outside in ["secret", "in/../secret", "..", "/", "/usr"] {
        let error = pwd(outside.as_ref()).unwrap_err();
        assert!(matches!(&error, ServiceError::Denied(_)), "{outside}: {error}");
    }
}

#[test]
fn exec_working_folder_that_a_link_leads_to_has_to_be_granted() {
    let (at, elsewhere) = (folder(), folder());
    let inside = at.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), inside.join("link")).unwrap();
    std::fs::create_dir(elsewhere.path().join("below")).unwrap();
    let call = Call::new(at.path(), &["exec=pwd", "fs.read=in"]);
    for path in ["in/link", "in/link/below", "in/link/.."] {
        let run = ProgramRun { folder: Some(path.into()), ..words_of(&["pwd"]) };
        let error = call.run(run).unwrap_err();
        assert_eq!(error.code(), "denied", "{path}: {error}");
        assert!(!error.to_string().contains(elsewhere.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn exec_working_folder_that_is_missing_is_said() {
    let at = folder();
    std::fs::write(at.path().join("file"), "x").unwrap();
    let call = Call::new(at.path(), &["exec=pwd", "fs.read=."]);
    for path in ["gone", "file"] {
        let run = ProgramRun { folder: Some(path.into()), ..words_of(&["pwd"]) };
        assert_eq!(call.run(run), Err(ServiceError::NotFound(format!("folder `{path}`"))));
    }
    let nowhere = Call::new(Path::new(""), &["exec=pwd"]);
    assert_eq!(nowhere.run(words_of(&["pwd"])).unwrap_err().code(), "not-found");
}

#[test]
fn exec_more_programs_than_a_call_may_run() {
    let at = folder();
    let call = Call::new(at.path(), &["exec=true"]).limited(LimitKind::Programs, 2);
    assert_eq!(call.text(&["true"]), "");
    assert_eq!(call.text(&["true"]), "");
    let error = call.run(words_of(&["true"])).unwrap_err();
    assert_eq!(error, ServiceError::Limit { limit: LimitKind::Programs, maximum: 2 });
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
