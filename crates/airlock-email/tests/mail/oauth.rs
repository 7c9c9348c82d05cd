//! Tokens of a provider that the test serves.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airlock_core::{MailCode, MailError, Secret};
use airlock_email::{
    Account, Auth, Connector, Credentials, MailService, Mailbox, OauthLogin, OauthProvider, PassphraseFile,
    Protocol, Security, SendRules, Stop, StoredCredentials, Tokens,
};

use crate::dovecot::{Dovecot, fetching};
use crate::fetching::{letter, request};
use crate::provider::{self, Provider, asked, come_back};
use crate::server::{Exim, TOKEN, mailbox as sending, message};

/// What an account says of a provider.
fn settings(provider: &Provider) -> OauthProvider {
    OauthProvider {
        auth_url: Some(provider.at("authorize")),
        token_url: provider.at("token"),
        device_url: Some(provider.at("device")),
        redirect_url: None,
        client_id: "a-client".to_owned(),
        scopes: vec!["mail".to_owned(), "offline_access".to_owned()],
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn no_canary(error: &MailError) {
    assert!(!error.message().contains("canary"), "{error}");
}

#[test]
fn a_login_with_a_browser_gets_tokens_for_whom_it_is_of() {
    let provider = Provider::start();
    for redirect_url in [None, Some("http://localhost/callback".to_owned())] {
        let settings = OauthProvider { redirect_url, ..settings(&provider) };
        let (secret, connector, stop) = (Secret::new("client-canary"), Connector::default(), Stop::new());
        let login = OauthLogin {
            provider: &settings,
            client_secret: Some(&secret),
            connector: &connector,
            stop: &stop,
        };
        let browser = Mutex::new(None);
        let tokens = login.with_browser(Duration::from_secs(30), |url| {
            let (redirect, asked) = asked(url);
            assert_eq!(
                (asked["scope"].as_str(), asked["code_challenge_method"].as_str()),
                ("mail offline_access", "S256")
            );
            provider.state().challenge = asked["code_challenge"].clone();
            let state = asked["state"].clone();
            *browser.lock().unwrap() = Some(std::thread::spawn(move || {
                // Others know the address too, and not the state. One says nothing at all.
                let _silent = TcpStream::connect(("127.0.0.1", redirect.port().unwrap())).unwrap();
                drop(_silent);
                assert!(come_back(&redirect, "code=other&state=guessed").contains("404"));
                let favicon = redirect.join("/favicon.ico").unwrap();
                assert!(come_back(&favicon, "").contains("404"));
                assert!(come_back(&redirect, &format!("code=code-canary&state={state}")).contains("200"));
            }));
        });
        let tokens = tokens.unwrap();
        browser.into_inner().unwrap().unwrap().join().unwrap();
        assert_eq!(tokens.access, Secret::new("access-canary"));
        assert_eq!(tokens.refresh, Some(Secret::new("refresh-canary-0")));
        assert!((now() + 3_590..=now() + 3_600).contains(&tokens.expires_at.unwrap()));
        assert!(!format!("{tokens:?}").contains("canary"));
    }
}

#[test]
fn a_login_that_is_refused_or_that_nobody_comes_back_to_ends() {
    let provider = Provider::start();
    let (settings, connector, stop) = (settings(&provider), Connector::default(), Stop::new());
    let login = OauthLogin { provider: &settings, client_secret: None, connector: &connector, stop: &stop };
    let come = |query: &'static str| {
        move |url: &str| {
            let (redirect, asked) = asked(url);
            let query = query.replace("STATE", &asked["state"]);
            std::thread::spawn(move || come_back(&redirect, &query));
        }
    };
    let patience = Duration::from_secs(30);
    let error = login.with_browser(patience, come("error=access_denied&state=STATE")).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (MailCode::Provider, "the provider of tokens refused: access_denied")
    );
    // The provider does not take the code: nothing of it is told.
    let error = login.with_browser(patience, come("code=code-canary&state=STATE")).unwrap_err();
    assert!(error.message().contains("invalid_grant"), "{error}");
    no_canary(&error);
    let error = login.with_browser(Duration::from_millis(200), |_| ()).unwrap_err();
    assert_eq!(error.message(), "nobody has logged in with the browser");
    let error = login.with_browser(patience, |_| stop.stop()).unwrap_err();
    assert_eq!(error.code(), MailCode::Network);
}

#[test]
fn a_login_with_a_device_waits_for_the_person() {
    let provider = Provider::start();
    let (settings, connector, stop) = (settings(&provider), Connector::default(), Stop::new());
    let login = OauthLogin { provider: &settings, client_secret: None, connector: &connector, stop: &stop };
    provider.state().pending = 3;
    let mut prompt = None;
    let tokens = login.with_device(|told| prompt = Some(told.clone())).unwrap();
    let prompt = prompt.unwrap();
    assert_eq!((prompt.code.as_str(), prompt.lasts), ("ABCD", Duration::from_secs(600)));
    assert!(prompt.url.ends_with("/type"));
    assert_eq!((tokens.access, provider.state().pending), (Secret::new("access-canary"), 0));
    provider.state().error = Some("access_denied");
    let error = login.with_device(|_| ()).unwrap_err();
    assert!(error.message().contains("access_denied"), "{error}");
    no_canary(&error);
    let without = OauthProvider { device_url: None, ..settings.clone() };
    let error = OauthLogin { provider: &without, ..login }.with_device(|_| ()).unwrap_err();
    assert_eq!(error.code(), MailCode::Validation);
}

/// A mailbox whose account has tokens of this provider, and its credentials.
fn with_tokens(
    home: &Path,
    port: u16,
    provider: Option<&Provider>,
    tokens: &Tokens,
) -> (Mailbox, StoredCredentials) {
    let mailbox = fetching(home, port, Security::Tls, Auth::Xoauth2);
    mailbox.set_oauth(1, provider.map(settings).as_ref()).unwrap();
    let credentials = stored(&mailbox);
    credentials.set_tokens(&mailbox.account(None).unwrap(), tokens).unwrap();
    (mailbox, credentials)
}

fn stored(mailbox: &Mailbox) -> StoredCredentials {
    let file = mailbox.file().with_file_name("secrets.age");
    let store = PassphraseFile::with_work(&file, Secret::new("open sesame"), 2).unwrap();
    StoredCredentials::new(mailbox, Arc::new(store), Connector::default())
}

fn tokens(refresh: Option<&str>, lives: i64) -> Tokens {
    Tokens {
        access: Secret::new("old-canary"),
        refresh: refresh.map(Secret::new),
        expires_at: Some(now() + lives),
    }
}

fn token(credentials: &StoredCredentials, account: &Account) -> Result<Secret, MailError> {
    credentials.secret(account, Protocol::Imap)
}

#[test]
fn a_token_is_renewed_a_minute_before_its_end_and_once_for_all_who_want_it() {
    let provider = Provider::start();
    let home = tempfile::tempdir().unwrap();
    let (mailbox, credentials) =
        with_tokens(home.path(), 1, Some(&provider), &tokens(Some("refresh-canary-0"), 100));
    let account = mailbox.account(None).unwrap();
    assert_eq!(token(&credentials, &account), Ok(Secret::new("old-canary")));
    for renewal in 1..=3 {
        let refresh = provider.state().refresh.clone();
        credentials.set_tokens(&account, &tokens(Some(&refresh), 60)).unwrap();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        // Each as another process has it.
                        let own = stored(&mailbox);
                        assert_eq!(token(&own, &account), Ok(Secret::new("access-canary")));
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(provider.state().renewals, renewal);
    }
    // What came with the last one is what the next is got with.
    let kept =
        PassphraseFile::with_work(&home.path().join("secrets.age"), Secret::new("open sesame"), 2).unwrap();
    let kept = airlock_email::SecretStore::get(&kept, "anna@x.example oauth").unwrap().unwrap();
    assert!(kept.reveal().contains("refresh-canary-3"));
}

#[test]
fn a_token_that_cannot_be_renewed_says_so_in_the_words_of_prx() {
    let provider = Provider::start();
    let home = tempfile::tempdir().unwrap();
    let expected = "imap oauth token expired and no refresh provider configured";
    for (with, refresh) in [(Some(&provider), None), (None, Some("refresh-canary-0"))] {
        let (mailbox, credentials) = with_tokens(home.path(), 1, with, &tokens(refresh, 60));
        let account = mailbox.account(None).unwrap();
        let error = token(&credentials, &account).unwrap_err();
        assert_eq!((error.code(), error.message()), (MailCode::Provider, expected));
    }
    // One that the provider does not know any more.
    let (mailbox, credentials) =
        with_tokens(home.path(), 1, Some(&provider), &tokens(Some("other-canary"), -5));
    let account = mailbox.account(None).unwrap();
    let error = token(&credentials, &account).unwrap_err();
    assert!(error.message().contains("invalid_grant"), "{error}");
    no_canary(&error);
    credentials.forget(&account).unwrap();
    let error = token(&credentials, &account).unwrap_err();
    assert_eq!(error.message(), "there is no imap token of `work`: log in");
    assert_eq!(provider.state().renewals, 0);
}

#[test]
fn the_variables_of_prx_go_before_what_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let (mailbox, _) = with_tokens(home.path(), 1, None, &tokens(None, 1_000));
    let account = mailbox.account(None).unwrap();
    let with = |variables: &[(&str, &str)]| {
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        stored(&mailbox).with_environment(1, "PRX_EMAIL", move |name| variables.get(name).cloned())
    };
    let none = with(&[]).unwrap();
    assert_eq!(token(&none, &account), Ok(Secret::new("old-canary")));
    let given = with(&[("PRX_EMAIL_IMAP_OAUTH_TOKEN", "given")]).unwrap();
    assert_eq!(token(&given, &account), Ok(Secret::new("given")));
    let end = (now() + 30).to_string();
    let ends =
        with(&[("PRX_EMAIL_IMAP_OAUTH_TOKEN", "given"), ("PRX_EMAIL_IMAP_OAUTH_EXPIRES_AT", &end)]).unwrap();
    let expected = "imap oauth token expired and no refresh provider configured";
    assert_eq!(token(&ends, &account).unwrap_err().message(), expected);
    let wrong = with(&[("PRX_EMAIL_SMTP_OAUTH_TOKEN", "given"), ("PRX_EMAIL_SMTP_OAUTH_EXPIRES_AT", "soon")]);
    assert_eq!(wrong.unwrap_err().code(), MailCode::Validation);
    let variable = |name: &str| match name {
        "TENANT" => Some("common".to_owned()),
        "CLIENT_ID" => Some("c".to_owned()),
        "REDIRECT_URI" => Some("http://localhost:5000/back".to_owned()),
        _ => None,
    };
    let microsoft = OauthProvider::of_environment(variable).unwrap();
    assert_eq!(microsoft.token_url, "https://login.microsoftonline.com/common/oauth2/v2.0/token");
    assert_eq!(microsoft.redirect_url.as_deref(), Some("http://localhost:5000/back"));
    assert_eq!(OauthProvider::of_environment(|_| None), None);
    mailbox.set_oauth(1, Some(&microsoft)).unwrap();
    assert_eq!(mailbox.account(None).unwrap().oauth, Some(microsoft));
}

#[test]
fn a_token_that_the_server_does_not_take_is_renewed_once() {
    let provider = Provider::start();
    provider.state().access = TOKEN.to_owned();
    let server = Dovecot::start_with("auth_failure_delay = 0\n");
    server.deliver([letter(1)]);
    let home = tempfile::tempdir().unwrap();
    let (mailbox, credentials) =
        with_tokens(home.path(), server.tls_port, Some(&provider), &tokens(Some("refresh-canary-0"), 3_000));
    let synced = mailbox.sync(&request(10), &credentials, &server.connector(), &()).unwrap();
    assert_eq!((synced.synced.synced, provider.state().renewals), (1, 1));
    provider.state().access = "ya29.no-token-of-anna".to_owned();
    credentials
        .set_tokens(&mailbox.account(None).unwrap(), &tokens(Some("refresh-canary-1"), 3_000))
        .unwrap();
    let error = mailbox.sync(&request(10), &credentials, &server.connector(), &()).unwrap_err();
    assert_eq!((error.code(), provider.state().renewals), (MailCode::Provider, 2));
    no_canary(&error);
}

#[test]
fn a_token_that_the_server_of_outgoing_mail_does_not_take_is_renewed_once() {
    let server = Exim::start();
    for auth in [Auth::Xoauth2, Auth::OauthBearer] {
        let provider = Provider::start();
        provider.state().access = TOKEN.to_owned();
        let home = tempfile::tempdir().unwrap();
        let mailbox = Arc::new(sending(home.path(), server.tls_port, Security::Tls, auth));
        mailbox.set_oauth(1, Some(&settings(&provider))).unwrap();
        let account = mailbox.account(None).unwrap();
        let credentials = Arc::new(stored(&mailbox));
        let old = |refresh| credentials.set_tokens(&account, &tokens(Some(refresh), 3_000)).unwrap();
        old("refresh-canary-0");
        let sent = mailbox.send(&message(auth.name()), &*credentials, &server.connector()).unwrap();
        assert_eq!((sent.delivery.status, sent.delivery.retries), ("sent", 0));
        assert_eq!(provider.state().renewals, 1);
        // Where it is only tried whether one is let in.
        old("refresh-canary-1");
        let (connector, rules) = (server.connector(), SendRules::default());
        let service = MailService::new(mailbox.clone(), credentials.clone(), connector, rules).unwrap();
        let tested = airlock_host::block_on(service.test(&account)).unwrap();
        assert_eq!((tested, provider.state().renewals), (vec![(Protocol::Smtp, Ok(()))], 2));
        // One that is no better: once, and no more.
        provider.state().access = "ya29.no-token-of-anna".to_owned();
        old("refresh-canary-2");
        let error = mailbox.send(&message("no"), &*credentials, &server.connector()).unwrap_err();
        assert_eq!((error.code(), provider.state().renewals), (MailCode::Provider, 3));
        let delivery = error.delivery().unwrap();
        assert_eq!((delivery.status, delivery.held, delivery.retries), ("failed", None, 1));
        no_canary(&error);
    }
    assert_eq!(server.delivered(2).len(), 2);
}

#[test]
fn a_provider_is_spoken_to_encrypted_and_leads_nowhere_else() {
    let provider = Provider::start();
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), 1, Security::Tls, Auth::Xoauth2);
    for url in ["http://provider.example/token", "ftp://127.0.0.1/", "token"] {
        let settings = OauthProvider { token_url: url.to_owned(), ..settings(&provider) };
        let error = mailbox.set_oauth(1, Some(&settings)).unwrap_err();
        assert_eq!(error.message(), "oauth.token_url has to be an https URL");
    }
    let away = OauthProvider { redirect_url: Some("http://x.example/".to_owned()), ..settings(&provider) };
    assert_eq!(mailbox.set_oauth(1, Some(&away)).unwrap_err().code(), MailCode::Validation);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let elsewhere = provider.port;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            provider::request(&mut stream);
            let status = format!("307 Temporary Redirect\r\nLocation: http://127.0.0.1:{elsewhere}/token");
            provider::answer(&mut stream, &status, "application/json", "{}");
        }
    });
    let leading =
        OauthProvider { token_url: format!("http://127.0.0.1:{port}/token"), ..settings(&provider) };
    mailbox.set_oauth(1, Some(&leading)).unwrap();
    let credentials = stored(&mailbox);
    let account = mailbox.account(None).unwrap();
    credentials.set_tokens(&account, &tokens(Some("refresh-canary-0"), 0)).unwrap();
    let error = token(&credentials, &account).unwrap_err();
    assert_eq!(error.code(), MailCode::Provider);
    no_canary(&error);
    assert_eq!(provider.state().renewals, 0);
}
