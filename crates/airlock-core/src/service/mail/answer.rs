//! What mail answers, and the JSON that every reader of PRX's finds its own fields in.
//!
//! PRX never wrote down its host's answer, and its plugin had two shapes of it over time
//! (`messages`, and `items`) while its library has a third (`data` and `error`). An answer
//! holds all three.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::MailTool;

/// A message that is kept, with the fields of PRX's `Message` and more. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MailMessage {
    /// Its number in the mailbox.
    pub id: i64,
    /// Whose it is.
    pub account_id: i64,
    /// In which folder it was found.
    pub folder_id: Option<i64>,
    /// Its Message-ID in angle brackets, or one that was made for it.
    pub message_id: String,
    /// What it is about.
    pub subject: Option<String>,
    /// Whom it is from: the first address of `From`.
    pub sender: Option<String>,
    /// Whom it is to, separated by `, `.
    pub recipients: Option<String>,
    /// Its beginning, or the place where a search found something.
    pub snippet: Option<String>,
    /// Its text, made from the HTML where there is no other. Left out of long lists.
    pub body_text: Option<String>,
    /// Its HTML, as it came. Left out of long lists.
    pub body_html: Option<String>,
    /// A JSON array of what is attached: `filename`, `content_type`, `size`, `local_path`.
    pub attachments_json: Option<String>,
    /// Its `References`.
    pub references_header: Option<String>,
    /// When the server got it.
    pub received_at: Option<i64>,
    /// When its sender says to have sent it.
    pub sent_at: Option<i64>,
    /// When it was first kept.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

impl MailMessage {
    fn to_json(&self) -> Value {
        let mut value = json!(self);
        // PRX's second shape calls the sender so.
        if let Value::Object(fields) = &mut value {
            fields.insert("from".to_owned(), json!(self.sender));
        }
        value
    }
}

/// What became of a message that was to be sent: PRX's `SendResult`, and more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Its number in the outbox.
    pub outbox_id: i64,
    /// `pending`, `sending`, `sent` or `failed`.
    pub status: &'static str,
    /// Why a failed one is not tried again by itself: `dead`, `uncertain`, `cancelled`.
    pub held: Option<&'static str>,
    /// How often it failed.
    pub retries: u32,
    /// What the server said when it took it.
    pub provider_message_id: Option<String>,
    /// Its Message-ID, the same at each attempt.
    pub message_id: Option<String>,
    /// When it is tried next, in Unix seconds.
    pub next_attempt_at: i64,
}

/// What [`Mail::sync`](super::Mail::sync) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// Whose mail it is.
    pub account_id: i64,
    /// The folder.
    pub folder: String,
    /// How many messages are new.
    pub synced: u64,
    /// Where the next one goes on.
    pub cursor: Option<String>,
}

/// What [`Mail::list`](super::Mail::list) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whose mail it is.
    pub account_id: i64,
    /// The newest first.
    pub messages: Vec<MailMessage>,
}

/// What [`Mail::get`](super::Mail::get) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gotten {
    /// Whose mail it is.
    pub account_id: i64,
    /// What was asked for.
    pub message_id: String,
    /// The message, where there is one.
    pub message: Option<MailMessage>,
}

/// What [`Mail::search`](super::Mail::search) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// Whose mail it is.
    pub account_id: i64,
    /// What was asked for.
    pub query: String,
    /// What was found.
    pub messages: Vec<MailMessage>,
}

/// What became of what [`Mail::send`](super::Mail::send) was to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Whose it is.
    pub account_id: i64,
    /// To whom, as it was asked for.
    pub to: String,
    /// About what.
    pub subject: String,
    /// What became of it.
    pub delivery: Delivery,
}

/// What became of what [`Mail::reply`](super::Mail::reply) was to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replied {
    /// Whose it is.
    pub account_id: i64,
    /// The message that it answers.
    pub message_id: String,
    /// What became of it.
    pub delivery: Delivery,
}

/// What one of the tools answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailAnswer {
    /// Of `email.sync`.
    Synced(Synced),
    /// Of `email.list`.
    Listed(Listed),
    /// Of `email.get`.
    Gotten(Box<Gotten>),
    /// Of `email.search`.
    Searched(Searched),
    /// Of `email.send`.
    Sent(Sent),
    /// Of `email.reply`.
    Replied(Replied),
}

impl MailAnswer {
    /// Which tool's answer it is.
    pub fn tool(&self) -> MailTool {
        match self {
            MailAnswer::Synced(_) => MailTool::Sync,
            MailAnswer::Listed(_) => MailTool::List,
            MailAnswer::Gotten(_) => MailTool::Get,
            MailAnswer::Searched(_) => MailTool::Search,
            MailAnswer::Sent(_) => MailTool::Send,
            MailAnswer::Replied(_) => MailTool::Reply,
        }
    }

    /// The answer as one JSON object.
    pub fn to_json(&self) -> Value {
        let list = |messages: &[MailMessage]| {
            let messages: Vec<Value> = messages.iter().map(MailMessage::to_json).collect();
            vec![("items", json!(messages)), ("messages", json!(messages)), ("data", json!(messages))]
        };
        let (account, own) = match self {
            MailAnswer::Synced(synced) => (
                synced.account_id,
                vec![
                    ("folder", json!(synced.folder)),
                    ("synced", json!(synced.synced)),
                    ("cursor", json!(synced.cursor)),
                    ("data", Value::Null),
                ],
            ),
            MailAnswer::Listed(listed) => (listed.account_id, list(&listed.messages)),
            MailAnswer::Gotten(gotten) => {
                let message = gotten.message.as_ref().map(MailMessage::to_json);
                let id = json!(gotten.message_id);
                (
                    gotten.account_id,
                    vec![("message_id", id), ("message", json!(message)), ("data", json!(message))],
                )
            }
            MailAnswer::Searched(searched) => {
                let query = [("query", json!(searched.query))];
                (searched.account_id, query.into_iter().chain(list(&searched.messages)).collect())
            }
            MailAnswer::Sent(sent) => (
                sent.account_id,
                vec![
                    ("to", json!(sent.to)),
                    ("subject", json!(sent.subject)),
                    ("status", json!(sent.delivery.status)),
                    ("data", json!(sent.delivery)),
                ],
            ),
            MailAnswer::Replied(replied) => (
                replied.account_id,
                vec![
                    ("message_id", json!(replied.message_id)),
                    ("status", json!(replied.delivery.status)),
                    ("data", json!(replied.delivery)),
                ],
            ),
        };
        let first =
            [("ok", json!(true)), ("tool", json!(self.tool().name())), ("account_id", json!(account))];
        let fields = first.into_iter().chain(own).chain([("error", Value::Null)]);
        Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    }
}
