//! `airlock email` with real servers on loopback: Exim takes what it sends, and Dovecot has what it
//! fetches, both with certificates of authorities that nobody else trusts.

mod environment;
mod outbox;
mod plugin;
mod progress;

use std::process::Command;

use serde_json::{Value, json};

use crate::dovecot::Dovecot;
use crate::plugins::Place;
use crate::proxy::{Fault, Proxy};
use crate::server::{Exim, PASSWORD};
use crate::support::{describe, fed};

const PASSPHRASE: &str = "open sesame";

/// Servers of one mailbox, and a home for the command.
struct Round {
    place: Place,
    exim: Exim,
    dovecot: Dovecot,
}

impl Round {
    fn new() -> Self {
        Round::with_acl("")
    }

    /// The same with more in Exim's list of what it looks at for each recipient.
    fn with_acl(acl: &str) -> Self {
        let place = Place::new();
        std::fs::create_dir_all(place.home()).unwrap();
        let exim = Exim::start_with(acl);
        let dovecot = Dovecot::serve(&exim.home.path().join("maildir"), "Debian-exim");
        std::fs::write(place.home().join("ca.pem"), exim.authority.clone() + &dovecot.authority).unwrap();
        Round { place, exim, dovecot }
    }

    /// The same with an account `work`, which may send.
    fn with_account(acl: &str) -> Self {
        let round = Round::with_acl(acl);
        round.add("work", "anna@x.example", &["--display-name", "Anna"]);
        for feature in ["email_send", "email_reply", "outbox_retry"] {
            round.ok(&["account", "switch", feature, "on"]);
        }
        round
    }

    /// Makes an account whose servers these are; what is told of it.
    fn add(&self, name: &str, address: &str, more: &[&str]) -> String {
        let (imap, smtp) =
            (format!("localhost:{}", self.dovecot.tls_port), format!("localhost:{}", self.exim.tls_port));
        let authorities = self.place.home().join("ca.pem");
        let servers = ["--imap", &imap, "--smtp", &smtp, "--authorities", authorities.to_str().unwrap()];
        let account = ["account", "add", name, "--email", address, "--user", "anna"];
        self.typed(&[&account[..], &servers, more].concat(), PASSWORD)
    }

    fn airlock(&self) -> Command {
        let mut command = self.place.airlock();
        command.env("AIRLOCK_MAIL_PASSPHRASE", PASSPHRASE);
        command
    }

    /// Exit code and both outputs of `airlock email`, with this on standard input.
    fn typed(&self, args: &[&str], typed: &str) -> String {
        let mut command = self.airlock();
        command.arg("email").args(args);
        let told = fed(&mut command, typed);
        assert!(!told.contains(PASSWORD), "{told}");
        told
    }

    /// The same with nothing there.
    fn text(&self, args: &[&str]) -> String {
        self.typed(args, "")
    }

    /// Runs what has to go well.
    fn ok(&self, args: &[&str]) {
        let told = self.text(args);
        assert!(told.starts_with("exit 0\n"), "{args:?}: {told}");
    }

    /// The exit code of `airlock --json email`, and the object that it prints. Nothing else is told.
    fn json(&self, args: &[&str]) -> (i32, Value) {
        let output = self.airlock().args(["--json", "email"]).args(args).output().unwrap();
        assert_eq!(output.stderr, b"", "{}", describe(&output));
        (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The Message-ID of the newest message.
    fn newest(&self) -> String {
        let (_, listed) = self.json(&["list", "--limit", "1"]);
        listed["messages"][0]["message_id"].as_str().unwrap().to_owned()
    }
}

/// A message as it lies at a server.
fn raw(subject: &str) -> Vec<u8> {
    format!(
        "From: bert@x.example\r\nTo: anna@x.example\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\
         Message-ID: <{subject}@x.example>\r\nSubject: {subject}\r\n\r\nabout {subject}\r\n"
    )
    .into_bytes()
}

/// JSON without these keys, wherever they are: what differs from run to run.
fn without(mut value: Value, keys: &[&str]) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|key, _| !keys.contains(&key.as_str()));
            for field in fields.values_mut() {
                *field = without(field.take(), keys);
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without(item.take(), keys);
            }
        }
        _ => {}
    }
    value
}

#[test]
fn an_account_is_tested_and_mail_goes_out_and_comes_back() {
    let round = Round::new();
    assert_eq!(
        round.add("work", "anna@x.example", &["--display-name", "Anna"]),
        "exit 0\n--- stderr\n`work` is account 1; nothing is sent from it until it is switched on:\n  \
         airlock email account switch --account work email_send on\n"
    );
    assert_eq!(round.text(&["account", "test"]), "exit 0\n--- stdout\nimap ok\nsmtp ok\n");
    let servers = ["imap", "smtp"].map(|name| json!({ "protocol": name, "ok": true, "error": null }));
    let tested = json!({ "schema": 1, "ok": true, "servers": servers });
    assert_eq!(round.json(&["account", "test"]), (0, tested));
    let send = ["send", "--to", "bert@x.example", "--subject", "lunch", "--attach", "LICENSE-MIT"];
    let off = round.typed(&send, "At noon?");
    let told = "error: feature 'email_send' is disabled for account 1\n\
                hint: `airlock email account switch` switches it on\n";
    assert_eq!(off, format!("exit 126\n--- stderr\n{told}"));
    for feature in ["email_send", "email_reply"] {
        let told = format!("exit 0\n--- stderr\n`{feature}` is on for work\n");
        assert_eq!(round.text(&["account", "switch", feature, "on"]), told);
    }
    let refused = round.typed(&send, "At noon?");
    assert_eq!(refused, "exit 2\n--- stderr\nerror: attachment content type is not allowed\n");
    let send = ["send", "--to", "bert@x.example", "--subject", "lunch"];
    assert_eq!(round.typed(&send, "At noon?"), "exit 0\n--- stderr\nsent as 1\n");
    assert_eq!(round.exim.delivered(1).len(), 1);
    assert_eq!(round.text(&["sync"]), "exit 0\n--- stderr\n1 new message\n");
    assert_eq!(round.text(&["sync"]), "exit 0\n--- stderr\n0 new messages\n");

    let (_, listed) = round.json(&["list"]);
    let message = &listed["messages"][0];
    let (id, seconds) = (round.newest(), message["sent_at"].as_i64().unwrap());
    let at = jiff_text(seconds);
    let row = format!("{at}  anna@x.example  lunch  {id}\n");
    assert_eq!(round.text(&["list"]), format!("exit 0\n--- stdout\n{row}"));
    assert_eq!(round.text(&["search", "noon"]), format!("exit 0\n--- stdout\n{row}"));
    assert_eq!(round.text(&["search", "noon", "-lunch"]), "exit 0\n--- stderr\nno message\n");
    let shown = format!(
        "from       anna@x.example\nto         bert@x.example\ndate       {at}\n\
         subject    lunch\nid         {id}\n\nAt noon?\n"
    );
    let told = round.text(&["show", &id]);
    assert_eq!(told.trim_end(), format!("exit 0\n--- stdout\n{shown}").trim_end());
    let (code, found) = round.json(&["search", "from:anna", "noon"]);
    let (_, gotten) = round.json(&["show", &id]);
    assert_eq!(
        (code, &found["tool"], &found["query"]),
        (0, &json!("email.search"), &json!("from:anna noon"))
    );
    assert_eq!(found["messages"].as_array().unwrap().len(), 1);
    assert_eq!((&gotten["tool"], &gotten["message"]["subject"]), (&json!("email.get"), &json!("lunch")));
    assert_eq!(
        round.text(&["show", "<none@x.example>"]),
        "exit 2\n--- stderr\nerror: `<none@x.example>`: there is no such message\n\
         hint: `airlock email list` and `search` show the ids\n"
    );

    let (code, replied) = round.json(&["reply", &id, "--body", "At one."]);
    assert_eq!(code, 0);
    let expected = json!({
        "schema": 1, "ok": true, "tool": "email.reply", "account_id": 1, "status": "sent", "error": null,
        "data": { "outbox_id": 2, "status": "sent", "held": null, "retries": 0 },
    });
    let changing = ["message_id", "provider_message_id", "next_attempt_at"];
    assert_eq!(without(replied, &changing), without(expected, &changing));
    assert_eq!(round.text(&["outbox", "check", "2"]), "exit 0\n--- stderr\n2 was sent: it is in `Sent`\n");
    let checked = json!({ "schema": 1, "ok": true, "id": 2, "found": "Sent", "missing": [] });
    assert_eq!(round.json(&["outbox", "check", "2"]), (0, checked));
    let answer = round.exim.delivered(2).into_iter().find(|text| text.contains("At one."));
    let answer = answer.unwrap();
    assert!(answer.contains("Subject: Re: lunch\n") && answer.contains(&format!("In-Reply-To: {id}\n")));
    let (code, synced) = round.json(&["sync"]);
    let inbox = json!({ "ok": true, "tool": "email.sync", "account_id": 1, "folder": "INBOX", "synced": 1,
        "cursor": "2", "data": null, "error": null });
    assert_eq!((code, synced), (0, json!({ "schema": 1, "ok": true, "synced": 1, "folders": [inbox] })));
    let told = round.typed(&["reply", &id, "--all"], "At two, then.");
    assert_eq!(told, "exit 0\n--- stderr\nsent as 3\n");
    let note = round.place.home().join("note.txt");
    std::fs::write(&note, "bring a coat").unwrap();
    let html = round.place.home().join("body.html");
    std::fs::write(&html, "<b>Rain.</b>").unwrap();
    let (note, html) = (note.to_str().unwrap(), html.to_str().unwrap());
    let to = ["send", "--to", "bert@x.example", "--cc", "c@x.example", "--bcc", "d@x.example"];
    let rest = ["--subject", "coat", "--body", "Rain.", "--html", html, "--attach", note];
    let (code, sent) = round.json(&[&to[..], &rest].concat());
    let expected = json!({
        "schema": 1, "ok": true, "tool": "email.send", "account_id": 1, "to": "bert@x.example",
        "subject": "coat", "status": "sent", "error": null,
        "data": { "outbox_id": 4, "status": "sent", "held": null, "retries": 0 },
    });
    assert_eq!((code, without(sent, &changing)), (0, expected));
    round.exim.delivered(4);
    round.ok(&["sync"]);
    let told = round.text(&["show", &round.newest()]);
    assert!(told.contains("\nattached   note.txt (text/plain, 12 B)\n"), "{told}");
}

#[test]
fn servers_of_an_authority_that_an_account_does_not_have_are_told_nothing() {
    let round = Round::new();
    let (imap, smtp) =
        (format!("localhost:{}", round.dovecot.tls_port), format!("localhost:{}", round.exim.tls_port));
    let account = ["account", "add", "work", "--email", "anna@x.example", "--user", "anna"];
    round.typed(&[&account[..], &["--imap", &imap, "--smtp", &smtp]].concat(), PASSWORD);
    let told = round.text(&["account", "test"]);
    let unknown = "network error while contacting provider: no encrypted connection: invalid peer \
                   certificate: UnknownIssuer";
    assert_eq!(told, format!("exit 1\n--- stdout\nimap failed: {unknown}\nsmtp failed: {unknown}\n"));
    let servers = ["imap", "smtp"].map(|name| json!({ "protocol": name, "ok": false, "error": unknown }));
    let tested = json!({ "schema": 1, "ok": false, "servers": servers });
    assert_eq!(round.json(&["account", "test"]), (1, tested));
    // Nobody was logged in.
    assert!(!round.dovecot.log().contains("Login:"), "{}", round.dovecot.log());
}

#[test]
fn what_is_not_taken_waits_in_the_outbox_and_is_retried_or_cancelled() {
    let round = Round::with_account(DEFERRING);
    round.defer(true);
    let send = ["send", "--to", "bert@x.example", "--subject", "lunch", "--body", "At noon?"];
    let told = round.text(&send);
    assert!(told.starts_with("exit 125\n--- stderr\nerror: "), "{told}");
    assert!(told.ends_with("hint: it is kept as 1; `airlock email outbox send` tries again what is due\n"));
    let (code, failed) = round.json(&send);
    assert_eq!(
        (code, &failed["ok"], &failed["error"]["code"]),
        (125, &json!(false), &json!("email-provider"))
    );
    let (_, listed) = round.json(&["outbox", "list"]);
    let entries = listed["outbox"].as_array().unwrap();
    let states = entries.iter().map(|entry| {
        let delivery = &entry["delivery"];
        (delivery["outbox_id"].as_i64().unwrap(), delivery["status"].as_str().unwrap(), &entry["to"])
    });
    let to = json!("bert@x.example");
    assert_eq!(states.collect::<Vec<_>>(), [(2, "failed", &to), (1, "failed", &to)]);
    let error = entries[0]["last_error"].as_str().unwrap();
    let row = |id: u32| format!("{id}  failed  bert@x.example  lunch     {error}\n");
    assert_eq!(round.text(&["outbox", "list"]), format!("exit 0\n--- stdout\n{}{}", row(2), row(1)));

    assert_eq!(round.text(&["outbox", "cancel", "2"]), "exit 0\n--- stderr\n2 is not sent any more\n");
    let done = (0, json!({ "schema": 1, "ok": true }));
    assert_eq!(round.json(&["outbox", "cancel", "2"]), done);
    round.defer(false);
    let due = "exit 0\n--- stderr\n1 is due again; `airlock email outbox send` sends it\n";
    assert_eq!(round.text(&["outbox", "retry", "1"]), due);
    let (code, sent) = round.json(&["outbox", "send"]);
    assert_eq!((code, &sent["tried"][0]["status"], &sent["arrived"]), (0, &json!("sent"), &json!([])));
    assert_eq!(round.exim.delivered(1).len(), 1);
    // What was cancelled is sent where a person says so.
    assert_eq!(round.json(&["outbox", "retry", "2"]), done);
    assert_eq!(round.text(&["outbox", "send"]), "exit 0\n--- stderr\nsent 1 of 1 that were due\n");
    assert_eq!(round.exim.delivered(2).len(), 2);
    let none = "exit 2\n--- stderr\nerror: outbox record not found\n";
    assert_eq!(round.text(&["outbox", "cancel", "9"]), none);
}

/// Has Exim defer each recipient while there is a file `defer` in its folder.
const DEFERRING: &str =
    "  defer message = come back later\n       condition = ${if exists{$spool_directory/defer}{yes}{no}}";

impl Round {
    fn defer(&self, is_deferring: bool) {
        let file = self.exim.home.path().join("spool/defer");
        match is_deferring {
            true => std::fs::write(file, "").unwrap(),
            false => std::fs::remove_file(file).unwrap(),
        }
    }
}

/// A time as a list has it.
fn jiff_text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().strftime("%F %R").to_string()
}

#[test]
fn a_sync_of_all_folders_goes_on_after_one_that_fails_and_tells_of_it() {
    let round = Round::with_account("");
    round.dovecot.deliver(["one", "two"].map(raw));
    let mut session = round.dovecot.session();
    session.run("CREATE Broken");
    session.run("CREATE Notes");
    session.append("Notes", &raw("three"));
    // Listed, and not to be opened.
    let broken = round.exim.home.path().join("maildir/.Broken");
    std::fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let told = round.text(&["sync", "--all"]);
    // What the server says has the time in it.
    let error = "provider rejected the request: [SERVERBUG] Internal error occurred.";
    let start = format!("exit 1\n--- stderr\nerror: `Broken` of work: {error}");
    assert!(told.starts_with(&start) && told.ends_with("\n3 new messages\n"), "{told}");
    assert_eq!(told.lines().count(), 4);
    let (code, synced) = round.json(&["sync", "--all"]);
    assert_eq!((code, &synced["ok"], &synced["synced"]), (1, &json!(false), &json!(0)));
    let mut folders: Vec<(&str, bool, u64)> = synced["folders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let count = one["synced"].as_u64().unwrap();
            (one["folder"].as_str().unwrap(), one["ok"].as_bool().unwrap(), count)
        })
        .collect();
    folders.sort_unstable();
    let expected = ["Broken", "Drafts", "INBOX", "Notes", "Sent"].map(|name| (name, name != "Broken", 0));
    assert_eq!(folders, expected);
    let failed = synced["folders"].as_array().unwrap().iter().find(|one| one["ok"] == false).unwrap();
    assert!(failed["message"].as_str().unwrap().starts_with(error), "{failed}");
    assert_eq!((&failed["error_code"], &failed["account_id"]), (&json!("EMAIL_PROVIDER"), &json!(1)));
    // One folder alone is the error itself.
    let alone = round.text(&["sync", "--folder", "Broken"]);
    assert!(alone.starts_with(&format!("exit 125\n--- stderr\nerror: {error}")), "{alone}");
    let (code, alone) = round.json(&["sync", "--folder", "Broken"]);
    assert_eq!((code, &alone["error"]["code"]), (125, &json!("email-provider")));
}

#[test]
fn what_was_kept_before_a_folder_failed_is_counted_and_the_next_sync_goes_on() {
    let round = Round::new();
    let cut = Proxy::to(round.dovecot.port);
    let account = ["account", "add", "work", "--email", "anna@x.example", "--user", "anna"];
    let server = format!("localhost:{}", cut.port);
    round.typed(&[&account[..], &["--imap", &server, "--imap-security", "plain"]].concat(), PASSWORD);
    round.dovecot.deliver((0..4_000).map(|number| raw(&number.to_string())));
    cut.set(Fault { to_client: 900_000, ..Fault::NONE });
    let both = ["sync", "--folder", "INBOX", "--folder", "Drafts"];
    let (code, synced) = round.json(&both);
    let [inbox, drafts] = synced["folders"].as_array().unwrap().as_slice() else { panic!("{synced}") };
    let kept = inbox["synced"].as_u64().unwrap();
    assert_eq!((code, &synced["synced"], &inbox["ok"]), (1, &json!(kept), &json!(false)));
    assert_eq!((&inbox["error_code"], &drafts["ok"]), (&json!("EMAIL_NETWORK"), &json!(true)));
    assert!((1..4_000).contains(&kept), "{kept}");
    cut.set(Fault::NONE);
    let rest = format!("exit 0\n--- stderr\n{} new messages\n", 4_000 - kept);
    // A folder that is said twice is one.
    assert_eq!(round.text(&[&both[..], &["--folder", "INBOX"]].concat()), rest);
}

#[test]
fn a_sync_of_all_accounts_fetches_from_each_and_tells_which_fails() {
    let round = Round::with_account("");
    round.add("home", "bert@x.example", &[]);
    round.dovecot.deliver((0..1_500).map(|number| raw(&number.to_string())));
    round.dovecot.session().append("Sent", &raw("sent"));
    let both = round.text(&["sync", "--all-accounts"]);
    assert_eq!(both, "exit 0\n--- stderr\n3000 new messages\n");
    let folder = |account: i64, folder: &str, synced: u64, cursor: Option<&str>| {
        json!({ "ok": true, "tool": "email.sync", "account_id": account, "folder": folder, "synced": synced,
            "cursor": cursor, "data": null, "error": null })
    };
    let (code, mut synced) = round.json(&["sync", "--all-accounts", "--all"]);
    let found = synced["folders"].as_array_mut().unwrap();
    found.sort_by_key(|one| (one["account_id"].as_i64(), one["folder"].as_str().map(str::to_owned)));
    let of = |account| {
        [
            folder(account, "Drafts", 0, None),
            folder(account, "INBOX", 0, Some("1500")),
            folder(account, "Sent", 1, Some("1")),
        ]
    };
    let folders = json!([of(1), of(2)].concat());
    assert_eq!((code, synced), (0, json!({ "schema": 1, "ok": true, "synced": 2, "folders": folders })));
    // One whose server is not there, and one that fetches nothing.
    let nobody = ["account", "add", "gone", "--email", "c@x.example", "--auth", "none"];
    round.text(&[&nobody[..], &["--imap", "localhost:9", "--imap-security", "plain"]].concat());
    round.text(&["account", "add", "none", "--email", "d@x.example", "--no-password"]);
    let refused = "network error while contacting provider: Connection refused (os error 111)";
    let told = format!("exit 1\n--- stderr\nerror: `INBOX` of gone: {refused}\n0 new messages\n");
    assert_eq!(round.text(&["sync", "--all-accounts"]), told);
    let told = format!("exit 1\n--- stderr\nerror: gone: {refused}\n0 new messages\n");
    assert_eq!(round.text(&["sync", "--all-accounts", "--all"]), told);
    let (code, synced) = round.json(&["sync", "--all-accounts", "--all"]);
    let last = synced["folders"].as_array().unwrap().last().unwrap();
    assert_eq!((code, &last["account_id"], &last["folder"]), (1, &json!(3), &Value::Null));
    assert_eq!((&last["message"], &last["ok"]), (&json!(refused), &json!(false)));
    let one = ["sync", "--all-accounts", "--account", "work"];
    assert!(round.text(&one).contains("cannot be used with"), "{}", round.text(&one));
}
