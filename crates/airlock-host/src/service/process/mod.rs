//! Running a program of the machine to its end, whatever it does.
//!
//! Whether it may be run at all is decided above: by `exec` for a guest, by `metadata` for
//! the host's own use of git. Here is how it is run: with exactly the environment it is
//! given, in a process group of its own, its outputs read at once and bounded, and ended
//! with all of its group at its time, past a limit, when nobody waits for it any more, and
//! also when its first process ends by itself, so that nothing is left behind.
//!
//! One thread follows one program and is the only one to read, write and reap. It hands
//! output over through a channel, so that whoever waits needs neither a runtime nor a timer.
//! The thread keeps the time itself: a program ends on time also where nobody polls.

mod cgroup;
mod family;
mod watch;

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use airlock_core::{Ended, LimitKind, OutputSink, ServiceError, Stream};
use tokio::sync::mpsc;

pub(crate) use cgroup::Cgroups;
use family::Family;
use watch::Watch;

/// Pieces of output that wait to be taken; when there are so many, the program waits.
const PIECES: usize = 8;

/// A program that is about to be run.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Its absolute path.
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// All of its environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) folder: WorkingFolder,
    pub(crate) stdin: Vec<u8>,
    /// Bytes that each of its outputs may have.
    pub(crate) output: u64,
    /// When its own time is over: [`Ended::TimedOut`].
    pub(crate) until: Instant,
    /// When the call's is: [`ServiceError::Ended`].
    pub(crate) deadline: Instant,
    /// Where it is kept together beyond its process group.
    pub(crate) cgroups: Option<Arc<Cgroups>>,
}

/// The folder that a program is run in.
#[derive(Debug)]
pub(crate) struct WorkingFolder {
    /// Where the program's process enters it.
    pub(crate) entrance: PathBuf,
    /// Held open until then, where `entrance` goes through it.
    #[expect(dead_code, reason = "it has to be open and nothing else")]
    pub(crate) handle: Option<std::os::fd::OwnedFd>,
}

impl From<PathBuf> for WorkingFolder {
    fn from(entrance: PathBuf) -> Self {
        WorkingFolder { entrance, handle: None }
    }
}

/// What the thread that follows a program says of it.
enum Message {
    Output(Stream, Vec<u8>),
    End(Result<Ended, ServiceError>),
}

/// A program that somebody waits for. Dropped, it is killed.
struct Awaited {
    family: Arc<Family>,
    /// Closed, it tells the thread that nobody waits; a byte on it, that there is room again.
    leash: UnixStream,
    starved: Arc<AtomicBool>,
}

impl Awaited {
    fn has_room(&self) {
        if self.starved.swap(false, Ordering::SeqCst) {
            // Nothing to do where it fails: the thread has ended.
            let _ = rustix::io::write(&self.leash, &[0]);
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        // Here and not only in the thread, which may not get to it when the process ends now.
        self.family.kill();
    }
}

/// Runs a program to its end, and hands its output to `sink` as it comes.
///
/// # Errors
/// [`ServiceError::Limit`] past the bound on output; [`ServiceError::Ended`] at the deadline;
/// [`ServiceError::Failed`] where it cannot be started; whatever `sink` fails with.
pub(crate) async fn run(launch: Launch, sink: &mut OutputSink<'_>) -> Result<Ended, ServiceError> {
    let unavailable =
        |error: std::io::Error| ServiceError::Unavailable(format!("cannot run a program: {error}"));
    let (sender, mut receiver) = mpsc::channel(PIECES);
    let (leash, held) = UnixStream::pair().map_err(unavailable)?;
    held.set_nonblocking(true).map_err(unavailable)?;
    let awaited = Awaited { family: Arc::default(), leash, starved: Arc::default() };
    let watch = Watch {
        launch,
        family: awaited.family.clone(),
        leash: held,
        starved: awaited.starved.clone(),
        output: sender,
    };
    std::thread::Builder::new()
        .name("airlock-program".to_owned())
        .spawn(move || watch.follow())
        .map_err(unavailable)?;
    while let Some(message) = receiver.recv().await {
        awaited.has_room();
        match message {
            Message::Output(stream, bytes) => sink(stream, &bytes)?,
            Message::End(end) => return end,
        }
    }
    Err(ServiceError::Unavailable("the thread that follows a program panicked".to_owned()))
}

/// The error for a program that writes more than it may.
fn too_much(maximum: u64) -> ServiceError {
    ServiceError::Limit { limit: LimitKind::ProgramOutput, maximum }
}
