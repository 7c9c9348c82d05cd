//! A running plugin: its connection to the host.

use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{Fields, texts};
use super::lines::Lines;
use super::message::{Load, Log, Message, Metadata, Output, Store};
use super::{
    Confirm, Error, Exec, ExecResult, Host, Init, Level, MultiSelect, Progress, Prompt, Request, Response,
    Select, Transport,
};

/// A running plugin: its connection to the host.
///
/// There is one of it in a program, and it has all there is of state. Requests are answered
/// one after the other, so a method returns when its answer is there.
///
/// # Errors
/// Every method fails with [`Error::Transport`] when the host is gone. Those that get an
/// answer fail with [`Error::NoAnswer`] when the host gives none, and with
/// [`Error::Json`], [`Error::WrongId`] or [`Error::Unexpected`] when it is not one.
#[derive(Debug)]
pub struct Plugin<T = Host> {
    transport: T,
    lines: Lines,
    init: Init,
    /// How many requests were made. The last one's id.
    requests: u64,
}

impl Plugin {
    /// Begins to speak with the host that runs this program.
    ///
    /// Once in a program, before anything else: the host begins only once.
    ///
    /// # Errors
    /// [`Error::NoInit`], [`Error::Protocol`], [`Error::Json`] or [`Error::Unexpected`] when
    /// the host does not begin as the protocol has it, and [`Error::Transport`].
    pub fn start() -> Result<Self, Error> {
        Plugin::connect(Host::new())
    }

    /// Ends the program. 0 says that it went well; hosts on Unix tell codes from 0 to 255
    /// apart.
    ///
    /// As WebAssembly, what was printed with `print!` and has no newline at its end is not
    /// written any more.
    pub fn exit(self, code: i32) -> ! {
        self.transport.exit(code)
    }
}

impl<T: Transport> Plugin<T> {
    /// Begins to speak over `transport`: [`Plugin::start`] for tests.
    ///
    /// # Errors
    /// As [`Plugin::start`].
    pub fn connect(mut transport: T) -> Result<Self, Error> {
        let mut lines = Lines::default();
        let init = lines.next(&mut transport)?.ok_or(Error::NoInit)?;
        let init = Init::read(init)?;
        Ok(Plugin { transport, lines, init, requests: 0 })
    }

    /// What the host said at the start.
    pub fn init(&self) -> &Init {
        &self.init
    }

    /// What was typed after the command's name.
    pub fn args(&self) -> &[String] {
        &self.init.args
    }

    /// What it speaks over.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Prints `text` as it is, so a line needs its newline.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub fn output(&mut self, text: &str) -> Result<(), Error> {
        self.tell("output", Output { text })
    }

    /// Says something beside the output. Hosts show it on standard error.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub fn log(&mut self, level: Level, message: &str) -> Result<(), Error> {
        self.tell("log", Log { level: level.name(), message })
    }

    /// Shows how far the plugin has come.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub fn progress(&mut self, progress: Progress) -> Result<(), Error> {
        self.tell("progress", progress)
    }

    /// Keeps `value` under `key` for the plugin's next run.
    ///
    /// Needs `store`. Nothing is kept when that was denied, or when a bound of the host is
    /// passed: fledge has 256 bytes for a key, without control characters, 64 KiB for a
    /// value and 256 keys. There is no answer to tell.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub fn store(&mut self, key: &str, value: &str) -> Result<(), Error> {
        self.tell("store", Store { key, value })
    }

    /// What is kept under `key`. Needs `store`; `None` also when that was denied.
    ///
    /// # Errors
    /// As [`Plugin`] says.
    pub fn load(&mut self, key: &str) -> Result<Option<String>, Error> {
        let answer = self.ask("load", Load { key })?;
        text_or_null("load", answer)
    }

    /// Runs a command to its end. Needs `exec`; the code is 126 when that was denied.
    ///
    /// # Errors
    /// As [`Plugin`] says. A command that fails is none.
    pub fn exec(&mut self, command: impl Into<Exec>) -> Result<ExecResult, Error> {
        let unexpected = |expected| Error::Unexpected { message: "exec", expected };
        let answer = self.ask("exec", command.into())?;
        let mut fields = Fields::of(answer).ok_or_else(|| unexpected("an object"))?;
        let code = fields.take("code").as_i64().and_then(|code| i32::try_from(code).ok());
        Ok(ExecResult {
            code: code.ok_or_else(|| unexpected("one with a `code`"))?,
            stdout: fields.text_or_empty("stdout"),
            stderr: fields.text_or_empty("stderr"),
        })
    }

    /// What the host knows of the project. Needs `metadata`; empty when that was denied.
    ///
    /// fledge knows `fledge_config`, `git_tags`, `git_status`, `git_log` and `env`, and has
    /// null for any other key.
    ///
    /// # Errors
    /// As [`Plugin`] says.
    pub fn metadata(&mut self, keys: &[&str]) -> Result<Map<String, Value>, Error> {
        match self.ask("metadata", Metadata { keys })? {
            Value::Object(members) => Ok(members),
            _ => Err(Error::Unexpected { message: "metadata", expected: "an object" }),
        }
    }

    /// Asks for a text. `None` when nobody can be asked and the question has no default.
    ///
    /// # Errors
    /// As [`Plugin`] says.
    pub fn prompt(&mut self, question: impl Into<Prompt>) -> Result<Option<String>, Error> {
        let answer = self.ask("prompt", question.into())?;
        text_or_null("prompt", answer)
    }

    /// Asks for yes or no. `None` when nobody can be asked and the question has no default.
    ///
    /// # Errors
    /// As [`Plugin`] says.
    pub fn confirm(&mut self, question: impl Into<Confirm>) -> Result<Option<bool>, Error> {
        match self.ask("confirm", question.into())? {
            Value::Null => Ok(None),
            Value::Bool(yes) => Ok(Some(yes)),
            _ => Err(Error::Unexpected { message: "confirm", expected: "a boolean or null" }),
        }
    }

    /// Asks for one of some options. `None` when nobody can be asked and there is no default.
    ///
    /// # Errors
    /// As [`Plugin`] says.
    pub fn select(&mut self, question: Select) -> Result<Option<String>, Error> {
        let answer = self.ask("select", question)?;
        text_or_null("select", answer)
    }

    /// Asks for any number of some options. `None` when nobody can be asked and there are no
    /// defaults.
    ///
    /// # Errors
    /// As [`Plugin`] says.
    pub fn multi_select(&mut self, question: MultiSelect) -> Result<Option<Vec<String>>, Error> {
        match self.ask("multi_select", question)? {
            Value::Null => Ok(None),
            answer => texts(answer).map(Some).ok_or(Error::Unexpected {
                message: "multi_select",
                expected: "an array of strings or null",
            }),
        }
    }

    /// Makes a request to the network. Needs `network`. Airlock's addition: fledge has no
    /// such message.
    ///
    /// # Errors
    /// [`Error::Http`] with the host's reason when there is no response, also when the
    /// request was denied; else as [`Plugin`] says. A status code such as 404 is none.
    pub fn http(&mut self, request: impl Into<Request>) -> Result<Response, Error> {
        let answer = self.ask("http", request.into())?;
        Response::read(answer)
    }

    /// Sends what is not answered.
    fn tell(&mut self, kind: &'static str, body: impl Serialize) -> Result<(), Error> {
        self.send(Message { kind, id: None, body })
    }

    /// Sends what is answered, and gives the answer's value.
    fn ask(&mut self, kind: &'static str, body: impl Serialize) -> Result<Value, Error> {
        self.requests += 1;
        let id = self.requests.to_string();
        self.send(Message { kind, id: Some(&id), body })?;
        self.answer(kind, id)
    }

    fn send(&mut self, message: Message<'_, impl Serialize>) -> Result<(), Error> {
        let message = serde_json::to_vec(&message)?;
        Ok(self.transport.send(&message)?)
    }

    /// The value of the next answer, which has to be to this request.
    fn answer(&mut self, kind: &'static str, id: String) -> Result<Value, Error> {
        loop {
            let message = self.lines.next(&mut self.transport)?.ok_or(Error::NoAnswer(kind))?;
            let message = serde_json::from_slice(message)?;
            let unexpected = Error::Unexpected { message: kind, expected: "an object" };
            let mut fields = Fields::of(message).ok_or(unexpected)?;
            // A host that knows more types of messages may send them at any time.
            if fields.text("type").as_deref() != Some("response") {
                continue;
            }
            let found = fields.take("id");
            if found.as_str() != Some(&id) {
                return Err(Error::WrongId { expected: id, found: found.to_string() });
            }
            return Ok(fields.take("value"));
        }
    }
}

fn text_or_null(message: &'static str, answer: Value) -> Result<Option<String>, Error> {
    match answer {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(Error::Unexpected { message, expected: "a string or null" }),
    }
}
