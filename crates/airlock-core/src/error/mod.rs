//! One error type for every layer: who is at fault, what happened, what to do.
//!
//! An [`Error`] is a [`ErrorKind`] to match on, a cause chain through
//! [`std::error::Error::source`], and a hint. Its message is one line, lower case, with
//! values in backticks; text that came from a guest or a file is made visible first
//! ([`crate::visible`]), so an error may be printed to a terminal as it is.

mod words;

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{AbiId, Capability, Digest, LimitKind, MailCode, MailError};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to change something so that it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Culprit {
    /// The plugin: its bytes, its manifest or what it did when called.
    Guest,
    /// Nobody did wrong: a capability was not granted.
    Policy,
    /// Whoever called: a wrong name, input, flag, limit or file.
    Operator,
    /// Airlock itself or the machine under it.
    Host,
}

/// The steps of a plugin's journey that have limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Phase {
    /// Parsing and checking the bytes.
    Admit,
    /// Turning the bytes into native code.
    Compile,
    /// Waiting for a free slot.
    Wait,
    /// Creating the instance, its start function included.
    Instantiate,
    /// Running `_initialize`, constructors or an ABI's own initialiser.
    Initialise,
    /// Running the called function.
    Call,
    /// Having a session's instance clean up.
    Stop,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Admit => "while checking the artifact",
            Phase::Compile => "while compiling",
            Phase::Wait => "while waiting for a slot",
            Phase::Instantiate => "while instantiating",
            Phase::Initialise => "while initialising",
            Phase::Call => "while running",
            Phase::Stop => "while cleaning up",
        })
    }
}

/// A place in a text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column, in bytes as the parser counts them.
    pub column: usize,
}

impl Location {
    /// The place and the reason of a JSON error, which serde_json gives as one sentence.
    pub fn of_json(error: &serde_json::Error) -> (Option<Location>, String) {
        let sentence = error.to_string();
        let (line, column) = (error.line(), error.column());
        if line == 0 {
            return (None, sentence);
        }
        let place = format!(" at line {line} column {column}");
        let reason = sentence.strip_suffix(&place).unwrap_or(&sentence).to_owned();
        // A fault at a line's beginning, such as the end of a text, has column 0.
        (Some(Location { line, column: column.max(1) }), reason)
    }
}

/// What a guest trapped on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TrapKind {
    /// An `unreachable` instruction: an assertion, a panic, or an `abort` of its language.
    Unreachable,
    /// The guest told its host to end it (`env.abort`).
    Aborted,
    /// An access outside of linear memory.
    MemoryOutOfBounds,
    /// An access outside of a table.
    TableOutOfBounds,
    /// A call through a table's empty element.
    IndirectCallToNull,
    /// A call through a table of a function of another type.
    BadSignature,
    /// A division whose result is no number of its size.
    IntegerOverflow,
    /// A division by zero.
    IntegerDivisionByZero,
    /// A float that is no integer of the size it is made into.
    BadConversionToInteger,
    /// Another one.
    Other,
}

/// One frame of a guest's backtrace.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TrapFrame {
    /// The function's demangled name, or its index when it has none.
    pub function: String,
    /// `file:line:column`, when the module carries DWARF; a column of 0 is one that is not known.
    pub source: Option<String>,
    /// The file of that, as whoever compiled the module named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of that, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column of that, counted from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// What went wrong. Each variant has one [`Error::code`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such plugin file or folder.
    PluginNotFound(PathBuf),
    /// A file exists but cannot be read.
    Unreadable(PathBuf),
    /// A folder holds no manifest that Airlock knows.
    NoManifest(PathBuf),
    /// A manifest is not what its format says.
    InvalidManifest {
        /// The manifest's file name.
        file: String,
        /// Where, when the parser says.
        at: Option<Location>,
        /// What is wrong.
        reason: String,
    },
    /// A name of a flag's value, ABI, limit or capability that does not exist.
    UnknownName {
        /// What kind of name it is.
        what: &'static str,
        /// The name as given.
        name: String,
        /// Names that exist and are near.
        nearest: Vec<String>,
    },
    /// A value of a flag or setting that cannot be read.
    InvalidSetting {
        /// The flag or key.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The plugin has no such function.
    UnknownFunction {
        /// The plugin's name.
        plugin: String,
        /// The function as asked for.
        function: String,
        /// Functions it has that are near, or some of those it has.
        nearest: Vec<String>,
    },
    /// An export with that name exists but cannot be called this way.
    UnsuitableExport {
        /// The export's name.
        export: String,
        /// Why not.
        reason: String,
    },
    /// Input that is not the JSON it should be.
    InvalidInput {
        /// Where.
        at: Option<Location>,
        /// What is wrong.
        reason: String,
    },
    /// An argument that is not of the function's type.
    InvalidArgument {
        /// The argument as given.
        given: String,
        /// The type that was expected.
        expected: String,
    },
    /// Something in an argument that is not of the type that it has there.
    InvalidValue {
        /// Where, from the name of the parameter on: `.items[2].name`.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Too few or too many arguments.
    WrongArgumentCount {
        /// The function.
        function: String,
        /// Its signature.
        signature: String,
        /// How many were given.
        given: usize,
    },
    /// The plugin's ABI does not do what was asked of it.
    WrongVerb {
        /// The plugin's ABI.
        abi: AbiId,
        /// What was asked.
        asked: &'static str,
    },
    /// Several ABIs fit and nothing decides.
    AmbiguousAbi(Vec<AbiId>),
    /// The chosen ABI does not fit the module.
    AbiMismatch {
        /// The ABI.
        abi: AbiId,
        /// What it misses.
        reason: String,
    },
    /// A wasm file is another than its manifest says.
    HashMismatch {
        /// The digest in the manifest, as written.
        expected: String,
        /// The file's.
        found: Digest,
    },
    /// A plugin is written for a version of its ABI that is not spoken.
    ApiVersion {
        /// The ABI.
        abi: AbiId,
        /// The plugin's version.
        found: u32,
        /// Those that are spoken.
        known: &'static [u32],
    },
    /// The bytes are no WebAssembly.
    NotWasm {
        /// What they look like.
        found: String,
    },
    /// WebAssembly text where it was not asked for.
    WatNotAsked,
    /// WebAssembly text that does not parse.
    InvalidWat(String),
    /// WebAssembly that is cut short or does not validate.
    InvalidWasm {
        /// Byte offset of the fault.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A module that says which component it is to be made, and is not of that component's world.
    InvalidWorld(String),
    /// A component that is no program of WASI preview 2 and has no function that can be called.
    ComponentUnsupported,
    /// A WebAssembly feature that is off unless allowed.
    FeatureOff(String),
    /// An import nobody provides.
    UnknownImport {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// Whose import it is, when known.
        belongs_to: Option<String>,
    },
    /// An import that exists with another type.
    IncompatibleImport {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// What differs.
        reason: String,
    },
    /// A limit other than time was hit.
    Limit {
        /// Which.
        limit: LimitKind,
        /// Its value, in the limit's unit.
        maximum: u64,
        /// What was asked for, when known, in the same unit.
        asked: Option<u64>,
        /// When.
        phase: Phase,
    },
    /// The deadline passed.
    Deadline {
        /// The time allowed.
        timeout: Duration,
        /// When.
        phase: Phase,
    },
    /// The call was cut off by a cancel or a shutdown.
    Cancelled {
        /// When.
        phase: Phase,
    },
    /// The guest trapped.
    Trap {
        /// Which trap it was.
        trap: TrapKind,
        /// What the trap was in words, such as `unreachable` or a panic's message.
        reason: String,
        /// The guest's backtrace, innermost first, bounded in length.
        frames: Vec<TrapFrame>,
        /// When.
        phase: Phase,
    },
    /// The plugin itself reported a failure.
    Failed(String),
    /// The guest broke its ABI's rules: a pointer outside its memory, a result that is
    /// no JSON, an allocator that gives nothing.
    BadGuest {
        /// The function that was running.
        function: String,
        /// Which rule.
        reason: String,
    },
    /// A function of the application that a guest called failed or panicked.
    HostFunction {
        /// The function, as `module.name`.
        function: String,
        /// What it failed with.
        reason: String,
    },
    /// A capability is needed and was not granted.
    Denied(Capability),
    /// A granted capability leads to nothing that could be used, and has to.
    Unusable {
        /// Which.
        capability: Capability,
        /// Why it does not.
        reason: String,
    },
    /// The host is shutting down and takes no more calls.
    ShuttingDown,
    /// A blocking call of a plugin whose imports wait, from inside a tokio runtime.
    BlockingInRuntime,
    /// A session that ended, with what ended it.
    SessionEnded(String),
    /// A plugin that a call has ended, and that is not started again, or not yet.
    Crashed {
        /// Its name.
        plugin: String,
        /// What ended it.
        reason: String,
        /// How long it is left alone from now on; none where somebody has to restart it.
        rest: Option<Duration>,
    },
    /// Other bytes of a plugin that ask for more than those that run.
    Escalation {
        /// Its name.
        plugin: String,
        /// What they ask for beyond that.
        more: Vec<Capability>,
    },
    /// The folder of the compile cache, or its key, cannot be trusted or used.
    CacheUnusable {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A folder or file of Airlock's own that others can write to.
    StateUntrusted {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file of Airlock's own that is damaged or cannot be used.
    StateUnusable {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A source that cannot be installed.
    NotInstallable {
        /// Which.
        source: String,
        /// Why not.
        reason: String,
    },
    /// There is no installed plugin of this name.
    NotInstalled {
        /// The name as asked for.
        name: String,
        /// Names that exist and are near.
        nearest: Vec<String>,
    },
    /// A plugin of this name is installed already.
    AlreadyInstalled(String),
    /// A word of the command line that two plugins want.
    CommandTaken {
        /// The word.
        command: String,
        /// Who has it.
        holder: String,
        /// Who wants it too.
        plugin: String,
    },
    /// A name that a loaded plugin has already.
    NameTaken {
        /// The name.
        name: String,
        /// Who has it: the plugin's own name and the beginning of its digest; none while it is
        /// being loaded.
        holder: Option<String>,
        /// Who wants it too: where that comes from.
        plugin: String,
    },
    /// A call of a plugin that keeps state from inside of a call of it, for which it would have
    /// to wait.
    Reentered(String),
    /// There is no loaded plugin of this name.
    NotLoaded {
        /// The name as asked for.
        name: String,
        /// Names that exist and are near.
        nearest: Vec<String>,
    },
    /// The audit log does not say what was once written to it.
    AuditBroken {
        /// The first record that does not follow from the one before it.
        seq: u64,
        /// What is wrong.
        reason: String,
    },
    /// A file of test cases is not what its format says.
    InvalidCases {
        /// The file.
        file: PathBuf,
        /// Where, when it is known.
        at: Option<Location>,
        /// What is wrong.
        reason: String,
    },
    /// There is no test case to be run.
    NoCases(String),
    /// A program that builds plugins is needed, and is not here or cannot be used.
    ToolMissing {
        /// The program, or what of it is missing.
        tool: String,
        /// Why it cannot be used; none where it is not here.
        reason: Option<String>,
    },
    /// A plugin could not be built.
    NotBuilt(String),
    /// The mailbox did not do what it was asked.
    Mail(MailError),
    /// Somebody was asked and did not agree.
    Declined(String),
    /// The machine or Airlock itself failed.
    Host(String),
}

/// What a guest had written before its call failed. May hold any bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printed {
    /// Standard output, when that is the answer; a program's.
    pub stdout: Vec<u8>,
    /// Standard error and the log.
    pub stderr: Vec<u8>,
}

struct Inner {
    kind: ErrorKind,
    hint: Option<String>,
    printed: Option<Printed>,
    output: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// An error with its culprit, code, cause and hint.
pub struct Error(Box<Inner>);

impl Error {
    /// An error of this kind, with the kind's own hint where it has one.
    pub fn new(kind: ErrorKind) -> Self {
        Error(Box::new(Inner { hint: words::hint(&kind), kind, printed: None, output: None, source: None }))
    }

    /// A failure of the host itself.
    pub fn host(what: impl Into<String>) -> Self {
        Error::new(ErrorKind::Host(what.into()))
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with what the guest had written before it.
    #[must_use]
    pub fn with_printed(mut self, printed: Printed) -> Self {
        self.0.printed = Some(printed);
        self
    }

    /// The same error with what the guest answered beside saying that it failed.
    #[must_use]
    pub fn with_output(mut self, output: impl Into<String>) -> Self {
        self.0.output = Some(output.into());
        self
    }

    /// The same error with this hint instead of its own.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// What went wrong, to match on.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// What to do about it, one line.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What the guest had written before its call failed, when it had written anything.
    pub fn printed(&self) -> Option<&Printed> {
        self.0.printed.as_ref()
    }

    /// What the guest answered beside saying that it failed, as text; may hold anything. PRX's tools do.
    pub fn output(&self) -> Option<&str> {
        self.0.output.as_deref()
    }

    /// Who has to change something.
    pub fn culprit(&self) -> Culprit {
        self.facts().1
    }

    /// The stable name of this kind of error, kebab-case.
    pub fn code(&self) -> &'static str {
        self.facts().0
    }

    /// The exit code of the command for this error: 1 a failure the plugin reported,
    /// 2 usage, 122 trap or broken ABI, 123 a limit other than time, 124 deadline,
    /// 125 operator or host, 126 denied, 127 plugin or function not found.
    pub fn exit_code(&self) -> u8 {
        self.facts().2
    }

    fn facts(&self) -> (&'static str, Culprit, u8) {
        use Culprit::{Guest, Host, Operator, Policy};
        match &self.0.kind {
            ErrorKind::PluginNotFound(_) => ("plugin-not-found", Operator, 127),
            ErrorKind::Unreadable(_) => ("unreadable", Operator, 125),
            ErrorKind::NoManifest(_) => ("no-manifest", Operator, 127),
            ErrorKind::InvalidManifest { .. } => ("invalid-manifest", Guest, 125),
            ErrorKind::UnknownName { .. } => ("unknown-name", Operator, 2),
            ErrorKind::InvalidSetting { .. } => ("invalid-setting", Operator, 2),
            ErrorKind::UnknownFunction { .. } => ("unknown-function", Operator, 127),
            ErrorKind::UnsuitableExport { .. } => ("unsuitable-export", Guest, 125),
            ErrorKind::InvalidInput { .. } => ("invalid-input", Operator, 2),
            ErrorKind::InvalidArgument { .. } => ("invalid-argument", Operator, 2),
            ErrorKind::InvalidValue { .. } => ("invalid-value", Operator, 2),
            ErrorKind::WrongArgumentCount { .. } => ("wrong-argument-count", Operator, 2),
            ErrorKind::WrongVerb { .. } => ("wrong-verb", Operator, 2),
            ErrorKind::AmbiguousAbi(_) => ("ambiguous-abi", Operator, 2),
            ErrorKind::AbiMismatch { .. } => ("abi-mismatch", Guest, 125),
            ErrorKind::HashMismatch { .. } => ("hash-mismatch", Guest, 125),
            ErrorKind::ApiVersion { .. } => ("api-version", Guest, 125),
            ErrorKind::NotWasm { .. } => ("not-wasm", Guest, 125),
            ErrorKind::WatNotAsked => ("wat-not-asked", Operator, 2),
            ErrorKind::InvalidWat(_) => ("invalid-wat", Guest, 125),
            ErrorKind::InvalidWasm { .. } => ("invalid-wasm", Guest, 125),
            ErrorKind::InvalidWorld(_) => ("invalid-world", Guest, 125),
            ErrorKind::ComponentUnsupported => ("component-unsupported", Operator, 125),
            ErrorKind::FeatureOff(_) => ("feature-off", Guest, 125),
            ErrorKind::UnknownImport { .. } => ("unknown-import", Guest, 125),
            ErrorKind::IncompatibleImport { .. } => ("incompatible-import", Guest, 125),
            ErrorKind::Limit { limit: limit @ (LimitKind::Wait | LimitKind::Queue), .. } => {
                (limit.code(), Operator, 123)
            }
            ErrorKind::Limit { limit, .. } => (limit.code(), Guest, 123),
            ErrorKind::Deadline { .. } => ("deadline", Guest, 124),
            ErrorKind::Cancelled { .. } => ("cancelled", Operator, 125),
            ErrorKind::Trap { .. } => ("trap", Guest, 122),
            ErrorKind::Failed(_) => ("failed", Guest, 1),
            ErrorKind::BadGuest { .. } => ("bad-guest", Guest, 122),
            ErrorKind::HostFunction { .. } => ("host-function", Host, 125),
            ErrorKind::Denied(_) => ("denied", Policy, 126),
            ErrorKind::Unusable { .. } => ("unusable", Operator, 125),
            ErrorKind::ShuttingDown => ("shutting-down", Operator, 125),
            ErrorKind::BlockingInRuntime => ("blocking-in-runtime", Operator, 125),
            ErrorKind::SessionEnded(_) => ("session-ended", Operator, 125),
            ErrorKind::Crashed { .. } => ("crashed", Guest, 122),
            ErrorKind::Escalation { .. } => ("escalation", Policy, 126),
            ErrorKind::CacheUnusable { .. } => ("cache-unusable", Operator, 125),
            ErrorKind::StateUntrusted { .. } => ("state-untrusted", Operator, 125),
            ErrorKind::StateUnusable { .. } => ("state-unusable", Operator, 125),
            ErrorKind::NotInstallable { .. } => ("not-installable", Guest, 125),
            ErrorKind::NotInstalled { .. } => ("not-installed", Operator, 127),
            ErrorKind::AlreadyInstalled(_) => ("already-installed", Operator, 125),
            ErrorKind::CommandTaken { .. } => ("command-taken", Operator, 125),
            ErrorKind::NameTaken { .. } => ("name-taken", Operator, 125),
            ErrorKind::Reentered(_) => ("reentered", Operator, 125),
            ErrorKind::NotLoaded { .. } => ("not-loaded", Operator, 127),
            ErrorKind::AuditBroken { .. } => ("audit-broken", Operator, 125),
            ErrorKind::InvalidCases { .. } => ("invalid-cases", Operator, 2),
            ErrorKind::NoCases(_) => ("no-cases", Operator, 1),
            ErrorKind::ToolMissing { .. } => ("tool-missing", Operator, 125),
            ErrorKind::NotBuilt(_) => ("not-built", Guest, 1),
            ErrorKind::Mail(error) => match error.code() {
                MailCode::Validation => (error.code().kebab(), Operator, 2),
                MailCode::NetworkGuard | MailCode::FeatureDisabled => (error.code().kebab(), Policy, 126),
                _ => (error.code().kebab(), Host, 125),
            },
            ErrorKind::Declined(_) => ("declined", Operator, 126),
            ErrorKind::Host(_) => ("host", Host, 125),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code())
            .field("culprit", &self.culprit())
            .field("kind", &self.0.kind)
            .field("hint", &self.0.hint)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::{Culprit, Error, ErrorKind, Location, Phase};
    use crate::LimitKind;

    #[test]
    fn a_limit_names_itself_its_value_and_its_flag() {
        let error = Error::new(ErrorKind::Limit {
            limit: LimitKind::Memory,
            maximum: 1 << 20,
            asked: Some(3 << 20),
            phase: Phase::Call,
        });
        assert_eq!(error.to_string(), "limit `memory` of 1.0 MiB hit while running: 3.0 MiB asked for");
        assert_eq!(error.hint(), Some("`--memory VALUE` changes it"));
        assert_eq!((error.code(), error.culprit(), error.exit_code()), ("limit-memory", Culprit::Guest, 123));
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor() {
        let error = Error::new(ErrorKind::InvalidManifest {
            file: "x\x1b[2J.json".into(),
            at: Some(Location { line: 3, column: 7 }),
            reason: "bad\nnews".into(),
        });
        assert_eq!(
            error.to_string(),
            "manifest `x\\x1b[2J.json` is not valid: bad\\nnews (line 3, column 7)"
        );
    }
    #[test]
    fn a_place_in_json_is_the_parsers_and_not_the_texts() {
        let of = |text: &str| {
            Location::of_json(&serde_json::from_str::<u8>(text).expect_err("it is no number of eight bits"))
        };
        let (at, reason) = of("\n\" at line 7 column 7\"");
        assert_eq!(at, Some(Location { line: 2, column: 21 }));
        assert_eq!(reason, "invalid type: string \" at line 7 column 7\", expected u8");
        assert_eq!(of("\n").0, Some(Location { line: 2, column: 1 }), "both are counted from 1");
    }
}
