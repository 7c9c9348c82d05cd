//! What is done with mail is in the audit log: by a plugin and by an application, what was allowed and
//! what was not, and nothing of the mail.

use std::path::Path;
use std::sync::Arc;

use airlock_core::{
    AuditEvent, AuditSink, Digest, GetMail, Identity, ListMail, MailCode, MailRequest, MailTask, MemoryAudit,
    OnAuditFailure, ReplyMail, SearchMail, SearchSyntax, SyncMail,
};
use airlock_email::{Auth, Connector, MailService, Mailbox, NewAccount, Security, SendRules};
use airlock_host::service::Services;
use airlock_host::{Host, LoadOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Exim, Known, PASSWORD, mailbox, message};

/// What is in the mail and nowhere else.
const BODY: &str = "body-canary";

/// A mailbox, a service for it, and what that notes.
fn service(exim: &Exim) -> (TempDir, Arc<Mailbox>, MailService, Arc<MemoryAudit>) {
    let home = tempfile::tempdir().unwrap();
    let mailbox = Arc::new(mailbox(home.path(), exim.tls_port, Security::Tls, Auth::Plain));
    let audit = Arc::new(MemoryAudit::new());
    let rules = SendRules { recipients: vec!["*@x.example".to_owned()], per_hour: 2 };
    let service = MailService::new(mailbox.clone(), Known::new(PASSWORD), exim.connector(), rules).unwrap();
    (home, mailbox, service, audit)
}

/// What was noted, as it is written, without what calls used.
fn noted(audit: &MemoryAudit) -> Vec<String> {
    let events = audit.events();
    let told = format!("{events:?}{}", serde_json::to_string(&json_of(&events)).unwrap());
    for secret in [BODY, PASSWORD, "bert@x.example", "about"] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
    let line = |(who, event): &(Identity, AuditEvent)| match event {
        AuditEvent::Used { capability, count } => format!("{}: used {capability} {count}", who.name),
        AuditEvent::Refused { capability, count } => format!("{}: refused {capability} {count}", who.name),
        AuditEvent::Called { function, outcome, .. } => format!("{}: called {function} {outcome}", who.name),
        other => panic!("{other:?}"),
    };
    events.iter().map(line).collect()
}

fn json_of(events: &[(Identity, AuditEvent)]) -> Value {
    events.iter().map(|(_, event)| json!(event)).collect()
}

#[test]
fn everything_that_a_plugin_does_is_noted_with_its_account_and_no_content() {
    let exim = Exim::start();
    let (_home, _mailbox, service, audit) = service(&exim);
    let mut services = Services::default();
    services.mail = Arc::new(service);
    services.mail_network = true;
    let host =
        Host::builder().services(services).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    let plugin = |allowed: &[&str]| {
        let options =
            allowed.iter().fold(LoadOptions::new(), |options, text| options.allow(text.parse().unwrap()));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/prx-email");
        host.load_blocking(Path::new(path), options).unwrap()
    };
    let verbs = [
        json!({ "tool": "email.sync" }),
        json!({ "tool": "email.list" }),
        json!({ "tool": "email.get", "message_id": "m" }),
        json!({ "tool": "email.search", "query": BODY }),
        json!({ "tool": "email.send", "to": "bert@x.example", "subject": "about", "body_text": BODY }),
        json!({ "tool": "email.reply", "message_id": "m", "body_text": BODY }),
    ];
    let all = plugin(&["email.sync=*", "email.read=*", "email.search=*", "email.send=*", "email.reply=*"]);
    for args in &verbs {
        // There is nothing to sync from, and no message to answer.
        let _ = all.call_blocking::<_, Value>("email.execute", args);
    }
    // The tool is asked for first, and then for the account that turns out to be meant.
    let called = |kind: &str, outcome: &str| {
        [
            format!("prx-email: used email.{kind}=* 1"),
            format!("prx-email: used email.{kind}=work 1"),
            format!("prx-email: called email.execute {outcome}"),
        ]
    };
    let expected = [
        called("sync", "failed"),
        called("read", "ok"),
        called("read", "ok"),
        called("search", "ok"),
        called("send", "ok"),
        called("reply", "failed"),
    ];
    assert_eq!(noted(&audit), expected.concat());
    assert_eq!(exim.delivered(1).len(), 1);
    let before = noted(&audit).len();
    // The same by one that may do nothing with this account.
    let other = plugin(&["email.read=home", "email.send=home"]);
    for args in &verbs {
        other.call_blocking::<_, Value>("email.execute", args).expect_err("it may not");
    }
    let failed = || "prx-email: called email.execute failed".to_owned();
    let refused = |kind: &str| {
        vec![
            format!("prx-email: used email.{kind}=* 1"),
            format!("prx-email: refused email.{kind}=work 1"),
            failed(),
        ]
    };
    let nothing = |kind: &str| vec![format!("prx-email: refused email.{kind}=* 1"), failed()];
    let expected = [
        nothing("sync"),
        refused("read"),
        refused("read"),
        nothing("search"),
        refused("send"),
        nothing("reply"),
    ];
    assert_eq!(noted(&audit)[before..], expected.concat());
    assert_eq!(exim.delivered(1).len(), 1);
    // It may send, and not to everybody, nor as often as it wants.
    let before = noted(&audit).len();
    let args = json!({ "tool": "email.send", "to": "a@evil.example", "subject": "about", "body_text": BODY });
    all.call_blocking::<_, Value>("email.execute", &args).expect_err("it may not");
    let refused = [
        "prx-email: used email.send=* 1",
        "prx-email: used email.send=work 1",
        "prx-email: refused email.send=work 1",
        "prx-email: called email.execute failed",
    ];
    assert_eq!(noted(&audit)[before..], refused);
    let before = noted(&audit).len();
    let args = json!({ "tool": "email.send", "to": "bert@x.example", "subject": "about", "body_text": BODY });
    all.call_blocking::<_, Value>("email.execute", &args).expect("the second of two");
    all.call_blocking::<_, Value>("email.execute", &args).expect_err("one too many");
    assert_eq!(noted(&audit)[before..before + 3], called("send", "ok"));
    assert_eq!(noted(&audit)[before + 3..], refused);
    assert_eq!(exim.delivered(2).len(), 2);
}

#[test]
fn everything_that_an_application_does_is_noted_before_it_is_done() {
    let exim = Exim::start();
    let (_home, mailbox, service, audit) = service(&exim);
    let who = Identity { name: "an application".to_owned(), digest: Digest::of(b"an application") };
    let service = service.recording(audit.clone(), who.clone(), OnAuditFailure::Refuse);
    let id = Some(mailbox.account(None).unwrap().id);
    let (folder, message_id) = ("INBOX".to_owned(), "m".to_owned());
    let text = || BODY.to_owned();
    let requests = || {
        [
            MailRequest::Sync(SyncMail {
                account_id: id,
                folder: folder.clone(),
                cursor: None,
                max_messages: 1,
            }),
            MailRequest::List(ListMail { account_id: None, folder: folder.clone(), limit: 1 }),
            MailRequest::Get(GetMail { account_id: id, message_id: message_id.clone() }),
            MailRequest::Search(SearchMail {
                account_id: id,
                query: text(),
                syntax: SearchSyntax::Words,
                limit: 1,
            }),
            MailRequest::Send(airlock_core::SendMail { body_text: text(), ..message("about") }),
            MailRequest::Reply(ReplyMail {
                account_id: id,
                message_id: message_id.clone(),
                body_text: text(),
                body_html: None,
                all: false,
                attachments: Vec::new(),
            }),
        ]
    };
    for request in requests() {
        let _ = airlock_host::block_on(service.perform(request));
    }
    let expected = ["sync", "read", "read", "search", "send", "reply"]
        .map(|kind| format!("an application: used email.{kind}=work 1"));
    assert_eq!(noted(&audit), expected);
    assert_eq!(exim.delivered(1).len(), 1);
    // Where there is no such account, nothing is done with one.
    let missing = ListMail { account_id: Some(99), folder: folder.clone(), limit: 1 };
    airlock_host::block_on(service.perform(MailRequest::List(missing))).expect_err("there is none");
    assert_eq!(noted(&audit).len(), 6);
    // What cannot be noted is not done, where the operator does not want it otherwise.
    let broken: Arc<dyn AuditSink> = Arc::new(Broken);
    let again = |on_failure| {
        let known = Known::new(PASSWORD);
        let service =
            MailService::new(mailbox.clone(), known, Connector::default(), SendRules::default()).unwrap();
        service.recording(broken.clone(), who.clone(), on_failure)
    };
    for request in requests() {
        let error = airlock_host::block_on(again(OnAuditFailure::Refuse).perform(request)).unwrap_err();
        assert_eq!(error.code(), MailCode::Storage);
        assert!(error.message().starts_with("the audit log cannot be kept"), "{error}");
    }
    assert_eq!((exim.delivered(1).len(), mailbox.outbox(1).unwrap().len()), (1, 1));
    let list = requests().into_iter().nth(1).unwrap();
    airlock_host::block_on(again(OnAuditFailure::Continue).perform(list)).unwrap();
    let service = again(OnAuditFailure::Refuse);
    let account = mailbox.account(None).unwrap();
    let new = NewAccount {
        name: "other".to_owned(),
        email: "other@x.example".to_owned(),
        display_name: None,
        imap: None,
        smtp: None,
    };
    let entry = mailbox.outbox(1).unwrap().remove(0);
    let refused = [
        service.note(MailTask::SetPassword, &account.name),
        service.set_account(&new).map(drop),
        service.send_due().map(drop),
        service.retry(entry.delivery.outbox_id),
        service.cancel(entry.delivery.outbox_id),
        service.arrived(entry.delivery.outbox_id),
        service.check(entry.delivery.outbox_id).map(drop),
        airlock_host::block_on(service.test(&account)).map(drop),
    ];
    for (index, refused) in refused.into_iter().enumerate() {
        let error = refused.expect_err("it cannot be noted");
        assert!(error.message().starts_with("the audit log cannot be kept"), "{index}: {error}");
    }
    assert_eq!(mailbox.accounts().unwrap(), [account]);
    assert_eq!(mailbox.outbox(1).unwrap(), [entry]);
    // What makes no sense is told so before.
    let error = service.set_account(&NewAccount { name: String::new(), ..new.clone() }).unwrap_err();
    assert_eq!(error.code(), MailCode::Validation);
    again(OnAuditFailure::Continue).set_account(&new).unwrap();
    assert_eq!(mailbox.accounts().unwrap().len(), 2);
}

/// An audit log that cannot be kept.
#[derive(Debug)]
struct Broken;

impl AuditSink for Broken {
    fn record(&self, _plugin: &Identity, _events: &[AuditEvent]) -> airlock_core::Result<()> {
        Err(airlock_core::Error::host("the disk is full"))
    }
}
