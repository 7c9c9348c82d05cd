//! The verbs, one file each.

mod audit;
mod bench;
mod build;
mod cache;
mod call;
mod candidate;
mod check;
mod core_dump;
mod doctor;
mod email;
mod external;
mod grant;
mod grants;
mod info;
mod inspect;
mod install;
mod list;
mod metrics;
mod new;
mod plugins;
mod profile;
mod remove;
mod revoke;
mod rollback;
mod rpc;
mod run;
mod secret;
mod test;
mod update;
mod watch;
mod work;

use std::cell::OnceCell;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use airlock_email::OutboxWorker;
use airlock_host::service::Services;
use airlock_host::{
    AbiId, Approval, Cache, Capability, CapabilityKind, CoreDump, Error, ErrorKind, Host, HostBuilder,
    Limits, LoadOptions, PathBase, Plugin, Redactor, Scope, Source, Worker,
};
use airlock_store::{Installed, KvData, MemoryData, Package, SecretFile, Store};
use clap::CommandFactory as _;
use serde_json::{Map, Value};

use crate::config::{self, Config};
use crate::flags::{Cli, Global, Load, Verb};
use crate::mail::{Opened, UserMail};
use crate::printer::Printer;
use crate::prompt::{self, Terminal};
use crate::spinner;

/// What every verb works with.
pub(crate) struct Session {
    pub(crate) printer: Printer,
    quiet: bool,
    /// Whether `-v` was said.
    verbose: bool,
    config: Config,
    store: OnceCell<Arc<Store>>,
    mail: OnceCell<Arc<UserMail>>,
}

/// Why a capability that was allowed on the command line makes no difference, when it is the
/// capability's fault.
fn idle(plugin: &Plugin, capability: &Capability) -> Option<&'static str> {
    let kind = capability.kind();
    if plugin.policy().allows_any(kind) {
        return None;
    }
    let own = matches!(capability.scope(), Scope::Path(path) if path.base() == PathBase::Own);
    match plugin.requests().iter().any(|request| request.capability.kind() == kind) {
        false => Some("the plugin does not ask for it"),
        true if own => Some("only an installed plugin has a folder of its own"),
        true => None,
    }
}

/// What is odd about a plugin that was loaded, and about what was `allowed` to it by the flag or key of this
/// name.
fn warnings(plugin: &Plugin, allow: &str, allowed: &[Capability]) -> Vec<String> {
    let mut warnings = plugin.manifest().map(|manifest| manifest.warnings.clone()).unwrap_or_default();
    for (capability, reason) in plugin.left_out() {
        warnings.push(format!("`{capability}` is not there for the plugin: {reason}"));
    }
    for capability in allowed {
        if let Some(reason) = idle(plugin, capability) {
            warnings.push(format!("`{allow} {capability}` grants nothing: {reason}"));
        }
    }
    warnings
}

/// Runs the verb and returns the process's exit code.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let Global { json, verbose, usage } = cli.global;
    let printer = Printer { json, usage };
    let result = match cli.verb {
        // Needs nothing of what the operator set, and is told what it has to know.
        Verb::CompileWorker { order } => Ok(airlock_host::serve_worker(order.as_deref())),
        verb => config::read().and_then(|config| {
            let quiet = json || verbose > 0;
            Session {
                printer,
                quiet,
                verbose: verbose > 0,
                config,
                store: OnceCell::new(),
                mail: OnceCell::new(),
            }
            .run(verb)
        }),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

impl Session {
    fn run(&self, verb: Verb) -> Result<u8, Error> {
        match verb {
            Verb::Call(call) => call::run(self, &call),
            Verb::Run(run) => run::run(self, run),
            Verb::Inspect(inspect) => inspect::run(self, &inspect),
            Verb::Bench(bench) => bench::run(self, &bench),
            Verb::Profile(profile) => profile::run(self, &profile),
            Verb::Watch(watch) => watch::run(self, &watch),
            Verb::Rpc { max_line } => rpc::run(self, max_line),
            Verb::Metrics { file } => metrics::run(self, &file),
            Verb::Install(install) => install::run(self, &install),
            Verb::List => list::run(self),
            Verb::New(new) => new::run(self, &new),
            Verb::Build(build) => build::run(self, &build),
            Verb::Plugins { task } => plugins::run(self, task),
            Verb::Check { source, strict } => check::run(self, &source, strict),
            Verb::Test(test) => test::run(self, &test),
            Verb::Info { name } => info::run(self, &name),
            Verb::Update(update) => update::run(self, &update),
            Verb::Rollback { name } => rollback::run(self, &name),
            Verb::Remove { name, keep_data } => remove::run(self, &name, keep_data),
            Verb::Grant(grant) => grant::run(self, &grant),
            Verb::Revoke { name, capabilities, all } => revoke::run(self, &name, &capabilities, all),
            Verb::Grants { name: _, import: Some(file) } => grants::import(self, &file),
            Verb::Grants { name, import: None } => grants::run(self, name.as_deref()),
            Verb::Audit(audit) => audit::run(self, &audit),
            Verb::Email { task } => email::run(self, task),
            Verb::Secret { task } => secret::run(self, &task),
            Verb::Doctor { repair } => doctor::run(self, repair),
            Verb::Cache { task } => cache::run(self, &task),
            Verb::Completions { shell } => {
                let mut script = Vec::new();
                let mut command = Cli::command().subcommands(external::commands(self));
                clap_complete::generate(shell, &mut command, "airlock", &mut script);
                self.printer.program_output(&script, false).map(|()| 0)
            }
            Verb::External(words) => external::run(self, words),
            Verb::CompileWorker { .. } => Ok(0),
        }
    }

    /// The store of this user's data folder.
    fn store(&self) -> Result<&Arc<Store>, Error> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let mut store = Store::open(&config::data()?)?.in_session(login_session());
        if let Some(file) = &self.config.audit.file {
            store = store.with_lines(file, self.config.audit.on_failure())?;
        }
        Ok(self.store.get_or_init(|| Arc::new(store)))
    }

    /// A host for one call, with what the configuration file and the flags set.
    fn host(&self, load: &Load) -> Result<HostBuilder, Error> {
        Ok(self.config.host(&load.limits()?).on_demand())
    }

    /// The same with compiling: in a process of its own, since whose plugin it is nobody
    /// knows, and not again what was compiled before.
    fn compiling(&self, builder: HostBuilder, no_cache: bool) -> Result<Host, Error> {
        self.compiled_by(builder, no_cache)?.build()
    }

    fn compiled_by(&self, mut builder: HostBuilder, no_cache: bool) -> Result<HostBuilder, Error> {
        if let Some(settings) = self.config.cache().filter(|_| !no_cache) {
            match Cache::open(settings) {
                Ok(cache) => builder = builder.cache(cache),
                Err(error) => self.printer.warning(&error.to_string()),
            }
        }
        match std::env::current_exe() {
            Ok(program) => Ok(builder.compiler(Worker::new(program, ["compile-worker"]))),
            Err(error) => Err(Error::host("cannot find this program to compile with").with_source(error)),
        }
    }

    /// What plugins reach: their data and the secrets of this user, and what the operator
    /// configured.
    fn services(&self, data: &Path) -> Services {
        let mut services = Services::default();
        services.kv = Arc::new(KvData::lazy(data));
        services.memory = Arc::new(MemoryData::lazy(data));
        services.config = Arc::new(self.config.settings.clone());
        services.mail = self.user_mail(data).clone();
        let secrets = self.secrets(data, services.redactor.clone());
        services.with_secrets(Arc::new(secrets))
    }

    /// The mailbox of this user, opened.
    fn mail(&self) -> Result<&Opened, Error> {
        // What is done is recorded there.
        self.store()?;
        let mail = self.user_mail(&config::data()?);
        // One that PRX-Email made, or an earlier version, is read whole once.
        Ok(spinner::while_doing("opening the mailbox", self.quiet, || mail.open())?)
    }

    /// Sends what waits in the outbox of mail as long as what it gives is kept, for verbs that do not
    /// end by themselves. None of them ends for that this cannot be.
    fn sending(&self) -> Option<OutboxWorker> {
        let start = || {
            let data = config::data()?;
            Ok::<_, Error>(match UserMail::is_in(&data) {
                true => self.user_mail(&data).send_due()?,
                false => None,
            })
        };
        start().unwrap_or_else(|error| {
            self.printer.warning(&format!("what waits in the outbox of mail is not sent: {error}"));
            None
        })
    }

    fn user_mail(&self, data: &Path) -> &Arc<UserMail> {
        self.mail.get_or_init(|| {
            let mail = UserMail::new(data, self.config.mail.clone(), self.config.mail_secrets, self.printer);
            Arc::new(match self.store() {
                Ok(store) if self.config.audit.calls => {
                    mail.recording(store.clone(), self.config.audit.on_failure())
                }
                _ => mail,
            })
        })
    }

    fn secrets(&self, data: &Path, redactor: Redactor) -> SecretFile {
        SecretFile::new(data, redactor).with_credentials(self.config.credentials.iter().cloned())
    }

    /// What is granted, without anybody to ask.
    fn approval(&self) -> Result<Approval, Error> {
        Ok(Approval::new(self.store()?.clone()).carry_over(self.config.grants.keep_on_update))
    }

    /// A host for plugins that are called, with this user's services.
    fn approving(&self, builder: HostBuilder, approval: Approval) -> Result<HostBuilder, Error> {
        Ok(builder.approval(approval).services(self.services(self.store()?.data())))
    }

    /// The same with calls in the audit log, where the operator has them there.
    fn recording(&self, builder: HostBuilder) -> Result<HostBuilder, Error> {
        Ok(match self.config.audit.calls {
            true => builder.audit(self.store()?.clone(), self.config.audit.on_failure()),
            false => builder,
        })
    }

    /// Loads a plugin to be called: with what was granted to it, asking for the rest, with its calls in
    /// the audit log, and with a place for a core dump, where one is wanted.
    fn load(&self, plugin: &Path, load: &Load, dump: Option<&CoreDump>) -> Result<Plugin, Error> {
        let approval = self.approval()?.prompt(Terminal);
        let builder = self.recording(self.approving(self.host(load)?, approval)?)?;
        let options = load.options()?;
        let options = match dump {
            Some(dump) => options.core_dump(dump),
            None => options,
        };
        self.load_with(plugin, load, options, builder)
    }

    /// The same on such a host.
    fn load_on(&self, plugin: &Path, load: &Load, builder: HostBuilder) -> Result<Plugin, Error> {
        self.load_with(plugin, load, load.options()?, builder)
    }

    /// The same with these options.
    fn load_with(
        &self,
        plugin: &Path,
        load: &Load,
        options: LoadOptions,
        builder: HostBuilder,
    ) -> Result<Plugin, Error> {
        let (_, plugin, is_path) = self.load_as(plugin, options, load.no_cache, builder)?;
        if is_path {
            self.tell_what_is_missing(&plugin);
        }
        for warning in warnings(&plugin, "--allow", &load.allowed()?) {
            self.printer.warning(&warning);
        }
        Ok(plugin)
    }

    /// The same with nothing said about it; whether the plugin was given by its path.
    fn load_as(
        &self,
        plugin: &Path,
        options: LoadOptions,
        no_cache: bool,
        builder: HostBuilder,
    ) -> Result<(Host, Plugin, bool), Error> {
        let (source, options) = self.locate(plugin, options)?;
        let path = match &source {
            Source::Path(path) => Some(path.clone()),
            _ => None,
        };
        let host = self.compiling(builder, no_cache)?;
        let message = format!("compiling {}", plugin.display());
        let plugin = spinner::while_doing(&message, self.quiet, || host.load_blocking(source, options))?;
        if let Some(path) = &path {
            refuse_namesake(self.store()?, &plugin, path)?;
        }
        Ok((host, plugin, path.is_some()))
    }

    /// Says what a plugin that nobody decided over is run without, where it goes on without it and
    /// nobody could be asked.
    fn tell_what_is_missing(&self, plugin: &Plugin) {
        if plugin.abi() != AbiId::Fledge || prompt::is_interactive() {
            return;
        }
        let policy = plugin.policy();
        let asked = plugin.manifest().map(|manifest| manifest.requests.as_slice()).unwrap_or_default();
        let asked = asked.iter().map(|request| &request.capability);
        let missing: Vec<&Capability> = asked.filter(|asked| !policy.allows(asked)).collect();
        if !missing.is_empty() {
            let names: Vec<String> = missing.iter().map(|missing| format!("`{missing}`")).collect();
            let name = airlock_host::visible(plugin.name(), false);
            let allow = airlock_host::allow_arguments(missing);
            self.printer.note(&format!("`{name}` runs without {}; `{allow}` grants it", names.join(", ")));
        }
    }

    /// The end of a verb that has no answer but that it is done.
    fn done(&self) -> Result<u8, Error> {
        match self.printer.json {
            true => self.object(true, Value::Null),
            false => Ok(0),
        }
    }

    /// The end of a verb with a JSON object for an answer. One that says that something is not
    /// well is a failure.
    fn object(&self, well: bool, fields: Value) -> Result<u8, Error> {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        self.printer.object(well, fields)?;
        Ok(u8::from(!well))
    }

    /// What a word on the command line stands for: a path when it has a slash or a file's
    /// ending, else a command of an installed plugin, else the plugin itself, else a path all the same, else
    /// a plugin in one of the operator's folders.
    fn locate(&self, plugin: &Path, options: LoadOptions) -> Result<(Source, LoadOptions), Error> {
        let path = || (Source::from(plugin), options.clone());
        let word = plugin.to_str().filter(|word| {
            let is_path = word.contains(['/', '\\']) || matches!(*word, "." | "..");
            !is_path && !word.ends_with(".wasm") && !word.ends_with(".wat")
        });
        let Some(word) = word else { return Ok(path()) };
        let store = self.store()?;
        if let Some((plugin, file)) = store.command(word)? {
            let installed = store.plugin(&plugin)?;
            let options = options.own_folder(store.own_folder(&plugin)).name(plugin);
            return Ok((self.installed(&installed, &file)?, options));
        }
        match store.plugin(word) {
            Ok(installed) => {
                let options = options.own_folder(store.own_folder(&installed.name)).name(&installed.name);
                Ok((self.installed(&installed, &installed.entry)?, options))
            }
            Err(error) if !matches!(error.kind(), ErrorKind::NotInstalled { .. }) => Err(error),
            Err(_) if plugin.exists() => Ok(path()),
            Err(error) => match self.in_folders(word) {
                Some(folder) => Ok((Source::Path(folder), options)),
                None => Err(Error::new(ErrorKind::PluginNotFound(plugin.to_owned()))
                    .with_hint(error.hint().unwrap_or("`airlock list` shows what is installed"))),
            },
        }
    }

    /// A file of an installed plugin, to be loaded.
    fn installed(&self, plugin: &Installed, file: &str) -> Result<Source, Error> {
        if let Some(folder) = &plugin.link {
            return Ok(Source::Path(folder.clone()));
        }
        let digest = plugin.files.get(file);
        let digest = digest.ok_or_else(|| Error::host(format!("`{}` has no file `{file}`", plugin.name)))?;
        Ok(Source::Package {
            name: plugin.name.clone(),
            manifest: plugin.manifest.clone(),
            wasm: self.store()?.artifact(digest)?,
        })
    }

    /// A plugin of this name in one of the folders that the operator named.
    fn in_folders(&self, name: &str) -> Option<std::path::PathBuf> {
        self.found().into_iter().find(|package| package.name() == name).map(|package| package.source().into())
    }

    /// The plugins in the folders that the operator named. What has no manifest is passed over,
    /// and what cannot be read with a warning.
    fn found(&self) -> Vec<Package> {
        let limits = Limits::default().with(&self.config.limits());
        let mut found = Vec::new();
        for folder in &self.config.folders {
            let entries = match std::fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.printer.warning(&format!("cannot look into `{}`: {error}", folder.display()));
                    continue;
                }
            };
            let paths = entries.flatten().map(|entry| entry.path());
            let mut folders: Vec<_> = paths.filter(|path| path.is_dir()).collect();
            folders.sort();
            for folder in folders {
                match Package::read(&folder, &limits) {
                    Ok(package) if package.manifest().is_some() => found.push(package),
                    Err(error) if !matches!(error.kind(), ErrorKind::NoManifest(_)) => {
                        self.printer.warning(&format!("`{}`: {error}", folder.display()));
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

/// Refuses a plugin from `path` that is granted something under the name of an installed one
/// without being it: what is kept and configured for a plugin, and decisions that outlive
/// an update, go by its name, and a manifest can claim any.
fn refuse_namesake(store: &Store, plugin: &Plugin, path: &Path) -> Result<(), Error> {
    let name = plugin.name();
    let baseline = plugin.baseline();
    // What every plugin of its ABI has reaches nothing of the installed one, but for what goes by a name.
    let by_name = |kind: CapabilityKind| matches!(kind, CapabilityKind::Kv | CapabilityKind::Config);
    let is_harmless = |kind: CapabilityKind| baseline.contains(&kind) && !by_name(kind);
    if plugin.policy().allowed().all(|capability| is_harmless(capability.kind())) {
        return Ok(());
    }
    let installed = match store.plugin(name) {
        Ok(installed) => installed,
        Err(error) if matches!(error.kind(), ErrorKind::NotInstalled { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let is_it = match &installed.link {
        Some(folder) => path
            .canonicalize()
            .and_then(|path| Ok(path.starts_with(folder.canonicalize()?)))
            .unwrap_or_default(),
        None => installed.files.values().any(|digest| *digest == plugin.digest()),
    };
    if is_it {
        return Ok(());
    }
    let quoted = airlock_host::shell_quoted(name);
    Err(Error::new(ErrorKind::AlreadyInstalled(name.to_owned())).with_hint(format!(
        "this is another, and what is kept for a plugin goes by its name: `--name` gives it one of its \
         own, `airlock update {quoted} SOURCE` puts it in the place of the installed one"
    )))
}

/// The login at the terminal that this process belongs to. A number of a process is given
/// out again; with the time that process began it is not.
///
/// A leader outside the container that this process is in has the number 0 here. What such
/// processes share is the container, so for them the session is as long as its first process.
#[cfg(target_os = "linux")]
fn login_session() -> String {
    // Not through rustix, for which a leader that is out of sight is a broken kernel.
    let leader = stat_field("self", 6).unwrap_or_default();
    let seen = if leader == "0" { "1" } else { leader.as_str() };
    format!("login {leader} {}", stat_field(seen, 22).unwrap_or_default())
}

/// The login at the terminal that this process belongs to.
#[cfg(not(target_os = "linux"))]
fn login_session() -> String {
    format!("login {}", rustix::process::getsid(None).map_or(0, |pid| pid.as_raw_nonzero().get()))
}

/// A field of a process's `stat`, by its number in proc(5), from 3.
#[cfg(target_os = "linux")]
fn stat_field(process: &str, number: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(number - 3).map(str::to_owned)
}
