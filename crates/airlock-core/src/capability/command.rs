//! Programs and their arguments.

use std::fmt;
use std::str::FromStr;

use crate::{Place, shell_quoted};

/// A program with the arguments it may be run with.
///
/// Each argument is one word, or with `*` at its end every word that begins so. A last `*`
/// on its own stands for any further arguments, also for none. `*` alone is every program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandPattern {
    /// `None`: any.
    program: Option<String>,
    args: Vec<Word>,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Word {
    text: String,
    prefix: bool,
}

impl CommandPattern {
    pub(super) fn everything() -> Self {
        CommandPattern { program: None, args: Vec::new(), open: true }
    }

    /// The program, as a name to look up or an absolute path; `None` when it may be any.
    pub fn program(&self) -> Option<&str> {
        self.program.as_deref()
    }

    /// Whether `program` may be run with these arguments.
    pub fn permits<S: AsRef<str>>(&self, program: &str, args: &[S]) -> bool {
        self.program.as_deref().is_none_or(|mine| mine == program)
            && (args.len() == self.args.len() || (self.open && args.len() > self.args.len()))
            && self.args.iter().zip(args).all(|(word, arg)| word.permits(arg.as_ref()))
    }

    /// Whether it is a program without arguments.
    pub(crate) fn is_bare(&self) -> bool {
        self.args.is_empty() && !self.open
    }

    /// The same with the program's path where `place` knows it.
    pub(super) fn resolved(&self, place: &Place) -> CommandPattern {
        let path = self.program.as_ref().and_then(|program| place.programs.get(program));
        let program = path.and_then(|path| path.to_str()).map(str::to_owned).or_else(|| self.program.clone());
        CommandPattern { program, ..self.clone() }
    }

    pub(super) fn covers(&self, other: &CommandPattern) -> bool {
        let program = match (&self.program, &other.program) {
            (None, _) => true,
            (mine, theirs) => mine == theirs,
        };
        let count = match self.open {
            true => other.args.len() >= self.args.len(),
            false => !other.open && other.args.len() == self.args.len(),
        };
        program && count && self.args.iter().zip(&other.args).all(|(mine, theirs)| mine.covers(theirs))
    }

    pub(super) fn overlaps(&self, other: &CommandPattern) -> bool {
        let program = self.program.is_none() || other.program.is_none() || self.program == other.program;
        let enough = |open: bool, mine: usize, theirs: usize| open || mine >= theirs;
        let (mine, theirs) = (self.args.len(), other.args.len());
        program
            && enough(self.open, mine, theirs)
            && enough(other.open, theirs, mine)
            && self.args.iter().zip(&other.args).all(|(a, b)| a.covers(b) || b.covers(a))
    }

    pub(super) fn in_words(&self) -> String {
        match (&self.program, self.args.is_empty(), self.open) {
            (None, _, _) => "every program".to_owned(),
            (Some(program), true, true) => format!("`{program}` with any arguments"),
            (Some(_), _, false) => format!("`{self}`"),
            (Some(_), false, true) => {
                let shut = CommandPattern { open: false, ..self.clone() };
                format!("`{shut}` with any further arguments")
            }
        }
    }
}

impl Word {
    fn permits(&self, arg: &str) -> bool {
        match self.prefix {
            true => arg.starts_with(&self.text),
            false => arg == self.text,
        }
    }

    fn covers(&self, other: &Word) -> bool {
        match self.prefix {
            true => other.text.starts_with(&self.text),
            false => self == other,
        }
    }
}

impl FromStr for CommandPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = shell_words::split(text).map_err(|_| "a quote is not closed".to_owned())?;
        if words.is_empty() || words.first().is_some_and(String::is_empty) {
            return Err("a program is missing".to_owned());
        }
        let program = words.remove(0);
        if program == "*" {
            return match words.as_slice() {
                [] => Ok(CommandPattern::everything()),
                [any] if any == "*" => Ok(CommandPattern::everything()),
                _ => Err("every program with arguments of one of them makes no sense".to_owned()),
            };
        }
        if program.contains('*') {
            return Err("a program is written out, or `*` for all".to_owned());
        }
        if program.contains('/') {
            let parts = || program.split('/').skip(1);
            if !program.starts_with('/') || parts().any(|part| matches!(part, "" | "." | "..")) {
                return Err("a program is a name on the path, or an absolute path without `..`".to_owned());
            }
        }
        let open = words.last().is_some_and(|last| last == "*");
        if open {
            words.pop();
        }
        let args = words.into_iter().map(|word| match word.strip_suffix('*') {
            Some(text) if text.contains('*') => Err(()),
            None if word.contains('*') => Err(()),
            Some(text) => Ok(Word { text: text.to_owned(), prefix: true }),
            None => Ok(Word { text: word, prefix: false }),
        });
        let args: Result<Vec<Word>, ()> = args.collect();
        let args = args.map_err(|()| "`*` stands at the end of an argument only".to_owned())?;
        Ok(CommandPattern { program: Some(program), args, open })
    }
}

impl fmt::Display for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(program) = &self.program else {
            return f.write_str("*");
        };
        f.write_str(&shell_quoted(program))?;
        for word in &self.args {
            match word.prefix {
                true if word.text.is_empty() => f.write_str(" *")?,
                true => write!(f, " {}*", shell_quoted(&word.text))?,
                false => write!(f, " {}", shell_quoted(&word.text))?,
            }
        }
        f.write_str(if self.open { " *" } else { "" })
    }
}
