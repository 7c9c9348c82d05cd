//! Logging in with a provider of tokens.

use airlock_email::{OauthLogin, OauthProvider, Stop, Tokens};
use airlock_host::{Error, ErrorKind, MailTask, Secret};

use super::super::Session;
use super::{account, mailbox};
use crate::flags::Login;

/// Where Microsoft's provider is.
const MICROSOFT: &str = "https://login.microsoftonline.com/";

pub(super) fn run(session: &Session, login: &Login) -> Result<u8, Error> {
    let mailbox = mailbox(session)?;
    let account = account(&mailbox, &login.account)?;
    let opened = session.mail()?;
    opened.service.note(MailTask::Login, &account.name)?;
    let Some(provider) = provider(login, account.oauth.as_ref())? else {
        let reason = "nothing says where its tokens come from".to_owned();
        let error = Error::new(ErrorKind::InvalidSetting { name: account.name, reason });
        return Err(error.with_hint("`--provider` with `--client-id` does, or `--token-url` and the like"));
    };
    let said = match login.client_secret {
        true => Some(Secret::new(super::super::secret::value("secret of the client")?)),
        false => None,
    };
    // A secret is for the client that it was kept for, and for nobody else to hear.
    let client = |provider: &OauthProvider| (provider.token_url.clone(), provider.client_id.clone());
    let is_known = account.oauth.as_ref().is_some_and(|kept| client(kept) == client(&provider));
    let client_secret = match &said {
        None if is_known => opened.credentials.client_secret(&account)?,
        said => said.clone(),
    };
    let tokens = tokens(session, login, &provider, client_secret.as_ref())?;
    // Nothing of a login that failed is in the place of what served until now.
    mailbox.set_oauth(account.id, Some(&provider))?;
    match &said {
        Some(secret) => opened.credentials.set_client_secret(&account, secret)?,
        None if is_known => {}
        None => opened.credentials.forget_client_secret(&account)?,
    }
    opened.credentials.set_tokens(&account, &tokens)?;
    session.printer.note(&format!("logged in as {}", account.name));
    session.done()
}

fn tokens(
    session: &Session,
    login: &Login,
    provider: &OauthProvider,
    client_secret: Option<&Secret>,
) -> Result<Tokens, Error> {
    let opened = session.mail()?;
    let stop = Stop::new();
    let login_of = OauthLogin { provider, client_secret, connector: &opened.connector, stop: &stop };
    let tokens = match login.device {
        true => login_of.with_device(|prompt| {
            session.printer.note(&format!("Open {} and type {}", prompt.url, prompt.code));
            if let Some(url) = &prompt.complete_url {
                session.printer.note(&format!("or open {url}"));
            }
        })?,
        false => login_of.with_browser(login.wait, |url| {
            session.printer.note("Open this in a browser of this machine, and log in:");
            session.printer.note(&format!("  {url}"));
        })?,
    };
    Ok(tokens)
}

/// The provider that the flags name, or that the account has with what the flags say of it; that of
/// PRX-Email's variables where there is neither.
fn provider(login: &Login, kept: Option<&OauthProvider>) -> Result<Option<OauthProvider>, Error> {
    let named = match (login.provider.as_deref(), &login.token_url) {
        (Some("google"), _) => Some(OauthProvider::google("")),
        (Some("microsoft"), _) => {
            Some(OauthProvider::microsoft(login.tenant.as_deref().unwrap_or("common"), ""))
        }
        (_, Some(token_url)) => Some(OauthProvider {
            auth_url: None,
            token_url: token_url.clone(),
            device_url: None,
            redirect_url: None,
            client_id: String::new(),
            scopes: Vec::new(),
        }),
        _ => None,
    };
    let provider = match (named, kept) {
        // The one that it has: what is not said of it stays.
        (Some(named), Some(kept)) if named.token_url == kept.token_url => kept.clone(),
        (Some(named), _) => named,
        (None, Some(kept)) => with_tenant(login, kept)?,
        (None, None) => match OauthProvider::of_environment(|name| std::env::var(name).ok()) {
            Some(provider) => with_tenant(login, &provider)?,
            None => return Ok(None),
        },
    };
    let scopes = match login.scopes.is_empty() {
        true => provider.scopes,
        false => login.scopes.clone(),
    };
    Ok(Some(OauthProvider {
        auth_url: login.auth_url.clone().or(provider.auth_url),
        token_url: provider.token_url,
        device_url: login.device_url.clone().or(provider.device_url),
        redirect_url: login.redirect_url.clone().or(provider.redirect_url),
        client_id: login.client_id.clone().unwrap_or(provider.client_id),
        scopes,
    }))
}

/// The same provider for the tenant that is said, which one of Microsoft's has.
fn with_tenant(login: &Login, provider: &OauthProvider) -> Result<OauthProvider, Error> {
    let Some(tenant) = &login.tenant else { return Ok(provider.clone()) };
    if !provider.token_url.starts_with(MICROSOFT) {
        let reason = "only Microsoft's provider has tenants".to_owned();
        return Err(Error::new(ErrorKind::InvalidSetting { name: "--tenant".to_owned(), reason }));
    }
    let OauthProvider { auth_url, token_url, device_url, .. } = OauthProvider::microsoft(tenant, "");
    Ok(OauthProvider { auth_url, token_url, device_url, ..provider.clone() })
}
