//! The verbs, one file each.

mod call;
mod inspect;
mod run;

use std::process::ExitCode;

use airlock_host::{Error, Host, LimitKind, Overrides, Plugin};
use clap::CommandFactory as _;

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
    fn host(&self, load: &Load) -> Result<(Host, Overrides), Error> {
        let configured = config::limits()?;
        let flags = load.limits()?;
        // These two belong to the host and not to a plugin.
        let of_host = [LimitKind::Stack, LimitKind::HostMemory];
        let host = of_host
            .into_iter()
            .filter_map(|kind| Some((kind, *flags.get(&kind).or_else(|| configured.get(&kind))?)))
            .fold(Host::builder().on_demand(), |builder, (kind, value)| builder.limit(kind, value));
        Ok((host.build()?, configured))
    }

    fn load(&self, plugin: &std::path::Path, load: &Load) -> Result<Plugin, Error> {
        let (host, configured) = self.host(load)?;
        let options = load.options(&configured)?;
        let message = format!("compiling {}", plugin.display());
        let plugin = spinner::while_doing(&message, self.quiet, || host.load_blocking(plugin, options))?;
        for warning in plugin.manifest().map(|manifest| manifest.warnings.as_slice()).unwrap_or_default() {
            self.printer.warning(warning);
        }
        Ok(plugin)
    }
}
