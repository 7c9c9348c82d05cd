//! What was asked for on the command line.

use crate::command::Command;

const USAGE: &str =
    "usage: csv [-o OUT] headers|select COLS|filter COL=VALUE|sort COL|sum COL|to-json [FILE]";

pub struct Options {
    pub command: Command,
    /// `None` is standard input.
    pub file: Option<String>,
    /// `None` is standard output.
    pub out: Option<String>,
}

impl Options {
    /// Reads the words after the program's name. `-o OUT` may stand anywhere among them.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut out = None;
        let mut rest = Vec::new();
        while let Some(word) = words.next() {
            if word == "-o" {
                out = Some(words.next().ok_or("`-o` needs the name of a file")?);
            } else {
                rest.push(word);
            }
        }
        let mut rest = rest.into_iter();
        let name = rest.next().ok_or(USAGE)?;
        let command = Command::parse(&name, || rest.next()).ok_or(USAGE)?;
        let file = rest.next().filter(|file| file != "-");
        match rest.next() {
            Some(_) => Err(USAGE.to_owned()),
            None => Ok(Options { command, file, out }),
        }
    }
}
