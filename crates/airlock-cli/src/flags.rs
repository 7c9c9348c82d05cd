//! What a person types. Limits, ABIs and features come from their tables.

use std::ffi::OsString;
use std::path::PathBuf;

use airlock_host::{
    AbiId, CAPABILITIES, Capability, CapabilityRow, Error, Feature, LIMITS, LimitKind, LimitRow, LoadOptions,
    Overrides,
};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};

/// Runs WebAssembly plugins in a sandbox that keeps what it promises.
#[derive(Debug, Parser)]
#[command(name = "airlock", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print JSON and nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Trace what happens on standard error; twice for host calls too
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say on standard error what the call used
    #[arg(long, global = true)]
    pub(crate) usage: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Call a function of a plugin and print its answer
    Call(Call),
    /// Run a WASI program
    Run(Run),
    /// Show what a plugin is, needs and asks for
    Inspect(Inspect),
    /// Look after the cache of compiled plugins
    Cache {
        #[command(subcommand)]
        task: CacheTask,
    },
    /// Compile one plugin within bounds, for another process of Airlock's
    #[command(hide = true)]
    CompileWorker {
        /// What to compile it for, as JSON
        order: Option<String>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What can be done with the cache.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheTask {
    /// Show what is in it, most recently used first
    List,
    /// Remove everything in it
    Clear,
    /// Check every file in it and remove those that are not genuine
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// A `.wasm` or `.wat` file, or a folder with a manifest
    pub(crate) plugin: PathBuf,
    /// The function
    pub(crate) function: String,
    /// JSON, `@FILE`, or `-` for standard input; for a `raw` plugin its numbers
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A `.wasm` or `.wat` file
    pub(crate) plugin: PathBuf,
    /// Arguments of the program; after `--` also those that begin with `-`
    pub(crate) args: Vec<OsString>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A `.wasm` or `.wat` file, or a folder with a manifest
    pub(crate) plugin: PathBuf,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// How a plugin is loaded.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Call the plugin this way instead of finding out
    #[arg(long, value_parser = PossibleValuesParser::new(AbiId::ALL.map(AbiId::name)))]
    abi: Option<String>,
    /// Accept WebAssembly text; with `inspect`, print the module as text
    #[arg(long)]
    pub(crate) wat: bool,
    /// Allow a WebAssembly feature that is off otherwise
    #[arg(long, value_name = "FEATURE", value_parser = PossibleValuesParser::new(Feature::ALL.map(Feature::name)))]
    wasm_feature: Vec<String>,
    #[arg(long, value_name = "KIND[=SCOPE]", help = allow_help())]
    allow: Vec<String>,
    /// Deny a capability, whatever else grants it
    #[arg(long, value_name = "KIND[=SCOPE]")]
    deny: Vec<String>,
    /// Grant everything that the plugin asks for
    #[arg(long)]
    allow_all_requested: bool,
    /// Compile the plugin even if it was compiled before, and do not keep the result
    #[arg(long)]
    pub(crate) no_cache: bool,
    #[command(flatten)]
    limits: LimitFlags,
}

fn allow_help() -> String {
    let kinds: Vec<String> = CAPABILITIES.iter().map(CapabilityRow::usage).collect();
    format!("Grant a capability that the plugin asks for: {}", kinds.join(", "))
}

impl Load {
    /// The options that flags set.
    pub(crate) fn options(&self) -> Result<LoadOptions, Error> {
        let mut options = LoadOptions::new().wat(self.wat).limits(&self.limits.read()?);
        if let Some(abi) = &self.abi {
            options = options.abi(abi.parse()?);
        }
        for allowed in &self.allow {
            options = options.allow(allowed.parse::<Capability>()?);
        }
        for denied in &self.deny {
            options = options.deny(denied.parse::<Capability>()?);
        }
        if self.allow_all_requested {
            options = options.allow_all_requested();
        }
        for name in &self.wasm_feature {
            options = Feature::ALL
                .into_iter()
                .filter(|feature| feature.name() == name)
                .fold(options, LoadOptions::feature);
        }
        Ok(options)
    }

    /// The limits that flags set.
    pub(crate) fn limits(&self) -> Result<Overrides, Error> {
        self.limits.read()
    }
}

/// One flag for each row of the table of limits.
#[derive(Debug, Default)]
struct LimitFlags(Vec<(LimitKind, String)>);

impl LimitFlags {
    fn read(&self) -> Result<Overrides, Error> {
        self.0.iter().map(|(kind, text)| Ok((*kind, kind.read(text)?))).collect()
    }
}

/// The flag's id within clap, where `input` is also the name of an argument.
fn limit_id(row: &LimitRow) -> String {
    format!("limit-{}", row.name)
}

impl Args for LimitFlags {
    fn augment_args(command: Command) -> Command {
        LIMITS.iter().fold(command, |command, row| {
            let default = row.default.map_or_else(|| "none".to_owned(), |value| row.unit.show(value));
            command.arg(
                Arg::new(limit_id(row))
                    .long(row.kind.flag())
                    .value_name("VALUE")
                    .help(format!("{} [default: {default}]", row.about))
                    .help_heading("Limits"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LimitFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = LimitFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let given = |row: &LimitRow| Some((row.kind, matches.get_one::<String>(&limit_id(row))?.clone()));
        self.0.extend(LIMITS.iter().filter_map(given));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
