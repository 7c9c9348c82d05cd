//! `prx:host/config`.

use wasmtime::component::LinkerInstance;

use super::{Guest, enter};
use crate::abi::Dialect;
use crate::store::CallState;

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, _dialect: Dialect) -> wasmtime::Result<()> {
    interface.func_wrap("get", |mut guest: Guest<'_>, (key,): (String,)| {
        enter(&mut guest, "config.get")?;
        let state = guest.data_mut();
        match state.config(&key) {
            Ok(value) => Ok((value,)),
            Err(error) => state.tell("config.get", &error).map(|()| (None,)),
        }
    })?;
    interface.func_wrap("get-all", |mut guest: Guest<'_>, (): ()| {
        enter(&mut guest, "config.get-all")?;
        let state = guest.data_mut();
        match state.whole_config() {
            Ok(all) => Ok((all,)),
            Err(error) => state.tell("config.get-all", &error).map(|()| (Vec::new(),)),
        }
    })
}
