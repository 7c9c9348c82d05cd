//! The bounds of every phase, as one table.
//!
//! A row of [`LIMITS`] is a limit's only description: the command's flags, the keys of
//! `airlock.toml`, `--help`, `docs/limits.md` and the errors are all made from it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Error, ErrorKind, nearest};

/// How a limit's number is read and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, written `65536`, `64KiB`, `1.5MB`.
    Bytes,
    /// Nanoseconds, written `250ms`, `5s`, `2m`.
    Time,
    /// A plain count, written `1000` or `10_000`.
    Count,
}

impl Unit {
    /// Shows `value` as a person would write it.
    pub fn show(self, value: u64) -> String {
        match self {
            Unit::Bytes => bytesize::ByteSize::b(value).display().iec().to_string(),
            Unit::Time => humantime::format_duration(Duration::from_nanos(value)).to_string(),
            Unit::Count => value.to_string(),
        }
    }

    /// Reads what a person wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(self, text: &str) -> Result<u64, String> {
        match self {
            Unit::Bytes => text
                .parse::<bytesize::ByteSize>()
                .map(|size| size.as_u64())
                .map_err(|_| format!("`{text}` is no size such as `64MiB`")),
            Unit::Time => humantime::parse_duration(text)
                .ok()
                .and_then(|time| u64::try_from(time.as_nanos()).ok())
                .ok_or_else(|| format!("`{text}` is no time such as `250ms` or `5s`")),
            Unit::Count => text.replace('_', "").parse().map_err(|_| format!("`{text}` is no whole number")),
        }
    }
}

/// One limit. Its number indexes [`LIMITS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is described by its row in LIMITS")]
pub enum LimitKind {
    ArtifactSize,
    Functions,
    FunctionBody,
    Locals,
    Nesting,
    Sections,
    CompileTime,
    CompileMemory,
    Timeout,
    Wait,
    Concurrency,
    Queue,
    Fuel,
    Memory,
    TableElements,
    Stack,
    Input,
    Output,
    Log,
    HostCalls,
    Instances,
    HostMemory,
    WrittenBytes,
    CreatedFiles,
    FolderSize,
    HttpRequests,
    HttpBody,
    HttpTime,
    Programs,
    ProgramOutput,
    ProgramTime,
    Events,
    ToolDepth,
}

/// One row of the table.
#[derive(Debug)]
#[non_exhaustive]
pub struct LimitRow {
    /// Which limit.
    pub kind: LimitKind,
    /// Its name in TOML and errors; with `-` for `_` its flag.
    pub name: &'static str,
    /// How its number is written.
    pub unit: Unit,
    /// The default, in the unit. `None`: not limited unless set.
    pub default: Option<u64>,
    /// When it applies.
    pub applies: &'static str,
    /// One sentence for help and docs.
    pub about: &'static str,
}

const fn row(
    kind: LimitKind,
    name: &'static str,
    unit: Unit,
    default: Option<u64>,
    applies: &'static str,
    about: &'static str,
) -> LimitRow {
    LimitRow { kind, name, unit, default, applies, about }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

/// Every limit, in the order of [`LimitKind`].
pub static LIMITS: [LimitRow; 33] = [
    row(
        LimitKind::ArtifactSize,
        "artifact_size",
        Unit::Bytes,
        Some(64 * MIB),
        "admit",
        "Size of the wasm file",
    ),
    row(
        LimitKind::Functions,
        "functions",
        Unit::Count,
        Some(100_000),
        "admit",
        "Functions a module may define or import",
    ),
    row(
        LimitKind::FunctionBody,
        "function_body",
        Unit::Bytes,
        Some(512 * KIB),
        "admit",
        "Size of one function's code",
    ),
    row(LimitKind::Locals, "locals", Unit::Count, Some(50_000), "admit", "Local variables of one function"),
    row(
        LimitKind::Nesting,
        "nesting",
        Unit::Count,
        Some(1_000),
        "admit",
        "Depth of nested blocks in one function",
    ),
    row(
        LimitKind::Sections,
        "sections",
        Unit::Count,
        Some(1_000),
        "admit",
        "Sections of a module, custom ones included",
    ),
    row(
        LimitKind::CompileTime,
        "compile_time",
        Unit::Time,
        Some(60 * SECOND),
        "compile",
        "Wall clock of compiling, waiting for others that compile included",
    ),
    row(
        LimitKind::CompileMemory,
        "compile_memory",
        Unit::Bytes,
        Some(2 << 30),
        "compile",
        "Address space of a compile worker; not of compiling inside the host's process",
    ),
    row(
        LimitKind::Timeout,
        "timeout",
        Unit::Time,
        Some(30 * SECOND),
        "wait to end of call",
        "Wall clock from asking for a slot to the answer, host calls included",
    ),
    row(
        LimitKind::Wait,
        "wait",
        Unit::Time,
        Some(10 * SECOND),
        "wait",
        "Time a call may wait for a free slot",
    ),
    row(
        LimitKind::Concurrency,
        "concurrency",
        Unit::Count,
        Some(128),
        "wait",
        "Calls of one plugin that run at once, those of its sessions aside",
    ),
    row(
        LimitKind::Queue,
        "queue",
        Unit::Count,
        Some(1_000),
        "wait",
        "Calls of one plugin that may wait, first come, first served",
    ),
    row(
        LimitKind::Fuel,
        "fuel",
        Unit::Count,
        None,
        "instantiate to end of call",
        "WebAssembly instructions a call may execute",
    ),
    row(
        LimitKind::Memory,
        "memory",
        Unit::Bytes,
        Some(64 * MIB),
        "instantiate to end of call",
        "All linear memories and tables of an instance together",
    ),
    row(
        LimitKind::TableElements,
        "table_elements",
        Unit::Count,
        Some(1_000_000),
        "instantiate to end of call",
        "Elements of all tables of an instance together",
    ),
    row(
        LimitKind::Stack,
        "stack",
        Unit::Bytes,
        Some(MIB),
        "instantiate to end of call",
        "Stack of the running guest; one value for a whole host",
    ),
    row(
        LimitKind::Input,
        "input",
        Unit::Bytes,
        Some(16 * MIB),
        "call",
        "Input handed to the guest: JSON, arguments, standard input",
    ),
    row(
        LimitKind::Output,
        "output",
        Unit::Bytes,
        Some(16 * MIB),
        "call",
        "Result and captured standard output",
    ),
    row(
        LimitKind::Log,
        "log",
        Unit::Bytes,
        Some(MIB),
        "instantiate to end of call",
        "What the guest logs or writes to standard error",
    ),
    row(
        LimitKind::HostCalls,
        "host_calls",
        Unit::Count,
        Some(10_000_000),
        "instantiate to end of call",
        "Calls from the guest into the host",
    ),
    row(
        LimitKind::Instances,
        "instances",
        Unit::Count,
        Some(1_000),
        "wait",
        "Instances of one plugin alive at once, sessions included",
    ),
    row(
        LimitKind::HostMemory,
        "host_memory",
        Unit::Bytes,
        Some(4 << 30),
        "instantiate to end of call",
        "Memory and tables of all instances of a host together",
    ),
    row(
        LimitKind::WrittenBytes,
        "written_bytes",
        Unit::Bytes,
        Some(256 * MIB),
        "call",
        "Bytes that a call may write to files",
    ),
    row(
        LimitKind::CreatedFiles,
        "created_files",
        Unit::Count,
        Some(10_000),
        "call",
        "Files, folders and links that a call may create",
    ),
    row(
        LimitKind::FolderSize,
        "folder_size",
        Unit::Bytes,
        Some(1 << 30),
        "call",
        "What a writable folder may hold, as far as a call is begun and goes on to write",
    ),
    row(
        LimitKind::HttpRequests,
        "http_requests",
        Unit::Count,
        Some(100),
        "call",
        "Requests, connections and look-ups of names that a call may make, redirects aside",
    ),
    row(
        LimitKind::HttpBody,
        "http_body",
        Unit::Bytes,
        Some(16 * MIB),
        "call",
        "Body of a request, and of a response once it is unpacked",
    ),
    row(
        LimitKind::HttpTime,
        "http_time",
        Unit::Time,
        Some(30 * SECOND),
        "call",
        "Wall clock of one request with its redirects and its body",
    ),
    row(LimitKind::Programs, "programs", Unit::Count, Some(100), "call", "Programs that a call may run"),
    row(
        LimitKind::ProgramOutput,
        "program_output",
        Unit::Bytes,
        Some(10 * MIB),
        "call",
        "Standard output and standard error of one program, each",
    ),
    row(
        LimitKind::ProgramTime,
        "program_time",
        Unit::Time,
        Some(300 * SECOND),
        "call",
        "Wall clock of one program, which ends with its call at the latest",
    ),
    row(LimitKind::Events, "events", Unit::Count, Some(1_000), "call", "Events that a call may publish"),
    row(LimitKind::ToolDepth, "tool_depth", Unit::Count, Some(8), "call", "How deep tools may call tools"),
];

impl LimitKind {
    /// Every limit.
    pub fn all() -> impl Iterator<Item = LimitKind> {
        LIMITS.iter().map(|row| row.kind)
    }

    /// The limit's row.
    pub fn row(self) -> &'static LimitRow {
        &LIMITS[self as usize]
    }

    /// The flag that sets it, without the dashes.
    pub fn flag(self) -> String {
        self.row().name.replace('_', "-")
    }

    /// The code of the error when it is hit.
    pub fn code(self) -> &'static str {
        match self {
            LimitKind::ArtifactSize => "limit-artifact-size",
            LimitKind::Functions => "limit-functions",
            LimitKind::FunctionBody => "limit-function-body",
            LimitKind::Locals => "limit-locals",
            LimitKind::Nesting => "limit-nesting",
            LimitKind::Sections => "limit-sections",
            LimitKind::CompileTime => "limit-compile-time",
            LimitKind::CompileMemory => "limit-compile-memory",
            LimitKind::Timeout => "limit-timeout",
            LimitKind::Wait => "limit-wait",
            LimitKind::Concurrency => "limit-concurrency",
            LimitKind::Queue => "limit-queue",
            LimitKind::Fuel => "limit-fuel",
            LimitKind::Memory => "limit-memory",
            LimitKind::TableElements => "limit-table-elements",
            LimitKind::Stack => "limit-stack",
            LimitKind::Input => "limit-input",
            LimitKind::Output => "limit-output",
            LimitKind::Log => "limit-log",
            LimitKind::HostCalls => "limit-host-calls",
            LimitKind::Instances => "limit-instances",
            LimitKind::HostMemory => "limit-host-memory",
            LimitKind::WrittenBytes => "limit-written-bytes",
            LimitKind::CreatedFiles => "limit-created-files",
            LimitKind::FolderSize => "limit-folder-size",
            LimitKind::HttpRequests => "limit-http-requests",
            LimitKind::HttpBody => "limit-http-body",
            LimitKind::HttpTime => "limit-http-time",
            LimitKind::Programs => "limit-programs",
            LimitKind::ProgramOutput => "limit-program-output",
            LimitKind::ProgramTime => "limit-program-time",
            LimitKind::Events => "limit-events",
            LimitKind::ToolDepth => "limit-tool-depth",
        }
    }

    /// Reads a value of this limit as a person writes it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] when it is not of the limit's unit.
    pub fn read(self, text: &str) -> Result<u64, Error> {
        self.row().unit.read(text).map_err(|reason| {
            Error::new(ErrorKind::InvalidSetting { name: self.row().name.to_owned(), reason })
        })
    }
}

impl FromStr for LimitKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        LIMITS.iter().find(|row| row.name == name).map(|row| row.kind).ok_or_else(|| {
            Error::new(ErrorKind::UnknownName {
                what: "limit",
                name: name.to_owned(),
                nearest: nearest(name, LIMITS.iter().map(|row| row.name)),
            })
        })
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

/// What somebody set: some limits, the others left alone.
pub type Overrides = BTreeMap<LimitKind, u64>;

/// A value for every limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits([Option<u64>; LIMITS.len()]);

impl Default for Limits {
    fn default() -> Self {
        Limits(std::array::from_fn(|index| LIMITS[index].default))
    }
}

impl Limits {
    /// These limits with what `overrides` sets.
    #[must_use]
    pub fn with(mut self, overrides: &Overrides) -> Self {
        for (&kind, &value) in overrides {
            self.0[kind as usize] = Some(value);
        }
        self
    }

    /// These limits with `kind` at most `value`.
    #[must_use]
    pub fn capped(mut self, kind: LimitKind, value: u64) -> Self {
        let slot = &mut self.0[kind as usize];
        *slot = Some(slot.map_or(value, |old| old.min(value)));
        self
    }

    /// The limit's value in its unit; `None` when not limited, which only fuel can be
    /// unless somebody asked for it.
    pub fn get(&self, kind: LimitKind) -> Option<u64> {
        self.0[kind as usize]
    }

    /// The limit's value, with [`u64::MAX`] for none.
    pub fn value(&self, kind: LimitKind) -> u64 {
        self.get(kind).unwrap_or(u64::MAX)
    }

    /// A limit of time.
    pub fn time(&self, kind: LimitKind) -> Duration {
        debug_assert_eq!(kind.row().unit, Unit::Time);
        Duration::from_nanos(self.value(kind))
    }

    /// Every limit with its value as a person would write it, or `none`.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        LIMITS.iter().map(|row| {
            let value = self.get(row.kind).map_or_else(|| "none".to_owned(), |value| row.unit.show(value));
            (row.name, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMITS, LimitKind, Limits, Overrides};

    #[test]
    fn rows_are_in_the_order_of_the_kinds() {
        for (index, row) in LIMITS.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.name);
            assert_eq!(row.kind.code(), format!("limit-{}", row.kind.flag()));
            assert_eq!(row.name.parse::<LimitKind>().ok(), Some(row.kind));
        }
    }

    #[test]
    fn only_fuel_is_unlimited() {
        let open: Vec<_> = LIMITS.iter().filter(|row| row.default.is_none()).map(|row| row.name).collect();
        assert_eq!(open, ["fuel"]);
    }

    #[test]
    fn values_are_read_in_their_unit() {
        assert_eq!(LimitKind::Memory.read("64MiB").ok(), Some(64 << 20));
        assert_eq!(LimitKind::Timeout.read("250ms").ok(), Some(250_000_000));
        assert_eq!(LimitKind::Fuel.read("10_000").ok(), Some(10_000));
        let error = LimitKind::Timeout.read("soon").expect_err("no time");
        assert_eq!(error.to_string(), "`timeout`: `soon` is no time such as `250ms` or `5s`");
    }

    #[test]
    fn a_cap_only_lowers() {
        let limits = Limits::default().with(&Overrides::from([(LimitKind::Memory, 100)]));
        assert_eq!(limits.clone().capped(LimitKind::Memory, 50).get(LimitKind::Memory), Some(50));
        assert_eq!(limits.capped(LimitKind::Memory, 500).get(LimitKind::Memory), Some(100));
    }
}
