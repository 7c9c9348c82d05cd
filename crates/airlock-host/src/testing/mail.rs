//! A mailbox that holds what was put there, and sends nothing.

use std::sync::Mutex;

use airlock_core::{
    Delivery, GetMail, Gotten, ListMail, Listed, Mail, MailCode, MailError, MailFuture, MailMessage,
    MailRequest, MailTool, Need, Permit, Replied, ReplyMail, SearchMail, Searched, SendMail, Sent, SyncMail,
    Synced,
};

use super::lock;

/// The number of the one account.
const ACCOUNT: i64 = 1;

/// What grants call it, where nothing else is said.
const NAME: &str = "work";

/// One account's mail: messages that are there, messages that the next `email.sync` fetches, and what
/// was asked for. What is sent is taken at once, and nothing leaves the process.
#[derive(Debug, Default)]
pub struct FakeMail(Mutex<Inbox>);

#[derive(Debug, Default)]
struct Inbox {
    name: Option<String>,
    messages: Vec<MailMessage>,
    waiting: Vec<MailMessage>,
    failures: Vec<(MailTool, MailError)>,
    asked: Vec<MailRequest>,
    sent: i64,
}

impl FakeMail {
    /// What grants call the account; `work` where nothing is said.
    pub fn name(&self, name: &str) {
        lock(&self.0).name = Some(name.to_owned());
    }

    /// Puts a message there. Its numbers are given to it, and a Message-ID where it has none.
    pub fn add(&self, message: MailMessage) {
        lock(&self.0).keep(message);
    }

    /// Has the next [`Mail::sync`] fetch this.
    pub fn arrives(&self, message: MailMessage) {
        lock(&self.0).waiting.push(message);
    }

    /// Has a tool fail from now on.
    pub fn fail(&self, tool: MailTool, code: MailCode, message: &str) {
        lock(&self.0).failures.push((tool, MailError::new(code, message)));
    }

    /// What was asked for so far, in its order; of what the gate refused there is nothing.
    pub fn requests(&self) -> Vec<MailRequest> {
        lock(&self.0).asked.clone()
    }

    fn perform<'a, T: Send + 'a>(
        &'a self,
        permit: &Permit,
        account: Option<i64>,
        request: MailRequest,
        answer: impl FnOnce(&mut Inbox) -> Result<T, MailError>,
    ) -> MailFuture<'a, T> {
        let mut inbox = lock(&self.0);
        let answered = inbox.begin(permit, account, request).and_then(|()| answer(&mut inbox));
        Box::pin(std::future::ready(answered))
    }
}

impl Inbox {
    fn begin(
        &mut self,
        permit: &Permit,
        account: Option<i64>,
        request: MailRequest,
    ) -> Result<(), MailError> {
        if let Some(other) = account.filter(|id| *id != ACCOUNT) {
            return Err(MailError::invalid(&format!("there is no account {other}")));
        }
        permit.also(Need::Name(permit.kind(), self.name.as_deref().unwrap_or(NAME)))?;
        let tool = request.tool();
        self.asked.push(request);
        match self.failures.iter().find(|(failing, _)| *failing == tool) {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn keep(&mut self, mut message: MailMessage) {
        message.id = self.messages.len() as i64 + 1;
        message.account_id = ACCOUNT;
        if message.message_id.is_empty() {
            message.message_id = format!("<{}@fake.example>", message.id);
        }
        if message.snippet.is_none() {
            message.snippet = message.body_text.as_deref().map(|text| text.chars().take(120).collect());
        }
        self.messages.push(message);
    }

    fn find(&self, id: &str) -> Option<&MailMessage> {
        let bare = |id: &str| id.trim_matches(['<', '>', ' ']).to_owned();
        self.messages.iter().find(|message| bare(&message.message_id) == bare(id))
    }

    /// The newest first.
    fn newest(&self, limit: u32, fits: impl Fn(&MailMessage) -> bool) -> Vec<MailMessage> {
        let mut found: Vec<MailMessage> =
            self.messages.iter().filter(|message| fits(message)).cloned().collect();
        found.sort_by_key(|message| std::cmp::Reverse((message.received_at, message.id)));
        found.truncate(limit as usize);
        found
    }

    fn deliver(&mut self) -> Delivery {
        self.sent += 1;
        Delivery {
            outbox_id: self.sent,
            status: "sent",
            held: None,
            retries: 0,
            provider_message_id: Some("smtp-fake".to_owned()),
            message_id: Some(format!("sent-{}@fake.example", self.sent)),
            next_attempt_at: 0,
        }
    }
}

impl Mail for FakeMail {
    fn sync<'a>(&'a self, permit: &'a Permit, request: &'a SyncMail) -> MailFuture<'a, Synced> {
        self.perform(permit, request.account_id, MailRequest::Sync(request.clone()), |inbox| {
            let count = inbox.waiting.len().min(request.max_messages as usize);
            let arrived: Vec<MailMessage> = inbox.waiting.drain(..count).collect();
            arrived.into_iter().for_each(|message| inbox.keep(message));
            let cursor = Some(inbox.messages.len().to_string());
            Ok(Synced { account_id: ACCOUNT, folder: request.folder.clone(), synced: count as u64, cursor })
        })
    }

    fn list<'a>(&'a self, permit: &'a Permit, request: &'a ListMail) -> MailFuture<'a, Listed> {
        self.perform(permit, request.account_id, MailRequest::List(request.clone()), |inbox| {
            Ok(Listed { account_id: ACCOUNT, messages: inbox.newest(request.limit, |_| true) })
        })
    }

    fn get<'a>(&'a self, permit: &'a Permit, request: &'a GetMail) -> MailFuture<'a, Gotten> {
        self.perform(permit, request.account_id, MailRequest::Get(request.clone()), |inbox| {
            let message = inbox.find(&request.message_id).cloned();
            Ok(Gotten { account_id: ACCOUNT, message_id: request.message_id.clone(), message })
        })
    }

    /// Finds a part of the subject, the sender or the text, whatever its case.
    fn search<'a>(&'a self, permit: &'a Permit, request: &'a SearchMail) -> MailFuture<'a, Searched> {
        self.perform(permit, request.account_id, MailRequest::Search(request.clone()), |inbox| {
            let wanted = request.query.to_lowercase();
            let has = |text: &Option<String>| {
                text.as_deref().is_some_and(|text| text.to_lowercase().contains(&wanted))
            };
            let fits = |message: &MailMessage| {
                has(&message.subject) || has(&message.sender) || has(&message.body_text)
            };
            let messages = inbox.newest(request.limit, fits);
            Ok(Searched { account_id: ACCOUNT, query: request.query.clone(), messages })
        })
    }

    fn send<'a>(&'a self, permit: &'a Permit, request: &'a SendMail) -> MailFuture<'a, Sent> {
        self.perform(permit, request.account_id, MailRequest::Send(request.clone()), |inbox| {
            let (to, subject) = (request.to.join(", "), request.subject.clone());
            Ok(Sent { account_id: ACCOUNT, to, subject, delivery: inbox.deliver() })
        })
    }

    fn reply<'a>(&'a self, permit: &'a Permit, request: &'a ReplyMail) -> MailFuture<'a, Replied> {
        self.perform(permit, request.account_id, MailRequest::Reply(request.clone()), |inbox| {
            let missing = || MailError::invalid("in_reply_to_message_id does not exist for this account");
            inbox.find(&request.message_id).ok_or_else(missing)?;
            let message_id = request.message_id.clone();
            Ok(Replied { account_id: ACCOUNT, message_id, delivery: inbox.deliver() })
        })
    }
}
