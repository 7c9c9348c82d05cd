//! Reading through PRX-Email's plugin, beside the same without it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use airlock_core::{GetMail, ListMail, MailRequest};
use airlock_email::{Auth, Connector, MailService, Security, SendRules};
use airlock_host::service::Services;
use airlock_host::{Host, LoadOptions, block_on};
use serde_json::{Value, json};

use crate::corpus::{Chance, Language};
use crate::dovecot::fetching;
use crate::percentile;
use crate::search::message;
use crate::server::{Known, PASSWORD};

const PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/prx-email");

/// Messages that there are, and calls of a kind.
const MESSAGES: usize = 10_000;
const CALLS: usize = 1_000;

pub(crate) fn run() {
    let (language, mut chance) = (Language::new(60_000), Chance::new(11));
    let home = tempfile::tempdir().unwrap();
    let mailbox = Arc::new(fetching(home.path(), 1, Security::Plain, Auth::Plain));
    let messages: Vec<_> = (0..MESSAGES).map(|number| message(number, &language, &mut chance)).collect();
    mailbox.keep(1, "INBOX", &messages).unwrap();
    let service = || {
        let known = Known::new(PASSWORD);
        MailService::new(mailbox.clone(), known, Connector::default(), SendRules::default()).unwrap()
    };
    let mut services = Services::default();
    services.mail = Arc::new(service());
    let host = Host::builder().services(services).build().unwrap();
    let options = LoadOptions::new().allow("email.read=*".parse().unwrap());
    let plugin = host.load_blocking(Path::new(PLUGIN), options).unwrap();
    let call = |args: Value| plugin.call_blocking::<_, Value>("email.execute", &args);
    println!("plugin: {CALLS} calls of each kind, of {MESSAGES} messages");
    timed("a call that the guest refuses", |_| assert!(call(json!({ "tool": "email.get" })).is_err()));
    let id = |which: usize| format!("<{which}@bench.example>");
    timed("get", |which| {
        let got = call(json!({ "tool": "email.get", "message_id": id(which) })).unwrap().value;
        assert!(got["message"].is_object());
    });
    timed("list, 20 messages", |_| {
        let listed = call(json!({ "tool": "email.list", "limit": 20 })).unwrap().value;
        assert_eq!(listed["items"].as_array().unwrap().len(), 20);
    });
    let service = service();
    timed("get by the service alone", |which| {
        let get = GetMail { account_id: None, message_id: id(which) };
        block_on(service.perform(MailRequest::Get(get))).unwrap();
    });
    timed("list by the service alone", |_| {
        let list = ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 20 };
        block_on(service.perform(MailRequest::List(list))).unwrap();
    });
}

fn timed(name: &str, call: impl Fn(usize)) {
    let mut chance = Chance::new(13);
    let mut times: Vec<f64> = (0..CALLS)
        .map(|_| {
            let which = chance.next(MESSAGES);
            let start = Instant::now();
            call(which);
            start.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("  {name:32} p50 {:6.3} ms, p95 {:6.3} ms", percentile(&times, 50), percentile(&times, 95));
}
