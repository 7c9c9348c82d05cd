//! `prx:host/websocket-outbound`: there for components that import it, and nothing behind it.

use wasmtime::component::LinkerInstance;

use super::{Guest, enter};
use crate::abi::Dialect;
use crate::store::CallState;

fn unsupported<T>() -> (Result<T, String>,) {
    (Err("websocket-outbound is not supported by this host".to_owned()),)
}

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, _dialect: Dialect) -> wasmtime::Result<()> {
    interface.func_wrap("connect", |mut guest: Guest<'_>, (_url,): (String,)| {
        enter(&mut guest, "websocket-outbound.connect").map(|()| unsupported::<u64>())
    })?;
    interface.func_wrap("send", |mut guest: Guest<'_>, (_session, _message): (u64, String)| {
        enter(&mut guest, "websocket-outbound.send").map(|()| unsupported::<()>())
    })?;
    interface.func_wrap("receive", |mut guest: Guest<'_>, (_session,): (u64,)| {
        enter(&mut guest, "websocket-outbound.receive").map(|()| unsupported::<String>())
    })?;
    interface.func_wrap("close", |mut guest: Guest<'_>, (_session,): (u64,)| {
        enter(&mut guest, "websocket-outbound.close").map(|()| unsupported::<()>())
    })
}
