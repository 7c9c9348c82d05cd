//! `poll_oneoff`: waiting for clocks and for standard streams.
//!
//! Ours and not wasmtime-wasi's, because a sleep must pass at once on a virtual clock,
//! end at the deadline on a real one, and need no timer of the embedder's runtime.

use std::time::Instant;

use airlock_core::CapabilityKind;
use wasmtime_wasi::p1::types::{
    Clockid, Errno, Error, Event, EventFdReadwrite, Eventrwflags, Eventtype, Subclockflags, Subscription,
    SubscriptionU, Userdata,
};
use wiggle::{GuestMemory, GuestPtr};

use super::clocks::{Until, Which};
use crate::bounded::sleep_until;
use crate::store::CallState;

/// Subscriptions one call may have: more than any libc makes.
const MAX_SUBSCRIPTIONS: u32 = 1024;

/// A clock that is waited for.
struct Sleep {
    userdata: Userdata,
    which: Which,
    until: Until,
}

pub(super) async fn poll_oneoff(
    state: &mut CallState,
    memory: &mut GuestMemory<'_>,
    subscriptions: GuestPtr<Subscription>,
    events: GuestPtr<Event>,
    count: u32,
) -> Result<u32, Error> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval.into());
    }
    let mut sleeps = Vec::new();
    let mut ready = Vec::new();
    for subscription in subscriptions.as_array(count).iter() {
        let subscription = memory.read(subscription?)?;
        let userdata = subscription.userdata;
        match subscription.u {
            SubscriptionU::Clock(clock) => {
                let which = which_clock(clock.id)?;
                let until = match clock.flags.contains(Subclockflags::SUBSCRIPTION_CLOCK_ABSTIME) {
                    true => Until::At(clock.timeout),
                    false => Until::After(clock.timeout),
                };
                sleeps.push(Sleep { userdata, which, until });
            }
            // Nothing that a guest has blocks it for long: files never do, and input is bytes
            // at hand or a reader whose first read waits within the deadline.
            SubscriptionU::FdRead(fd) => {
                ready.push(ready_event(state, userdata, Eventtype::FdRead, fd.file_descriptor.into()));
            }
            SubscriptionU::FdWrite(fd) => {
                ready.push(ready_event(state, userdata, Eventtype::FdWrite, fd.file_descriptor.into()));
            }
        }
    }
    if ready.is_empty() {
        ready = wait(state, sleeps).await;
    }
    let mut at = events;
    for event in &ready {
        memory.write(at, event.clone())?;
        at = at.add(1)?;
    }
    Ok(u32::try_from(ready.len()).unwrap_or(MAX_SUBSCRIPTIONS))
}

/// Waits for the earliest of `sleeps` and returns the event of each that is over.
async fn wait(state: &mut CallState, sleeps: Vec<Sleep>) -> Vec<Event> {
    let real = state.may_use(CapabilityKind::Clock);
    let clocks = &mut state.wasi.clocks;
    let rests: Vec<u64> = sleeps.iter().map(|sleep| clocks.rest(sleep.which, sleep.until, real)).collect();
    let Some(earliest) = rests.iter().min() else { return Vec::new() };
    let over = || sleeps.iter().zip(&rests).filter(|(_, rest)| *rest == earliest).map(|(sleep, _)| sleep);
    if let Some(first) = over().next() {
        match real {
            true => match clocks.wake_at(first.which, first.until) {
                Some(at) if at > Instant::now() => sleep_until(at).await,
                Some(_) => {}
                // Longer than time can be told: the call's deadline ends it.
                None => std::future::pending().await,
            },
            false => clocks.pass(first.which, first.until),
        }
    }
    over().map(|sleep| event(sleep.userdata, Errno::Success, Eventtype::Clock, 0)).collect()
}

/// The clock with this id; the CPU-time clocks are not to be had.
pub(super) fn which_clock(id: Clockid) -> Result<Which, Error> {
    match id {
        Clockid::Realtime => Ok(Which::Realtime),
        Clockid::Monotonic => Ok(Which::Monotonic),
        Clockid::ProcessCputimeId | Clockid::ThreadCputimeId => Err(Errno::Badf.into()),
    }
}

fn ready_event(state: &mut CallState, userdata: Userdata, kind: Eventtype, fd: u32) -> Event {
    let is_stream = match kind {
        Eventtype::FdRead => fd == 0,
        _ => fd == 1 || fd == 2,
    };
    let files = state.wasi_files();
    let error = match files.check(fd) {
        Ok(()) if is_stream || files.file(fd).is_some() => Errno::Success,
        Ok(()) => Errno::Badf,
        Err(error) => error,
    };
    event(userdata, error, kind, 1)
}

fn event(userdata: Userdata, error: Errno, type_: Eventtype, nbytes: u64) -> Event {
    Event { userdata, error, type_, fd_readwrite: EventFdReadwrite { nbytes, flags: Eventrwflags::empty() } }
}
