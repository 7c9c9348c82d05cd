//! The thread that follows a program.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use airlock_core::{Ended, ServiceError, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::family::Family;
use super::{Launch, Message, too_much};

/// Bytes that are read at once: as many as a pipe of Linux holds.
const PIECE: usize = 64 << 10;

/// Bytes of an output that are still taken when the program has ended: what the largest pipe
/// of Linux holds (`/proc/sys/fs/pipe-max-size`). A process that left the family could go on
/// writing for ever.
const REST: u64 = 1 << 20;

/// How often is looked whether a program has ended, where the system does not say so.
const LOOK: Duration = Duration::from_millis(2);

/// What follows one program.
pub(super) struct Watch {
    pub(super) launch: Launch,
    pub(super) family: Arc<Family>,
    pub(super) leash: UnixStream,
    pub(super) starved: Arc<AtomicBool>,
    pub(super) output: Sender<Message>,
}

/// Why a program is not followed any further.
enum Cut {
    /// Its first process has ended.
    Left,
    /// Its own time is over.
    TimedOut,
    /// The call's time is over, or nobody waits.
    Over,
    /// It has written more than it may.
    TooMuch,
}

/// One output of the program, and what was read of it.
struct Output {
    stream: Stream,
    pipe: Option<OwnedFd>,
    taken: u64,
}

/// Its input, as far as it is not written.
struct Input {
    pipe: ChildStdin,
    bytes: Vec<u8>,
    written: usize,
}

impl Watch {
    pub(super) fn follow(mut self) {
        let end = self.run();
        // The family is over: nothing depends on whether somebody takes it.
        let _ = self.output.blocking_send(Message::End(end));
    }

    fn run(&mut self) -> Result<Ended, ServiceError> {
        let Some(mut child) = self.start()? else { return Err(ServiceError::Ended) };
        let mut outputs = [
            Output::new(Stream::Stdout, child.stdout.take()),
            Output::new(Stream::Stderr, child.stderr.take()),
        ];
        let bytes = std::mem::take(&mut self.launch.stdin);
        let input = child.stdin.take().map(|pipe| Input { pipe, bytes, written: 0 });
        let mut held = VecDeque::new();
        let cut = self.watch(&child, &mut outputs, &mut held, input);
        self.family.kill();
        let status = self.family.reap(&mut child);
        let failed =
            |error: io::Error| ServiceError::Unavailable(format!("cannot follow a program: {error}"));
        match cut.map_err(failed)? {
            Cut::Over => Err(ServiceError::Ended),
            Cut::TooMuch => Err(too_much(self.launch.output)),
            Cut::Left => {
                self.drain(&mut outputs, held)?;
                Ok(ended(status.map_err(failed)?))
            }
            Cut::TimedOut => {
                self.drain(&mut outputs, held)?;
                Ok(Ended::TimedOut)
            }
        }
    }

    fn start(&self) -> Result<Option<Child>, ServiceError> {
        let Launch { program, args, env, folder, stdin, .. } = &self.launch;
        let cgroup = self.launch.cgroups.as_ref().map(|cgroups| cgroups.make()).transpose();
        let cgroup = cgroup.map_err(|error| {
            ServiceError::Unavailable(format!("cannot make a control group for a program: {error}"))
        })?;
        let start = |cgroup: Option<&super::cgroup::Cgroup>| {
            let mut command = cgroup.map_or_else(|| Command::new(program), |group| group.command(program));
            command
                .args(args)
                .env_clear()
                .envs(env.iter().map(|(name, value)| (name, value)))
                .current_dir(&folder.entrance)
                .stdin(if stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0)
                .spawn()
        };
        self.family
            .start(cgroup, start)
            .map_err(|error| ServiceError::Failed(format!("`{}` cannot be run: {error}", program.display())))
    }

    /// Moves bytes until there is a reason to stop.
    fn watch(
        &self,
        child: &Child,
        outputs: &mut [Output; 2],
        held: &mut VecDeque<Message>,
        mut input: Option<Input>,
    ) -> io::Result<Cut> {
        let pipes = outputs.iter().filter_map(|output| output.pipe.as_ref().map(AsFd::as_fd));
        for pipe in pipes.chain(input.as_ref().map(|input| input.pipe.as_fd())) {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        let end = self.launch.until.min(self.launch.deadline);
        let exit = Exit::of(child);
        let mut buffer = vec![0; PIECE];
        loop {
            if !self.hand_over(held) {
                return Ok(Cut::Over);
            }
            let now = Instant::now();
            if now >= end {
                let own = self.launch.until < self.launch.deadline;
                return Ok(if own { Cut::TimedOut } else { Cut::Over });
            }
            // While output is not taken no more is read, so that the program waits.
            let [out, err] = [0, 1].map(|index| {
                let pipe = outputs[index].pipe.as_ref().filter(|_| held.is_empty());
                pipe.map(|pipe| (pipe.as_fd(), PollFlags::IN))
            });
            let leash = Some((self.leash.as_fd(), PollFlags::IN));
            let fed = input.as_ref().map(|input| (input.pipe.as_fd(), PollFlags::OUT));
            let [leash, left, out, err, fed] =
                wait([leash, exit.handle(), out, err, fed], exit.patience(end - now))?;

            if leash && self.is_let_go() {
                return Ok(Cut::Over);
            }
            for (output, _) in outputs.iter_mut().zip([out, err]).filter(|(_, ready)| *ready) {
                held.extend(output.read(&mut buffer)?);
                if output.taken > self.launch.output {
                    return Ok(Cut::TooMuch);
                }
            }
            if fed && input.as_mut().is_some_and(Input::feed) {
                input = None;
            }
            if left || exit.has_come(child) {
                return Ok(Cut::Left);
            }
        }
    }

    /// Hands over what there is room for; false when nobody takes it.
    fn hand_over(&self, held: &mut VecDeque<Message>) -> bool {
        let mut said = false;
        while let Some(message) = held.pop_front() {
            match self.output.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(message)) => {
                    held.push_front(message);
                    if said {
                        return true;
                    }
                    // Room that is made between the two tries is seen by the second one.
                    self.starved.store(true, Ordering::SeqCst);
                    said = true;
                }
            }
        }
        true
    }

    /// Whether the other end of the leash is closed. What was said on it is forgotten.
    fn is_let_go(&self) -> bool {
        match (&self.leash).read(&mut [0; 16]) {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    /// Hands over what was written before the end.
    fn drain(&self, outputs: &mut [Output; 2], held: VecDeque<Message>) -> Result<(), ServiceError> {
        let give = |message| self.output.blocking_send(message).map_err(|_| ServiceError::Ended);
        held.into_iter().try_for_each(give)?;
        let mut buffer = vec![0; PIECE];
        for output in outputs {
            let enough = output.taken.saturating_add(REST);
            while output.taken < enough {
                // What cannot be read is not there.
                let Ok(Some(message)) = output.read(&mut buffer) else { break };
                if output.taken > self.launch.output {
                    return Err(too_much(self.launch.output));
                }
                give(message)?;
            }
        }
        Ok(())
    }
}

impl Output {
    fn new(stream: Stream, pipe: Option<impl Into<OwnedFd>>) -> Self {
        Output { stream, pipe: pipe.map(Into::into), taken: 0 }
    }

    /// Reads what is there, once; nothing where there is nothing, or no more.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<Message>> {
        let Some(pipe) = &self.pipe else { return Ok(None) };
        match rustix::io::read(pipe, &mut *buffer) {
            Ok(0) => {
                self.pipe = None;
                Ok(None)
            }
            Ok(count) => {
                self.taken = self.taken.saturating_add(count as u64);
                Ok(Some(Message::Output(self.stream, buffer[..count].to_vec())))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Input {
    /// Writes what there is room for; true when there is no more to write, or nobody reads it.
    fn feed(&mut self) -> bool {
        match self.pipe.write(&self.bytes[self.written..]) {
            Ok(count) => {
                self.written += count;
                self.written == self.bytes.len()
            }
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }
}

/// How the end of a program's first process is noticed: by a handle that becomes readable
/// then, as Linux has had since 5.3, else by looking again and again.
struct Exit(Option<OwnedFd>);

impl Exit {
    fn of(child: &Child) -> Self {
        #[cfg(target_os = "linux")]
        let handle = {
            use rustix::process::{PidfdFlags, pidfd_open};
            pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok()
        };
        #[cfg(not(target_os = "linux"))]
        let handle = None;
        Exit(handle)
    }

    fn handle(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.0.as_ref().map(|handle| (handle.as_fd(), PollFlags::IN))
    }

    fn patience(&self, rest: Duration) -> Duration {
        if self.0.is_some() { rest } else { rest.min(LOOK) }
    }

    fn has_come(&self, child: &Child) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        // The process is left to be reaped.
        self.0.is_none() && !matches!(waitid(WaitId::Pid(Pid::from_child(child)), look), Ok(None))
    }
}

/// Waits until something of these can be done, or for so long. What is closed on the other
/// side can be done as well, and then says so.
fn wait<const COUNT: usize>(
    handles: [Option<(BorrowedFd<'_>, PollFlags)>; COUNT],
    patience: Duration,
) -> io::Result<[bool; COUNT]> {
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut polled: Vec<PollFd<'_>> =
        handles.iter().flatten().map(|(handle, flags)| PollFd::from_borrowed_fd(*handle, *flags)).collect();
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok([false; COUNT]),
        Err(error) => return Err(error.into()),
    }
    let mut results = polled.iter().map(|polled| !polled.revents().is_empty());
    Ok(handles.map(|handle| handle.is_some() && results.next().unwrap_or(false)))
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited(code),
        // What is neither cannot be: a process that was waited for has ended.
        (None, signal) => Ended::Signalled(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Exit, LOOK};

    #[test]
    fn an_end_that_the_system_does_not_say_is_found_and_left_to_be_reaped() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().expect("a shell");
        let exit = Exit(None);
        assert_eq!(exit.patience(Duration::from_secs(60)), LOOK);
        while !exit.has_come(&child) {
            std::thread::yield_now();
        }
        assert_eq!(child.wait().expect("it was ours").code(), Some(7));
    }
}
