//! What mail is asked for, and how it is read from the JSON of PRX's plugin.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{MailError, MailTool};

/// How many messages one list may have at most (PRX's bound).
pub const MAIL_LIMIT: u32 = 500;

/// How many there are where nothing is said.
const DEFAULT_LIMIT: u32 = 50;

/// How many messages are fetched at most where nothing is said.
const DEFAULT_FETCHED: u32 = 100;

/// The folder where nothing is said.
const INBOX: &str = "INBOX";

/// Fetches what is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyncMail {
    /// Whose mail; the only account's where not said.
    pub account_id: Option<i64>,
    /// The folder.
    pub folder: String,
    /// Goes on from here and not from where the last one ended.
    pub cursor: Option<String>,
    /// Fetches no more than so many.
    pub max_messages: u32,
}

/// Lists the newest messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListMail {
    /// Whose mail; the only account's where not said.
    pub account_id: Option<i64>,
    /// The folder.
    pub folder: String,
    /// So many at most, 1 to [`MAIL_LIMIT`].
    pub limit: u32,
}

/// Gets one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GetMail {
    /// Whose mail; the only account's where not said.
    pub account_id: Option<i64>,
    /// Its Message-ID.
    pub message_id: String,
}

/// How a query is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchSyntax {
    /// As PRX does: a part of the subject, the sender or the snippet, where `%` and `_` stand
    /// for anything. The newest first.
    #[default]
    Plain,
    /// Words of the whole message, the best first:
    /// `from: to: subject: has:attachment before: after: "phrase" -word`.
    Words,
}

/// Finds messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SearchMail {
    /// Whose mail; the only account's where not said.
    pub account_id: Option<i64>,
    /// What is searched for.
    pub query: String,
    /// How that is read.
    pub syntax: SearchSyntax,
    /// So many at most, 1 to [`MAIL_LIMIT`].
    pub limit: u32,
}

/// Where the bytes of an attachment come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachmentSource {
    /// They are here, in base64.
    Base64(String),
    /// An attachment of a message that is kept, by its `local_path`.
    Path(String),
}

/// Something to attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MailAttachment {
    /// Its name for the recipient.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    #[serde(flatten)]
    pub source: AttachmentSource,
}

/// Sends a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SendMail {
    /// From whom; the only account where not said.
    pub account_id: Option<i64>,
    /// To whom, each one or more addresses separated by commas.
    pub to: Vec<String>,
    /// Who gets a copy.
    pub cc: Vec<String>,
    /// Who gets a copy that the others do not know of.
    pub bcc: Vec<String>,
    /// About what.
    pub subject: String,
    /// The text.
    pub body_text: String,
    /// The same in HTML.
    pub body_html: Option<String>,
    /// What is attached.
    pub attachments: Vec<MailAttachment>,
}

/// Answers a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplyMail {
    /// From whom; the only account where not said.
    pub account_id: Option<i64>,
    /// The Message-ID of the message.
    pub message_id: String,
    /// The text.
    pub body_text: String,
    /// The same in HTML.
    pub body_html: Option<String>,
    /// Also to everyone else that the message went to.
    pub all: bool,
    /// What is attached.
    pub attachments: Vec<MailAttachment>,
}

/// What one of the tools is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum MailRequest {
    /// Of `email.sync`.
    Sync(SyncMail),
    /// Of `email.list`.
    List(ListMail),
    /// Of `email.get`.
    Get(GetMail),
    /// Of `email.search`.
    Search(SearchMail),
    /// Of `email.send`.
    Send(SendMail),
    /// Of `email.reply`.
    Reply(ReplyMail),
}

impl MailRequest {
    /// Reads the arguments of a tool. Keys that it does not know are left alone.
    ///
    /// # Errors
    /// [`MailCode::Validation`](super::MailCode::Validation) for what is missing or makes no
    /// sense, in the words of PRX where it has some.
    pub fn read(tool: MailTool, arguments: &str) -> Result<Self, MailError> {
        let arguments: Map<String, Value> = serde_json::from_str(arguments)
            .map_err(|error| MailError::invalid(&format!("invalid json args: {error}")))?;
        let read = Reader { tool, arguments: &arguments };
        let account_id = read.account()?;
        Ok(match tool {
            MailTool::Sync => MailRequest::Sync(SyncMail {
                account_id,
                folder: read.folder()?,
                cursor: read.cursor()?,
                max_messages: read.number("max_messages", DEFAULT_FETCHED)?,
            }),
            MailTool::List => {
                MailRequest::List(ListMail { account_id, folder: read.folder()?, limit: read.limit()? })
            }
            MailTool::Get => MailRequest::Get(GetMail { account_id, message_id: read.needed("message_id")? }),
            MailTool::Search => MailRequest::Search(SearchMail {
                account_id,
                query: read.needed("query")?,
                syntax: read.syntax()?,
                limit: read.limit()?,
            }),
            MailTool::Send => MailRequest::Send(SendMail {
                account_id,
                to: read.needed_addresses("to")?,
                cc: read.addresses("cc")?,
                bcc: read.addresses("bcc")?,
                subject: read.needed("subject")?,
                body_text: read.needed("body_text")?,
                body_html: read.text("body_html")?,
                attachments: read.attachments()?,
            }),
            MailTool::Reply => MailRequest::Reply(ReplyMail {
                account_id,
                message_id: read.needed("message_id")?,
                body_text: read.needed("body_text")?,
                body_html: read.text("body_html")?,
                all: read.switch("all")?,
                attachments: read.attachments()?,
            }),
        })
    }

    /// Which tool's it is.
    pub fn tool(&self) -> MailTool {
        match self {
            MailRequest::Sync(_) => MailTool::Sync,
            MailRequest::List(_) => MailTool::List,
            MailRequest::Get(_) => MailTool::Get,
            MailRequest::Search(_) => MailTool::Search,
            MailRequest::Send(_) => MailTool::Send,
            MailRequest::Reply(_) => MailTool::Reply,
        }
    }
}

/// The arguments of one tool. `null` is the same as a key that is not there.
struct Reader<'a> {
    tool: MailTool,
    arguments: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.arguments.get(key).filter(|value| !value.is_null())
    }

    fn account(&self) -> Result<Option<i64>, MailError> {
        let Some(value) = self.value("account_id") else { return Ok(None) };
        match value.as_i64() {
            Some(id) if id > 0 => Ok(Some(id)),
            Some(_) => Err(MailError::invalid("account_id must be greater than 0")),
            None => Err(self.wrong("account_id", "an integer")),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, MailError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    fn needed(&self, key: &str) -> Result<String, MailError> {
        let text = self.text(key)?.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| self.missing(key))
    }

    fn addresses(&self, key: &str) -> Result<Vec<String>, MailError> {
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.wrong(key, "a string, or an array of strings")),
        };
        let texts = match self.value(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(text).collect::<Result<Vec<_>, _>>()?,
            Some(value) => vec![text(value)?],
        };
        Ok(texts.into_iter().filter(|text| !text.trim().is_empty()).collect())
    }

    fn needed_addresses(&self, key: &str) -> Result<Vec<String>, MailError> {
        let addresses = self.addresses(key)?;
        if addresses.is_empty() { Err(self.missing(key)) } else { Ok(addresses) }
    }

    fn number(&self, key: &str, default: u32) -> Result<u32, MailError> {
        let Some(value) = self.value(key) else { return Ok(default) };
        match value.as_u64().map(u32::try_from) {
            Some(Ok(number)) if number > 0 => Ok(number),
            _ => Err(self.wrong(key, "an integer greater than 0")),
        }
    }

    fn limit(&self) -> Result<u32, MailError> {
        let Some(value) = self.value("limit") else { return Ok(DEFAULT_LIMIT) };
        let number = value.as_i64().ok_or_else(|| self.wrong("limit", "an integer"))?;
        match u32::try_from(number) {
            Ok(limit) if (1..=MAIL_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(MailError::invalid(&format!("limit_out_of_range:{number} (expected 1..={MAIL_LIMIT})"))),
        }
    }

    fn folder(&self) -> Result<String, MailError> {
        let folder = self.text("folder")?.filter(|folder| !folder.trim().is_empty());
        Ok(folder.unwrap_or_else(|| INBOX.to_owned()))
    }

    /// A cursor is text, and a number for who thinks of the UID that it is.
    fn cursor(&self) -> Result<Option<String>, MailError> {
        match self.value("cursor") {
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            _ => self.text("cursor"),
        }
    }

    fn syntax(&self) -> Result<SearchSyntax, MailError> {
        match self.text("syntax")?.as_deref() {
            None | Some("plain") => Ok(SearchSyntax::Plain),
            Some("words") => Ok(SearchSyntax::Words),
            Some(_) => Err(self.wrong("syntax", "`plain` or `words`")),
        }
    }

    fn switch(&self, key: &str) -> Result<bool, MailError> {
        match self.value(key) {
            None => Ok(false),
            Some(Value::Bool(switch)) => Ok(*switch),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// PRX has one `attachment`; there may be more in `attachments`.
    fn attachments(&self) -> Result<Vec<MailAttachment>, MailError> {
        let more = match self.value("attachments") {
            None => &[][..],
            Some(Value::Array(values)) => values.as_slice(),
            Some(_) => return Err(self.wrong("attachments", "an array")),
        };
        self.value("attachment").into_iter().chain(more).map(|value| self.attachment(value)).collect()
    }

    fn attachment(&self, value: &Value) -> Result<MailAttachment, MailError> {
        let Value::Object(arguments) = value else { return Err(self.wrong("attachment", "an object")) };
        let read = Reader { tool: self.tool, arguments };
        let source = match (read.text("base64")?, read.text("path")?) {
            (Some(base64), None) => AttachmentSource::Base64(base64),
            (None, Some(path)) => AttachmentSource::Path(path),
            _ => return Err(MailError::invalid("attachment requires exactly one of base64 or path")),
        };
        let (filename, content_type) = (read.needed("filename")?, read.needed("content_type")?);
        Ok(MailAttachment { filename, content_type, source })
    }

    fn missing(&self, key: &str) -> MailError {
        MailError::invalid(&format!("{key} is required for {}", self.tool))
    }

    fn wrong(&self, key: &str, expected: &str) -> MailError {
        MailError::invalid(&format!("{key} has to be {expected} for {}", self.tool))
    }
}
