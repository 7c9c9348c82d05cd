//! `prx:plugin/host-calls`: the host's tools by their names. Those of mail are the mail service's, all
//! others those that are registered.

use airlock_core::{CapabilityKind, MailTool, Need, ServiceError};
use serde_json::json;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower};

use super::{Guest, enter};
use crate::abi::Dialect;
use crate::service::use_mail;
use crate::store::CallState;

const EXECUTE: &str = "host-calls.execute-tool";

/// What a tool answered.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
struct HostResult {
    success: bool,
    output: String,
    error: Option<String>,
}

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, _dialect: Dialect) -> wasmtime::Result<()> {
    interface.func_wrap_async(
        "execute-tool",
        |mut guest: Guest<'_>, (tool, args, network): (String, String, bool)| {
            Box::new(async move {
                enter(&mut guest, EXECUTE)?;
                Ok((execute(guest.data_mut(), &tool, &args, network).await?,))
            })
        },
    )
}

async fn execute(
    state: &mut CallState,
    tool: &str,
    args: &str,
    network: bool,
) -> wasmtime::Result<HostResult> {
    let Some(mail) = MailTool::named(tool) else { return call_tool(state, tool, args).await };
    Ok(match use_mail(state, mail, args, network).await {
        Ok(answer) => HostResult { success: true, output: answer, error: None },
        Err((answer, error)) => {
            if let Some(cause) = error.cause() {
                state.tell(EXECUTE, cause)?;
            }
            let error = Some(error.message().to_owned());
            HostResult { success: false, output: answer, error }
        }
    })
}

/// Calls a tool that is registered. Whether it speaks with servers is between it and its own grants.
async fn call_tool(state: &mut CallState, tool: &str, args: &str) -> wasmtime::Result<HostResult> {
    match called(state, tool, args).await {
        Ok(output) => Ok(HostResult { success: true, output, error: None }),
        Err(error) => {
            state.tell(EXECUTE, &error)?;
            let message = error.to_string();
            let output = json!({ "ok": false, "tool": tool, "message": message }).to_string();
            Ok(HostResult { success: false, output, error: Some(message) })
        }
    }
}

async fn called(state: &mut CallState, tool: &str, args: &str) -> Result<String, ServiceError> {
    let permit = state.permit(Need::Name(CapabilityKind::ToolsCall, tool))?;
    state.services().tools.clone().call(&permit, tool, args).await
}
