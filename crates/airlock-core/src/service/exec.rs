//! Programs of the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{ServiceError, ServiceFuture};
use crate::{Need, Permit};

/// A program to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramRun {
    /// By a name on the path, or by its absolute path.
    pub program: String,
    /// Its arguments, handed on as they are: no shell sees them.
    pub args: Vec<String>,
    /// The folder it is run in, absolute or from the folder that the plugin is run in; that
    /// folder where not said. It has to be in a granted folder, except that one.
    pub folder: Option<PathBuf>,
    /// Its environment beside what every program gets, `PATH` and the locale.
    pub env: BTreeMap<String, String>,
    /// Its standard input.
    pub stdin: Vec<u8>,
    /// How long it may take; its call's time and a limit hold beside this.
    pub timeout: Option<Duration>,
}

impl ProgramRun {
    /// What it needs.
    pub fn need(&self) -> Need<'_> {
        Need::Program { program: &self.program, args: &self.args }
    }
}

/// Which of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It left with this code.
    Exited(i32),
    /// A signal of this number ended it.
    Signalled(i32),
    /// Its own time was over, and it was killed.
    TimedOut,
}

/// Where a program's output goes as it comes; an error ends the program.
pub type OutputSink<'a> = dyn FnMut(Stream, &[u8]) -> Result<(), ServiceError> + Send + 'a;

/// What runs programs.
pub trait Exec: Send + Sync + fmt::Debug {
    /// Runs a program to its end, and hands its output to `sink` as it comes. Past the limit
    /// on output it is killed, which is an error. Dropped, it and all that it started in its
    /// process group are killed.
    fn run<'a>(
        &'a self,
        permit: &'a Permit,
        run: &'a ProgramRun,
        sink: &'a mut OutputSink<'a>,
    ) -> ServiceFuture<'a, Ended>;
}
