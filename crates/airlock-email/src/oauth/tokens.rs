//! Tokens as they are got, kept and renewed.

use std::time::Duration;

use airlock_core::{MailError, Secret};
use oauth2::basic::BasicTokenResponse;
use oauth2::{RefreshToken, TokenResponse as _};
use serde::{Deserialize, Serialize};

use super::{OauthLogin, told};
use crate::db::now;
use crate::echo::Echo;

/// Seconds before its end when a token is renewed (PRX's).
const EARLY: i64 = 60;

/// What a provider gave for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// What servers take.
    pub access: Secret,
    /// What the next one is got with.
    pub refresh: Option<Secret>,
    /// When servers do not take it any more, in Unix seconds, where the provider says so.
    pub expires_at: Option<i64>,
}

/// How they are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: Option<i64>,
}

impl Tokens {
    pub(super) fn of(answer: &BasicTokenResponse, before: Option<&Tokens>) -> Self {
        let refresh = answer.refresh_token().map(|token| Secret::new(token.secret().as_str()));
        let lives =
            |lives: Duration| now().saturating_add(i64::try_from(lives.as_secs()).unwrap_or(i64::MAX));
        Tokens {
            access: Secret::new(answer.access_token().secret().as_str()),
            // A provider that gives no new one leaves the old one valid (RFC 6749, 6).
            refresh: refresh.or_else(|| before?.refresh.clone()),
            expires_at: answer.expires_in().map(lives),
        }
    }

    /// Whether servers may not take it in a minute.
    pub(crate) fn is_old(&self) -> bool {
        self.expires_at.is_some_and(|end| end <= now() + EARLY)
    }

    /// As they are kept.
    pub(crate) fn to_secret(&self) -> Result<Secret, MailError> {
        let kept = Kept {
            access_token: self.access.reveal().to_owned(),
            refresh_token: self.refresh.as_ref().map(|token| token.reveal().to_owned()),
            expires_at: self.expires_at,
        };
        serde_json::to_string(&kept).map(Secret::new).map_err(|_| MailError::invalid("these are no tokens"))
    }

    /// As they were kept.
    pub(crate) fn of_secret(secret: &Secret) -> Result<Self, MailError> {
        // What is wrong with it could be told only with it.
        let kept: Kept = serde_json::from_str(secret.reveal())
            .map_err(|_| MailError::invalid("what is kept for the account is no token: log in again"))?;
        Ok(Tokens {
            access: Secret::new(kept.access_token),
            refresh: kept.refresh_token.map(Secret::new),
            expires_at: kept.expires_at,
        })
    }
}

impl OauthLogin<'_> {
    /// Gets a new token for the one that ends; none where there is nothing to get it with.
    pub(crate) fn renew(&self, tokens: &Tokens) -> Result<Option<Tokens>, MailError> {
        let Some(refresh) = &tokens.refresh else { return Ok(None) };
        let echo = self.echo([refresh, &tokens.access]);
        let client = self.provider.client(self.client_secret, None)?;
        let http = self.http()?;
        let answer = client
            .exchange_refresh_token(&RefreshToken::new(refresh.reveal().to_owned()))
            .request(&|request| http.send(request))
            .map_err(|error| told(error, &echo))?;
        Ok(Some(Tokens::of(&answer, Some(tokens))))
    }

    /// What no error repeats: these, and the client's secret.
    pub(super) fn echo<'a>(&'a self, secrets: impl IntoIterator<Item = &'a Secret>) -> Echo {
        Echo::of(self.client_secret.into_iter().chain(secrets))
    }
}
