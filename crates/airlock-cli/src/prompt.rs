//! Asking a person at a terminal.
//!
//! Questions go to standard error and answers come from standard input; both have to be a
//! terminal, so that nobody is asked who cannot see the question, and nothing answers that
//! is not a person. Whatever comes from a plugin is made visible first, and stands in
//! backticks or after a label, so that it cannot pass for a line of ours.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use airlock_host::{Capability, Error, ErrorKind, Grant, Lasting, Prompt, Question, Request, visible};

use crate::spinner;

/// How often an answer that is none is asked for again.
const TRIES: usize = 3;

/// Asks on the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal;

/// Whether somebody can be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A line typed in answer to a question of ours, in small letters; empty at the end of input.
fn answer(question: &str) -> Result<String, Error> {
    Ok(typed(question)?.unwrap_or_default().to_lowercase())
}

/// A line typed in answer to a question; none at the end of input.
pub(crate) fn typed(question: &str) -> Result<Option<String>, Error> {
    let failed = |error: io::Error| Error::host("cannot ask on the terminal").with_source(error);
    let mut stderr = anstream::stderr();
    write!(stderr, "{question} ").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).map_err(failed)?;
    if read == 0 {
        writeln!(stderr).map_err(failed)?;
        return Ok(None);
    }
    Ok(Some(line.trim().to_owned()))
}

/// Asks until the answer is one of `known`; `default` for an empty line, for the end of input
/// and for somebody who gives no answer that is one.
fn choose<T: Copy>(question: &str, known: &[(&str, T)], default: T) -> Result<T, Error> {
    for _ in 0..TRIES {
        let typed = answer(question)?;
        if typed.is_empty() {
            return Ok(default);
        }
        let found =
            known.iter().find(|(word, _)| *word == typed || (typed.len() == 1 && word.starts_with(&typed)));
        if let Some((_, chosen)) = found {
            return Ok(*chosen);
        }
    }
    Ok(default)
}

/// A question with yes or no for an answer; no unless it is said.
pub(crate) fn agrees(question: &str) -> Result<bool, Error> {
    choose(&format!("{question} [y]es, [N]o:"), &[("yes", true), ("no", false)], false)
}

/// What a person says to one or to all requests.
#[derive(Clone, Copy)]
enum Said {
    Allow(Lasting),
    Each,
    Deny,
}

impl Prompt for Terminal {
    fn is_interactive(&self) -> bool {
        is_interactive()
    }

    fn ask(&self, question: &Question<'_>) -> Result<Vec<Grant>, Error> {
        spinner::suspended(|| self.decide(question))
    }
}

impl Terminal {
    fn decide(self, question: &Question<'_>) -> Result<Vec<Grant>, Error> {
        tell(&describe(question))?;
        let (always, session, once) = (
            ("always", Said::Allow(Lasting::Always)),
            ("session", Said::Allow(Lasting::Session)),
            ("once", Said::Allow(Lasting::Once)),
        );
        let all = [always, session, once, ("each", Said::Each), ("no", Said::Deny)];
        let said = match question.open.len() {
            1 => choose(
                "Allow? [a]lways, for this [s]ession, [o]nce, [N]o:",
                &[always, session, once, all[4]],
                Said::Deny,
            )?,
            _ => choose(
                "Allow? [a]lways, for this [s]ession, [o]nce, decide over [e]ach, [N]o:",
                &all,
                Said::Deny,
            )?,
        };
        match said {
            Said::Deny => Ok(Vec::new()),
            Said::Allow(lasting) => {
                Ok(by_risk(question.open).map(|request| allow(&request.capability, lasting)).collect())
            }
            Said::Each => by_risk(question.open)
                .map(|request| {
                    let capability = &request.capability;
                    let text = format!(
                        "Allow to {}?\n  [a]lways, for this [s]ession, [o]nce, [N]o:",
                        visible(&capability.sentence(), false)
                    );
                    Ok(match choose(&text, &[always, session, once, all[4]], Said::Deny)? {
                        Said::Allow(lasting) => allow(capability, lasting),
                        _ => Grant { allowed: false, ..Grant::always(capability.clone()) },
                    })
                })
                .collect(),
        }
    }
}

fn allow(capability: &Capability, lasting: Lasting) -> Grant {
    Grant { capability: capability.clone(), allowed: true, lasting }
}

/// What a plugin asks for, as the lines of a question.
pub(crate) fn describe(question: &Question<'_>) -> String {
    let name = visible(&question.plugin.name, false);
    let mut text = format!("`{name}` ({}) asks to:\n", question.plugin.digest.short());
    for request in by_risk(question.open) {
        text.push_str(&line(request, question.is_new(&request.capability)));
    }
    if question.before.is_some() {
        let what = match question.is_escalation() {
            true => "Its bytes are others than those that were approved, and it asks for more (`+`).",
            false => "Its bytes are others than those that were approved. It asks for no more than those.",
        };
        text.push_str(what);
        text.push('\n');
    }
    text
}

/// One request: its risk, what it allows in words, and how it is written.
pub(crate) fn line(request: &Request, is_new: bool) -> String {
    let capability = &request.capability;
    let mark = if is_new { '+' } else { ' ' };
    let need = if request.required { "" } else { ", optional" };
    let (risk, sentence) = (capability.risk(), capability.sentence());
    format!("{mark} {risk:<6}  {}  [{capability}{need}]\n", visible(&sentence, false))
}

/// The riskiest first.
fn by_risk(requests: &[Request]) -> impl Iterator<Item = &Request> {
    let mut sorted: Vec<&Request> = requests.iter().collect();
    sorted.sort_by_key(|request| std::cmp::Reverse(request.capability.risk()));
    sorted.into_iter()
}

/// Lines for a person, before a question.
pub(crate) fn tell(text: &str) -> Result<(), Error> {
    write!(anstream::stderr(), "{text}")
        .map_err(|error| Error::host("cannot ask on the terminal").with_source(error))
}

/// Asks for one of several, each a word and what it is; the first for an empty line. Its place
/// in the list.
///
/// # Errors
/// [`Declined`](ErrorKind::Declined) at the end of input, and when none of the answers is one.
pub(crate) fn pick(question: &str, known: &[(&str, &str)]) -> Result<usize, Error> {
    let width = known.iter().map(|(word, _)| word.len()).max().unwrap_or_default();
    let mut text = format!("{question}\n");
    for (number, (word, about)) in (1..).zip(known) {
        text.push_str(&format!("  {number}  {word:<width$}  {about}\n"));
    }
    tell(&text)?;
    let first = known.first().map_or("", |(word, _)| word);
    for _ in 0..TRIES {
        let Some(typed) = typed(&format!("A number or a word [{first}]:"))? else { break };
        let typed = typed.to_lowercase();
        if typed.is_empty() {
            return Ok(0);
        }
        let number = typed.parse::<usize>().ok().filter(|number| (1..=known.len()).contains(number));
        let word = known.iter().position(|(word, _)| *word == typed);
        if let Some(index) = number.map(|number| number - 1).or(word) {
            return Ok(index);
        }
    }
    Err(Error::new(ErrorKind::Declined("making a choice".to_owned())))
}
