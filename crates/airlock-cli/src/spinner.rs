//! Something that moves while a large plugin compiles.

use std::io::IsTerminal as _;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_millis(300);
const FRAME: Duration = Duration::from_millis(80);

/// What moves now. Held while somebody is asked, so that nothing begins to move meanwhile.
static MOVING: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Does `work`, and shows `message` with a spinner on a terminal once it takes long.
pub(crate) fn while_doing<T>(message: &str, quiet: bool, work: impl FnOnce() -> T) -> T {
    if quiet || !std::io::stderr().is_terminal() {
        return work();
    }
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if is_done.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let moving = Moving::new(message);
            // Either a message or the sender's end: the work is over.
            let _ = is_done.recv();
            drop(moving);
        });
        let result = work();
        drop(done);
        result
    })
}

/// Something that moves from its beginning until it is dropped.
pub(crate) struct Moving(ProgressBar);

impl Moving {
    /// A spinner with this message.
    pub(crate) fn new(message: &str) -> Self {
        let spinner = ProgressBar::new_spinner().with_message(message.to_owned());
        *MOVING.lock().unwrap_or_else(PoisonError::into_inner) = Some(spinner.clone());
        spinner.enable_steady_tick(FRAME);
        Moving(spinner)
    }

    /// What shows it.
    pub(crate) fn bar(&self) -> &ProgressBar {
        &self.0
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        *MOVING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Does `work` with nothing moving on the terminal.
pub(crate) fn suspended<T>(work: impl FnOnce() -> T) -> T {
    let moving = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
    match &*moving {
        Some(spinner) => spinner.suspend(work),
        None => work(),
    }
}
