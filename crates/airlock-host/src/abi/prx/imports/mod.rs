//! `prx:host`, and PRX-Email's `prx:plugin/host-calls`: what PRX's plugins have from their host.
//!
//! Each interface is a file, with both of the types that a function may have. A plugin is told of what it
//! is not given, and goes on: none of these functions traps for that. The texts are PRX's where it has some.

mod config;
mod email;
mod events;
mod host_calls;
mod http;
mod kv;
mod log;
mod memory;
mod websocket;

use airlock_core::{PrxManifest, ServiceError};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance};

use super::VERSION;
use crate::abi::Dialect;
use crate::store::CallState;

/// The interfaces, in the order of [`LINKS`].
pub(super) const INTERFACES: [&str; 9] = [
    "prx:host/log",
    "prx:host/config",
    "prx:host/kv",
    "prx:host/http-outbound",
    "prx:host/memory",
    "prx:host/events",
    "prx:host/websocket-outbound",
    "prx:host/email",
    HOST_CALLS,
];

/// The host's tools by their names, which PRX-Email's plugin has its mail by.
pub(super) const HOST_CALLS: &str = "prx:plugin/host-calls";

type Link = fn(&mut LinkerInstance<'_, CallState>, Dialect) -> wasmtime::Result<()>;

/// What links each of them. One more interface is one more file, and one more line here and above.
const LINKS: [Link; INTERFACES.len()] = [
    log::link,
    config::link,
    kv::link,
    http::link,
    memory::link,
    events::link,
    websocket::link,
    email::link,
    host_calls::link,
];

/// Links all of them, by both of the names that they have.
pub(super) fn link(linker: &mut Linker<CallState>, dialect: Dialect) -> wasmtime::Result<()> {
    for (interface, link) in INTERFACES.iter().zip(LINKS) {
        link(&mut linker.instance(&format!("{interface}@{VERSION}"))?, dialect)?;
        link(&mut linker.instance(interface)?, dialect)?;
    }
    Ok(())
}

/// A call from the guest.
type Guest<'a> = StoreContextMut<'a, CallState>;

fn enter(guest: &mut Guest<'_>, function: &'static str) -> wasmtime::Result<()> {
    guest.data_mut().enter_host(function)
}

fn has(Dialect(bits): Dialect, bit: u8) -> bool {
    bits & bit != 0
}

/// What a plugin is told of what it was not given, in PRX's words. The call ends where it is over.
///
/// # Errors
/// What ends the call.
fn refusal(
    state: &mut CallState,
    function: &'static str,
    permission: &str,
    error: &ServiceError,
) -> wasmtime::Result<String> {
    state.tell(function, error)?;
    Ok(match error {
        ServiceError::Denied(_) => denial(state, permission),
        ServiceError::Full { needed, quota } => {
            format!("plugin KV quota exceeded: requested {needed} bytes, limit {quota} bytes")
        }
        error => error.to_string(),
    })
}

/// That a permission is not there.
fn denial(state: &CallState, permission: &str) -> String {
    let plugin = state.plugin.name();
    match prx(state).is_some_and(|prx| prx.optional.iter().any(|name| name == permission)) {
        true => format!(
            "permission '{permission}' not yet granted for plugin '{plugin}' (optional, needs approval)"
        ),
        false => format!("permission '{permission}' denied for plugin '{plugin}'"),
    }
}

/// What the plugin's manifest says.
fn prx(state: &CallState) -> Option<&PrxManifest> {
    state.plugin.manifest()?.prx.as_ref()
}
