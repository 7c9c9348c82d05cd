//! What a person types who tests a plugin.

use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;

use super::Load;

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A folder with a manifest, a `.wasm` or `.wat` file, or an installed plugin's name
    #[arg(default_value = ".")]
    pub(crate) plugin: PathBuf,
    /// Where the cases are: a folder of `.toml` files, or one such file [default: `tests` beside the
    /// plugin]
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) cases: Option<PathBuf>,
    /// Run only the cases that have this text in FILE::NAME, as `--list` shows them
    #[arg(short = 'k', value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// Show the cases and run none
    #[arg(long)]
    pub(crate) list: bool,
    /// Keep what is found as snapshots, and remove those of no case
    #[arg(long, conflicts_with = "list")]
    pub(crate) update: bool,
    /// Write a report for other tools
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    pub(crate) junit: Option<PathBuf>,
    /// Cases that run at once: one for each processor where nothing is said
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// Begin no case once one has failed
    #[arg(long)]
    pub(crate) fail_fast: bool,
    #[command(flatten)]
    pub(crate) load: Load,
}
