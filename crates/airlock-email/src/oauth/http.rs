//! Requests to a provider of tokens.

use std::sync::Arc;
use std::time::Duration;

use airlock_core::MailError;
use oauth2::{HttpRequest, HttpResponse};
use rustls::ClientConfig;

use crate::imap::{broken, refused};
use crate::{Connector, Stop};

/// Bytes of an answer.
const ANSWER: usize = 256 << 10;

/// Sends requests, each in a thread with a runtime of its own: there are few, and whoever waits
/// for one may be in another runtime.
pub(super) struct Http {
    tls: Arc<ClientConfig>,
    patience: Duration,
    stop: Stop,
}

impl Http {
    pub(super) fn new(connector: &Connector, stop: &Stop) -> Result<Self, MailError> {
        Ok(Http { tls: connector.tls_config()?, patience: connector.patience(), stop: stop.clone() })
    }

    pub(super) fn send(&self, request: HttpRequest) -> Result<HttpResponse, MailError> {
        if self.stop.is_stopped() {
            return Err(broken(&"it was stopped"));
        }
        in_runtime(self.exchange(request))?
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, MailError> {
        // Its address is all that an error may repeat.
        let failed =
            |error: reqwest::Error| broken(&format!("the provider of tokens: {}", error.without_url()));
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*self.tls).clone())
            // A provider that leads elsewhere would have the secrets go there.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(self.patience)
            .build()
            .map_err(failed)?;
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let mut answer = client.execute(request).await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER {
                return Err(refused("the provider of tokens says too much"));
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = HttpResponse::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}

/// Runs a future to its end in a thread with a runtime.
pub(super) fn in_runtime<T: Send>(future: impl Future<Output = T> + Send) -> Result<T, MailError> {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(future))
        };
        let ran = scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        ran.map_err(|error| broken(&error))
    })
}
