//! Control groups: how processes are found that have left their process group.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long killed processes may take to leave their group before its folder is left alone.
const LEAVING: Duration = Duration::from_secs(2);

/// Enters the group of its first argument, and becomes the program of the others. A process
/// can be put into a group from outside only once it runs, and may have started others by
/// then; this one enters before there is a program.
const ENTER: &str = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;

/// A folder of control groups, version 2, that was given to this process.
#[derive(Debug)]
pub(crate) struct Cgroups {
    folder: PathBuf,
    made: AtomicU64,
}

/// The control group of one program. Dropped, everyone in it is killed, and it is removed.
#[derive(Debug)]
pub(super) struct Cgroup(PathBuf);

impl Cgroups {
    pub(crate) fn new(folder: PathBuf) -> Arc<Self> {
        Arc::new(Cgroups { folder, made: AtomicU64::new(0) })
    }

    /// A new group.
    ///
    /// # Errors
    /// Where the folder is not this process's to write to, or its kernel, older than 5.14,
    /// cannot kill a group.
    pub(super) fn make(&self) -> io::Result<Cgroup> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let group = Cgroup(self.folder.join(format!("airlock-{}-{number}", std::process::id())));
        std::fs::create_dir(&group.0)?;
        std::fs::metadata(group.0.join("cgroup.kill"))?;
        Ok(group)
    }
}

impl Cgroup {
    /// The program, started inside of the group.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args([OsStr::new("-c"), OsStr::new(ENTER), self.0.as_os_str(), program.as_os_str()]);
        command
    }

    pub(super) fn kill(&self) {
        if let Err(error) = std::fs::write(self.0.join("cgroup.kill"), "1") {
            tracing::warn!(%error, group = %self.0.display(), "cannot kill a control group");
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
        let give_up = Instant::now() + LEAVING;
        // It cannot be removed before the last of the killed is gone.
        while let Err(error) = std::fs::remove_dir(&self.0) {
            if error.kind() == io::ErrorKind::NotFound {
                return;
            }
            if Instant::now() >= give_up {
                tracing::warn!(%error, group = %self.0.display(), "cannot remove a control group");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
