//! The names of the ABIs.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, nearest};

/// One way plugins are called: what they export and what they import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AbiId {
    /// Any export with numeric arguments and results, one instance kept in a session.
    Raw,
    /// CortexPrism's documented capability ABI: JSON in, JSON out, a fresh instance per call.
    Json,
    /// CortexPrism's tool ABI: tools by name, JSON in, text out, one instance kept in a session.
    Cortex,
    /// A WASI program: a module of preview 1 with `_start`, or a component of preview 2 with `wasi:cli/run`.
    Command,
    /// sen-rs's: a command that says itself what it takes and needs, in MessagePack.
    Sen,
    /// fledge's: a WASI preview 1 program that exchanges JSON messages with its host.
    Fledge,
    /// MoFA's: as [`AbiId::Raw`], with what its documents promise its plugins as imports of `env`.
    Mofa,
    /// The component model's: a component whose exported functions are called, with values of WIT's types.
    Component,
    /// PRX's: a component of its worlds (tool, middleware, hook, cron, provider, storage), with `prx:host`.
    Prx,
}

impl AbiId {
    /// Every ABI this build speaks, in the order help prints them.
    pub const ALL: [AbiId; 9] = [
        AbiId::Raw,
        AbiId::Json,
        AbiId::Cortex,
        AbiId::Command,
        AbiId::Sen,
        AbiId::Fledge,
        AbiId::Mofa,
        AbiId::Component,
        AbiId::Prx,
    ];

    /// The name used in flags, `--json` output and errors.
    pub fn name(self) -> &'static str {
        match self {
            AbiId::Raw => "raw",
            AbiId::Json => "json",
            AbiId::Cortex => "cortex",
            AbiId::Command => "command",
            AbiId::Sen => "sen",
            AbiId::Fledge => "fledge",
            AbiId::Mofa => "mofa",
            AbiId::Component => "component",
            AbiId::Prx => "prx",
        }
    }

    /// Whether its plugins are programs, which are run from beginning to end and have no functions
    /// to be called.
    pub fn is_program(self) -> bool {
        matches!(self, AbiId::Command | AbiId::Fledge)
    }
}

impl fmt::Display for AbiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AbiId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        AbiId::ALL.into_iter().find(|abi| abi.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::UnknownName {
                what: "ABI",
                name: text.to_owned(),
                nearest: nearest(text, AbiId::ALL.iter().map(|abi| abi.name())),
            })
        })
    }
}
