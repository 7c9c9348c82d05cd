//! What plugins want done by their host, done under their capabilities.

use std::time::Duration;

use airlock_core::{HttpRequest, ServiceError};

use super::super::{Fetched, fetch};
use super::wire::{Effect, EffectResult, HttpResponse};
use crate::store::CallState;

/// Does it, within the call's deadline, which whoever awaits this keeps.
///
/// # Errors
/// What ends the call.
pub(super) async fn perform(state: &mut CallState, effect: Effect) -> wasmtime::Result<EffectResult> {
    state.enter_host("plugin_resume")?;
    match effect {
        Effect::Sleep { duration_ms, .. } => {
            let duration = Duration::from_millis(duration_ms);
            state.sleep(duration).await;
            Ok(EffectResult::SleepComplete)
        }
        Effect::HttpGet { url, headers, .. } => http(state, "GET", &url, &headers, None, String::new()).await,
        Effect::HttpPost { url, body, content_type, headers, .. } => {
            http(state, "POST", &url, &headers, content_type.as_deref(), body).await
        }
    }
}

async fn http(
    state: &mut CallState,
    method: &str,
    url: &str,
    headers: &[(String, String)],
    content_type: Option<&str>,
    body: String,
) -> wasmtime::Result<EffectResult> {
    let request = HttpRequest::new(method, url).and_then(|mut request| {
        let kind = content_type.map(|kind| ("content-type", kind));
        let own = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in kind.into_iter().chain(own) {
            request = request.header(name, value.as_bytes())?;
        }
        Ok(request.body(body))
    });
    let answer = match request {
        Ok(request) => send(state, request).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(response) => Ok(EffectResult::Http(response)),
        Err(error) => {
            state.tell("plugin_resume", &error)?;
            Ok(EffectResult::Error(error.to_string()))
        }
    }
}

async fn send(state: &mut CallState, request: HttpRequest) -> Result<HttpResponse, ServiceError> {
    let Fetched { status, headers, body } = fetch(state, request).await?;
    match String::from_utf8(body.into()) {
        Ok(body) => Ok(HttpResponse { status, body, headers: headers.into_iter().collect() }),
        // It has no other form of a body.
        Err(_) => Err(ServiceError::Failed("the answer is no UTF-8 text".to_owned())),
    }
}
