//! Something that moves while a large plugin compiles.

use std::io::IsTerminal as _;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::ProgressBar;

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_millis(300);
const FRAME: Duration = Duration::from_millis(80);

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
            let spinner = ProgressBar::new_spinner().with_message(message.to_owned());
            spinner.enable_steady_tick(FRAME);
            // Either a message or the sender's end: the work is over.
            let _ = is_done.recv();
            spinner.finish_and_clear();
        });
        let result = work();
        drop(done);
        result
    })
}
