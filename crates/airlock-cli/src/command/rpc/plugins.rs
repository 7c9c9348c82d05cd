//! What can be asked of plugins.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use airlock_host::manager::{Managed, Manager};
use airlock_host::testing::{FakeData, Observed, TestPlugin};
use airlock_host::{
    AbiId, CallOptions, Cancel, Capability, Digest, Error, ErrorKind, Input, LimitKind, LoadOptions, Outcome,
    Overrides, Program, ProgramInput, StdinSource, Unit, Usage,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::wire;
use crate::command::Session;

/// A plugin to be loaded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    path: PathBuf,
    name: Option<String>,
    abi: Option<String>,
    #[serde(default)]
    wat: bool,
    allow: Option<Vec<String>>,
    #[serde(default)]
    deny: Vec<String>,
    allow_all_requested: Option<bool>,
    #[serde(default)]
    limits: BTreeMap<String, Limit>,
    keep_state: Option<bool>,
    #[serde(default)]
    deterministic: bool,
    fakes: Option<FakeData>,
}

/// A limit's value: a number, or a text as for its flag.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a limit is a number or a text such as `64MiB` or `5s`")]
enum Limit {
    Number(u64),
    Text(String),
}

/// A function to be called.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) plugin: String,
    function: String,
    input: Option<Box<RawValue>>,
    timeout: Option<String>,
}

/// A program to be run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    pub(super) plugin: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
    /// Whether `stdin` is bytes in that form, and what comes out of it is to be.
    #[serde(default)]
    base64: bool,
    timeout: Option<String>,
}

/// Something about a plugin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    pub(super) plugin: String,
}

/// What a loaded plugin is.
#[derive(Debug, Serialize)]
pub(super) struct Description {
    plugin: String,
    name: String,
    version: Option<String>,
    digest: Digest,
    abi: AbiId,
    functions: Vec<String>,
    is_program: bool,
    keeps_state: bool,
    fakes: bool,
    requests: Vec<String>,
    granted: Vec<String>,
    warnings: Vec<String>,
}

/// What a call came to.
#[derive(Debug, Serialize)]
pub(super) struct Called {
    output: Box<RawValue>,
    log: String,
    usage: Usage,
}

/// What a program came to.
#[derive(Debug, Serialize)]
pub(super) struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
    log: String,
    usage: Usage,
}

/// A plugin that was loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    managed: Managed,
    home: Home,
}

/// Where it lives, and what it reaches.
#[derive(Debug)]
enum Home {
    Real(Manager),
    Fakes(TestPlugin),
}

impl Load {
    /// Loads it.
    pub(super) fn load(mut self, session: &Session, id: &str) -> Result<(Loaded, Description), Error> {
        let fakes = self.fakes.take();
        let allowed = read(self.allow.as_deref().unwrap_or_default())?;
        let limits = self.limits()?;
        let options = self.options(&allowed, &limits, fakes.is_some())?;
        let loaded = match fakes {
            Some(data) => {
                let (source, options) = session.locate(&self.path, options)?;
                let host = session.compiled_by(session.config.host(&limits).on_demand(), false)?;
                // What is allowed is said by the options.
                let builder = TestPlugin::builder().options(options).host(host).fake(data).allow_nothing();
                let test = builder.load(source)?;
                Loaded { managed: test.managed().clone(), home: Home::Fakes(test) }
            }
            None => {
                // Nobody is asked: whoever is at the other end sends lines.
                let builder = session.config.host(&limits).on_demand();
                let builder = session.recording(session.approving(builder, session.approval()?)?)?;
                let (host, plugin, _) = session.load_as(&self.path, options, false, builder)?;
                let manager = Manager::new(host);
                Loaded { managed: manager.insert(plugin.name(), &plugin)?, home: Home::Real(manager) }
            }
        };
        let plugin = loaded.managed.plugin();
        let manifest = plugin.manifest();
        let description = Description {
            plugin: id.to_owned(),
            name: plugin.name().to_owned(),
            version: manifest.and_then(|manifest| manifest.version.clone()),
            digest: plugin.digest(),
            abi: plugin.abi(),
            functions: plugin.functions().to_vec(),
            is_program: plugin.abi().is_program(),
            keeps_state: plugin.keeps_state(),
            fakes: matches!(loaded.home, Home::Fakes(_)),
            requests: plugin.requests().iter().map(|request| request.capability.to_string()).collect(),
            granted: plugin.policy().allowed().map(Capability::to_string).collect(),
            warnings: crate::command::warnings(&plugin, "allow", &allowed),
        };
        Ok((loaded, description))
    }

    fn limits(&self) -> Result<Overrides, Error> {
        let limits = self.limits.iter().map(|(name, value)| {
            let kind: LimitKind = name.parse()?;
            match value {
                Limit::Text(text) => Ok((kind, kind.read(text)?)),
                // A time without its unit could be any.
                Limit::Number(number) if kind.row().unit == Unit::Time => {
                    kind.read(&number.to_string()).map(|value| (kind, value))
                }
                Limit::Number(number) => Ok((kind, *number)),
            }
        });
        limits.collect()
    }

    fn options(&self, allowed: &[Capability], limits: &Overrides, fakes: bool) -> Result<LoadOptions, Error> {
        let options = LoadOptions::new().wat(self.wat).limits(limits).deterministic(self.deterministic);
        let mut options = allowed.iter().cloned().fold(options, LoadOptions::allow);
        options = read(&self.deny)?.into_iter().fold(options, LoadOptions::deny);
        // Among fakes it can be had for nothing.
        if self.allow_all_requested.unwrap_or(fakes && self.allow.is_none()) {
            options = options.allow_all_requested();
        }
        if let Some(abi) = &self.abi {
            options = options.abi(abi.parse()?);
        }
        if let Some(name) = &self.name {
            options = options.name(name);
        }
        if let Some(keep) = self.keep_state {
            options = options.keep_state(keep);
        }
        Ok(options)
    }
}

fn read(capabilities: &[String]) -> Result<Vec<Capability>, Error> {
    capabilities.iter().map(|text| text.parse()).collect()
}

/// How a call is made that `cancel` ends.
fn call_options(cancel: &Cancel, timeout: Option<&str>) -> Result<CallOptions, Error> {
    let options = CallOptions::new().cancel(cancel);
    Ok(match timeout {
        Some(text) => options.timeout(Duration::from_nanos(LimitKind::Timeout.read(text)?)),
        None => options,
    })
}

impl Call {
    pub(super) fn call(self, loaded: &Loaded, cancel: &Cancel) -> Result<Called, Error> {
        let options = call_options(cancel, self.timeout.as_deref())?;
        let input = match self.input {
            Some(input) => Input::Raw(input.to_owned()),
            None => Input::Words(Vec::new()),
        };
        let Outcome { value, usage, log, .. } =
            loaded.managed.invoke_blocking_with(&self.function, input, &options)?;
        Ok(Called { output: wire::raw(value.to_json_text())?, log: lossy(&log), usage })
    }
}

impl Run {
    pub(super) fn run(self, loaded: &Loaded, cancel: &Cancel) -> Result<Ran, Error> {
        let options = call_options(cancel, self.timeout.as_deref())?;
        let stdin = match self.base64 {
            true => STANDARD.decode(self.stdin).map_err(|error| {
                let reason = format!("it is no base64: {error}");
                Error::new(ErrorKind::InvalidSetting { name: "stdin".to_owned(), reason })
            })?,
            false => self.stdin.into_bytes(),
        };
        let input = ProgramInput::new().args(self.args).stdin(StdinSource::bytes(stdin));
        let Outcome { value, usage, log, .. } = loaded.managed.run_blocking_with(input, &options)?;
        let Program { code, stdout, stderr, .. } = value;
        let shown = |bytes: &[u8]| if self.base64 { STANDARD.encode(bytes) } else { lossy(bytes) };
        Ok(Ran { code, stdout: shown(&stdout), stderr: shown(&stderr), log: lossy(&log), usage })
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Loaded {
    /// What its fakes were asked.
    pub(super) fn observed(&self) -> Result<Observed, Error> {
        match &self.home {
            Home::Fakes(test) => Ok(test.observed()),
            Home::Real(_) => {
                let name = format!("plugin {}", self.managed.name());
                let reason = "it has no fakes that could have been asked anything".to_owned();
                Err(Error::new(ErrorKind::InvalidSetting { name, reason })
                    .with_hint("`load` with `fakes` gives it some"))
            }
        }
    }

    /// Cuts its calls, and has it clean up where it keeps state.
    pub(super) fn unload(&self) -> Result<(), Error> {
        match &self.home {
            Home::Fakes(test) => test.close(),
            Home::Real(manager) => manager.unload_blocking(self.managed.name()),
        }
    }
}

/// That no plugin has this name here.
pub(super) fn not_loaded<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let nearest = airlock_host::nearest(name, known);
    Error::new(ErrorKind::NotLoaded { name: name.to_owned(), nearest })
}
