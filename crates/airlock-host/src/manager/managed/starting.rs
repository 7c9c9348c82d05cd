//! Starting a managed plugin, stopping it, and stopping it when nobody calls it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_core::{Error, Result};
use quanta::Instant as Moment;

use super::calling::Running;
use super::{Managed, PluginState};
use crate::bounded::block_on;
use crate::cancel::CallOptions;
use crate::manager::Happened;
use crate::manager::life::{Asked, End};
use crate::session::{Manner, Session};
use crate::store::{Account, after};

impl Managed {
    pub(super) async fn close_session(&self, session: Box<Session>) {
        if let Err(error) = session.close().await {
            self.cleanup_failed(&error);
        }
    }

    pub(super) fn close_session_blocking(&self, session: Session) {
        if let Err(error) = session.close_blocking() {
            self.cleanup_failed(&error);
        }
    }

    pub(in crate::manager) fn cleanup_failed(&self, error: &Error) {
        tracing::debug!(plugin = %self.0.name, %error, "clean-up failed");
        self.0.bus.tell(&self.0.name, || Happened::CleanUpFailed { reason: error.to_string() });
    }

    /// Starts it where it keeps state and has not been started.
    ///
    /// # Errors
    /// As [`Managed::invoke`], from instantiating and initialising.
    pub async fn start(&self) -> Result<()> {
        let options = &CallOptions::new();
        self.start_in(Manner { awaited: true, options, inside: None }).await
    }

    /// [`Managed::start`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Managed::start`] and [`Plugin::call_blocking`](crate::Plugin::call_blocking).
    pub fn start_blocking(&self) -> Result<()> {
        let awaited = self.0.current.load().plugin.needs_fiber()?;
        let options = &CallOptions::new();
        block_on(pin!(self.start_in(Manner { awaited, options, inside: None })))
    }

    pub(super) async fn start_in(&self, manner: Manner<'_>) -> Result<()> {
        if !self.0.current.load().keeps_state {
            return Ok(());
        }
        let (running, session) = self.enter(manner, &mut Account::default()).await?;
        let was = running.was();
        let left = running.end(Some(session), End::Unharmed, Moment::now());
        self.changed(was.map(|was| (was, PluginState::Ready)));
        if let Some(left) = left {
            self.close_session(left).await;
        }
        Ok(())
    }

    /// Ends its session, once the call that runs in it has ended. What it kept is gone. Does
    /// nothing where there is none.
    ///
    /// # Errors
    /// Where that call did not end in time. A plugin whose clean-up fails has stopped all the
    /// same, which is told as [`Happened::CleanUpFailed`].
    pub async fn stop(&self) -> Result<()> {
        if !self.0.current.load().keeps_state {
            return Ok(());
        }
        let options = &CallOptions::new();
        let manner = Manner { awaited: true, options, inside: None };
        let mut turn = self.turn(manner, &mut Account::default()).await?;
        let was = turn.state();
        let session = turn.session();
        let running = Running { managed: self, turn: Some(turn) };
        if let Some(session) = session {
            // The next call waits until it has cleaned up.
            self.close_session(session).await;
        }
        running.end(None, End::Stopped, Moment::now());
        self.changed(Some((was, PluginState::Stopped)));
        Ok(())
    }

    /// Ends its session and starts it afresh, whatever its [`CrashPolicy`](crate::manager::CrashPolicy) is, and forgets its
    /// crashes.
    ///
    /// # Errors
    /// As [`Managed::stop`] and [`Managed::start`].
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.changed(self.0.life.forgive(self.0.current.load().keeps_state));
        self.start().await
    }

    pub(super) fn watch_idle(&self) {
        if self.settings().idle.is_some() && self.0.life.wants_watch() {
            self.look_later();
        }
    }

    /// Looks whether it is idle, once it can be.
    pub(super) fn look_later(&self) {
        let Some(limit) = self.settings().idle else { return self.0.life.unwatched() };
        let rest = self.0.life.idle().map_or(limit, |idle| limit.saturating_sub(idle));
        let managed = Arc::downgrade(&self.0);
        self.0.keeper.at(after(Instant::now(), rest), move || {
            if let Some(managed) = managed.upgrade() {
                Managed(managed).look();
            }
        });
    }

    /// Stops a session that was not called for as long as it may.
    pub(super) fn look(&self) {
        let (limit, life) = (self.settings().idle, &self.0.life);
        match (limit, life.idle()) {
            (Some(limit), Some(idle)) if idle >= limit => {
                life.unwatched();
                self.stop_idle(limit);
            }
            (Some(_), _) if life.has_session() => self.look_later(),
            // Whoever starts it again has it watched again.
            _ => life.unwatched(),
        }
    }

    pub(super) fn stop_idle(&self, limit: Duration) {
        let Asked::Turn(mut turn) = self.0.life.ask() else { return };
        let Some(session) = turn.session() else { return turn.pass() };
        let running = Running { managed: self, turn: Some(turn) };
        let idle_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.0.bus.tell(&self.0.name, || Happened::Idle { idle_ms });
        self.close_session_blocking(*session);
        running.end(None, End::Stopped, Moment::now());
        self.changed(Some((PluginState::Ready, PluginState::Stopped)));
    }
}
