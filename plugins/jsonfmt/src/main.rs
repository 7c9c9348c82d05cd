//! Brings JSON into one form.
//!
//! ```text
//! jsonfmt [--indent N] [--sort-keys] [--check] [--write] [FILE…]
//! ```
//!
//! Prints each FILE, or standard input where there is none, with an indent of N spaces (2
//! where nothing is said; 0 puts all on one line). `--check` prints the names of the files
//! that are in another form and leaves with 1 where there are any; `--write` rewrites those.
//! Exit code 2 says that something is no JSON or could not be read or written.

#![forbid(unsafe_code)]

mod options;
mod parse;
mod print;
mod replace;

use std::io::{Read, Write};
use std::process::ExitCode;

use options::{Mode, Options};

const UNFORMATTED: u8 = 1;
const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("jsonfmt: {why}");
            return ExitCode::from(TROUBLE);
        }
    };
    // Every file is looked at: whoever mends them wants to hear of all that is wrong.
    let mut worst = 0;
    for file in &options.files {
        worst = worst.max(match format_one(&options, file) {
            Ok(was_formatted) if was_formatted || options.mode != Mode::Check => 0,
            Ok(_) => UNFORMATTED,
            Err(why) => {
                eprintln!("jsonfmt: {why}");
                TROUBLE
            }
        });
    }
    ExitCode::from(worst)
}

/// Does with one file what the options say; whether it was in form before.
fn format_one(options: &Options, file: &str) -> Result<bool, String> {
    let name = if file == "-" { "standard input" } else { file };
    let trouble = |error: std::io::Error| format!("{name}: {error}");
    let bytes = read(file).map_err(trouble)?;
    let value = parse::parse(&bytes).map_err(|error| format!("{name}:{error}"))?;
    let text = print::print(value, &options.style);
    let was_formatted = text.as_bytes() == bytes;
    match options.mode {
        Mode::Print => std::io::stdout().write_all(text.as_bytes()).map_err(trouble)?,
        Mode::Check if !was_formatted => println!("{name}"),
        Mode::Write if !was_formatted => replace::replace(file, text.as_bytes()).map_err(trouble)?,
        Mode::Check | Mode::Write => {}
    }
    Ok(was_formatted)
}

fn read(file: &str) -> std::io::Result<Vec<u8>> {
    if file != "-" {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}
