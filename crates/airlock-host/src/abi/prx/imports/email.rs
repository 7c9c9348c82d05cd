//! `prx:host/email`: mail, a function for each of its tools. The interface is Airlock's own, of what
//! PRX-Email's documents draw; its plugin as it was published has `prx:plugin/host-calls`.

use airlock_core::MailTool;
use wasmtime::component::LinkerInstance;

use super::{Guest, enter};
use crate::abi::Dialect;
use crate::service::use_mail;
use crate::store::CallState;

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, _dialect: Dialect) -> wasmtime::Result<()> {
    for tool in MailTool::ALL {
        let name = tool.name();
        let function = name.split_once('.').map_or(name, |(_, function)| function);
        interface.func_wrap_async(function, move |mut guest: Guest<'_>, (request,): (String,)| {
            Box::new(async move {
                enter(&mut guest, name)?;
                let state = guest.data_mut();
                match use_mail(state, tool, &request, true).await {
                    Ok(answer) => Ok((Ok::<String, String>(answer),)),
                    Err((answer, error)) => {
                        if let Some(cause) = error.cause() {
                            state.tell(name, cause)?;
                        }
                        Ok((Err(answer),))
                    }
                }
            })
        })?;
    }
    Ok(())
}
