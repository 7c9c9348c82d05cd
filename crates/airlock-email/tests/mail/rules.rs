//! What bounds the messages of plugins, and what each kind of failure is to them.

use std::path::Path;

use airlock_email::{Auth, Feature, NewAccount, RawMessage, Security, SendRules, Server};
use airlock_host::LoadOptions;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::plugin::{ALL, PLUGIN, Round};

fn send(more: Value) -> Value {
    let mut args = json!({ "tool": "email.send", "subject": "s", "body_text": "text" });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

fn stranger(address: &str) -> String {
    format!("`{address}` is not among whom plugins may write to")
}

#[test]
fn nobody_but_those_of_the_rules_is_written_to_in_whatever_field() {
    let exact = vec!["bert@x.example".to_owned(), "*@team.example".to_owned()];
    let round = Round::new(&ALL, true, SendRules { recipients: exact, per_hour: 60 });
    for (more, refused) in [
        (json!({ "to": "eve@evil.example" }), "eve@evil.example"),
        (json!({ "to": "bert@x.example, eve@evil.example" }), "eve@evil.example"),
        (json!({ "to": ["bert@x.example", "eve@evil.example"] }), "eve@evil.example"),
        (json!({ "to": "bert@x.example", "cc": "eve@evil.example" }), "eve@evil.example"),
        (json!({ "to": "bert@x.example", "bcc": ["eve@evil.example"] }), "eve@evil.example"),
        (json!({ "to": "bert@x.example <eve@evil.example>" }), "eve@evil.example"),
        (json!({ "to": "\"bert@x.example\" <eve@evil.example>" }), "eve@evil.example"),
        // Exact addresses, and the whole of a domain.
        (json!({ "to": "robert@x.example" }), "robert@x.example"),
        (json!({ "to": "bert@x.example.evil.example" }), "bert@x.example.evil.example"),
        (json!({ "to": "bert@sub.x.example" }), "bert@sub.x.example"),
        (json!({ "to": "a@sub.team.example" }), "a@sub.team.example"),
        (json!({ "to": "a@eviteam.example" }), "a@eviteam.example"),
    ] {
        let answer = round.failure(send(more.clone()));
        let told = (answer["error_code"].as_str().unwrap(), answer["message"].as_str().unwrap());
        // Not every reader of addresses takes one within a name.
        if told.0 != "EMAIL_VALIDATION" {
            assert_eq!(told, ("EMAIL_NETWORK_GUARD", stranger(refused).as_str()), "{more}");
        }
    }
    assert!(round.mailbox.outbox(1).unwrap().is_empty());
    assert_eq!(round.execute(send(json!({ "to": "BERT@X.example" })))["status"], "sent");
    // Whom an answer goes to is said by the message that it answers.
    let kept = |id: &str, header: &str| {
        let raw = format!("{header}Subject: s\r\nMessage-ID: <{id}@y>\r\n\r\ntext\r\n");
        let raw = RawMessage { bytes: raw.as_bytes(), received_at: 1, place: None };
        round.mailbox.receive(1, "INBOX", &[raw]).unwrap();
    };
    kept("eve", "From: eve@evil.example\r\n");
    kept("redirected", "From: bert@x.example\r\nReply-To: eve@evil.example\r\n");
    kept("copied", "From: bert@x.example\r\nTo: anna@x.example\r\nCc: eve@evil.example\r\n");
    let reply = |id: &str, all: bool| json!({ "tool": "email.reply", "message_id": format!("{id}@y"), "body_text": "yes", "all": all });
    for (id, all) in [("eve", false), ("eve", true), ("redirected", false), ("copied", true)] {
        let answer = round.failure(reply(id, all));
        assert_eq!(answer["message"], stranger("eve@evil.example"), "{id} {all}");
    }
    assert_eq!(round.execute(reply("copied", false))["status"], "sent");
    let delivered = round.exim.delivered(2);
    assert_eq!(delivered.len(), 2);
    assert!(delivered.iter().all(|raw| !raw.contains("evil.example")), "{delivered:?}");
    assert_eq!(round.mailbox.outbox(1).unwrap().len(), 2);
}

#[test]
fn all_plugins_share_what_may_be_sent_in_an_hour_and_the_hour_ends() {
    let round = Round::new(&ALL, true, SendRules { recipients: Vec::new(), per_hour: 3 });
    let options = ALL.iter().fold(LoadOptions::new(), |options, text| options.allow(text.parse().unwrap()));
    let other = round.host.load_blocking(Path::new(PLUGIN), options.name("other")).unwrap();
    let to_bert = || send(json!({ "to": "bert@x.example" }));
    let by_other = || other.call_blocking::<_, Value>("email.execute", &to_bert());
    let raw = b"From: bert@x.example\r\nSubject: s\r\nMessage-ID: <m@y>\r\n\r\ntext\r\n";
    round.mailbox.receive(1, "INBOX", &[RawMessage { bytes: raw, received_at: 1, place: None }]).unwrap();
    let reply = json!({ "tool": "email.reply", "message_id": "m@y", "body_text": "yes" });
    // An answer is one of them, and what the user sends is none.
    assert_eq!(round.execute(to_bert())["status"], "sent");
    assert_eq!(by_other().unwrap().value["status"], "sent");
    assert_eq!(round.execute(reply.clone())["status"], "sent");
    let told = "plugins may send 3 messages in an hour from an account";
    for args in [to_bert(), reply] {
        assert_eq!(round.failure(args)["message"], told);
    }
    let error = by_other().unwrap_err();
    let answer: Value = serde_json::from_str(error.output().unwrap()).unwrap();
    assert_eq!((&answer["message"], &answer["error_code"]), (&json!(told), &json!("EMAIL_NETWORK_GUARD")));
    // Three quarters of an hour later, and then all of it.
    let later = |seconds: i64| {
        let connection = Connection::open(round.mailbox.file()).unwrap();
        let sql = "UPDATE outbox SET created_at = created_at - ?1";
        assert_eq!(connection.execute(sql, [seconds]).unwrap(), 3);
    };
    later(2_700);
    assert_eq!(round.failure(to_bert())["message"], told);
    later(901);
    assert_eq!(by_other().unwrap().value["status"], "sent");
    assert_eq!(round.exim.delivered(4).len(), 4);
}

#[test]
fn each_kind_of_failure_has_its_code_in_what_a_plugin_is_told() {
    let round =
        Round::new(&ALL, true, SendRules { recipients: vec!["*@x.example".to_owned()], per_hour: 60 });
    let told = |args: Value, code: &str| {
        let answer = round.failure(args.clone());
        assert_eq!((&answer["ok"], &answer["error_code"]), (&json!(false), &json!(code)), "{args}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    };
    told(send(json!({ "to": "not an address" })), "EMAIL_VALIDATION");
    told(json!({ "tool": "email.list", "limit": 501 }), "EMAIL_VALIDATION");
    told(send(json!({ "to": "eve@evil.example" })), "EMAIL_NETWORK_GUARD");
    round.mailbox.switch(1, Feature::InboxSearch, false).unwrap();
    told(json!({ "tool": "email.search", "query": "q" }), "EMAIL_FEATURE_DISABLED");
    // The servers say no, then nobody is there, and then the mailbox itself is broken.
    told(json!({ "tool": "email.sync", "folder": "Nowhere" }), "EMAIL_PROVIDER");
    let server = Server {
        host: "127.0.0.1".to_owned(),
        port: crate::server::free_port(),
        security: Security::Plain,
        user: "anna".to_owned(),
        auth: Auth::None,
    };
    let nobody = NewAccount {
        name: "work".to_owned(),
        email: "anna@x.example".to_owned(),
        display_name: None,
        imap: Some(server.clone()),
        smtp: Some(server),
    };
    round.mailbox.set_account(&nobody).unwrap();
    told(json!({ "tool": "email.sync" }), "EMAIL_NETWORK");
    told(send(json!({ "to": "bert@x.example" })), "EMAIL_NETWORK");
    let connection = Connection::open(round.mailbox.file()).unwrap();
    connection.execute_batch("ALTER TABLE messages RENAME COLUMN snippet TO gone").unwrap();
    told(json!({ "tool": "email.list" }), "EMAIL_STORAGE");
}
