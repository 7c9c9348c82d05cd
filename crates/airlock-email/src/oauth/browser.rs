//! A login with a browser, which comes back to this machine with a code (RFC 8252).

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use airlock_core::{MailError, Secret};
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use oauth2::url::{Host, Url, form_urlencoded};
use oauth2::{AuthorizationCode, CsrfToken, PkceCodeChallenge};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout, timeout_at};

use super::http::in_runtime;
use super::{OauthLogin, Tokens, told};
use crate::imap::{broken, refused};

/// How long one connection with the browser may take.
const EACH: Duration = Duration::from_secs(10);

/// How soon a stop is seen.
const MOMENT: Duration = Duration::from_millis(100);

/// What the browser came back with, or why it was refused.
type Came = Mutex<Option<Result<String, MailError>>>;

impl OauthLogin<'_> {
    /// Gets tokens while a person logs in with a browser, for which `open` gets the address, and
    /// which has so long to come back.
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) for a provider without it,
    /// [`MailCode::Provider`](airlock_core::MailCode::Provider) when the person or the provider
    /// says no or nothing, [`MailCode::Network`](airlock_core::MailCode::Network).
    pub fn with_browser(&self, patience: Duration, open: impl FnOnce(&str)) -> Result<Tokens, MailError> {
        let http = self.http()?;
        let mut redirect = self.provider.redirect()?;
        let listener = listen(&redirect)?;
        let port = listener.local_addr().map_err(|error| broken(&error))?.port();
        redirect.set_port(Some(port)).map_err(|()| refused("the browser cannot come back"))?;
        let client = self.provider.client(self.client_secret, Some(redirect.clone()))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state) = client
            .authorize_url(CsrfToken::new_random)
            .map_err(|_| MailError::invalid("the account's provider has no login with a browser"))?
            .add_scopes(self.provider.scopes())
            // Without it some give no token to renew with.
            .add_extra_param("access_type", "offline")
            .set_pkce_challenge(challenge)
            .url();
        open(url.as_str());
        let code = in_runtime(self.wait(listener, redirect.path(), state.secret(), patience))??;
        let echo = self.echo([&Secret::new(code.as_str()), &Secret::new(verifier.secret().as_str())]);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(verifier)
            .request(&|request| http.send(request))
            .map_err(|error| told(error, &echo))?;
        Ok(Tokens::of(&answer, None))
    }

    /// Waits for the browser; the code that it brings.
    async fn wait(
        &self,
        listener: std::net::TcpListener,
        path: &str,
        state: &str,
        patience: Duration,
    ) -> Result<String, MailError> {
        let listener = TcpListener::from_std(listener).map_err(|error| broken(&error))?;
        let end = Instant::now() + patience;
        let came = Came::default();
        loop {
            if self.stop.is_stopped() {
                return Err(broken(&"it was stopped"));
            }
            let accepted = match timeout_at(end.min(Instant::now() + MOMENT), listener.accept()).await {
                Ok(accepted) => accepted.map_err(|error| broken(&error))?,
                Err(_) if Instant::now() >= end => {
                    return Err(refused("nobody has logged in with the browser"));
                }
                Err(_) => continue,
            };
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let answer = came_back(request.uri(), path, state);
                let (status, text) = match &answer {
                    None => (StatusCode::NOT_FOUND, "there is nothing here"),
                    Some(Ok(_)) => (StatusCode::OK, "You are logged in. This window can be closed."),
                    Some(Err(_)) => (StatusCode::BAD_REQUEST, "You are not logged in."),
                };
                if let Some(answer) = answer {
                    came.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(answer);
                }
                let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
                *response.status_mut() = status;
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(accepted.0), service);
            // One that is of no use does not keep the browser waiting.
            let _ = timeout(EACH, connection).await;
            if let Some(answer) = came.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
                return answer;
            }
        }
    }
}

/// What a request of the browser is: none of its coming back, a code, or a refusal.
fn came_back(uri: &hyper::Uri, path: &str, state: &str) -> Option<Result<String, MailError>> {
    if uri.path() != path {
        return None;
    }
    let (mut code, mut told, mut error) = (None, None, None);
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "code" => code = Some(value.into_owned()),
            "state" => told = Some(value.into_owned()),
            "error" => error = Some(value.into_owned()),
            _ => {}
        }
    }
    // Whoever does not know it is not whom this login is of.
    if told.as_deref() != Some(state) {
        return None;
    }
    match (code, error) {
        (Some(code), None) => Some(Ok(code)),
        (_, Some(error)) => {
            let error = &error[..error.floor_char_boundary(200)];
            Some(Err(refused(&format!("the provider of tokens refused: {error}"))))
        }
        (None, None) => None,
    }
}

fn listen(redirect: &Url) -> Result<std::net::TcpListener, MailError> {
    let port = redirect.port().unwrap_or(0);
    let address: SocketAddr = match redirect.host() {
        Some(Host::Ipv6(_)) => (Ipv6Addr::LOCALHOST, port).into(),
        Some(Host::Ipv4(address)) => (address, port).into(),
        _ => (Ipv4Addr::LOCALHOST, port).into(),
    };
    let listener = std::net::TcpListener::bind(address).map_err(|error| broken(&error))?;
    listener.set_nonblocking(true).map_err(|error| broken(&error))?;
    Ok(listener)
}
