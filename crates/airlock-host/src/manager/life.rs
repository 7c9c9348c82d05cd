//! The session that a managed plugin lives in, whose turn it is there, and how it fares.
//!
//! Everything is behind one lock that is held for moments: who has the turn has the session
//! out of it. The turn is handed to the next in line without ever being free, so that calls
//! come in the order in which they asked.
//!
//! When other bytes take the plugin's place, a new era begins: a turn of the one before goes on
//! by itself, and what comes of it is nobody's concern here any more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use airlock_core::{Error, ErrorKind, LimitKind, Phase};
use quanta::Instant as Moment;
use tokio::sync::oneshot;

use super::{CrashPolicy, PluginState};
use crate::session::Session;
use crate::store::after;

/// How a plugin fares.
pub(super) struct Life {
    living: Mutex<Living>,
    /// Whether it has to be looked at before a call of a plugin that keeps no state.
    unwell: AtomicBool,
}

struct Living {
    session: Option<Box<Session>>,
    /// Whether somebody has the turn.
    taken: bool,
    /// Tells turns of bytes that were replaced.
    era: u64,
    /// They are told in which era the turn is theirs.
    line: VecDeque<oneshot::Sender<u64>>,
    /// Whether no call begins any more.
    closed: bool,
    stage: Stage,
    /// Crashes since a call last succeeded.
    crashes: u32,
    /// Before when it is not started again.
    rests_until: Option<Instant>,
    used_at: Moment,
    /// Whether somebody looks in from time to time whether it is idle.
    watched: bool,
}

/// A state, but for running.
#[derive(Debug, Clone)]
enum Stage {
    Created,
    Ready,
    Stopped,
    Failed {
        reason: String,
        /// Whether that was a crash, which the [`CrashPolicy`] is for.
        crashed: bool,
    },
}

impl Stage {
    fn state(&self) -> PluginState {
        match self {
            Stage::Created => PluginState::Created,
            Stage::Ready => PluginState::Ready,
            Stage::Stopped => PluginState::Stopped,
            Stage::Failed { reason, .. } => PluginState::Failed(reason.clone()),
        }
    }
}

/// What asking for the turn came to.
pub(super) enum Asked<'a> {
    Turn(Turn<'a>),
    /// Somebody else has it.
    Wait(InLine<'a>),
    /// No call begins here any more.
    Closed,
}

/// The turn, with the session where there is one. Given up when dropped, and the session with
/// it.
pub(super) struct Turn<'a> {
    life: &'a Life,
    era: u64,
    session: Option<Box<Session>>,
    /// Whether somebody was told that it runs.
    is_told: bool,
    ended: bool,
}

/// A place in the line, given up when dropped.
pub(super) struct InLine<'a> {
    life: &'a Life,
    served: oneshot::Receiver<u64>,
    /// Whether what was served has been taken.
    is_done: bool,
}

/// What was there before a change, and what is there now.
pub(super) type Change = (PluginState, PluginState);

/// How a turn has ended.
pub(super) enum End {
    /// The session goes on.
    Well,
    /// The same after a call that failed without harm.
    Unharmed,
    /// The session has ended, as was wished.
    Stopped,
    /// The session is lost.
    Lost { reason: String, crashed: bool },
}

/// How long a plugin is left alone after its crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) crashes: u32,
    /// None where it is not started again by itself.
    pub(super) time: Option<Duration>,
}

impl Life {
    pub(super) fn new(keeps_state: bool) -> Self {
        let living = Living {
            session: None,
            taken: false,
            era: 0,
            line: VecDeque::new(),
            closed: false,
            stage: if keeps_state { Stage::Created } else { Stage::Ready },
            crashes: 0,
            rests_until: None,
            used_at: Moment::now(),
            watched: false,
        };
        Life { living: Mutex::new(living), unwell: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Living> {
        // What is in it is whole between any two statements.
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn, or a place in the line for it.
    pub(super) fn ask(&self) -> Asked<'_> {
        let mut living = self.lock();
        if living.closed {
            return Asked::Closed;
        }
        if living.taken {
            let (sender, served) = oneshot::channel();
            living.line.push_back(sender);
            return Asked::Wait(InLine { life: self, served, is_done: false });
        }
        living.taken = true;
        let (era, session) = (living.era, living.session.take());
        Asked::Turn(Turn { life: self, era, session, is_told: false, ended: false })
    }

    /// The state, told as it is seen from outside.
    pub(super) fn state(&self) -> PluginState {
        let living = self.lock();
        match living.taken {
            true => PluginState::Running,
            false => living.stage.state(),
        }
    }

    /// No call begins here any more, and those that wait are sent away. Gives the session, where no
    /// call runs in it; one that runs ends it.
    pub(super) fn close(&self) -> Option<Box<Session>> {
        let mut living = self.lock();
        living.closed = true;
        living.line.clear();
        living.session.take()
    }

    /// Other bytes have taken the plugin's place: whoever waits is called on them. Gives the
    /// session of those before, where no call runs in it; one that runs ends it.
    pub(super) fn begin_era(&self, era: u64, keeps_state: bool) -> Option<Box<Session>> {
        let mut living = self.lock();
        living.era = era;
        living.stage = if keeps_state { Stage::Created } else { Stage::Ready };
        (living.crashes, living.rests_until) = (0, None);
        self.unwell.store(false, Ordering::Relaxed);
        let session = living.session.take();
        if living.taken {
            living.pass_on();
        }
        session
    }

    /// The error of a plugin that is not to be started, or not yet.
    pub(super) fn refuse(&self, plugin: &str, policy: CrashPolicy) -> Result<(), Error> {
        let living = self.lock();
        let Stage::Failed { reason, crashed: true } = &living.stage else { return Ok(()) };
        let rest = match (policy, living.rests_until) {
            (CrashPolicy::Restart, _) => return Ok(()),
            (CrashPolicy::Fail, _) => None,
            (CrashPolicy::BackOff { .. }, None) => return Ok(()),
            (CrashPolicy::BackOff { .. }, Some(until)) => {
                match until.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => return Ok(()),
                    rest => Some(rest),
                }
            }
        };
        let (plugin, reason) = (plugin.to_owned(), reason.clone());
        Err(Error::new(ErrorKind::Crashed { plugin, reason, rest }))
    }

    /// Whether a session that is started now follows a crash, and so many of them.
    pub(super) fn crashes(&self) -> Option<u32> {
        let living = self.lock();
        matches!(living.stage, Stage::Failed { crashed: true, .. }).then_some(living.crashes)
    }

    /// Forgets what failed, so that the next call starts it, or calls one that keeps no state.
    pub(super) fn forgive(&self, keeps_state: bool) -> Option<Change> {
        let mut living = self.lock();
        (living.rests_until, living.crashes) = (None, 0);
        self.unwell.store(false, Ordering::Relaxed);
        match living.stage {
            Stage::Failed { .. } => {
                Some(living.change_to(if keeps_state { Stage::Stopped } else { Stage::Ready }))
            }
            _ => None,
        }
    }

    /// Whether a plugin that keeps no state may have to be left alone.
    #[inline]
    pub(super) fn is_unwell(&self) -> bool {
        self.unwell.load(Ordering::Relaxed)
    }

    /// Notes how a call of a plugin that keeps no state has ended, where that changes something.
    pub(super) fn fared(
        &self,
        era: u64,
        crash: Option<&Error>,
        policy: CrashPolicy,
    ) -> Option<(Change, Option<Rest>)> {
        let mut living = self.lock();
        if living.era != era {
            return None;
        }
        match crash {
            None => {
                (living.rests_until, living.crashes) = (None, 0);
                self.unwell.store(false, Ordering::Relaxed);
                Some((living.change_to(Stage::Ready), None))
            }
            Some(_) if policy == CrashPolicy::Restart => None,
            Some(error) => {
                let rest = living.crashed(policy);
                let change = living.change_to(Stage::Failed { reason: error.to_string(), crashed: true });
                self.unwell.store(true, Ordering::Relaxed);
                Some((change, rest))
            }
        }
    }

    /// How long the session has not been used; none where there is none, or a call runs in it.
    pub(super) fn idle(&self) -> Option<Duration> {
        let living = self.lock();
        (!living.taken && living.session.is_some()).then(|| living.used_at.elapsed())
    }

    /// Whether there is a session, or a call that may leave one.
    pub(super) fn has_session(&self) -> bool {
        let living = self.lock();
        living.taken || living.session.is_some()
    }

    /// Whether somebody is needed to look whether it is idle, who is there from now on.
    pub(super) fn wants_watch(&self) -> bool {
        !std::mem::replace(&mut self.lock().watched, true)
    }

    /// Nobody looks any more whether it is idle.
    pub(super) fn unwatched(&self) {
        self.lock().watched = false;
    }

    /// Whether a call runs, or waits.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().taken
    }
}

impl Living {
    fn change_to(&mut self, stage: Stage) -> Change {
        let to = stage.state();
        (std::mem::replace(&mut self.stage, stage).state(), to)
    }

    /// Counts a crash, and says how long to leave the plugin alone for it.
    fn crashed(&mut self, policy: CrashPolicy) -> Option<Rest> {
        let before = self.crashes;
        self.crashes = before.saturating_add(1);
        let time = match policy {
            CrashPolicy::Restart => return None,
            CrashPolicy::Fail => None,
            CrashPolicy::BackOff { first, longest } => {
                let times = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
                let rest = first.saturating_mul(times).min(longest);
                self.rests_until = Some(after(Instant::now(), rest));
                Some(rest)
            }
        };
        Some(Rest { crashes: self.crashes, time })
    }

    /// Hands the turn to the next in line.
    fn pass_on(&mut self) {
        while let Some(next) = self.line.pop_front() {
            if next.send(self.era).is_ok() {
                return;
            }
        }
        self.taken = false;
    }
}

impl<'a> Turn<'a> {
    /// The session, taken out to be called.
    #[inline]
    pub(super) fn session(&mut self) -> Option<Box<Session>> {
        self.session.take()
    }

    /// What it was before it ran, for whoever listens.
    pub(super) fn runs(&mut self) -> PluginState {
        self.is_told = true;
        self.state()
    }

    /// What it is, while nobody runs.
    pub(super) fn state(&self) -> PluginState {
        self.life.lock().stage.state()
    }

    /// Gives the turn to the next as if it had never been taken, when there was no session.
    pub(super) fn pass(mut self) {
        self.ended = true;
        let mut living = self.life.lock();
        if living.era == self.era {
            living.pass_on();
        }
    }

    /// Gives the turn back. What is returned is what has changed, how long the plugin is left
    /// alone, and the session where it is to be ended since nobody can call it any more.
    #[inline]
    pub(super) fn end(
        mut self,
        session: Option<Box<Session>>,
        end: End,
        at: Moment,
        policy: impl FnOnce() -> CrashPolicy,
    ) -> Ended {
        self.ended = true;
        let mut living = self.life.lock();
        let mut ended = Ended { rest: None, change: None, left: None };
        if living.era != self.era {
            ended.left = session;
            return ended;
        }
        match end {
            // The way of most calls.
            End::Well if living.crashes == 0 && matches!(living.stage, Stage::Ready) => {}
            End::Well => {
                (living.crashes, living.rests_until) = (0, None);
                living.stage = Stage::Ready;
            }
            End::Unharmed => living.stage = Stage::Ready,
            End::Stopped => living.stage = Stage::Stopped,
            End::Lost { reason, crashed } => {
                if crashed {
                    ended.rest = living.crashed(policy());
                }
                living.stage = Stage::Failed { reason, crashed };
            }
        }
        if self.is_told {
            ended.change = Some((PluginState::Running, living.stage.state()));
        }
        living.used_at = at;
        match living.closed {
            true => ended.left = session,
            false => living.session = session,
        }
        living.pass_on();
        ended
    }
}

/// What became of a turn.
pub(super) struct Ended {
    pub(super) change: Option<Change>,
    pub(super) rest: Option<Rest>,
    /// To be closed.
    pub(super) left: Option<Box<Session>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut living = self.life.lock();
        if living.era != self.era {
            return;
        }
        // A call that was given up, and its session with it.
        let reason = Error::new(ErrorKind::Cancelled { phase: Phase::Call }).to_string();
        living.stage = Stage::Failed { reason, crashed: false };
        living.pass_on();
    }
}

impl<'a> InLine<'a> {
    /// Waits for the turn; none where it has to be asked for again, or no call begins here any
    /// more.
    pub(super) async fn turn(mut self) -> Option<Turn<'a>> {
        let served = (&mut self.served).await;
        self.is_done = true;
        let era = served.ok()?;
        let life = self.life;
        let mut living = life.lock();
        // It was somebody else's again before this was seen.
        if living.era != era {
            return None;
        }
        let session = living.session.take();
        Some(Turn { life, era, session, is_told: false, ended: false })
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.served.close();
        let mut living = self.life.lock();
        living.line.retain(|waiting| !waiting.is_closed());
        // A turn that came when nobody waited for it any more.
        if self.served.try_recv().is_ok_and(|era| era == living.era) {
            living.pass_on();
        }
    }
}

/// Whether a call ended because of what the guest did while it ran.
pub(super) fn is_crash(error: &Error) -> bool {
    let ran = |phase: &Phase| matches!(phase, Phase::Instantiate | Phase::Initialise | Phase::Call);
    match error.kind() {
        ErrorKind::Trap { .. } | ErrorKind::BadGuest { .. } => true,
        ErrorKind::Deadline { phase, .. } => ran(phase),
        // Input is measured before anything runs, and memory may be short for others' sake.
        ErrorKind::Limit { limit: LimitKind::Input | LimitKind::HostMemory, .. } => false,
        ErrorKind::Limit { phase, .. } => ran(phase),
        _ => false,
    }
}
