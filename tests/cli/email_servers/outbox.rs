//! What is sent without being asked for: by a worker in the foreground, and beside plugins.

use std::io::{BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{DEFERRING, Round};
use crate::support::describe;

const SEND: [&str; 7] = ["send", "--to", "bert@x.example", "--subject", "lunch", "--body", "At noon?"];

/// A verb that goes on until it is ended.
fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Ends it as Ctrl-C does, or another signal; its exit code and what it told.
fn end(mut child: Child, signal: Signal) -> (Option<i32>, String) {
    kill_process(Pid::from_child(&child), signal).unwrap();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (child.wait().unwrap().code(), told)
}

/// The first line of a stream.
fn line(stream: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn a_worker_in_the_foreground_sends_what_is_due_until_it_is_ended() {
    let round = Round::with_account(DEFERRING);
    round.defer(true);
    round.text(&SEND);
    let mut command = round.airlock();
    command.args(["email", "outbox", "run"]);
    let mut running = start(&mut command);
    let mut told = BufReader::new(running.stderr.take().unwrap());
    assert_eq!(line(&mut told), "sending what is due; Ctrl-C ends it");
    let mut lines = BufReader::new(running.stdout.take().unwrap());
    // It failed once, and is due again after ten seconds.
    round.defer(false);
    assert_eq!(line(&mut lines), "1 to bert@x.example: sent");
    assert_eq!(round.exim.delivered(1).len(), 1);
    kill_process(Pid::from_child(&running), Signal::INT).unwrap();
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    // A message is told of once, with its copy among the sent ones or without.
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!((running.wait().unwrap().code(), rest.as_str()), (Some(0), ""));

    // The same for a program, where it fails once more.
    round.defer(true);
    round.text(&SEND);
    round.ok(&["outbox", "retry", "2"]);
    let mut command = round.airlock();
    command.args(["--json", "email", "outbox", "run"]);
    let mut running = start(&mut command);
    let mut lines = BufReader::new(running.stdout.take().unwrap());
    let told: Value = serde_json::from_str(&line(&mut lines)).unwrap();
    assert_eq!((&told["ok"], &told["to"]), (&json!(false), &json!("bert@x.example")));
    assert_eq!(told["last_error"], json!("provider rejected the request: 451 come back later"));
    let delivery = &told["delivery"];
    assert_eq!((&delivery["outbox_id"], &delivery["retries"]), (&json!(2), &json!(2)));
    assert_eq!(delivery["status"], json!("failed"));
    assert_eq!(end(running, Signal::TERM), (Some(0), String::new()));
    let told = "exit 1\n--- stderr\nsent 0 of 1 that were due\n";
    round.ok(&["outbox", "retry", "2"]);
    assert_eq!(round.text(&["outbox", "send"]), told);
    assert_eq!(round.exim.delivered(1).len(), 1);
}

#[test]
fn what_waits_is_sent_beside_plugins_too() {
    let round = Round::with_account(DEFERRING);
    let plugins = tempfile::tempdir().unwrap();
    let folder = plugins.path().to_str().unwrap();
    for (count, verb) in [(1, &["rpc"][..]), (2, &["watch", folder])] {
        round.defer(true);
        round.text(&SEND);
        round.defer(false);
        round.ok(&["outbox", "retry", &count.to_string()]);
        let running = start(round.airlock().args(verb));
        assert_eq!(round.exim.delivered(count).len(), count);
        // Ends with its message, whoever ends it.
        if verb == ["rpc"] {
            let output = running.wait_with_output().unwrap();
            assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), vec![], vec![]));
        } else {
            assert_eq!(end(running, Signal::INT), (Some(0), String::new()));
        }
        let (_, listed) = round.json(&["outbox", "list"]);
        assert_eq!(listed["outbox"][0]["delivery"]["status"], json!("sent"));
    }
    // Nobody is there to be asked for a passphrase, which is said where something waits.
    let without = |args: &[&str]| {
        let mut command = round.airlock();
        command.args(args).env_remove("AIRLOCK_MAIL_PASSPHRASE");
        describe(&start(&mut command).wait_with_output().unwrap())
    };
    assert_eq!(without(&["rpc"]), "exit 0\n");
    round.defer(true);
    round.text(&SEND);
    round.ok(&["outbox", "retry", "3"]);
    assert_eq!(
        without(&["rpc"]),
        "exit 0\n--- stderr\nwarning: what waits in the outbox of mail is not sent by this: it takes the \
         passphrase in `AIRLOCK_MAIL_PASSPHRASE`\n"
    );
    let told = without(&["email", "outbox", "run"]);
    assert!(told.starts_with("exit 125\n") && told.contains("set `AIRLOCK_MAIL_PASSPHRASE`"), "{told}");
    // No attempt was wasted on it.
    let (_, listed) = round.json(&["outbox", "list"]);
    let delivery = &listed["outbox"][0]["delivery"];
    assert_eq!((&delivery["status"], &delivery["retries"]), (&json!("pending"), &json!(1)));
}
