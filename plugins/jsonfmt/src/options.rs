//! What was asked for on the command line.

use crate::print::Style;

/// Wider indents are a mistake, such as a file's name taken for a number.
const MAX_INDENT: usize = 16;

const USAGE: &str = "usage: jsonfmt [--indent N] [--sort-keys] [--check] [--write] [FILE…]";

/// What becomes of the formatted text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Print,
    Check,
    Write,
}

pub struct Options {
    pub mode: Mode,
    pub style: Style,
    /// Never empty; `-` is standard input.
    pub files: Vec<String>,
}

impl Options {
    /// Reads the words after the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Options { mode: Mode::Print, style: Style { indent: 2, sort_keys: false }, files: Vec::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--indent" => options.style.indent = indent(words.next())?,
                "--sort-keys" => options.style.sort_keys = true,
                "--check" => options.set_mode(Mode::Check)?,
                "--write" => options.set_mode(Mode::Write)?,
                "--" => options.files.extend(words.by_ref()),
                option if option.starts_with('-') && option != "-" => {
                    return Err(format!("no option `{option}`\n{USAGE}"));
                }
                _ => options.files.push(word),
            }
        }
        if options.files.is_empty() {
            options.files.push("-".to_owned());
        }
        if options.mode == Mode::Write && options.files.iter().any(|file| file == "-") {
            return Err("`--write` cannot rewrite standard input; name a file".to_owned());
        }
        Ok(options)
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), String> {
        if self.mode != Mode::Print && self.mode != mode {
            return Err("`--check` changes nothing and `--write` does: one of them".to_owned());
        }
        self.mode = mode;
        Ok(())
    }
}

fn indent(word: Option<String>) -> Result<usize, String> {
    let indent = word.and_then(|word| word.parse().ok()).filter(|indent| *indent <= MAX_INDENT);
    indent.ok_or_else(|| format!("`--indent` needs a number from 0 to {MAX_INDENT}"))
}
