//! What mail answers, and the JSON that every reader of PRX's finds its own fields in.
//!
//! PRX never wrote down its host's answer, and its plugin had two shapes of it over time
//! (`messages`, and `items`) while its library has a third (`data` and `error`). An answer
//! holds all three.

use serde::Serialize;
use serde::ser::{self, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

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

/// A message as it is answered: PRX's second shape calls the sender `from`.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    message: &'a MailMessage,
    from: &'a Option<String>,
}

impl<'a> Shown<'a> {
    fn of(message: &'a MailMessage) -> Self {
        Shown { message, from: &message.sender }
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
        serde_json::to_value(self).expect("it has texts for keys, and nothing that fails")
    }

    /// The same as text.
    pub fn to_json_text(&self) -> String {
        serde_json::to_string(self).expect("it has texts for keys, and nothing that fails")
    }

    fn account_id(&self) -> i64 {
        match self {
            MailAnswer::Synced(synced) => synced.account_id,
            MailAnswer::Listed(listed) => listed.account_id,
            MailAnswer::Gotten(gotten) => gotten.account_id,
            MailAnswer::Searched(searched) => searched.account_id,
            MailAnswer::Sent(sent) => sent.account_id,
            MailAnswer::Replied(replied) => replied.account_id,
        }
    }
}

impl Serialize for MailAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("ok", &true)?;
        fields.serialize_entry("tool", self.tool().name())?;
        fields.serialize_entry("account_id", &self.account_id())?;
        match self {
            MailAnswer::Synced(synced) => {
                fields.serialize_entry("folder", &synced.folder)?;
                fields.serialize_entry("synced", &synced.synced)?;
                fields.serialize_entry("cursor", &synced.cursor)?;
                fields.serialize_entry("data", &())?;
            }
            MailAnswer::Listed(listed) => messages(&mut fields, &listed.messages)?,
            MailAnswer::Gotten(gotten) => {
                let message = written::<S::Error>(&gotten.message.as_ref().map(Shown::of))?;
                fields.serialize_entry("message_id", &gotten.message_id)?;
                fields.serialize_entry("message", &message)?;
                fields.serialize_entry("data", &message)?;
            }
            MailAnswer::Searched(searched) => {
                fields.serialize_entry("query", &searched.query)?;
                messages(&mut fields, &searched.messages)?;
            }
            MailAnswer::Sent(sent) => {
                fields.serialize_entry("to", &sent.to)?;
                fields.serialize_entry("subject", &sent.subject)?;
                fields.serialize_entry("status", sent.delivery.status)?;
                fields.serialize_entry("data", &sent.delivery)?;
            }
            MailAnswer::Replied(replied) => {
                fields.serialize_entry("message_id", &replied.message_id)?;
                fields.serialize_entry("status", replied.delivery.status)?;
                fields.serialize_entry("data", &replied.delivery)?;
            }
        }
        fields.serialize_entry("error", &())?;
        fields.end()
    }
}

/// What is there more than once is written once.
fn written<E: ser::Error>(value: &impl Serialize) -> Result<Box<RawValue>, E> {
    serde_json::value::to_raw_value(value).map_err(E::custom)
}

fn messages<M: SerializeMap>(fields: &mut M, messages: &[MailMessage]) -> Result<(), M::Error> {
    let messages = written::<M::Error>(&messages.iter().map(Shown::of).collect::<Vec<_>>())?;
    ["items", "messages", "data"].into_iter().try_for_each(|name| fields.serialize_entry(name, &messages))
}
