//! Small questions to a table of comma-separated values (RFC 4180).
//!
//! ```text
//! csv [-o OUT] headers           [FILE]    the names of the columns, one on a line
//! csv [-o OUT] select COLS       [FILE]    these columns, in this order: `name,age`
//! csv [-o OUT] filter COL=VALUE  [FILE]    the rows that have VALUE there
//! csv [-o OUT] sort COL          [FILE]    the rows in order: numbers by size, else text
//! csv [-o OUT] sum COL           [FILE]    the exact sum of a column of decimal numbers
//! csv [-o OUT] to-json           [FILE]    an array with an object for each row
//! ```
//!
//! Reads standard input where there is no FILE, or where it is `-`. The first row names the
//! columns. Exit code 2 says that something is wrong with the arguments, the table or a file.

#![forbid(unsafe_code)]

mod command;
mod decimal;
mod json;
mod options;
mod table;

use std::io::{Read, Write};
use std::process::ExitCode;

use options::Options;
use table::Table;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("csv: {why}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let options = Options::parse(std::env::args().skip(1))?;
    let name = options.file.as_deref().unwrap_or("standard input");
    let text = read(options.file.as_deref()).map_err(|error| format!("{name}: {error}"))?;
    let table = Table::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    let answer = options.command.answer(table)?;
    // Only now that nothing can be wrong any more: OUT stays as it was after a mistake, and
    // it may be the file that was read.
    match &options.out {
        Some(out) => std::fs::write(out, answer).map_err(|error| format!("{out}: {error}")),
        None => std::io::stdout()
            .write_all(answer.as_bytes())
            .map_err(|error| format!("standard output: {error}")),
    }
}

fn read(file: Option<&str>) -> std::io::Result<String> {
    match file {
        Some(file) => std::fs::read_to_string(file),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            Ok(text)
        }
    }
}
