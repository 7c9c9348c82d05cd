//! Reading through PRX-Email's plugin, beside the same without it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use airlock_core::{
    GetMail, Gotten, ListMail, Listed, Mail, MailAnswer, MailError, MailFuture, MailRequest, Permit, Replied,
    ReplyMail, SearchMail, Searched, SendMail, Sent, SyncMail, Synced,
};
use airlock_email::{Auth, Connector, MailService, Security, SendRules};
use airlock_host::service::Services;
use airlock_host::{Host, LoadOptions, block_on};
use serde_json::value::RawValue;
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
    let known = Known::new(PASSWORD);
    let service = MailService::new(mailbox, known, Connector::default(), SendRules::default()).unwrap();
    let service = Arc::new(service);
    let get = |which: usize| GetMail { account_id: None, message_id: format!("<{which}@bench.example>") };
    let list = || ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 20 };
    let perform = |request| block_on(service.perform(request)).unwrap();
    let MailAnswer::Gotten(gotten) = perform(MailRequest::Get(get(1))) else { panic!("a message") };
    let MailAnswer::Listed(listed) = perform(MailRequest::List(list())) else { panic!("messages") };
    let bytes = MailAnswer::Listed(listed.clone()).to_json_text().len();

    println!("plugin: {CALLS} calls of each kind, of {MESSAGES} messages; 20 of them are {bytes} bytes");
    let ready = Ready { gotten: *gotten, listed };
    for (mail, how) in
        [(Arc::new(ready) as Arc<dyn Mail>, "answers that are ready"), (service.clone(), "the mailbox")]
    {
        let mut services = Services::default();
        services.mail = mail;
        let host = Host::builder().services(services).build().unwrap();
        let options = LoadOptions::new().allow("email.read=*".parse().unwrap());
        let plugin = host.load_blocking(Path::new(PLUGIN), options).unwrap();
        let call = |args: Value| plugin.call_blocking::<_, Box<RawValue>>("email.execute", &args);
        timed(&format!("get by the plugin, {how}"), |which| {
            let args = json!({ "tool": "email.get", "message_id": get(which).message_id });
            assert!(call(args).unwrap().value.get().len() > 200);
        });
        timed(&format!("list by the plugin, {how}"), |_| {
            let args = json!({ "tool": "email.list", "limit": 20 });
            assert_eq!(call(args).unwrap().value.get().len(), bytes);
        });
    }
    timed("get by the service alone", |which| drop(perform(MailRequest::Get(get(which)))));
    timed("list by the service alone", |_| drop(perform(MailRequest::List(list()))));
}

/// A mailbox that looks nothing up: what is left is the guest's call.
#[derive(Debug)]
struct Ready {
    gotten: Gotten,
    listed: Listed,
}

impl Mail for Ready {
    fn list<'a>(&'a self, _: &'a Permit, _: &'a ListMail) -> MailFuture<'a, Listed> {
        Box::pin(async { Ok(self.listed.clone()) })
    }

    fn get<'a>(&'a self, _: &'a Permit, _: &'a GetMail) -> MailFuture<'a, Gotten> {
        Box::pin(async { Ok(self.gotten.clone()) })
    }

    fn sync<'a>(&'a self, _: &'a Permit, _: &'a SyncMail) -> MailFuture<'a, Synced> {
        Box::pin(async { Err(MailError::no_mailbox()) })
    }

    fn search<'a>(&'a self, _: &'a Permit, _: &'a SearchMail) -> MailFuture<'a, Searched> {
        Box::pin(async { Err(MailError::no_mailbox()) })
    }

    fn send<'a>(&'a self, _: &'a Permit, _: &'a SendMail) -> MailFuture<'a, Sent> {
        Box::pin(async { Err(MailError::no_mailbox()) })
    }

    fn reply<'a>(&'a self, _: &'a Permit, _: &'a ReplyMail) -> MailFuture<'a, Replied> {
        Box::pin(async { Err(MailError::no_mailbox()) })
    }
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
    println!("  {name:45} p50 {:6.3} ms, p95 {:6.3} ms", percentile(&times, 50), percentile(&times, 95));
}
