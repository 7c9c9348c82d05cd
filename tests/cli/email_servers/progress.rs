//! What a person sees while mail is fetched.

use std::process::Command;
use std::time::Duration;

use super::{PASSPHRASE, PASSWORD, Round, raw};
use crate::proxy::{Fault, Proxy};
use crate::terminal::Terminal;

#[test]
fn one_bar_goes_over_all_folders_and_nothing_of_it_is_left() {
    let round = Round::new();
    // Slow enough for a person to see something.
    let slow = Proxy::to(round.dovecot.port);
    slow.set(Fault { delay: Duration::from_millis(25), ..Fault::NONE });
    let account = ["account", "add", "work", "--email", "anna@x.example", "--user", "anna"];
    let server = format!("localhost:{}", slow.port);
    round.typed(&[&account[..], &["--imap", &server, "--imap-security", "plain"]].concat(), PASSWORD);
    round.dovecot.deliver((0..30).map(|number| raw(&format!("inbox-{number}"))));
    let mut session = round.dovecot.session();
    for number in 0..3 {
        session.append("Sent", &raw(&format!("sent-{number}")));
    }
    let sync = || {
        let mut command = round.airlock();
        command.args(["email", "sync", "--folder", "INBOX", "--folder", "Sent", "--folder", "Drafts"]);
        command.env("TERM", "xterm");
        Terminal::run(command)
    };
    let mut terminal = sync();
    terminal.expect("connecting");
    terminal.expect("30/30 INBOX");
    terminal.expect("33/33 Sent");
    assert_eq!(terminal.end(), (0, "33 new messages\n".to_owned()));
    // Whatever ends it, what is told stands alone.
    round.dovecot.deliver((0..60).map(|number| raw(&format!("more-{number}"))));
    slow.set(Fault { delay: Duration::from_millis(25), to_client: 8_000, ..Fault::NONE });
    let error = "network error while contacting provider: the server ended the connection";
    let told = format!("error: `INBOX` of work: {error}\n0 new messages\n");
    assert_eq!(sync().end(), (1, told));
}

#[test]
fn a_passphrase_is_asked_for_once_however_many_accounts_need_it() {
    let round = Round::with_account("");
    round.add("home", "bert@x.example", &[]);
    round.dovecot.deliver(["one", "two"].map(raw));
    let mut airlock = round.airlock();
    airlock.args(["email", "sync", "--all-accounts", "--all"]).env_remove("AIRLOCK_MAIL_PASSPHRASE");
    // Whoever is asked has the terminal for its own.
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(airlock.get_program()).args(airlock.get_args());
    command.current_dir(airlock.get_current_dir().unwrap()).env("TERM", "xterm");
    for (name, value) in airlock.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut terminal = Terminal::run(command);
    terminal.expect("Passphrase of the secrets of mail (not shown): ");
    terminal.type_line(PASSPHRASE);
    let (code, seen) = terminal.end_raw();
    assert_eq!((code, seen.matches("Passphrase").count()), (0, 1), "{seen}");
    assert!(seen.ends_with("4 new messages\n"), "{seen}");
}
