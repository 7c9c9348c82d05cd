//! A guest's call of a function of the application.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_core::{
    Capability, Error, Identity, LimitKind, LogLevel, Need, Permit, Policy, Result, ServiceError,
};
use wasmtime::{AsContext as _, AsContextMut as _, Caller, Memory};

use super::failure::FuncError;
use crate::abi::{Failure, allocator_of, shared_memory, with_heap};
use crate::memory::GuestMemory;
use crate::service::Services;
use crate::store::{CallState, after, explain_in};

/// A guest's call of a function of the application, while that runs.
pub struct HostCall<'a> {
    guest: Caller<'a, CallState>,
    /// The function's name, for errors.
    function: &'a str,
    /// Whether the function is one that is awaited.
    is_awaited: bool,
}

impl fmt::Debug for HostCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCall")
            .field("plugin", &self.plugin().name)
            .field("function", &self.function)
            .finish_non_exhaustive()
    }
}

impl<'a> HostCall<'a> {
    pub(super) fn new(guest: Caller<'a, CallState>, function: &'a str, is_awaited: bool) -> Self {
        HostCall { guest, function, is_awaited }
    }

    /// Counts it, and asks for what the function needs.
    #[inline]
    pub(super) fn enter(&mut self, needs: &[Capability]) -> wasmtime::Result<()> {
        self.guest.data_mut().enter_host("")?;
        for capability in needs {
            if let Err(error) = self.permit(Need::All(capability)) {
                return Err(self.failed(error.into()));
            }
        }
        Ok(())
    }

    /// What a function gave, unless something on its way has ended the call.
    #[inline]
    pub(super) fn gave<R>(&mut self, results: R) -> wasmtime::Result<R> {
        match self.guest.data().stopped() {
            None => Ok(results),
            Some(error) => Err(error),
        }
    }

    /// What ends the guest's call.
    #[cold]
    pub(super) fn failed(&mut self, error: FuncError) -> wasmtime::Error {
        let kind = error.kind(self.function);
        self.guest.data_mut().halt(kind)
    }

    /// The plugin that calls.
    pub fn plugin(&self) -> &Identity {
        self.guest.data().plugin.identity()
    }

    /// What it may do now.
    pub fn policy(&self) -> Arc<Policy> {
        self.guest.data().plugin.standing().policy()
    }

    /// Leave for the plugin to use what is needed, which is counted and recorded; what services want to see.
    ///
    /// # Errors
    /// [`ServiceError::Denied`], and [`ServiceError::Limit`] where this call has used the kind as often as
    /// it may.
    pub fn permit(&mut self, need: Need<'_>) -> Result<Permit, ServiceError> {
        self.guest.data_mut().permit(need)
    }

    /// The host's services.
    pub fn services(&self) -> &Services {
        self.guest.data().services()
    }

    /// What whoever made the call gave along for it: to this very call
    /// ([`CallOptions::data`](crate::CallOptions::data)), else to its session
    /// ([`Session::set_data`](crate::Session::set_data)). None where that is of another type.
    pub fn data<T: Any>(&self) -> Option<&T> {
        self.guest.data().data()?.downcast_ref()
    }

    /// How long the call may still take.
    pub fn remaining(&self) -> Duration {
        let state = self.guest.data();
        let deadline = state
            .deadline()
            .unwrap_or_else(|| after(Instant::now(), state.plugin.limits().time(LimitKind::Timeout)));
        deadline.saturating_duration_since(Instant::now())
    }

    /// Writes to the plugin's log, where it may ([`CapabilityKind::Log`](crate::CapabilityKind::Log)).
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) past the limit of the log, which ends the call.
    pub fn log(&mut self, level: LogLevel, message: &str) -> Result<()> {
        let logged = self.guest.data_mut().log(level, message);
        logged.map(drop).map_err(|error| self.known(error))
    }

    /// The guest's memory, as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::UnsuitableExport`](crate::ErrorKind::UnsuitableExport) when it has no 32-bit memory named `memory`.
    pub fn memory(&mut self) -> Result<GuestMemory<'_>> {
        let memory = self.find_memory()?;
        Ok(GuestMemory::new(self.guest.as_context_mut(), memory, self.function))
    }

    /// The text of `length` bytes at `pointer`, as a copy.
    ///
    /// # Errors
    /// As [`HostCall::memory`] and [`GuestMemory::text`].
    pub fn text(&mut self, pointer: u32, length: u32) -> Result<String> {
        Ok(self.memory()?.text(pointer, length)?.to_owned())
    }

    /// `length` bytes of the guest's memory: from its own allocator, for the guest to free, or where it exports
    /// none, in pages that it grows by. Only a function that is awaited can call back into the guest, so that
    /// in one that is not the guest gets pages.
    ///
    /// # Errors
    /// As [`HostCall::memory`]; [`ErrorKind::BadGuest`](crate::ErrorKind::BadGuest) when the allocator gives nothing or what is not in its
    /// memory; [`ErrorKind::Limit`](crate::ErrorKind::Limit) when there is no more memory; what else a call of it fails with.
    pub async fn allocate(&mut self, length: u32) -> Result<u32> {
        let memory = self.find_memory()?;
        let allocator = allocator_of(self.guest.data().plugin.shape(), None).filter(|_| self.is_awaited);
        let Some(allocator) = allocator else { return self.take(memory, length) };
        match allocator.take_for(&mut self.guest, memory, length).await {
            Ok(pointer) => Ok(pointer),
            Err(Failure::Known(error)) => Err(error),
            Err(Failure::Wasm(error)) => {
                // The guest is not to go on, whatever the function makes of it.
                let error = self.known(error);
                self.guest.data_mut().halt(error.kind().clone());
                Err(error)
            }
        }
    }

    fn take(&mut self, memory: Memory, length: u32) -> Result<u32> {
        let at = with_heap(&mut self.guest, |heap, guest| heap.take(memory, guest, length));
        at.ok_or_else(|| self.guest.data().no_memory(length))
    }

    fn find_memory(&mut self) -> Result<Memory> {
        let memory = shared_memory(&mut self.guest).ok_or_else(GuestMemory::missing)?;
        match memory.ty(self.guest.as_context()).is_64() {
            false => Ok(memory),
            true => Err(GuestMemory::missing()),
        }
    }

    /// The error of ours that travels in one of wasmtime's.
    fn known(&self, error: wasmtime::Error) -> Error {
        explain_in(error, self.guest.data())
    }
}
