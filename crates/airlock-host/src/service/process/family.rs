//! A program with the processes that it starts.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::cgroup::Cgroup;

/// A program's first process, its process group, and its control group where it has one.
///
/// Signals are sent under the lock under which the first process is reaped: until then its
/// number, which is the group's as well, is given to nobody else.
#[derive(Debug, Default)]
pub(super) struct Family(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unborn,
    Alive {
        leader: Pid,
        cgroup: Option<Cgroup>,
    },
    Over,
}

impl Family {
    /// Starts the first process, unless the family is over already.
    pub(super) fn start(
        &self,
        cgroup: Option<Cgroup>,
        start: impl FnOnce(Option<&Cgroup>) -> io::Result<Child>,
    ) -> io::Result<Option<Child>> {
        let mut state = self.lock();
        if !matches!(*state, State::Unborn) {
            return Ok(None);
        }
        let child = start(cgroup.as_ref())?;
        *state = State::Alive { leader: Pid::from_child(&child), cgroup };
        Ok(Some(child))
    }

    /// Kills everyone in it, or has it never start.
    pub(super) fn kill(&self) {
        let mut state = self.lock();
        match &*state {
            State::Unborn => *state = State::Over,
            State::Alive { leader, cgroup } => kill(*leader, cgroup.as_ref()),
            State::Over => {}
        }
    }

    /// Waits for the first process to end, kills who is left, and gives its number back.
    pub(super) fn reap(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let leader = Pid::from_child(child);
        // Left as it is until the lock is held.
        let left = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(leader), left) {}
        let mut state = self.lock();
        if let State::Alive { leader, cgroup } = &*state {
            kill(*leader, cgroup.as_ref());
        }
        let status = child.wait();
        // The control group is taken down outside of the lock, which may take some time.
        let over = std::mem::replace(&mut *state, State::Over);
        drop(state);
        drop(over);
        status
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each state is whole before it is put there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kill(leader: Pid, cgroup: Option<&Cgroup>) {
    // The group may be empty already, but for a process that was not reaped.
    let _ = kill_process_group(leader, Signal::KILL);
    if let Some(cgroup) = cgroup {
        cgroup.kill();
    }
}
