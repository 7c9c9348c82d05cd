//! What its plugins ask for, done under what was granted to them.
//!
//! What was not granted, and what went wrong, is answered in each message's own terms: a plugin goes
//! on without it. Only that the call is over, or a limit of the whole call, ends it.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use airlock_core::{
    CapabilityKind, Ended, HttpRequest, KvChange, LogLevel, Need, Policy, ProgramRun, Scope, ServiceError,
    Stream, visible,
};
use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::super::{Fetched, fetch};
use super::message::{Command, Fetch, Message, Pair, Request};
use crate::console::{Question, Reply, Shown};
use crate::service::exec;
use crate::store::CallState;
use crate::wasi;

/// The version of fledge whose protocol is spoken.
const FLEDGE: &str = "1.8.0";

/// Bytes and number of what fledge keeps for a plugin.
const KEY: usize = 256;
const VALUE: usize = 64 << 10;
const KEYS: usize = 256;

/// How long a command may take where it does not say, and at most.
const COMMAND_TIME: u64 = 30;
const LONGEST_COMMAND: u64 = 300;

/// What a command comes to that was not run, as shells have it.
const DENIED: i32 = 126;
const NOT_FOUND: i32 = 127;
const TIMED_OUT: i32 = 124;
const FAILED: i32 = 1;

/// Enters a folder and does there what a line says: both are words to it and never part of it.
const IN_FOLDER: &str = r#"cd -- "$1" && eval "$2""#;

/// Does what one message wants; what it is answered with.
pub(super) async fn perform(
    state: &mut CallState,
    message: Message<'_>,
) -> wasmtime::Result<Option<Vec<u8>>> {
    match message {
        Message::Output(text) => state.show(Shown::Output(text.as_bytes()))?,
        Message::Log { level, message } => log(state, &level, &message)?,
        Message::Progress(step) => state.show(Shown::Progress(step.shown()))?,
        Message::Store(pair) => match store(state, &pair).await {
            Ok(()) => {}
            Err(ServiceError::Denied(_)) => not_kept(state)?,
            Err(error) => {
                state.tell("send", &error)?;
                state.show(Shown::Warning(&format!("not kept: {error}")))?;
            }
        },
        Message::Request { id, request } => {
            let value = match request {
                Request::Load(key) => load(state, &key).await?,
                Request::Exec(command) => run(state, command).await?,
                Request::Metadata(keys) => facts(state, &keys).await?,
                Request::Http(fetch) => http(state, fetch).await?,
                Request::Ask(question) => ask(state, &question).await?,
            };
            let mut response = serde_json::to_vec(&Response { r#type: "response", id, value })
                .map_err(|error| wasmtime::Error::msg(error.to_string()))?;
            // What ends it, for who receives in pieces.
            response.push(b'\n');
            return Ok(Some(response));
        }
    }
    Ok(None)
}

#[derive(serde::Serialize)]
struct Response {
    r#type: &'static str,
    id: super::message::Id,
    value: Value,
}

/// To the program's own log, and where the plugin may write there to the host's.
fn log(state: &mut CallState, level: &str, message: &str) -> wasmtime::Result<()> {
    let known = match level {
        "debug" => Some(LogLevel::Debug),
        "info" => Some(LogLevel::Info),
        "warn" => Some(LogLevel::Warn),
        "error" => Some(LogLevel::Error),
        _ => None,
    };
    let need = Need::Kind(CapabilityKind::Log);
    if let Some(known) = known
        && state.plugin.standing().policy().meets(need)
        && let Ok(permit) = state.permit(need)
    {
        state.services().log.log(&permit, known, message);
    }
    state.show(Shown::Log { level, message })
}

/// Says that what a plugin wants kept is not, the first time.
pub(super) fn not_kept(state: &mut CallState) -> wasmtime::Result<()> {
    let dialogue = state.dialogue.get_or_insert_default();
    match std::mem::replace(&mut dialogue.knows_not_kept, true) {
        true => Ok(()),
        false => state.show(Shown::Warning("`store` is not granted: what it wants kept is not")),
    }
}

/// Keeps a value under a key.
pub(super) async fn store(state: &mut CallState, pair: &Pair) -> Result<(), ServiceError> {
    let Pair { key, value } = pair;
    check_key(key)?;
    if value.len() > VALUE {
        return Err(ServiceError::Invalid(format!("a value has at most {VALUE} bytes")));
    }
    let permit = state.permit(Need::Kind(CapabilityKind::Kv))?;
    let kv = state.services().kv.clone();
    if kv.get(&permit, key).await?.is_none() {
        let keys = kv.keys(&permit, "", None, KEYS).await?;
        if keys.len() >= KEYS {
            return Err(ServiceError::Invalid(format!("there are {KEYS} keys, which is as many as may be")));
        }
    }
    kv.apply(&permit, &[KvChange::Set(key, value.as_bytes())]).await.map(|_| ())
}

fn check_key(key: &str) -> Result<(), ServiceError> {
    match (1..=KEY).contains(&key.len()) && !key.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(ServiceError::Invalid(format!("a key has 1 to {KEY} bytes and no control characters"))),
    }
}

/// What is kept under a key: a text, or `null`.
pub(super) async fn load(state: &mut CallState, key: &str) -> wasmtime::Result<Value> {
    let found = match check_key(key).and_then(|()| state.permit(Need::Kind(CapabilityKind::Kv))) {
        Ok(permit) => state.services().kv.clone().get(&permit, key).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(found) => Ok(found.map(|value| String::from_utf8_lossy(&value).into_owned()).into()),
        Err(error) => state.tell("store_get", &error).map(|()| Value::Null),
    }
}

/// Facts of the project, by their keys; none where that is not granted.
pub(super) async fn facts(state: &mut CallState, keys: &[String]) -> wasmtime::Result<Value> {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    project_facts(state, &keys).await.map(|facts| facts.unwrap_or_default().into())
}

async fn project_facts(state: &mut CallState, keys: &[&str]) -> wasmtime::Result<Option<Map<String, Value>>> {
    let found = match state.permit(Need::Kind(CapabilityKind::Metadata)) {
        Ok(permit) => state.services().metadata.clone().facts(&permit, keys).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(facts) => Ok(Some(facts)),
        Err(error) => state.tell("metadata", &error).map(|()| None),
    }
}

/// The first message to a plugin: what it was granted, and no more of where it is run.
pub(super) async fn init(state: &mut CallState) -> wasmtime::Result<Vec<u8>> {
    let policy = state.plugin.standing().policy();
    let granted = |kind| policy.allows_any(kind);
    let project = match granted(CapabilityKind::Metadata) {
        true => project_facts(state, &["project", "language", "git"]).await?.map(|mut facts| {
            let mut project = match facts.remove("project") {
                Some(Value::Object(project)) => project,
                _ => Map::new(),
            };
            for key in ["language", "git"] {
                project.insert(key.to_owned(), facts.remove(key).unwrap_or_default());
            }
            project
        }),
        false => None,
    };
    let mut capabilities = json!({
        "exec": granted(CapabilityKind::Exec),
        "store": granted(CapabilityKind::Kv),
        "metadata": granted(CapabilityKind::Metadata),
    });
    let has_folder = granted(CapabilityKind::FsWrite);
    match (granted(CapabilityKind::FsRead), has_folder) {
        (_, true) => capabilities["filesystem"] = "plugin".into(),
        (true, false) => capabilities["filesystem"] = "project".into(),
        (false, false) => {}
    }
    if granted(CapabilityKind::Net) {
        capabilities["network"] = true.into();
    }
    let manifest = state.plugin.manifest();
    let version = manifest.and_then(|manifest| manifest.version.clone());
    let init = json!({
        "type": "init",
        "protocol": "fledge-v1",
        "args": state.dialogue.as_ref().map(|dialogue| dialogue.args.as_slice()).unwrap_or_default(),
        "project": project,
        "plugin": {
            "name": state.plugin.name(),
            "version": version.unwrap_or_default(),
            // Where it sees the folder, which is nobody's business on the other side.
            "dir": if has_folder { "/plugin" } else { "" },
        },
        "fledge": { "version": FLEDGE },
        "capabilities": capabilities,
    });
    Ok(init.to_string().into_bytes())
}

/// What became of a command.
struct Outcome {
    code: i32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Outcome {
    fn failed(code: i32, stderr: impl Into<String>) -> Self {
        Outcome { code, stdout: Vec::new(), stderr: stderr.into().into_bytes() }
    }

    fn value(&self) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        json!({ "code": self.code, "stderr": text(&self.stderr), "stdout": text(&self.stdout) })
    }
}

/// Runs a line: through the shell where that was granted, else as the program and the words that
/// it is.
pub(super) async fn run(state: &mut CallState, command: Command) -> wasmtime::Result<Value> {
    let seconds = command.timeout.unwrap_or(COMMAND_TIME).min(LONGEST_COMMAND);
    let outcome = match prepared(state, command, seconds) {
        Ok(run) => run_prepared(state, run, seconds).await?,
        Err(outcome) => outcome,
    };
    Ok(outcome.value())
}

fn prepared(state: &CallState, command: Command, seconds: u64) -> Result<ProgramRun, Outcome> {
    let policy = state.plugin.standing().policy();
    let line = command.command;
    let shell = |args: Vec<String>| ProgramRun { program: "sh".to_owned(), args, ..ProgramRun::default() };
    let plain = shell(vec!["-c".to_owned(), line.clone()]);
    if !policy.allows_any(CapabilityKind::Exec) {
        // It is denied, and is told of no folder whether it is there.
        return Ok(plain);
    }
    let asked = command.cwd.as_ref().map(|cwd| policy.working().join(cwd));
    if asked.as_ref().is_some_and(|asked| leads_out(policy.working(), asked)) {
        return Err(escapes());
    }
    let run = match (policy.meets(plain.need()), command.cwd.as_deref()) {
        (true, None) => plain,
        // Who has a shell goes to any folder with it; the service would ask for a grant to read.
        (true, Some(cwd)) => {
            let folder = folder(&policy, cwd)?;
            let words = ["-c", IN_FOLDER, "sh", &folder.to_string_lossy(), &line].map(str::to_owned);
            shell(words.into())
        }
        (false, _) => {
            let words = shell_words::split(&line)
                .map_err(|_| Outcome::failed(FAILED, "a quote in the command is not closed"))?;
            let Some((program, args)) = words.split_first() else {
                return Err(Outcome::failed(0, ""));
            };
            let (program, args) = (program.clone(), args.to_vec());
            let run = ProgramRun { program, args, folder: asked, ..ProgramRun::default() };
            exec::normalised(run, &policy).map_err(|error| Outcome::failed(FAILED, error.to_string()))?
        }
    };
    Ok(ProgramRun {
        env: wasi::granted_variables(&policy).into_iter().collect(),
        timeout: Some(Duration::from_secs(seconds)),
        ..run
    })
}

/// The folder that a shell is to go to: in the project, or in the plugin's own.
fn folder(policy: &Policy, cwd: &str) -> Result<PathBuf, Outcome> {
    let written = policy.of(CapabilityKind::FsWrite).filter_map(|capability| match capability.scope() {
        Scope::Path(path) => path.absolute(),
        _ => None,
    });
    let inside = written.chain([policy.working().to_owned()]);
    match policy.working().join(cwd).canonicalize() {
        Ok(folder) if folder.is_dir() => {
            let holds =
                |inside: PathBuf| inside.canonicalize().is_ok_and(|inside| folder.starts_with(inside));
            if inside.into_iter().any(holds) { Ok(folder) } else { Err(escapes()) }
        }
        _ => {
            let cwd = visible(cwd, false);
            Err(Outcome::failed(FAILED, format!("exec cwd '{cwd}' does not exist or is not accessible")))
        }
    }
}

fn escapes() -> Outcome {
    Outcome::failed(FAILED, "exec cwd escapes project and plugin directory")
}

/// Whether a path is outside of the project by its words. Of such a one nothing is told, not even
/// whether it is there.
fn leads_out(project: &Path, path: &Path) -> bool {
    let mut depth = 0_usize;
    let Ok(rest) = path.strip_prefix(project) else { return true };
    rest.components().any(|part| match part {
        Component::ParentDir => match depth.checked_sub(1) {
            Some(less) => {
                depth = less;
                false
            }
            None => true,
        },
        Component::Normal(_) => {
            depth += 1;
            false
        }
        _ => false,
    })
}

async fn run_prepared(state: &mut CallState, run: ProgramRun, seconds: u64) -> wasmtime::Result<Outcome> {
    let mut outcome = Outcome { code: 0, stdout: Vec::new(), stderr: Vec::new() };
    let Outcome { stdout, stderr, .. } = &mut outcome;
    let mut sink = |stream: Stream, bytes: &[u8]| {
        match stream {
            Stream::Stdout => stdout.extend_from_slice(bytes),
            Stream::Stderr => stderr.extend_from_slice(bytes),
        }
        Ok(())
    };
    let ended = match state.permit(run.need()) {
        Ok(permit) => state.services().exec.clone().run(&permit, &run, &mut sink).await,
        Err(error) => Err(error),
    };
    Ok(match ended {
        Ok(Ended::Exited(code)) => Outcome { code, ..outcome },
        Ok(Ended::TimedOut) => {
            outcome.stderr.extend_from_slice(format!("command timed out after {seconds}s").as_bytes());
            Outcome { code: TIMED_OUT, ..outcome }
        }
        Ok(_) => Outcome { code: FAILED, ..outcome },
        Err(ServiceError::Denied(denied)) if denied.kind() == CapabilityKind::Exec => {
            Outcome::failed(DENIED, "exec capability not granted")
        }
        Err(error @ ServiceError::Denied(_)) => Outcome::failed(DENIED, error.to_string()),
        Err(error @ ServiceError::NotFound(_)) => Outcome::failed(NOT_FOUND, error.to_string()),
        Err(error) => {
            state.tell("exec", &error)?;
            outcome.stderr.extend_from_slice(error.to_string().as_bytes());
            Outcome { code: FAILED, ..outcome }
        }
    })
}

/// Makes a request over the network.
pub(super) async fn http(state: &mut CallState, fetch: Fetch) -> wasmtime::Result<Value> {
    match answered(state, fetch).await {
        Ok(value) => Ok(value),
        Err(error) => {
            state.tell("http", &error)?;
            Ok(json!({ "error": error.to_string(), "code": error.code() }))
        }
    }
}

async fn answered(state: &mut CallState, asked: Fetch) -> Result<Value, ServiceError> {
    let Fetch { method, url, headers, body, timeout } = asked;
    let mut request = HttpRequest::new(method.as_deref().unwrap_or("GET"), &url)?;
    for (name, value) in &headers {
        request = request.header(name, value.as_bytes())?;
    }
    if let Some(body) = body {
        request = request.body(body);
    }
    if let Some(seconds) = timeout {
        request = request.timeout(Duration::from_secs(seconds));
    }
    let Fetched { status, headers, body } = fetch(state, request).await?;
    let mut value = json!({ "status": status, "headers": by_name(headers) });
    match String::from_utf8(body.into()) {
        Ok(text) => value["body"] = text.into(),
        Err(error) => {
            let bytes = error.into_bytes();
            value["body_base64"] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
        }
    }
    Ok(value)
}

/// Headers as an object: a text for each name, and a list of texts for one that is there more than once.
fn by_name(headers: Vec<(String, String)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in headers {
        match object.get_mut(&name) {
            None => drop(object.insert(name, value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    object
}

/// Asks whoever sits there. Where nobody does, the plugin is told what its question says that an
/// empty answer stands for, else `null`.
async fn ask(state: &mut CallState, question: &Question) -> wasmtime::Result<Value> {
    let reply = match state.wasi.audience().cloned() {
        Some(audience) => audience.console.ask(&audience.plugin, question).await,
        None => None,
    };
    state.check_deadline()?;
    if let Some(reply) = reply.filter(|reply| question.accepts(reply)) {
        return Ok(reply_value(question, reply));
    }
    let (message, value) = (visible(question.message(), false).into_owned(), question.default_reply());
    let value = value.map_or(Value::Null, |reply| reply_value(question, reply));
    let rest = match &value {
        Value::Null => "it is told that there is no answer".to_owned(),
        value => format!("it is told its own default, {value}"),
    };
    state.show(Shown::Warning(&format!("asks `{message}`, and nobody can be asked here: {rest}")))?;
    Ok(value)
}

fn reply_value(question: &Question, reply: Reply) -> Value {
    match (reply, question) {
        (Reply::Text(text), _) => text.into(),
        (Reply::Confirmed(truth), _) => truth.into(),
        (Reply::Selected(chosen), Question::Select { options, many, .. }) => {
            let mut chosen = chosen.into_iter().filter_map(|place| options.get(place).cloned());
            match many {
                true => chosen.collect(),
                false => chosen.next().into(),
            }
        }
        (Reply::Selected(_), _) => Value::Null,
    }
}
