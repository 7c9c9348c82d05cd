//! Mail for guests: JSON in, JSON out, as PRX's plugin asks and is answered.

use airlock_core::{MailAnswer, MailError, MailRequest, MailTool, Need};

use crate::store::CallState;

/// Does what a guest asks of its mail. `network` is whether the guest itself would have servers spoken
/// to; the host's own switch is asked as well.
///
/// # Errors
/// The answer of a request that failed, with why. Both answers are JSON.
pub(crate) async fn use_mail(
    state: &mut CallState,
    tool: MailTool,
    arguments: &str,
    network: bool,
) -> Result<String, (String, MailError)> {
    match perform(state, tool, arguments, network).await {
        Ok(answer) => Ok(answer.to_json_text()),
        Err(error) => Err((error.to_json(tool).to_string(), error)),
    }
}

async fn perform(
    state: &mut CallState,
    tool: MailTool,
    arguments: &str,
    network: bool,
) -> Result<MailAnswer, MailError> {
    let request = MailRequest::read(tool, arguments)?;
    if tool.needs_network() && !(network && state.services().mail_network) {
        state.refuse(Need::Kind(tool.kind()));
        return Err(MailError::network_off());
    }
    let permit = state.permit(Need::Kind(tool.kind()))?;
    let mail = state.services().mail.clone();
    Ok(match &request {
        MailRequest::Sync(request) => MailAnswer::Synced(mail.sync(&permit, request).await?),
        MailRequest::List(request) => MailAnswer::Listed(mail.list(&permit, request).await?),
        MailRequest::Get(request) => MailAnswer::Gotten(Box::new(mail.get(&permit, request).await?)),
        MailRequest::Search(request) => MailAnswer::Searched(mail.search(&permit, request).await?),
        MailRequest::Send(request) => MailAnswer::Sent(mail.send(&permit, request).await?),
        MailRequest::Reply(request) => MailAnswer::Replied(mail.reply(&permit, request).await?),
    })
}
