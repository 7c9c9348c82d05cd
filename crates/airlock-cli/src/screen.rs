//! What a program shows while it runs, and what it asks, in front of a person.
//!
//! Answers go to standard output as they come and everything else to standard error. A bar
//! stands on a terminal only, and steps aside for whatever is printed. A question of a plugin's
//! begins with `[NAME asks]`, which no question of Airlock's does: what stands behind it is the
//! plugin's word.

use std::io::IsTerminal as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use airlock_host::console::{Console, Progress, Question, Reply, ReplyFuture, Shown};
use airlock_host::{Error, visible};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::oneshot;

use crate::printer::Printer;
use crate::prompt;

/// How often an answer that is none is asked for again.
const TRIES: usize = 3;

#[derive(Debug)]
pub(crate) struct Screen {
    printer: Printer,
    /// Whether the plugin was granted the terminal as it is.
    raw: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bar: Option<ProgressBar>,
    output: Partial,
    errors: Partial,
    /// Why standard output cannot be written to.
    failed: Option<Error>,
}

/// What a stream ends with that may be the beginning of a character: programs write in blocks that end
/// anywhere.
#[derive(Debug, Default)]
struct Partial(Vec<u8>);

impl Partial {
    /// What can be shown once `bytes` have come too.
    fn whole(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.0);
        all.extend_from_slice(bytes);
        // The longest beginning of a character has three bytes.
        let tail = all.len().saturating_sub(3);
        let begun = (tail..all.len()).find(|at| {
            std::str::from_utf8(&all[*at..])
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        });
        self.0 = begun.map(|at| all.split_off(at)).unwrap_or_default();
        all
    }
}

impl Screen {
    pub(crate) fn new(printer: Printer, raw: bool) -> Self {
        Screen { printer, raw, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes away what moves.
    ///
    /// # Errors
    /// When something could not be written to standard output.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        let (output, errors) = (std::mem::take(&mut state.output), std::mem::take(&mut state.errors));
        self.printer.program_errors(&errors.0);
        let rest = self.printer.program_output(&output.0, self.raw);
        state.failed.take().map_or(rest, Err)
    }
}

impl Console for Screen {
    fn show(&self, plugin: &str, shown: Shown<'_>) {
        let mut state = self.lock();
        let printer = self.printer;
        if let (Shown::Progress(progress), true) = (shown, std::io::stderr().is_terminal()) {
            move_bar(&mut state.bar, plugin, &progress);
            return;
        }
        let State { bar, output, errors, failed } = &mut *state;
        aside(bar.as_ref(), || match shown {
            Shown::Output(bytes) if failed.is_none() => {
                *failed = printer.program_output(&output.whole(bytes), self.raw).err();
            }
            Shown::Errors(bytes) => printer.program_errors(&errors.whole(bytes)),
            Shown::Log { level, message } => printer.leveled(plugin, level, message),
            Shown::Warning(text) => printer.warning(&format!("`{}` {text}", visible(plugin, false))),
            Shown::Progress(progress) => {
                progress.words().into_iter().for_each(|words| printer.leveled(plugin, "", &words));
            }
            _ => {}
        });
    }

    fn ask<'a>(&'a self, plugin: &'a str, question: &'a Question) -> ReplyFuture<'a> {
        if !prompt::is_interactive() {
            return Box::pin(std::future::ready(None));
        }
        let bar = self.lock().bar.clone();
        let (plugin, question) = (visible(plugin, false).into_owned(), question.clone());
        let (sender, reply) = oneshot::channel();
        // On a thread of its own: reading cannot be given up, and the call can.
        std::thread::spawn(move || {
            let asked = aside(bar.as_ref(), || ask(&plugin, &question));
            // Nobody waits for an answer that came too late.
            let _ = sender.send(asked);
        });
        Box::pin(async { reply.await.ok().flatten() })
    }
}

/// Does `work` with no bar on the screen.
fn aside<T>(bar: Option<&ProgressBar>, work: impl FnOnce() -> T) -> T {
    match bar {
        Some(bar) => bar.suspend(work),
        None => work(),
    }
}

fn move_bar(bar: &mut Option<ProgressBar>, plugin: &str, progress: &Progress<'_>) {
    if progress.is_done {
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
        return;
    }
    let bar = bar.get_or_insert_with(|| {
        let bar = ProgressBar::new_spinner();
        bar.set_prefix(format!("[{}]", visible(plugin, false)));
        bar
    });
    let form = match progress.total {
        Some(total) => {
            bar.set_length(total);
            "{prefix} {wide_bar} {pos}/{len} {msg}"
        }
        None => "{prefix} {spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    if let Some(current) = progress.current {
        bar.set_position(current);
    }
    if let Some(message) = progress.message {
        bar.set_message(visible(message, false).into_owned());
    }
    bar.tick();
}

/// Asks for a plugin, and again where what is typed is no answer; none where that goes on, or
/// where there is no more to read.
fn ask(plugin: &str, question: &Question) -> Option<Reply> {
    let message = visible(question.message(), false);
    let asks = format!("[{plugin} asks] {message}");
    for _ in 0..TRIES {
        let (text, expected) = match question {
            Question::Text { default, must_be, .. } => {
                let default = default.as_deref().map(|text| format!(" [{}]", visible(text, false)));
                let expected = must_be.map(|must_be| must_be.to_string()).unwrap_or_default();
                (format!("{asks}{}:", default.unwrap_or_default()), expected)
            }
            Question::Confirm { default, .. } => {
                let choice = match default {
                    Some(true) => "[Y/n]",
                    Some(false) => "[y/N]",
                    None => "[y/n]",
                };
                (format!("{asks} {choice}:"), "`y` or `n`".to_owned())
            }
            Question::Select { options, defaults, many, .. } => {
                (choices(&asks, options, defaults, *many), format!("a number from 1 to {}", options.len()))
            }
            _ => return None,
        };
        let typed = prompt::typed(&text).ok()??;
        let reply = match typed.is_empty() {
            true => question.default_reply().or_else(|| read(question, &typed)),
            false => read(question, &typed),
        };
        match reply.filter(|reply| question.accepts(reply)) {
            Some(reply) => return Some(reply),
            None => prompt::tell(&format!("{expected} is wanted\n")).ok()?,
        }
    }
    None
}

/// A question with what there is to choose from, one to a line.
fn choices(asks: &str, options: &[String], defaults: &[usize], many: bool) -> String {
    let mut text = format!("{asks}\n");
    for (place, option) in options.iter().enumerate() {
        text.push_str(&format!("  {}) {}\n", place + 1, visible(option, false)));
    }
    let numbers: Vec<String> = defaults.iter().map(|place| (place + 1).to_string()).collect();
    let default = if numbers.is_empty() { String::new() } else { format!(" [{}]", numbers.join(" ")) };
    let how = if many { "Numbers, with spaces between" } else { "Number" };
    text.push_str(&format!("{how}{default}:"));
    text
}

/// What is typed as an answer of the question's kind.
fn read(question: &Question, typed: &str) -> Option<Reply> {
    match question {
        Question::Text { .. } => Some(Reply::Text(typed.to_owned())),
        Question::Confirm { .. } => match typed.to_lowercase().as_str() {
            "y" | "yes" => Some(Reply::Confirmed(true)),
            "n" | "no" => Some(Reply::Confirmed(false)),
            _ => None,
        },
        Question::Select { .. } => {
            let words = typed.split([' ', ',']).filter(|word| !word.is_empty());
            let place = |word: &str| word.parse::<usize>().ok()?.checked_sub(1);
            words.map(place).collect::<Option<Vec<usize>>>().map(Reply::Selected)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use airlock_host::console::{Question, Reply};

    use super::{Partial, read};

    #[test]
    fn a_character_is_shown_whole_wherever_blocks_end() {
        let text = "aü€😀z".as_bytes();
        for size in 1..text.len() {
            let mut partial = Partial::default();
            let mut shown = Vec::new();
            for block in text.chunks(size) {
                let whole = partial.whole(block);
                assert!(std::str::from_utf8(&whole).is_ok(), "{size}");
                shown.extend(whole);
            }
            assert_eq!((shown.as_slice(), partial.0.len()), (text, 0), "{size}");
        }
        // What is no text is not held back.
        let mut partial = Partial::default();
        assert_eq!(partial.whole(b"\xff\xfe\x80"), b"\xff\xfe\x80");
        assert_eq!(
            (partial.whole(b"a\xe2\x82"), partial.whole(b"b")),
            (b"a".to_vec(), b"\xe2\x82b".to_vec())
        );
    }

    #[test]
    fn what_is_typed_is_read_as_the_question_has_it() {
        let message = String::new();
        let select = Question::Select { message, options: Vec::new(), defaults: Vec::new(), many: true };
        assert_eq!(read(&select, "1, 3 2"), Some(Reply::Selected(vec![0, 2, 1])));
        assert_eq!((read(&select, "0"), read(&select, "one")), (None, None));
        let confirm = Question::Confirm { message: String::new(), default: None };
        assert_eq!(read(&confirm, "Yes"), Some(Reply::Confirmed(true)));
        assert_eq!((read(&confirm, "N"), read(&confirm, "maybe")), (Some(Reply::Confirmed(false)), None));
    }
}
