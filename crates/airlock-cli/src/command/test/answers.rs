//! Who answers a program's questions in a test.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use airlock_host::console::{Console, Question, Reply, ReplyFuture, Shown};

/// One answer, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// A text, or of what there is to choose from the one that is called so.
    Text(String),
    Truth(bool),
    /// All that is chosen.
    Chosen(Vec<String>),
}

/// Reads answers.
///
/// # Errors
/// One that is none.
pub(super) fn read(values: Vec<toml::Value>) -> Result<Vec<Given>, String> {
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        _ => Err("`answers` are texts, numbers, truths, and lists of what is chosen".to_owned()),
    };
    let given = |value| match value {
        toml::Value::Boolean(truth) => Ok(Given::Truth(truth)),
        toml::Value::Array(values) => {
            values.into_iter().map(text).collect::<Result<_, _>>().map(Given::Chosen)
        }
        value => text(value).map(Given::Text),
    };
    values.into_iter().map(given).collect()
}

/// Answers questions in their order, and keeps what is shown.
#[derive(Debug, Default)]
pub(super) struct Script(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    left: VecDeque<Given>,
    /// Questions that had no answer, or one that is none to them.
    faults: Vec<String>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) faults: Vec<String>,
}

impl Script {
    pub(super) fn new(answers: &[Given]) -> Self {
        Script(Mutex::new(Kept { left: answers.iter().cloned().collect(), ..Kept::default() }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was shown, and in what the questions were others than those that were expected.
    pub(super) fn told(&self) -> Told {
        let mut kept = self.kept();
        let left = kept.left.len();
        let mut faults = std::mem::take(&mut kept.faults);
        if left > 0 {
            let answers = if left == 1 { "answer is" } else { "answers are" };
            faults.push(format!("{left} {answers} left that it did not ask for"));
        }
        Told { stdout: std::mem::take(&mut kept.stdout), stderr: std::mem::take(&mut kept.stderr), faults }
    }
}

impl Console for Script {
    fn show(&self, plugin: &str, shown: Shown<'_>) {
        let mut kept = self.kept();
        match shown {
            Shown::Output(bytes) => kept.stdout.extend_from_slice(bytes),
            Shown::Errors(bytes) => kept.stderr.extend_from_slice(bytes),
            // As where nobody looks on.
            other => kept.stderr.extend_from_slice(other.line(plugin).unwrap_or_default().as_bytes()),
        }
    }

    fn ask<'a>(&'a self, _plugin: &'a str, question: &'a Question) -> ReplyFuture<'a> {
        let mut kept = self.kept();
        let asked = question.message();
        let reply = match kept.left.pop_front() {
            None => Err(format!("it asked `{asked}`, and no answer is left")),
            Some(given) => reply(question, &given)
                .ok_or_else(|| format!("it asked `{asked}`, to which {given:?} is no answer")),
        };
        let reply = reply.map_err(|fault| kept.faults.push(fault)).ok();
        drop(kept);
        Box::pin(ready(reply))
    }
}

fn reply(question: &Question, given: &Given) -> Option<Reply> {
    let reply = match (question, given) {
        (Question::Text { .. }, Given::Text(text)) => Reply::Text(text.clone()),
        (Question::Confirm { .. }, Given::Truth(truth)) => Reply::Confirmed(*truth),
        (Question::Select { options, .. }, given) => {
            let place = |name: &String| options.iter().position(|option| option == name);
            Reply::Selected(match given {
                Given::Text(name) => vec![place(name)?],
                Given::Chosen(names) => names.iter().map(place).collect::<Option<_>>()?,
                Given::Truth(_) => return None,
            })
        }
        _ => return None,
    };
    question.accepts(&reply).then_some(reply)
}

#[cfg(test)]
mod tests {
    use airlock_host::block_on;
    use airlock_host::console::{Console as _, Question, Reply};
    use std::pin::pin;

    use super::{Given, Script};

    #[test]
    fn questions_are_answered_in_their_order_and_what_does_not_fit_is_told() {
        let select = |many| Question::Select {
            message: "which".to_owned(),
            options: vec!["a".to_owned(), "b".to_owned()],
            defaults: Vec::new(),
            many,
        };
        let confirm = Question::Confirm { message: "sure".to_owned(), default: None };
        let text = Question::Text { message: "name".to_owned(), default: None, must_be: None };
        let script = Script::new(&[
            Given::Text("b".to_owned()),
            Given::Chosen(vec!["b".to_owned(), "a".to_owned()]),
            Given::Truth(true),
            Given::Truth(true),
            Given::Text("left".to_owned()),
        ]);
        let ask = |question: &Question| block_on(pin!(script.ask("x", question)));
        assert_eq!(ask(&select(false)), Some(Reply::Selected(vec![1])));
        assert_eq!(ask(&select(true)), Some(Reply::Selected(vec![1, 0])));
        assert_eq!(ask(&confirm), Some(Reply::Confirmed(true)));
        assert_eq!(ask(&text), None);
        let faults = script.told().faults;
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("it asked `name`") && faults[1].starts_with("1 answer is left"));
    }
}
