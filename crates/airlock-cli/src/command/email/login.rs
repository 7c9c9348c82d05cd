//! Logging in with a provider of tokens.

use airlock_email::{Account, OauthLogin, OauthProvider, Stop};
use airlock_host::{Error, ErrorKind, MailTask, Secret};

use super::super::Session;
use super::{account, mailbox};
use crate::flags::Login;

pub(super) fn run(session: &Session, login: &Login) -> Result<u8, Error> {
    let mailbox = mailbox(session)?;
    let account = account(&mailbox, &login.account)?;
    let opened = session.mail()?;
    opened.service.note(MailTask::Login, &account.name)?;
    if let Some(provider) = provider(login)? {
        mailbox.set_oauth(account.id, Some(&provider))?;
        if login.client_secret {
            let secret = super::super::secret::value("secret of the client")?;
            opened.credentials.set_client_secret(&account, &Secret::new(secret))?;
        }
    }
    let account = mailbox.account(Some(account.id))?;
    let tokens = tokens(session, login, &account)?;
    opened.credentials.set_tokens(&account, &tokens)?;
    session.printer.note(&format!("logged in as {}", account.name));
    session.done()
}

fn tokens(session: &Session, login: &Login, account: &Account) -> Result<airlock_email::Tokens, Error> {
    let Some(provider) = &account.oauth else {
        let reason = "nothing says where its tokens come from".to_owned();
        let error = Error::new(ErrorKind::InvalidSetting { name: account.name.clone(), reason });
        return Err(error.with_hint("`--provider` with `--client-id` does, or `--token-url` and the like"));
    };
    let opened = session.mail()?;
    let client_secret = opened.credentials.client_secret(account)?;
    let (client_secret, stop) = (client_secret.as_ref(), Stop::new());
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

/// What the flags say of a provider; none where they say nothing.
fn provider(login: &Login) -> Result<Option<OauthProvider>, Error> {
    let client = login.client_id.clone().unwrap_or_default();
    let named = match login.provider.as_deref() {
        Some("google") => Some(OauthProvider::google(&client)),
        Some("microsoft") => {
            let tenant = login.tenant.as_deref().unwrap_or("common");
            Some(OauthProvider::microsoft(tenant, &client))
        }
        _ => None,
    };
    let provider = match (named, &login.token_url) {
        (Some(provider), _) => provider,
        (None, Some(token_url)) => OauthProvider {
            auth_url: login.auth_url.clone(),
            token_url: token_url.clone(),
            device_url: login.device_url.clone(),
            redirect_url: None,
            client_id: client,
            scopes: Vec::new(),
        },
        (None, None) => return Ok(OauthProvider::of_environment(|name| std::env::var(name).ok())),
    };
    let redirect_url = login.redirect_url.clone().or(provider.redirect_url);
    let scopes = match login.scopes.is_empty() {
        true => provider.scopes,
        false => login.scopes.clone(),
    };
    Ok(Some(OauthProvider { redirect_url, scopes, ..provider }))
}
