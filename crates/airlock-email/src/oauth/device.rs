//! A login with another device (RFC 8628): a person types a code there.

use std::time::{Duration, Instant};

use airlock_core::{MailError, Secret};
use oauth2::StandardDeviceAuthorizationResponse;

use super::{OauthLogin, Tokens, told};

/// How long a person may take, whatever the provider says.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// What is waited between two questions at most, and how soon a stop is seen.
const PAUSE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(100);

/// What a person is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePrompt {
    /// Where to go.
    pub url: String,
    /// What to type there.
    pub code: String,
    /// Where the code is typed already, where the provider has such a place.
    pub complete_url: Option<String>,
    /// How long it is valid.
    pub lasts: Duration,
}

impl OauthLogin<'_> {
    /// Gets tokens while a person, who is told what to do, logs in with another device.
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) for a provider without it,
    /// [`MailCode::Provider`](airlock_core::MailCode::Provider) when the person or the provider
    /// says no or nothing, [`MailCode::Network`](airlock_core::MailCode::Network).
    pub fn with_device(&self, tell: impl FnOnce(&DevicePrompt)) -> Result<Tokens, MailError> {
        let client = self.provider.client(self.client_secret, None)?;
        let http = self.http()?;
        let send = |request| http.send(request);
        let asked = client
            .exchange_device_code()
            .map_err(|_| MailError::invalid("the account's provider has no login with a device"))?
            .add_scopes(self.provider.scopes())
            .request(&send);
        let asked: StandardDeviceAuthorizationResponse =
            asked.map_err(|error| told(error, &self.echo([])))?;
        tell(&DevicePrompt {
            url: asked.verification_uri().to_string(),
            code: asked.user_code().secret().clone(),
            complete_url: asked.verification_uri_complete().map(|url| url.secret().clone()),
            lasts: asked.expires_in().min(LONGEST),
        });
        let timeout = Some(asked.expires_in().min(LONGEST));
        let sleep = |pause: Duration| {
            let end = Instant::now() + pause.min(PAUSE);
            while Instant::now() < end && !self.stop.is_stopped() {
                std::thread::sleep(MOMENT.min(end.saturating_duration_since(Instant::now())));
            }
        };
        let echo = self.echo([&Secret::new(asked.device_code().secret().as_str())]);
        // A connection that breaks is tried again, and ends with the code.
        let got = client.exchange_device_access_token(&asked).request(&send, sleep, timeout);
        got.map(|answer| Tokens::of(&answer, None)).map_err(|error| told(error, &echo))
    }
}
