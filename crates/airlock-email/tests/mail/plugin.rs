//! The whole way round, by PRX-Email's plugin: it sends, a server delivers, it fetches, finds and answers;
//! what it can do with the network switched off, and what it never sees.

use std::path::Path;
use std::sync::Arc;

use airlock_email::{Auth, Feature, MailService, Mailbox, NewAccount, Security, SendRules, Server};
use airlock_host::service::Services;
use airlock_host::{ErrorKind, Host, LoadOptions, Plugin};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dovecot::Dovecot;
use crate::server::{Exim, Known, PASSWORD};

pub(crate) const PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/prx-email");

pub(crate) const ALL: [&str; 5] =
    ["email.sync=work", "email.read=work", "email.search=work", "email.send=work", "email.reply=work"];

/// Servers of one mailbox, and a plugin in front of it.
pub(crate) struct Round {
    pub(crate) exim: Exim,
    _dovecot: Dovecot,
    pub(crate) host: Host,
    plugin: Plugin,
    pub(crate) mailbox: Arc<Mailbox>,
    _home: TempDir,
}

impl Round {
    pub(crate) fn new(allowed: &[&str], network: bool, rules: SendRules) -> Self {
        let exim = Exim::start();
        let dovecot = Dovecot::serve(&exim.home.path().join("maildir"), "Debian-exim");
        let home = tempfile::tempdir().unwrap();
        let mailbox = Arc::new(open(home.path(), &exim, &dovecot));
        let connector = exim.connector().with_authorities(dovecot.authority.as_bytes()).unwrap();
        let service = MailService::new(mailbox.clone(), Known::new(PASSWORD), connector, rules).unwrap();
        let mut services = Services::default();
        services.mail = Arc::new(service);
        services.mail_network = network;
        let host = Host::builder().services(services).build().unwrap();
        let options =
            allowed.iter().fold(LoadOptions::new(), |options, text| options.allow(text.parse().unwrap()));
        let plugin = host.load_blocking(Path::new(PLUGIN), options).unwrap();
        Round { exim, _dovecot: dovecot, host, plugin, mailbox, _home: home }
    }

    pub(crate) fn execute(&self, args: Value) -> Value {
        self.plugin
            .call_blocking("email.execute", &args)
            .unwrap_or_else(|error| panic!("{args}: {error}"))
            .value
    }

    /// The answer of a tool that fails, as the plugin gave it.
    pub(crate) fn failure(&self, args: Value) -> Value {
        let error = self.plugin.call_blocking::<_, Value>("email.execute", &args).expect_err("it fails");
        assert!(matches!(error.kind(), ErrorKind::Failed(_)), "{error}");
        serde_json::from_str(error.output().expect("the answer is with it")).unwrap()
    }
}

fn open(home: &Path, exim: &Exim, dovecot: &Dovecot) -> Mailbox {
    let mailbox = Mailbox::open(&home.join("mail.db")).unwrap();
    let server = |port| Server {
        host: "localhost".to_owned(),
        port,
        security: Security::Tls,
        user: "anna".to_owned(),
        auth: Auth::Plain,
    };
    let account = NewAccount {
        name: "work".to_owned(),
        email: "anna@x.example".to_owned(),
        display_name: Some("Anna".to_owned()),
        imap: Some(server(dovecot.tls_port)),
        smtp: Some(server(exim.tls_port)),
    };
    let id = mailbox.set_account(&account).unwrap();
    for feature in Feature::ALL {
        mailbox.switch(id, feature, true).unwrap();
    }
    mailbox
}

fn send(to: &str, subject: &str) -> Value {
    json!({ "tool": "email.send", "to": to, "subject": subject, "body_text": "Shall we meet?" })
}

#[test]
fn a_plugin_sends_fetches_finds_and_answers() {
    let round = Round::new(&ALL, true, SendRules::default());
    let sent = round.execute(send("anna@x.example", "lunch"));
    assert_eq!(
        (&sent["ok"], &sent["status"], &sent["tool"]),
        (&json!(true), &json!("sent"), &json!("email.send"))
    );
    round.exim.delivered(1);
    let synced = round.execute(json!({ "tool": "email.sync" }));
    assert_eq!(synced["synced"], 1);
    let listed = round.execute(json!({ "tool": "email.list" }));
    let message = &listed["items"][0];
    assert_eq!((&message["subject"], &message["body_text"]), (&json!("lunch"), &json!("Shall we meet?")));
    let found = round.execute(json!({ "tool": "email.search", "query": "lunch", "syntax": "words" }));
    assert_eq!(found["messages"][0]["message_id"], message["message_id"]);
    let id = message["message_id"].clone();
    let got = round.execute(json!({ "tool": "email.get", "message_id": id }));
    assert_eq!(got["message"]["from"], message["sender"]);
    let answered = round.execute(json!({ "tool": "email.reply", "message_id": id, "body_text": "Yes." }));
    assert_eq!(answered["status"], "sent");
    let delivered = round.exim.delivered(2);
    let answer = delivered.iter().find(|raw| raw.contains("Subject: Re: lunch")).expect("it is there");
    assert!(answer.contains(&format!("In-Reply-To: {}", id.as_str().unwrap())), "{answer}");
    let outbox = round.mailbox.outbox(1).unwrap();
    assert!(outbox.iter().all(|entry| entry.plugin.as_deref() == Some("prx-email")));
}

#[test]
fn with_the_network_off_a_plugin_reads_what_is_kept_and_nothing_is_spoken() {
    let round = Round::new(&ALL, false, SendRules::default());
    for args in [
        json!({ "tool": "email.sync" }),
        send("anna@x.example", "lunch"),
        json!({ "tool": "email.reply", "message_id": "m", "body_text": "x" }),
    ] {
        let answer = round.failure(args);
        assert_eq!(answer["error_code"], "EMAIL_NETWORK_GUARD");
        assert_eq!(answer["guard"], "real-network-disabled");
    }
    for args in [
        json!({ "tool": "email.list" }),
        json!({ "tool": "email.get", "message_id": "m" }),
        json!({ "tool": "email.search", "query": "lunch" }),
    ] {
        assert_eq!(round.execute(args)["ok"], true);
    }
    assert!(round.mailbox.outbox(1).unwrap().is_empty());
    assert!(round.exim.delivered(0).is_empty());
}

#[test]
fn each_tool_needs_its_own_grant_for_the_account() {
    let round = Round::new(&["email.read=work", "email.send=home"], true, SendRules::default());
    assert_eq!(round.execute(json!({ "tool": "email.list" }))["ok"], true);
    for args in [
        json!({ "tool": "email.sync" }),
        json!({ "tool": "email.search", "query": "x" }),
        send("anna@x.example", "lunch"),
        json!({ "tool": "email.reply", "message_id": "m", "body_text": "x" }),
    ] {
        let answer = round.failure(args.clone());
        assert_eq!(answer["error_code"], "EMAIL_NETWORK_GUARD", "{args}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains("email."), "{answer}");
    }
    assert!(round.mailbox.outbox(1).unwrap().is_empty());
}

#[test]
fn rules_bound_whom_plugins_write_to_and_how_often() {
    let rules = SendRules { recipients: vec!["*@x.example".to_owned()], per_hour: 2 };
    let round = Round::new(&ALL, true, rules);
    let refused = round.failure(send("eve@evil.example", "secrets"));
    assert_eq!(refused["error_code"], "EMAIL_NETWORK_GUARD");
    assert_eq!(refused["message"], "`eve@evil.example` is not among whom plugins may write to");
    for subject in ["one", "two"] {
        assert_eq!(round.execute(send("bert@x.example", subject))["status"], "sent");
    }
    let refused = round.failure(send("bert@x.example", "three"));
    assert_eq!(refused["message"], "plugins may send 2 messages in an hour from an account");
    assert_eq!(round.exim.delivered(2).len(), 2);
}

/// Arguments of all six tools.
fn all_tools() -> [Value; 6] {
    [
        json!({ "tool": "email.sync" }),
        json!({ "tool": "email.list" }),
        json!({ "tool": "email.get", "message_id": "m" }),
        json!({ "tool": "email.search", "query": "lunch" }),
        send("anna@x.example", "lunch"),
        json!({ "tool": "email.reply", "message_id": "m", "body_text": "x" }),
    ]
}

#[test]
fn on_a_host_without_a_mailbox_every_tool_says_so() {
    let mut services = Services::default();
    services.mail_network = true;
    let host = Host::builder().services(services).build().unwrap();
    let options = ALL.iter().fold(LoadOptions::new(), |options, text| options.allow(text.parse().unwrap()));
    let plugin = host.load_blocking(Path::new(PLUGIN), options).unwrap();
    for args in all_tools() {
        let error = plugin.call_blocking::<_, Value>("email.execute", &args).expect_err("there is no mail");
        let answer: Value = serde_json::from_str(error.output().unwrap()).unwrap();
        assert_eq!(answer["error_code"], "EMAIL_HOST_CAPABILITY_UNAVAILABLE", "{args}: {answer}");
    }
}

#[test]
fn a_plugin_of_mail_has_neither_files_nor_connections_nor_variables() {
    let host = Host::builder().build().unwrap();
    // Whatever it asks for is allowed.
    let plugin = host.load_blocking(Path::new(PLUGIN), LoadOptions::new().allow_all_requested()).unwrap();
    let policy = plugin.policy();
    let others = policy.allowed().filter(|capability| {
        let kind = capability.kind().to_string();
        // It may log, and knows the time and how it is configured.
        !["log", "clock", "config"].contains(&kind.as_str()) && !kind.starts_with("email.")
    });
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&airlock_core::Capability>::new());
}
