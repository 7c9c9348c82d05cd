//! What a person types who makes plugins, and who is used to fledge's words.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Call, Decide, Load};

#[derive(Debug, Args)]
pub(crate) struct New {
    /// Its name: letters, digits, `-` and `_`, a letter first. Asked for on a terminal
    pub(crate) name: Option<String>,
    /// How it is called by its host: `json`, `raw`, `fledge`, `sen` or `cortex`; `json` where nothing is
    /// said, or the first that goes with the language. Asked for on a terminal
    #[arg(long, value_name = "ABI")]
    pub(crate) abi: Option<String>,
    /// The language that it is written in: `rust`, `c`, `zig`, `go`, `assemblyscript` or `wat`; `rust` where
    /// nothing is said, or the first that goes with the ABI. Asked for on a terminal
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) lang: Option<String>,
    /// Use the crate `airlock-sdk` in this folder, and not a copy of it in the plugin's
    #[arg(long, value_name = "PATH")]
    pub(crate) sdk: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: NewPlace,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The folder
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Leave the module as its compiler made it, whether or not `wasm-opt` is here
    #[arg(long)]
    pub(crate) no_optimize: bool,
    /// Build, check and test it each time a file of it is saved, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Where a new plugin goes, and what it says of itself.
#[derive(Debug, Args)]
pub(crate) struct NewPlace {
    /// The folder in which its own is made, which is this one where nothing is said
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// What it is for
    #[arg(short, long)]
    pub(crate) description: Option<String>,
}

/// fledge's words for what Airlock does with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginsTask {
    /// Make a plugin to start from, as `airlock new` does
    Create {
        /// Its name, which is its crate's: letters, digits, `-` and `_`, a letter first
        name: String,
        #[command(flatten)]
        place: NewPlace,
        /// Ask nothing, which Airlock does not in any case
        #[arg(short, long)]
        yes: bool,
        /// Make a plugin in WebAssembly, which all are that Airlock runs
        #[arg(long)]
        wasm: bool,
    },
    /// Check a plugin, as `airlock check` does
    Validate {
        /// Its folder
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Take warnings for errors
        #[arg(long)]
        strict: bool,
    },
    /// Install a plugin from a folder, as `airlock install` does
    Install(PluginsInstall),
    /// Remove an installed plugin, its grants and what it keeps
    Remove {
        /// Its name
        name: String,
    },
    /// Update plugins from where they were installed from
    Update(PluginsUpdate),
    /// Show the installed plugins
    List {
        /// In JSON, as PRX's `GET /api/plugins` has it
        #[arg(long)]
        prx: bool,
    },
    /// Run a command of an installed plugin
    Run(PluginsRun),
    /// Call a function of a plugin, as `airlock call` does
    Call(Call),
    /// Show what each installed plugin is, may do and wants to be run
    Audit,
}

#[derive(Debug, Args)]
pub(crate) struct PluginsInstall {
    /// A folder with a manifest
    #[arg(required_unless_present = "defaults")]
    pub(crate) source: Option<PathBuf>,
    /// Grant all that it asks for; replace the one that is installed
    #[arg(long)]
    pub(crate) force: bool,
    /// Grant all that it asks for
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Keep a copy, which Airlock does in any case
    #[arg(long)]
    pub(crate) copy: bool,
    /// fledge's own plugins, which Airlock does not fetch
    #[arg(long)]
    pub(crate) defaults: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PluginsUpdate {
    /// The installed plugin's name; without one all of them
    pub(crate) name: Option<String>,
    /// Agree to the differences without being asked; grants nothing
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) decide: Decide,
}

#[derive(Debug, Args)]
pub(crate) struct PluginsRun {
    #[command(flatten)]
    pub(crate) load: Load,
    /// A command, or the name or path of a plugin; what follows is the plugin's, dashes and all
    #[arg(required = true, trailing_var_arg = true, value_names = ["NAME", "ARGS"])]
    pub(crate) words: Vec<OsString>,
}
