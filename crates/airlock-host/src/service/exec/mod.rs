//! Programs of the machine for guests.
//!
//! A program that is run is outside of the sandbox: it does whatever this user may do. So
//! which one is run, and with what around it, is the grant's to say and never the guest's.
//! What a guest may choose are the arguments as far as the grant leaves them open, standard
//! input, and a folder that it was given.

mod locate;
mod surroundings;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use airlock_core::{
    Ended, Exec, LimitKind, Need, OutputSink, Permit, ProgramRun, ServiceError, ServiceFuture,
};

use super::process::{self, Cgroups, Launch};

pub(super) use surroundings::Surroundings;

pub(crate) use locate::located;
pub use locate::{SearchPath, locate, normalised};

/// What runs programs: the [`Exec`] that comes with Airlock.
///
/// # Which
/// A name stands for what [`locate()`] found when the policy was decided, and for nothing else;
/// only under `exec=*` is it looked up when it is run. A program that the plugin could have
/// written itself, as it lies in a folder that `fs.write` gives it, is refused. No shell sees
/// the arguments, unless the program that was granted is one.
///
/// # With what
/// Of this process's environment a program gets the locale (`LANG`, `LANGUAGE`, `LC_*`) and
/// the absolute folders of `PATH`, without those the plugin may write to; it gets no other
/// open files than its three, and those that this process leaves open for whatever it starts. A variable that the guest sets needs `env=NAME`, as many change
/// what a program does: `LD_PRELOAD`, `GIT_SSH_COMMAND`. So `env=*` beside `exec` lets a plugin
/// run whatever it can bring to the disk. It is run in the folder that the plugin is run in,
/// or in one that the plugin may read.
///
/// A program may well be told by files what to do, as `git` and `make` are. Who grants `exec`
/// of these and `fs.write` of the folder they are run in has granted any program.
///
/// # How it ends
/// A program and everyone in its process group are killed at the end of the call, at
/// [`LimitKind::ProgramTime`] or its own timeout, past [`LimitKind::ProgramOutput`], when the
/// future is dropped, and when its first process has ended. One that moves to another
/// process group or session (`setsid`) is out of reach, unless there is a
/// [control group](Programs::cgroup). It is in the terminal's session: it is no job of the
/// foreground there, so reading stops it, but it can write. When this process is killed
/// itself, programs go on.
#[derive(Debug, Clone)]
pub struct Programs {
    search: SearchPath,
    cgroups: Option<Arc<Cgroups>>,
}

impl Default for Programs {
    fn default() -> Self {
        Programs::new()
    }
}

impl Programs {
    /// On the path of this process.
    pub fn new() -> Self {
        Programs { search: SearchPath::of_process(), cgroups: None }
    }

    /// On this path, which programs get as well.
    #[must_use]
    pub fn search(mut self, search: SearchPath) -> Self {
        self.search = search;
        self
    }

    /// Runs each program in a control group of its own, made below this folder and removed
    /// afterwards, so that none of the processes it starts can get away.
    ///
    /// The folder is one of the version 2 hierarchy that this process may write to, on Linux
    /// 5.14 or newer; systemd gives one with `Delegate=yes`. Programs are started through
    /// `/bin/sh`, which enters the group and becomes the program; some shells add variables
    /// such as `PWD` and `SHLVL`.
    #[must_use]
    pub fn cgroup(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cgroups = Some(Cgroups::new(folder.into()));
        self
    }

    fn launch(&self, permit: &Permit, run: &ProgramRun) -> Result<Launch, ServiceError> {
        permit.check()?;
        let surroundings = Surroundings::of(permit);
        let program = self.program(permit, run, &surroundings)?;
        let now = Instant::now();
        let most = permit.limits().time(LimitKind::ProgramTime);
        let time = run.timeout.map_or(most, |timeout| timeout.min(most));
        Ok(Launch {
            program,
            args: run.args.iter().map(Into::into).collect(),
            env: surroundings.env(&self.search, &run.env)?,
            folder: surroundings.folder(run.folder.as_deref())?,
            stdin: run.stdin.clone(),
            output: permit.limits().value(LimitKind::ProgramOutput),
            until: now.checked_add(time).unwrap_or_else(|| permit.deadline()),
            deadline: permit.deadline(),
            cgroups: self.cgroups.clone(),
        })
    }

    /// The program's path, when the plugin may run it.
    fn program(
        &self,
        permit: &Permit,
        run: &ProgramRun,
        surroundings: &Surroundings<'_>,
    ) -> Result<PathBuf, ServiceError> {
        let policy = permit.policy();
        // Whoever made the permit has asked this. A program must not depend on it.
        if !policy.meets(run.need()) {
            return Err(ServiceError::Denied(run.need().capability()));
        }
        let missing = || ServiceError::NotFound(format!("program `{}`", run.program));
        let known = policy.program(&run.program);
        let path = match known.starts_with('/') {
            true => locate::in_real_folder(known.as_ref()),
            false => self.search.find(known),
        };
        let path = path.filter(|path| locate::is_program(path)).ok_or_else(missing)?;
        // What was not there when the policy was decided is not what was granted by its name.
        let text = path.to_str().ok_or_else(missing)?;
        if !policy.meets(Need::Program { program: text, args: &run.args }) {
            return Err(missing());
        }
        match surroundings.can_write(&path) {
            false => Ok(path),
            true => Err(ServiceError::Failed(format!(
                "`{}` is not run: the plugin may write to it, so it may be the plugin's own",
                run.program
            ))),
        }
    }
}

impl Exec for Programs {
    fn run<'a>(
        &'a self,
        permit: &'a Permit,
        run: &'a ProgramRun,
        sink: &'a mut OutputSink<'a>,
    ) -> ServiceFuture<'a, Ended> {
        Box::pin(async move {
            let launch = self.launch(permit, run)?;
            tracing::debug!(program = %launch.program.display(), "run");
            process::run(launch, sink).await
        })
    }
}
