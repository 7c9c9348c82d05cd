//! The person in front of a program.
//!
//! A program that is run prints, tells how far it is, and may ask. Without a [`Console`] all that it
//! shows is kept until it ends, as texts, and nobody can be asked. With one it is shown as it comes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a program shows while it runs.
///
/// Texts are the plugin's: whoever puts them on a terminal makes them visible first
/// ([`visible`](airlock_core::visible)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shown<'a> {
    /// Bytes for standard output.
    Output(&'a [u8]),
    /// Bytes for standard error.
    Errors(&'a [u8]),
    /// A message for the log.
    Log {
        /// Its level, as the plugin says it: `debug`, `info`, `warn`, `error`, or another word.
        level: &'a str,
        /// What it says.
        message: &'a str,
    },
    /// Something that the host has to say of the plugin.
    Warning(&'a str),
    /// How far it is.
    Progress(Progress<'a>),
}

/// How far a program is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Progress<'a> {
    pub message: Option<&'a str>,
    pub current: Option<u64>,
    pub total: Option<u64>,
    /// Whether it is over, so that nothing of it stays on the screen.
    pub is_done: bool,
}

/// What a text that answers a question has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Answers {
    NonEmpty,
    Integer,
    /// A file or folder that is there.
    ExistingPath,
    Url,
}

/// What a program asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// For a text.
    Text {
        /// The question.
        message: String,
        /// What an empty answer stands for.
        default: Option<String>,
        /// What the answer has to be.
        must_be: Option<Answers>,
    },
    /// For yes or no.
    Confirm {
        /// The question.
        message: String,
        /// What an empty answer stands for.
        default: Option<bool>,
    },
    /// For some of these.
    Select {
        /// The question.
        message: String,
        /// What there is to choose from; not empty.
        options: Vec<String>,
        /// What an empty answer stands for, by their places.
        defaults: Vec<usize>,
        /// Whether it may be any number of them, also none; else it is one.
        many: bool,
    },
}

/// What a person answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// A text.
    Text(String),
    /// Yes or no.
    Confirmed(bool),
    /// Places of what was chosen.
    Selected(Vec<usize>),
}

impl Question {
    /// What is asked.
    pub fn message(&self) -> &str {
        match self {
            Question::Text { message, .. }
            | Question::Confirm { message, .. }
            | Question::Select { message, .. } => message,
        }
    }

    /// What the question itself says that an empty answer stands for.
    pub fn default_reply(&self) -> Option<Reply> {
        match self {
            Question::Text { default, .. } => default.clone().map(Reply::Text),
            Question::Confirm { default, .. } => default.map(Reply::Confirmed),
            Question::Select { defaults, .. } if defaults.is_empty() => None,
            Question::Select { defaults, .. } => Some(Reply::Selected(defaults.clone())),
        }
    }

    /// Whether it is an answer to this question.
    pub fn accepts(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (Question::Text { must_be, .. }, Reply::Text(text)) => {
                must_be.is_none_or(|must_be| must_be.accepts(text))
            }
            (Question::Confirm { .. }, Reply::Confirmed(_)) => true,
            (Question::Select { options, many, .. }, Reply::Selected(chosen)) => {
                (*many || chosen.len() == 1) && chosen.iter().all(|place| *place < options.len())
            }
            _ => false,
        }
    }
}

impl Answers {
    /// Whether a text is one.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Answers::NonEmpty => !text.trim().is_empty(),
            Answers::Integer => text.trim().parse::<i64>().is_ok(),
            Answers::ExistingPath => std::path::Path::new(text.trim()).exists(),
            Answers::Url => url::Url::parse(text.trim()).is_ok(),
        }
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answers::NonEmpty => "a text that is not empty",
            Answers::Integer => "a whole number",
            Answers::ExistingPath => "a path that is there",
            Answers::Url => "a URL",
        })
    }
}

/// A person's answer to come; none where nobody can be asked, or nobody wants to answer.
pub type ReplyFuture<'a> = Pin<Box<dyn Future<Output = Option<Reply>> + Send + 'a>>;

/// Where a person sees what a program shows, and is asked.
///
/// What is shown is counted against the limits on output and on the log, and past them the
/// program is stopped.
pub trait Console: Send + Sync + fmt::Debug {
    /// Shows something of a plugin, at once.
    fn show(&self, plugin: &str, shown: Shown<'_>);

    /// Asks for a plugin. Dropped, it stops asking; the time that it takes is the call's. An answer
    /// that the question does not accept counts as none.
    fn ask<'a>(&'a self, plugin: &'a str, question: &'a Question) -> ReplyFuture<'a> {
        let _ = (plugin, question);
        Box::pin(std::future::ready(None))
    }
}

/// A console for one plugin.
#[derive(Clone)]
pub(crate) struct Audience {
    pub(crate) console: Arc<dyn Console>,
    pub(crate) plugin: Arc<str>,
}

impl Audience {
    pub(crate) fn show(&self, shown: Shown<'_>) {
        self.console.show(&self.plugin, shown);
    }
}

impl Shown<'_> {
    /// As a line on standard error of a plugin's, where nobody looks while it runs; none where a
    /// line would say nothing, and of bytes that go to a stream as they are.
    pub fn line(&self, plugin: &str) -> Option<String> {
        match self {
            Shown::Output(_) | Shown::Errors(_) => None,
            Shown::Log { level, message } => Some(format!("{level} [{plugin}] {message}\n")),
            Shown::Warning(text) => Some(format!("warning [{plugin}] {text}\n")),
            Shown::Progress(progress) => progress.words().map(|words| format!("[{plugin}] {words}\n")),
        }
    }
}

impl Progress<'_> {
    /// In words: `reading (3/10)`; none where there is nothing to say.
    pub fn words(&self) -> Option<String> {
        let count = match (self.current, self.total) {
            (Some(current), Some(total)) => Some(format!("({current}/{total})")),
            (Some(current), None) => Some(format!("({current})")),
            (None, _) => None,
        };
        let done = self.is_done.then(|| "done".to_owned());
        let parts: Vec<String> =
            [self.message.map(str::to_owned), count, done].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, Progress, Question, Reply, Shown};

    #[test]
    fn only_answers_to_the_question_are_accepted() {
        let select = |many| Question::Select {
            message: String::new(),
            options: vec!["a".to_owned(), "b".to_owned()],
            defaults: vec![1],
            many,
        };
        let chosen = |places: &[usize]| Reply::Selected(places.to_vec());
        assert!(select(false).accepts(&chosen(&[1])) && select(true).accepts(&chosen(&[])));
        for reply in [chosen(&[2]), chosen(&[0, 1]), chosen(&[]), Reply::Confirmed(true)] {
            assert!(!select(false).accepts(&reply), "{reply:?}");
        }
        assert_eq!(select(true).default_reply(), Some(chosen(&[1])));
        for (must_be, good, bad) in [
            (Answers::NonEmpty, "x", " "),
            (Answers::Integer, "-7", "7.5"),
            (Answers::ExistingPath, "/", "/no/such"),
            (Answers::Url, "https://a.example/x", "a.example"),
        ] {
            assert!(must_be.accepts(good) && !must_be.accepts(bad), "{must_be}");
        }
    }

    #[test]
    fn what_nobody_sees_while_it_happens_is_told_in_lines() {
        let line = |shown: Shown<'_>| shown.line("life");
        let log = Shown::Log { level: "warn", message: "hot" };
        assert_eq!(line(log).as_deref(), Some("warn [life] hot\n"));
        let progress = Progress { current: Some(3), total: Some(10), ..Progress::default() };
        assert_eq!(line(Shown::Progress(progress)).as_deref(), Some("[life] (3/10)\n"));
        let done = Progress { message: Some("reading"), is_done: true, ..Progress::default() };
        assert_eq!(line(Shown::Progress(done)).as_deref(), Some("[life] reading done\n"));
        assert_eq!(line(Shown::Progress(Progress::default())), None);
    }
}
