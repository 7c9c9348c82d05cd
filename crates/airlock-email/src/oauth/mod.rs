//! Tokens (OAuth 2, RFC 6749): got once by whoever owns the account, renewed by themselves.

mod browser;
mod device;
mod http;
mod tokens;

use airlock_core::{MailError, Secret};
use oauth2::basic::BasicClient;
use oauth2::url::{Host, Url};
use oauth2::{
    AuthUrl, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    ErrorResponse, RedirectUrl, RequestTokenError, Scope, TokenUrl,
};
use rusqlite::params;
use serde::{Deserialize, Serialize};

pub use device::DevicePrompt;
pub use tokens::Tokens;

use crate::db::failed;
use crate::echo::Echo;
use crate::imap::refused;
use crate::{Mailbox, Stop};
use http::Http;

/// Where tokens for an account come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OauthProvider {
    /// Where a person is asked, for a login with a browser.
    pub auth_url: Option<String>,
    /// Where tokens are got.
    pub token_url: String,
    /// Where a code for another device is got (RFC 8628).
    pub device_url: Option<String>,
    /// Where the browser comes back to, on this machine; a free port where it says none.
    pub redirect_url: Option<String>,
    /// Who asks.
    pub client_id: String,
    /// What for.
    pub scopes: Vec<String>,
}

/// The client of a provider: its endpoints for browsers and devices may be missing.
type Client = BasicClient<EndpointMaybeSet, EndpointMaybeSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

impl OauthProvider {
    /// Microsoft's, for IMAP and SMTP of a tenant: `common` for all.
    pub fn microsoft(tenant: &str, client_id: &str) -> Self {
        let at = |end: &str| format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/{end}");
        let scopes = [
            "offline_access",
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/SMTP.Send",
        ];
        OauthProvider {
            auth_url: Some(at("authorize")),
            token_url: at("token"),
            device_url: Some(at("devicecode")),
            redirect_url: Some("http://localhost/".to_owned()),
            client_id: client_id.to_owned(),
            scopes: scopes.map(str::to_owned).to_vec(),
        }
    }

    /// Google's, whose clients have a secret.
    pub fn google(client_id: &str) -> Self {
        OauthProvider {
            auth_url: Some("https://accounts.google.com/o/oauth2/v2/auth".to_owned()),
            token_url: "https://oauth2.googleapis.com/token".to_owned(),
            device_url: None,
            redirect_url: None,
            client_id: client_id.to_owned(),
            scopes: vec!["https://mail.google.com/".to_owned()],
        }
    }

    /// The provider that PRX-Email's variables name: `CLIENT_ID`, `TENANT`, `REDIRECT_URI` and
    /// `SCOPE`, of which the last may be missing. None where one of the others is.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let provider = OauthProvider::microsoft(&variable("TENANT")?, &variable("CLIENT_ID")?);
        let redirect_url = Some(variable("REDIRECT_URI")?);
        let scopes = variable("SCOPE").map(|scopes| scopes.split_whitespace().map(str::to_owned).collect());
        Some(OauthProvider { redirect_url, scopes: scopes.unwrap_or(provider.scopes.clone()), ..provider })
    }

    /// Refuses what makes no sense, and what would send secrets in the clear.
    pub(crate) fn check(&self) -> Result<(), MailError> {
        let urls = [("auth_url", &self.auth_url), ("device_url", &self.device_url)];
        let urls = urls.iter().filter_map(|(name, url)| url.as_ref().map(|url| (*name, url)));
        for (name, url) in urls.chain([("token_url", &self.token_url)]) {
            let is_safe = |url: &Url| url.scheme() == "https" || (url.scheme() == "http" && is_here(url));
            if !Url::parse(url).is_ok_and(|url| is_safe(&url)) {
                return Err(MailError::invalid(&format!("oauth.{name} has to be an https URL")));
            }
        }
        if self.client_id.is_empty() {
            return Err(MailError::invalid("oauth.client_id is required"));
        }
        self.redirect().map(drop)
    }

    /// Where the browser comes back to.
    fn redirect(&self) -> Result<Url, MailError> {
        let url = Url::parse(self.redirect_url.as_deref().unwrap_or("http://127.0.0.1/"));
        match url {
            Ok(url) if url.scheme() == "http" && is_here(&url) => Ok(url),
            _ => Err(MailError::invalid(
                "oauth.redirect_url has to be an http URL of `localhost` or a loopback address",
            )),
        }
    }

    fn client(&self, secret: Option<&Secret>, redirect: Option<Url>) -> Result<Client, MailError> {
        let wrong = |_| MailError::invalid("an URL of the account's provider makes no sense");
        let auth = self.auth_url.clone().map(AuthUrl::new).transpose().map_err(wrong)?;
        let device = self.device_url.clone().map(DeviceAuthorizationUrl::new).transpose().map_err(wrong)?;
        let mut client = BasicClient::new(ClientId::new(self.client_id.clone()))
            .set_auth_uri_option(auth)
            .set_device_authorization_url_option(device)
            .set_token_uri(TokenUrl::new(self.token_url.clone()).map_err(wrong)?);
        if let Some(secret) = secret {
            // Not all take it in a header.
            client = client
                .set_client_secret(ClientSecret::new(secret.reveal().to_owned()))
                .set_auth_type(oauth2::AuthType::RequestBody);
        }
        Ok(match redirect {
            Some(redirect) => client.set_redirect_uri(RedirectUrl::from_url(redirect)),
            None => client,
        })
    }

    fn scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        self.scopes.iter().cloned().map(Scope::new)
    }
}

/// Whether an URL is of this machine itself.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Mailbox {
    /// Says where tokens for an account come from.
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) for what makes no sense, and
    /// an account that is not there or has no servers.
    pub fn set_oauth(&self, id: i64, provider: Option<&OauthProvider>) -> Result<(), MailError> {
        provider.map_or(Ok(()), OauthProvider::check)?;
        let json = provider.map(|provider| serde_json::json!(provider).to_string());
        let sql = "UPDATE account_settings SET oauth = ?2 WHERE account_id = ?1";
        match self.connection().execute(sql, params![id, json]).map_err(failed)? {
            0 => Err(MailError::invalid(&format!("there is no account {id} with servers"))),
            _ => Ok(()),
        }
    }
}

/// The error for what a provider answers.
fn told<T>(error: RequestTokenError<MailError, T>, echo: &Echo) -> MailError
where
    T: ErrorResponse + std::fmt::Display + 'static,
{
    let error = match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(answer) => {
            let answer = echo.taken_out(&answer.to_string());
            let answer = &answer[..answer.floor_char_boundary(300)];
            refused(&format!("the provider of tokens refused: {answer}"))
        }
        // What it said instead may hold a token.
        RequestTokenError::Parse(..) => refused("the provider of tokens answers what is no token"),
        RequestTokenError::Other(reason) => refused(&format!("the provider of tokens: {reason}")),
    };
    MailError::new(error.code(), &echo.taken_out(error.message()))
}

/// Who may be asked for tokens, and until when.
#[derive(Debug)]
pub struct OauthLogin<'a> {
    /// Where they come from.
    pub provider: &'a OauthProvider,
    /// The client's secret, where it has one.
    pub client_secret: Option<&'a Secret>,
    /// How servers are spoken to.
    pub connector: &'a crate::Connector,
    /// What ends it.
    pub stop: &'a Stop,
}

impl OauthLogin<'_> {
    fn http(&self) -> Result<Http, MailError> {
        self.provider.check()?;
        Http::new(self.connector, self.stop)
    }
}
