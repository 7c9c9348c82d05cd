use serde_json::{Value, json};

use super::{
    AttachmentSource, Delivery, GetMail, Gotten, ListMail, Listed, MailAnswer, MailCode, MailError,
    MailMessage, MailRequest, MailTool, Replied, SearchMail, SearchSyntax, Searched, Sent, SyncMail, Synced,
};
use crate::{CapabilityKind, ServiceError};

fn read(tool: &str, arguments: Value) -> Result<MailRequest, String> {
    let tool = MailTool::named(tool).expect("a tool");
    MailRequest::read(tool, &arguments.to_string()).map_err(|error| {
        assert_eq!(error.code(), MailCode::Validation);
        error.message().to_owned()
    })
}

#[test]
fn each_tool_needs_its_kind_and_three_of_them_the_network() {
    let told: Vec<_> =
        MailTool::ALL.map(|tool| (tool.name(), tool.kind().row().name, tool.needs_network())).to_vec();
    let expected = [
        ("email.sync", "email.sync", true),
        ("email.list", "email.read", false),
        ("email.get", "email.read", false),
        ("email.search", "email.search", false),
        ("email.send", "email.send", true),
        ("email.reply", "email.reply", true),
    ];
    assert_eq!(told, expected);
    assert_eq!(MailTool::named("email.delete"), None);
    assert_eq!(MailTool::Get.kind(), CapabilityKind::EmailRead);
}

#[test]
fn what_is_left_out_has_its_default_and_what_is_unknown_is_left_alone() {
    let (account_id, folder) = (Some(1), "INBOX".to_owned());
    assert_eq!(
        read("email.list", json!({ "tool": "email.list", "account_id": 1, "limit": 10, "colour": "red" })),
        Ok(MailRequest::List(ListMail { account_id, folder: folder.clone(), limit: 10 }))
    );
    let sync = SyncMail { account_id: None, folder, cursor: Some("1042".to_owned()), max_messages: 100 };
    assert_eq!(
        read("email.sync", json!({ "cursor": 1042, "folder": " " })),
        Ok(MailRequest::Sync(sync.clone()))
    );
    assert_eq!(read("email.sync", json!({ "cursor": "1042", "limit": null })), Ok(MailRequest::Sync(sync)));
    let get = GetMail { account_id: None, message_id: "m@x".to_owned() };
    assert_eq!(read("email.get", json!({ "message_id": "m@x" })), Ok(MailRequest::Get(get)));
    let search =
        SearchMail { account_id: None, query: "a b".to_owned(), syntax: SearchSyntax::Words, limit: 50 };
    assert_eq!(
        read("email.search", json!({ "query": "a b", "syntax": "words" })),
        Ok(MailRequest::Search(search))
    );
}

#[test]
fn several_recipients_and_attachments_are_read_in_every_form() {
    let sent = read(
        "email.send",
        json!({
            "to": ["a@x, b@x", "c@x"], "cc": "d@x", "bcc": "", "subject": "s", "body_text": "t",
            "attachment": { "filename": "a.txt", "content_type": "text/plain", "base64": "YQ==" },
            "attachments": [{ "filename": "b.pdf", "content_type": "application/pdf", "path": "ab/cd" }],
        }),
    );
    let Ok(MailRequest::Send(sent)) = sent else { panic!("{sent:?}") };
    assert_eq!((sent.to.len(), sent.cc.len(), sent.bcc.len()), (2, 1, 0));
    let sources: Vec<_> = sent.attachments.into_iter().map(|attachment| attachment.source).collect();
    let expected = [AttachmentSource::Base64("YQ==".to_owned()), AttachmentSource::Path("ab/cd".to_owned())];
    assert_eq!(sources, expected);
}

#[test]
fn what_makes_no_sense_is_refused_in_the_words_of_prx() {
    let attached = |attachment: Value| json!({ "to": "a@x", "subject": "s", "body_text": "t", "attachment": attachment });
    for (tool, arguments, message) in [
        ("email.get", json!({}), "message_id is required for email.get"),
        ("email.get", json!({ "message_id": " " }), "message_id is required for email.get"),
        ("email.search", json!({ "query": null }), "query is required for email.search"),
        (
            "email.send",
            json!({ "to": [], "subject": "s", "body_text": "t" }),
            "to is required for email.send",
        ),
        ("email.send", json!({ "to": "a@x", "body_text": "t" }), "subject is required for email.send"),
        ("email.reply", json!({ "message_id": "m" }), "body_text is required for email.reply"),
        ("email.list", json!({ "account_id": 0 }), "account_id must be greater than 0"),
        ("email.list", json!({ "account_id": "1" }), "account_id has to be an integer for email.list"),
        ("email.list", json!({ "limit": 501 }), "limit_out_of_range:501 (expected 1..=500)"),
        ("email.list", json!({ "limit": -1 }), "limit_out_of_range:-1 (expected 1..=500)"),
        ("email.search", json!({ "query": 1 }), "query has to be a string for email.search"),
        (
            "email.search",
            json!({ "query": "a", "syntax": "sql" }),
            "syntax has to be `plain` or `words` for email.search",
        ),
        (
            "email.send",
            attached(json!({ "filename": "a", "content_type": "text/plain", "base64": "", "path": "" })),
            "attachment requires exactly one of base64 or path",
        ),
        (
            "email.send",
            attached(json!({ "content_type": "text/plain", "base64": "" })),
            "filename is required for email.send",
        ),
    ] {
        assert_eq!(read(tool, arguments.clone()), Err(message.to_owned()), "{arguments}");
    }
    let error = MailRequest::read(MailTool::List, "[]").expect_err("no object");
    assert!(error.message().starts_with("invalid json args: "), "{error}");
}

#[test]
fn an_answer_has_the_fields_of_every_reader() {
    let message = MailMessage {
        id: 7,
        account_id: 1,
        message_id: "m@x".to_owned(),
        sender: Some("a@x".to_owned()),
        ..MailMessage::default()
    };
    let listed = MailAnswer::Listed(Listed { account_id: 1, messages: vec![message.clone()] }).to_json();
    for key in ["items", "messages", "data"] {
        assert_eq!((&listed[key][0]["id"], &listed[key][0]["from"]), (&json!(7), &json!("a@x")), "{key}");
    }
    assert_eq!((&listed["ok"], &listed["error"]), (&json!(true), &Value::Null));
    let searched = Searched { account_id: 1, query: "q".to_owned(), messages: vec![] };
    assert_eq!(
        MailAnswer::Searched(searched).to_json(),
        json!({ "ok": true, "tool": "email.search", "account_id": 1, "query": "q", "items": [],
                "messages": [], "data": [], "error": null })
    );
    let gotten = Gotten { account_id: 1, message_id: "m@x".to_owned(), message: None };
    assert_eq!(
        MailAnswer::Gotten(Box::new(gotten)).to_json(),
        json!({ "ok": true, "tool": "email.get", "account_id": 1, "message_id": "m@x", "message": null,
                "data": null, "error": null })
    );
    let synced =
        Synced { account_id: 1, folder: "INBOX".to_owned(), synced: 3, cursor: Some("1042".to_owned()) };
    assert_eq!(
        MailAnswer::Synced(synced).to_json(),
        json!({ "ok": true, "tool": "email.sync", "account_id": 1, "folder": "INBOX", "synced": 3,
                "cursor": "1042", "data": null, "error": null })
    );
}

fn delivery() -> Delivery {
    Delivery {
        outbox_id: 4,
        status: "sent",
        held: None,
        retries: 0,
        provider_message_id: Some("smtp-250 OK".to_owned()),
        message_id: Some("a@x".to_owned()),
        next_attempt_at: 9,
    }
}

#[test]
fn an_answer_says_what_became_of_what_was_sent() {
    let data = json!({ "outbox_id": 4, "status": "sent", "held": null, "retries": 0,
        "provider_message_id": "smtp-250 OK", "message_id": "a@x", "next_attempt_at": 9 });
    let sent = Sent { account_id: 1, to: "b@x".to_owned(), subject: "s".to_owned(), delivery: delivery() };
    assert_eq!(
        MailAnswer::Sent(sent).to_json(),
        json!({ "ok": true, "tool": "email.send", "account_id": 1, "to": "b@x", "subject": "s",
                "status": "sent", "data": data, "error": null })
    );
    let replied = Replied { account_id: 1, message_id: "p@x".to_owned(), delivery: delivery() };
    assert_eq!(
        MailAnswer::Replied(replied).to_json(),
        json!({ "ok": true, "tool": "email.reply", "account_id": 1, "message_id": "p@x",
                "status": "sent", "data": data, "error": null })
    );
}

#[test]
fn an_error_has_the_codes_of_every_reader() {
    let guard = MailError::network_off().to_json(MailTool::Send);
    assert_eq!(guard["error_code"], "EMAIL_NETWORK_GUARD");
    assert_eq!(guard["guard"], "real-network-disabled");
    assert_eq!(guard["legacy_error_code"], "EMAIL_REAL_NETWORK_DISABLED");
    let failed = MailError::new(MailCode::Provider, "no\u{1b}[2J").with_delivery(delivery());
    let told = failed.to_json(MailTool::Send);
    assert_eq!(told["message"], "no\\x1b[2J");
    assert_eq!(told["error"], json!({ "code": "Provider", "message": "no\\x1b[2J" }));
    assert_eq!(told["data"]["outbox_id"], 4);
    let denied = MailError::from(ServiceError::Denied("email.send=work".parse().expect("valid")));
    assert_eq!(denied.code().name(), "EMAIL_NETWORK_GUARD");
    assert!(matches!(denied.cause(), Some(ServiceError::Denied(_))));
    assert_eq!(MailError::no_mailbox().code().name(), "EMAIL_HOST_CAPABILITY_UNAVAILABLE");
}
