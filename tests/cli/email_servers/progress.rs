//! What a person sees while mail is fetched.

use std::time::Duration;

use super::{PASSWORD, Round, raw};
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
