//! `prx:host/log`.

use airlock_core::LogLevel;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower};

use super::{Guest, enter, has};
use crate::abi::Dialect;
use crate::abi::prx::dialect::LEVEL_IS_TEXT;
use crate::store::CallState;

const LOG: &str = "log";

#[derive(Debug, Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only guests make them")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        }
    }
}

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, dialect: Dialect) -> wasmtime::Result<()> {
    match has(dialect, LEVEL_IS_TEXT) {
        true => interface.func_wrap(LOG, |mut guest: Guest<'_>, (level, message): (String, String)| {
            // What is no level is worth being told of like most.
            log(&mut guest, level.parse().unwrap_or(LogLevel::Info), &message)
        }),
        false => interface.func_wrap(LOG, |mut guest: Guest<'_>, (level, message): (Level, String)| {
            log(&mut guest, level.into(), &message)
        }),
    }
}

fn log(guest: &mut Guest<'_>, level: LogLevel, message: &str) -> wasmtime::Result<()> {
    enter(guest, "log.log")?;
    guest.data_mut().log(level, message).map(drop)
}
