//! The verbs, one file each.

mod cache;
mod call;
mod inspect;
mod run;

use std::process::ExitCode;

use airlock_host::{Cache, Error, Host, HostBuilder, Plugin, Worker};
use clap::CommandFactory as _;

use crate::config::Config;
use crate::flags::{Cli, Global, Load, Verb};
use crate::printer::Printer;
use crate::{config, spinner};

/// What every verb works with.
pub(crate) struct Session {
    pub(crate) printer: Printer,
    quiet: bool,
}

/// Runs the verb and returns the process's exit code.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let Global { json, verbose, usage } = cli.global;
    let session = Session { printer: Printer { json, usage }, quiet: json || verbose > 0 };
    let result = match cli.verb {
        Verb::Call(call) => call::run(&session, &call),
        Verb::Run(run) => run::run(&session, run),
        Verb::Inspect(inspect) => inspect::run(&session, &inspect),
        Verb::Cache { task } => cache::run(&session, &task),
        Verb::CompileWorker { order } => Ok(airlock_host::serve_worker(order.as_deref())),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "airlock", &mut script);
            session.printer.program_output(&script).map(|()| 0)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            session.printer.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

impl Session {
    /// A host for one call, with what the configuration file and the flags set.
    fn host(&self, load: &Load, config: &Config) -> Result<HostBuilder, Error> {
        Ok(config.host(&load.limits()?).on_demand())
    }

    /// A host that compiles: in a process of its own, since whose plugin it is nobody knows,
    /// and not again what was compiled before.
    fn compiling_host(&self, load: &Load, config: &Config) -> Result<Host, Error> {
        let mut builder = self.host(load, config)?;
        if let Some(settings) = config.cache().filter(|_| !load.no_cache) {
            match Cache::open(settings) {
                Ok(cache) => builder = builder.cache(cache),
                Err(error) => self.printer.warning(&error.to_string()),
            }
        }
        match std::env::current_exe() {
            Ok(program) => builder.compiler(Worker::new(program, ["compile-worker"])).build(),
            Err(error) => Err(Error::host("cannot find this program to compile with").with_source(error)),
        }
    }

    fn load(&self, plugin: &std::path::Path, load: &Load) -> Result<Plugin, Error> {
        let config = config::read()?;
        let host = self.compiling_host(load, &config)?;
        let options = load.options()?;
        let message = format!("compiling {}", plugin.display());
        let plugin = spinner::while_doing(&message, self.quiet, || host.load_blocking(plugin, options))?;
        for warning in plugin.manifest().map(|manifest| manifest.warnings.as_slice()).unwrap_or_default() {
            self.printer.warning(warning);
        }
        Ok(plugin)
    }
}
