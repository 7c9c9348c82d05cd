//! Compares the public interface of Airlock's libraries, as rustdoc tells it, with what is written
//! down in `api.txt` beside each of them. `scripts/public-api` runs it.
//!
//! Implementations that are derived, that the compiler finds itself (`Send`) and that everything has
//! (`Into`) are left out.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;
use similar::TextDiff;

/// Who has an interface that others build on.
const CRATES: [&str; 3] = ["airlock-core", "airlock-engine", "airlock-host"];

/// The version of rustdoc's JSON that is read: Rust 1.95's.
const FORMAT: u32 = 57;

/// What all versions of the format have.
#[derive(Deserialize)]
struct Format {
    format_version: u32,
}

/// Arguments: the folder that rustdoc has written to, and `--update` to write down what is.
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(folder), update) = (arguments.first(), arguments.iter().any(|word| word == "--update")) else {
        return Err("usage: airlock-api FOLDER [--update]".into());
    };
    let mut output = io::stdout().lock();
    let mut differ = false;
    for name in CRATES {
        let told = Path::new(folder).join(format!("{}.json", name.replace('-', "_")));
        let format: Format = serde_json::from_reader(io::BufReader::new(fs::File::open(&told)?))?;
        if format.format_version != FORMAT {
            writeln!(
                output,
                "rustdoc writes format {}, and what is read is {FORMAT}",
                format.format_version
            )?;
            return Ok(ExitCode::from(3));
        }
        let kept = format!("crates/{name}/api.txt");
        let (was, is) = (fs::read_to_string(&kept).unwrap_or_default(), interface(&told)?);
        if update {
            fs::write(&kept, is)?;
        } else if was != is {
            differ = true;
            let diff = TextDiff::from_lines(&was, &is);
            write!(output, "{}", diff.unified_diff().context_radius(0).header(&kept, "what is public"))?;
        }
    }
    if differ {
        writeln!(output, "hint: where that is meant, `scripts/public-api --update` writes it down")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each public item, with its signature, in an order that depends on nothing else.
fn interface(told: &Path) -> Result<String, Box<dyn Error>> {
    let interface = public_api::Builder::from_rustdoc_json(told)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    Ok(interface.items().map(|item| format!("{item}\n")).collect())
}
