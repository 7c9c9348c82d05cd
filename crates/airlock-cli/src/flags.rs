//! What a person types. Limits, ABIs and features come from their tables.

mod email;
mod plugins;
mod test;

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use airlock_host::{
    AbiId, CAPABILITIES, Capability, CapabilityRow, Error, Feature, LIMITS, LimitKind, LimitRow, LoadOptions,
    Overrides, Sampler, Unit,
};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};

pub(crate) use self::email::{
    AccountAdd, AccountTask, Body, EmailTask, Login, OutboxTask, Send, Sync, WhichAccount,
};
pub(crate) use self::plugins::{Build, New, PluginsInstall, PluginsTask, PluginsUpdate};
pub(crate) use self::test::Test;

/// Runs WebAssembly plugins in a sandbox that keeps what it promises.
#[derive(Debug, Parser)]
#[command(name = "airlock", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretTask {
    /// Keep a secret; its value is read from standard input, or asked for
    Set {
        /// Its name, as `airlock.toml` calls it: `{NAME}`
        name: String,
    },
    /// Show the names of all secrets
    List,
    /// Forget a secret
    Remove {
        /// Its name
        name: String,
    },
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
    /// Run a program: a WASI program, or a plugin that is a command
    Run(Run),
    /// Show what a plugin is, needs and asks for
    Inspect(Inspect),
    /// Measure how long a plugin's calls take
    Bench(Bench),
    /// Show in which of its functions a plugin spends its time
    Profile(Profile),
    /// Run the plugins of folders, follow their files, and print what happens to them
    Watch(Watch),
    /// Load and call plugins for another program, as JSON-RPC on standard input and output
    Rpc {
        /// The longest line that is taken
        #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = read_size)]
        max_line: usize,
    },
    /// Show what calls came to, as `airlock watch --metrics` wrote it
    Metrics {
        /// The file
        file: PathBuf,
    },
    /// Make a plugin to start from, in a folder of its own
    New(New),
    /// Build the plugin in a folder, with its language's tool or the build command of its manifest
    Build(Build),
    /// Check that a plugin could be installed, and what is odd about it, without installing it
    Check {
        /// A folder with a manifest, a `.wasm` file, or an archive (`.tar.gz`, `.zip`)
        #[arg(default_value = ".")]
        source: PathBuf,
        /// Take warnings, such as of unknown manifest keys, for errors
        #[arg(long)]
        strict: bool,
    },
    /// Run a plugin's test cases, each among fakes of its own
    Test(Test),
    /// Install a plugin
    Install(Install),
    /// Show the installed plugins
    List,
    /// Show what is known of an installed plugin
    Info {
        /// Its name
        name: String,
    },
    /// Replace an installed plugin, once the difference is agreed to
    Update(Update),
    /// Go back to the version of a plugin before the current one
    Rollback {
        /// Its name
        name: String,
    },
    /// Remove an installed plugin, its grants and what it keeps
    Remove {
        /// Its name
        name: String,
        /// Leave what it keeps for whatever is installed under its name next
        #[arg(long)]
        keep_data: bool,
    },
    /// Grant capabilities to an installed plugin
    Grant(Grant),
    /// Take grants back
    Revoke {
        /// The plugin's name
        name: String,
        /// What to take back; with all that it covers
        #[arg(required_unless_present = "all", value_name = "KIND[=SCOPE]")]
        capabilities: Vec<String>,
        /// Take everything back
        #[arg(long)]
        all: bool,
    },
    /// Show what was granted and denied
    Grants {
        /// Of this plugin only
        name: Option<String>,
        /// Take over what sen-rs's `permissions.json` or fledge's `plugins.toml` grants to
        /// installed plugins
        #[arg(long, value_name = "FILE", conflicts_with = "name")]
        import: Option<PathBuf>,
    },
    /// Do all of this in fledge's words
    #[command(visible_alias = "plugin")]
    Plugins {
        #[command(subcommand)]
        task: PluginsTask,
    },
    /// Show the audit log
    Audit(Audit),
    /// Keep secrets for requests of plugins
    Secret {
        #[command(subcommand)]
        task: SecretTask,
    },
    /// Read, send and fetch mail of your accounts, which plugins are granted by their names
    Email {
        #[command(subcommand)]
        task: EmailTask,
    },
    /// Look over the state and say what is wrong with it
    Doctor {
        /// Put right what can be
        #[arg(long)]
        repair: bool,
    },
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
    /// Print a completion script for a shell, with the commands of installed plugins
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// A command of an installed plugin.
    #[command(external_subcommand)]
    External(Vec<OsString>),
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

/// What is decided over a plugin's requests without asking.
#[derive(Debug, Default, Args)]
pub(crate) struct Decide {
    #[arg(long, value_name = "KIND[=SCOPE]", help = ALLOW_HELP.as_str())]
    allow: Vec<String>,
    /// Deny a capability, whatever else grants it
    #[arg(long, value_name = "KIND[=SCOPE]")]
    deny: Vec<String>,
    /// Grant everything that the plugin asks for
    #[arg(long)]
    pub(crate) allow_all_requested: bool,
}

impl Decide {
    /// All that is asked for is granted, or nothing is said about it.
    pub(crate) fn all_requested(all: bool) -> Self {
        Decide { allow_all_requested: all, ..Decide::default() }
    }

    pub(crate) fn allow(&self) -> Result<Vec<Capability>, Error> {
        self.allow.iter().map(|text| text.parse()).collect()
    }

    pub(crate) fn deny(&self) -> Result<Vec<Capability>, Error> {
        self.deny.iter().map(|text| text.parse()).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// A folder with a manifest, a `.wasm` file, or an archive (`.tar.gz`, `.zip`)
    pub(crate) source: PathBuf,
    /// Read the folder anew at every load, for development
    #[arg(long)]
    pub(crate) link: bool,
    /// Build it first, in a copy, once its build command is agreed to
    #[arg(long, conflicts_with = "link")]
    pub(crate) build: bool,
    #[command(flatten)]
    pub(crate) decide: Decide,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The installed plugin's name
    pub(crate) name: String,
    /// A folder with a manifest, a `.wasm` file, or an archive (`.tar.gz`, `.zip`)
    pub(crate) source: PathBuf,
    /// Agree to the difference without being asked; grants nothing
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) decide: Decide,
}

#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// The plugin's name
    pub(crate) name: String,
    /// What to grant
    #[arg(required = true, value_name = "KIND[=SCOPE]")]
    pub(crate) capabilities: Vec<String>,
    /// For this session at the terminal only
    #[arg(long, conflicts_with = "for_time")]
    pub(crate) session: bool,
    /// For so long only, such as `1h`
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) for_time: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) task: Option<AuditTask>,
    /// Of this plugin only
    #[arg(long)]
    pub(crate) plugin: Option<String>,
    /// Of this kind only, such as `granted` or `called`
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// From this time on: a time such as `2026-01-31T12:00:00Z`, a date, or so long ago (`1h`)
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Go on with what happens from now on
    #[arg(long)]
    pub(crate) follow: bool,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditTask {
    /// Check that every record follows from the one before it
    Verify {
        /// A record that is known to have been there, as `airlock audit head` printed it
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<String>,
    },
    /// Print the number and hash of the last record, to be kept elsewhere
    Head,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// An installed plugin's name, a `.wasm` or `.wat` file, or a folder with a manifest
    pub(crate) plugin: PathBuf,
    /// The function
    pub(crate) function: String,
    /// JSON, `@FILE`, or `-` for standard input; for a `raw` plugin its numbers, for a `sen` plugin
    /// also its arguments
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// Where the plugin traps, write a core dump there; it holds all that was in its memory
    #[arg(long, value_name = "FILE")]
    pub(crate) coredump: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// An installed plugin's name or command, or a `.wasm` or `.wat` file
    pub(crate) plugin: PathBuf,
    /// Its arguments; after `--` also those that begin with `-`
    pub(crate) args: Vec<OsString>,
    /// Take lines that a `fledge` plugin prints for messages where they are some; answers come over
    /// its standard input
    #[arg(long)]
    pub(crate) stdout_protocol: bool,
    /// Where the plugin traps, write a core dump there; it holds all that was in its memory
    #[arg(long, value_name = "FILE")]
    pub(crate) coredump: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// An installed plugin's name, a `.wasm` or `.wat` file, or a folder with a manifest
    pub(crate) plugin: PathBuf,
    /// Print the JSON Schema of a component's function, or of all its functions
    #[arg(long, value_name = "FUNCTION", num_args = 0..=1, default_missing_value = "", conflicts_with = "wat")]
    pub(crate) schema: Option<String>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// An installed plugin's name, a `.wasm` or `.wat` file, or a folder with a manifest
    pub(crate) plugin: PathBuf,
    /// The function; for a program its first argument
    pub(crate) function: Option<String>,
    /// What `airlock call` takes for it; for a program its other arguments
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// How long to measure, about
    #[arg(long, value_name = "TIME", default_value = "4s")]
    pub(crate) time: humantime::Duration,
    /// Threads that call at once at most: one for each processor where nothing is said
    #[arg(long, value_name = "COUNT")]
    pub(crate) threads: Option<NonZero<usize>>,
    /// Another plugin, such as this one's last version, that takes turns with it
    #[arg(long, value_name = "PLUGIN")]
    pub(crate) compare: Option<PathBuf>,
    /// Draw how many calls took how long
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, Args)]
pub(crate) struct Profile {
    /// An installed plugin's name, a `.wasm` or `.wat` file, or a folder with a manifest
    pub(crate) plugin: PathBuf,
    /// The function; for a program its first argument
    pub(crate) function: Option<String>,
    /// What `airlock call` takes for it; for a program its other arguments, after `--` also those that
    /// begin with `-`
    #[arg(allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// What a program reads from its standard input, each time; `-` for this command's own
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<PathBuf>,
    /// How long to call it again and again, about
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(crate) time: humantime::Duration,
    /// Call it so often, however long that takes
    #[arg(long, value_name = "COUNT", conflicts_with = "time")]
    pub(crate) calls: Option<NonZero<u64>>,
    /// How often to look at its stack: from `100us` to `1s`
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = read_interval)]
    pub(crate) interval: Duration,
    /// How many functions to show
    #[arg(long, value_name = "COUNT", default_value = "20")]
    pub(crate) top: usize,
    /// Draw a flame graph
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write it for the Firefox Profiler (profiler.firefox.com)
    #[arg(long, value_name = "FILE")]
    pub(crate) firefox: Option<PathBuf>,
    /// Write each stack on a line with how often it was seen, for other tools
    #[arg(long, value_name = "FILE")]
    pub(crate) folded: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: Load,
}

fn read_interval(text: &str) -> Result<Duration, String> {
    let interval = read_time(text)?;
    match (Sampler::SHORTEST..=Duration::from_secs(1)).contains(&interval) {
        true => Ok(interval),
        false => Err("it is not from `100us` to `1s`".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Folders of `.wasm` files and of folders with a manifest; one that is not there is waited for
    #[arg(required = true)]
    pub(crate) folders: Vec<PathBuf>,
    /// When a plugin whose files have changed is loaded again: `immediate`, `debounced[=TIME]` when
    /// nothing was written for so long, `manual` when `reload` is typed, `idle[=TIME]` when it was
    /// not called for so long
    #[arg(long, value_name = "WHEN", default_value = "debounced=500ms")]
    pub(crate) reload: ReloadFlag,
    /// What becomes of a plugin that has crashed: `restart`, `fail`, or `back-off[=FIRST..LONGEST]`
    #[arg(long, value_name = "WHAT", default_value = "restart")]
    pub(crate) on_crash: CrashFlag,
    /// Stop a plugin that keeps state when it was not called for so long
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) stop_idle: Option<Duration>,
    /// Allow what `--allow` says to bytes that come later too, as long as they ask for no more
    #[arg(long)]
    pub(crate) keep_allowed: bool,
    /// Write what calls came to into this file, once a second
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: Load,
}

fn read_size(text: &str) -> Result<usize, String> {
    let size = Unit::Bytes.read(text)?;
    usize::try_from(size).map_err(|_| format!("`{text}` is more than this machine can hold"))
}

/// When a plugin is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadFlag {
    Immediate,
    Debounced(Option<Duration>),
    Manual,
    Idle(Option<Duration>),
}

impl FromStr for ReloadFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, time) = match text.split_once('=') {
            Some((word, time)) => (word, Some(read_time(time)?)),
            None => (text, None),
        };
        match (word, time) {
            ("immediate", None) => Ok(ReloadFlag::Immediate),
            ("debounced", time) => Ok(ReloadFlag::Debounced(time)),
            ("manual", None) => Ok(ReloadFlag::Manual),
            ("idle", time) => Ok(ReloadFlag::Idle(time)),
            _ => Err("it is one of `immediate`, `debounced[=TIME]`, `manual`, `idle[=TIME]`".to_owned()),
        }
    }
}

/// What becomes of a plugin that has crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrashFlag {
    Restart,
    Fail,
    BackOff { first: Duration, longest: Duration },
}

impl FromStr for CrashFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "restart" => Ok(CrashFlag::Restart),
            None if text == "fail" => Ok(CrashFlag::Fail),
            None if text == "back-off" => {
                Ok(CrashFlag::BackOff { first: Duration::from_secs(1), longest: Duration::from_secs(60) })
            }
            Some(("back-off", times)) => {
                let (first, longest) = times.split_once("..").ok_or("its times are written `1s..60s`")?;
                let (first, longest) = (read_time(first)?, read_time(longest)?);
                match first <= longest {
                    true => Ok(CrashFlag::BackOff { first, longest }),
                    false => Err("its first time is longer than its longest".to_owned()),
                }
            }
            _ => Err("it is one of `restart`, `fail`, `back-off[=FIRST..LONGEST]`".to_owned()),
        }
    }
}

fn read_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("`{text}` is no time such as `250ms` or `5s`"))
}

/// How a plugin is loaded.
#[derive(Debug, Default, Args)]
pub(crate) struct Load {
    /// Call the plugin this way instead of finding out
    #[arg(long, value_parser = PossibleValuesParser::new(AbiId::ALL.map(AbiId::name)))]
    abi: Option<String>,
    /// Accept WebAssembly text; with `inspect`, print the module as text
    #[arg(long)]
    pub(crate) wat: bool,
    /// Know a plugin that is given by its path under this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Allow a WebAssembly feature that is off otherwise
    #[arg(long, value_name = "FEATURE", value_parser = PossibleValuesParser::new(Feature::ALL.map(Feature::name)))]
    wasm_feature: Vec<String>,
    #[command(flatten)]
    decide: Decide,
    /// Have the same input come to the same answer: no real clock, no real random numbers, one bit
    /// pattern for what is not a number
    #[arg(long)]
    deterministic: bool,
    /// Compile the plugin even if it was compiled before, and do not keep the result
    #[arg(long)]
    pub(crate) no_cache: bool,
    #[command(flatten)]
    limits: LimitFlags,
}

static ALLOW_HELP: LazyLock<String> = LazyLock::new(|| {
    let kinds: Vec<String> = CAPABILITIES.iter().map(CapabilityRow::usage).collect();
    format!("Grant a capability that the plugin asks for: {}", kinds.join(", "))
});

impl Load {
    /// The options that flags set.
    pub(crate) fn options(&self) -> Result<LoadOptions, Error> {
        let options = self.decide.allow()?.into_iter().fold(self.undecided()?, LoadOptions::allow);
        Ok(match self.decide.allow_all_requested {
            true => options.allow_all_requested(),
            false => options,
        })
    }

    /// The same with nothing allowed.
    pub(crate) fn undecided(&self) -> Result<LoadOptions, Error> {
        let mut options = LoadOptions::new().wat(self.wat).limits(&self.limits.read()?);
        if let Some(abi) = &self.abi {
            options = options.abi(abi.parse()?);
        }
        if let Some(name) = &self.name {
            options = options.name(name);
        }
        options = self.decide.deny()?.into_iter().fold(options, LoadOptions::deny);
        options = options.deterministic(self.deterministic);
        for name in &self.wasm_feature {
            options = Feature::ALL
                .into_iter()
                .filter(|feature| feature.name() == name)
                .fold(options, LoadOptions::feature);
        }
        Ok(options)
    }

    /// What `--name` says.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What `--allow` says.
    pub(crate) fn allowed(&self) -> Result<Vec<Capability>, Error> {
        self.decide.allow()
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

fn with_limits(command: Command) -> Command {
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

/// The flag's id within clap, where `input` is also the name of an argument.
fn limit_id(row: &LimitRow) -> String {
    format!("limit-{}", row.name)
}

impl Args for LimitFlags {
    /// For the verb that was typed only: all of them for every verb that takes them are half the
    /// work of reading a command line.
    fn augment_args(command: Command) -> Command {
        command.defer(with_limits)
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
