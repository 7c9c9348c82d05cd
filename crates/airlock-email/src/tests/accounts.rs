use airlock_core::{ListMail, MailCode, SearchMail, SearchSyntax};

use crate::testing::{account, mailbox};
use crate::{Auth, Feature, NewAccount, Security, Server};

fn new(name: &str, email: &str) -> NewAccount {
    NewAccount {
        name: name.to_owned(),
        email: email.to_owned(),
        display_name: Some("Anna".to_owned()),
        imap: None,
        smtp: None,
    }
}

fn server(host: &str, port: u16, security: Security) -> Server {
    Server { host: host.to_owned(), port, security, user: "anna".to_owned(), auth: Auth::Plain }
}

#[test]
fn each_account_has_servers_of_its_own() {
    let (_home, mailbox) = mailbox();
    let work = NewAccount {
        imap: Some(server("imap.work.example", 993, Security::Tls)),
        smtp: Some(server("smtp.work.example", 587, Security::StartTls)),
        ..new("work", "anna@work.example")
    };
    let home = NewAccount {
        smtp: Some(Server { auth: Auth::Xoauth2, ..server("127.0.0.1", 2525, Security::Plain) }),
        ..new("home", "anna@home.example")
    };
    let (first, second) =
        (mailbox.set_account(&work).expect("made"), mailbox.set_account(&home).expect("made"));
    let accounts = mailbox.accounts().expect("read");
    assert_eq!(accounts.iter().map(|account| account.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!((&accounts[0].imap, &accounts[0].smtp), (&work.imap, &work.smtp));
    assert_eq!((&accounts[1].imap, &accounts[1].smtp), (&None, &home.smtp));
    let changed = NewAccount { name: "job".to_owned(), imap: None, ..work };
    assert_eq!(mailbox.set_account(&changed).expect("changed"), first);
    let account = mailbox.account(Some(first)).expect("there");
    assert_eq!((account.name.as_str(), account.imap), ("job", None));
    assert_eq!(
        mailbox.account(None).expect_err("two").message(),
        "account_id is required where there is not one account"
    );
    assert!(
        mailbox.remove_account(second).expect("removed") && !mailbox.remove_account(second).expect("gone")
    );
    assert_eq!(mailbox.account(None).expect("the only one").id, first);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let (_home, mailbox) = mailbox();
    mailbox.set_account(&new("work", "a@x.example")).expect("made");
    let with = |host: &str, port, security| NewAccount {
        smtp: Some(server(host, port, security)),
        ..new("one", "b@x.example")
    };
    let nobody = NewAccount {
        imap: Some(Server { user: " ".to_owned(), ..server("h.example", 993, Security::Tls) }),
        ..new("one", "b@x.example")
    };
    for (account, reason) in [
        (new("work", "b@x.example"), "there is another account called `work`"),
        (new("a b", "b@x.example"), "an account's name has 1 to 64 letters, digits and `-_.@+`"),
        (new("one", "nobody"), "an account's email has to be an address"),
        (with("", 25, Security::Tls), "imap/smtp host is required"),
        (with("h.example\r\n", 25, Security::Tls), "imap/smtp host is required"),
        (with("h.example", 0, Security::Tls), "smtp.port has to be 1 to 65535"),
        (
            with("mail.example", 25, Security::Plain),
            "smtp.security can be plain for `localhost` and loopback addresses only",
        ),
        (nobody, "imap.user is required"),
    ] {
        let error = mailbox.set_account(&account).expect_err(reason);
        assert_eq!((error.code(), error.message()), (MailCode::Validation, reason));
    }
}

#[test]
fn features_are_switched_for_each_account() {
    let (_home, mailbox) = mailbox();
    let (one, two) = (account(&mailbox, "one"), account(&mailbox, "two"));
    let on: Vec<bool> = Feature::ALL.iter().map(|f| mailbox.is_on(one, *f).expect("read")).collect();
    assert_eq!(on, [true, true, false, false, false, true]);
    mailbox.switch(one, Feature::InboxRead, false).expect("switched");
    mailbox.switch(one, Feature::InboxSearch, false).expect("switched");
    let list = |id| ListMail { account_id: Some(id), folder: "INBOX".to_owned(), limit: 1 };
    let error = mailbox.list(&list(one)).expect_err("off");
    assert_eq!(error.code(), MailCode::FeatureDisabled);
    assert_eq!(error.message(), format!("feature 'inbox_read' is disabled for account {one}"));
    let search =
        SearchMail { account_id: Some(one), query: "a".to_owned(), syntax: SearchSyntax::Plain, limit: 1 };
    assert_eq!(mailbox.search(&search).expect_err("off").code(), MailCode::FeatureDisabled);
    assert!(mailbox.list(&list(two)).is_ok());
    mailbox.roll_out(Feature::EmailSend, 2).expect("rolled out");
    assert_eq!([one, two], [1, 2]);
    assert!(mailbox.is_on(one, Feature::EmailSend).expect("read"));
    assert!(!mailbox.is_on(two, Feature::EmailSend).expect("read"));
    assert_eq!(Feature::named("x").expect_err("none").message(), "unknown feature flag: x");
    assert_eq!(Feature::named("email_reply"), Ok(Feature::EmailReply));
}
