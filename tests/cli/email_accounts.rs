//! Accounts of `airlock email`: what is set up, set anew, and kept of where tokens come from.

use std::path::PathBuf;

use airlock_email::{Mailbox, OauthProvider, PassphraseFile, SecretStore as _};
use airlock_host::Secret;
use serde_json::{Value, json};

use crate::plugins::{Place, text};
use crate::support::{describe, fed};

const PASSPHRASE: &str = "open sesame";

fn place() -> Place {
    let place = Place::new();
    std::fs::create_dir_all(place.home()).unwrap();
    place
}

/// The folder of the mailbox.
pub(crate) fn mail(place: &Place) -> PathBuf {
    let folders = ["mail", "data/mail"].map(|folder| place.home().join(folder));
    folders.into_iter().find(|folder| folder.join("mail.db").exists()).unwrap()
}

/// Where the only account's tokens come from.
pub(crate) fn provider(place: &Place) -> Option<OauthProvider> {
    let mailbox = Mailbox::open(&mail(place).join("mail.db")).unwrap();
    mailbox.account(None).unwrap().oauth
}

/// Runs `airlock email` with this on standard input.
fn typed(place: &Place, args: &[&str], typed: &str) -> String {
    let mut command = place.airlock();
    command.arg("email").args(args).env("AIRLOCK_MAIL_PASSPHRASE", PASSPHRASE);
    place.plain(&fed(&mut command, typed))
}

#[test]
fn an_account_is_made_with_its_authorities_or_not_at_all() {
    let place = place();
    let account = ["account", "add", "work", "--email", "anna@x.example", "--auth", "none"];
    let account = [&account[..], &["--imap", "localhost:9"]].concat();
    let file = place.home().join("ca.pem");
    let with = |more: &[&str]| typed(&place, &[&account[..], more].concat(), "");
    let file_name = text(&file);
    let with_file = ["--authorities", &file_name];
    let told = with(&with_file);
    assert!(told.starts_with("exit 125\n--- stderr\nerror: cannot read `[FOLDER]/home/ca.pem`"), "{told}");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let told = with(&with_file);
    assert!(told.starts_with("exit 2\n--- stderr\nerror: `[FOLDER]/home/ca.pem`: this is no"), "{told}");
    std::fs::write(&file, "").unwrap();
    assert_eq!(
        with(&with_file),
        "exit 2\n--- stderr\nerror: `[FOLDER]/home/ca.pem`: this is no certificate: there is none in it\n"
    );
    let none = "exit 0\n--- stderr\nthere is no account; `airlock email account add` makes one\n";
    assert_eq!(place.show(&["email", "account", "list"]), none);

    let pem = crate::server::certificates(&place.home());
    std::fs::write(&file, &pem).unwrap();
    let authorities = || {
        let mailbox = Mailbox::open(&mail(&place).join("mail.db")).unwrap();
        mailbox.account(None).unwrap().authorities
    };
    assert!(with(&with_file).starts_with("exit 0\n"));
    assert_eq!(authorities(), Some(pem.clone()));
    // A file that is none changes nothing of an account that is there.
    std::fs::write(&file, "").unwrap();
    assert!(with(&[&with_file[..], &["--imap-security", "starttls"]].concat()).starts_with("exit 2\n"));
    assert_eq!(authorities(), Some(pem));
    assert!(place.ok(&["email", "account", "list"]).contains("localhost:9 tls"));
    // Set anew, it has what is said now.
    assert!(with(&[]).starts_with("exit 0\n"));
    assert_eq!(authorities(), None);
}

#[test]
fn who_sends_may_be_another_than_who_fetches_each_with_a_password() {
    let place = place();
    let account = ["account", "add", "work", "--email", "anna@x.example", "--user", "anna"];
    let account = [&account[..], &["--imap", "localhost:9", "--smtp", "localhost:9"]].concat();
    let servers = || {
        let listed = place.ok(&["--json", "email", "account", "list"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let account = &listed["accounts"][0];
        ["imap", "smtp"].map(|of| json!([account[of]["user"], account[of]["auth"]]))
    };
    let secrets = || {
        let file = mail(&place).join("mail-secrets.age");
        let store = PassphraseFile::open(&file, Secret::new(PASSPHRASE)).unwrap();
        ["imap", "smtp"].map(|of| {
            let secret = store.get(&format!("anna@x.example {of}")).unwrap();
            secret.map(|secret| secret.reveal().to_owned())
        })
    };
    let kept = |imap: &str, smtp: &str| [imap, smtp].map(|one| Some(one.to_owned()));
    let other = [&account[..], &["--smtp-user", "relay-7", "--smtp-auth", "login"]].concat();
    assert!(typed(&place, &other, "first-canary\n").starts_with("exit 0\n"));
    assert_eq!(servers(), [json!(["anna", "plain"]), json!(["relay-7", "login"])]);
    assert_eq!(secrets(), kept("first-canary", "first-canary"));
    let password = |of: &[&str], value: &str| {
        typed(&place, &[&["account", "password"], of].concat(), &format!("{value}\n"))
    };
    assert_eq!(password(&["--of", "smtp"], "relay-canary"), "exit 0\n");
    assert_eq!(secrets(), kept("first-canary", "relay-canary"));
    assert_eq!(password(&["--of", "imap"], "inbox-canary"), "exit 0\n");
    assert_eq!(secrets(), kept("inbox-canary", "relay-canary"));
    assert_eq!(password(&[], "both-canary"), "exit 0\n");
    assert_eq!(secrets(), kept("both-canary", "both-canary"));
    // Only one of them has a password, and it alone gets what is typed.
    let tokens = [&account[..], &["--auth", "xoauth2", "--smtp-auth", "plain"]].concat();
    assert!(typed(&place, &tokens, "last-canary\n").starts_with("exit 0\n"));
    assert_eq!(servers(), [json!(["anna", "xoauth2"]), json!(["anna", "plain"])]);
    assert_eq!(secrets(), kept("both-canary", "last-canary"));
    let alone = ["account", "add", "work", "--email", "a@x.example", "--smtp-user", "relay-7"];
    let told = typed(&place, &alone, "");
    assert!(told.starts_with("exit 2\n") && told.contains("--smtp <HOST[:PORT]>"), "{told}");
    let told = describe(&place.output(&["--json", "audit"]));
    assert!(!told.contains("canary"), "{told}");
}
