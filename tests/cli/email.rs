//! `airlock email`: logins with a provider of tokens that the test serves, as a person meets them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};

use airlock_email::{PassphraseFile, SecretStore as _};
use airlock_host::Secret;

use crate::email_accounts::provider as kept_provider;
use crate::plugins::Place;
use crate::provider::{Provider, asked, come_back};

const PASSPHRASE: &str = "open sesame";

/// What the provider gave and was told, which nothing prints.
const CANARIES: [&str; 5] =
    ["access-canary", "refresh-canary", "client-canary", "code-canary", "device-canary"];

/// A home with an account that logs in with tokens.
fn place() -> Place {
    let place = Place::new();
    std::fs::create_dir_all(place.home()).unwrap();
    place.ok(&[
        "email",
        "account",
        "add",
        "work",
        "--email",
        "anna@x.example",
        "--imap",
        "localhost:9",
        "--auth",
        "xoauth2",
    ]);
    place
}

fn login(place: &Place, provider: &Provider, more: &[&str]) -> Command {
    let mut command = place.airlock();
    command
        .args(["email", "login", "--client-id", "a-client", "--scope", "mail", "--scope", "offline_access"])
        .args(["--token-url", &provider.at("token"), "--auth-url", &provider.at("authorize")])
        .args(["--device-url", &provider.at("device")])
        .args(more)
        .env("AIRLOCK_MAIL_PASSPHRASE", PASSPHRASE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A login that goes on, what it has printed so far, and what is typed first.
struct Going {
    child: Child,
    told: BufReader<std::process::ChildStderr>,
    read: String,
}

impl Going {
    fn start(command: &mut Command, typed: &str) -> Self {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        Going { child, told, read: String::new() }
    }

    /// The next line that it prints for a person.
    fn line(&mut self) -> String {
        let from = self.read.len();
        self.told.read_line(&mut self.read).unwrap();
        assert!(self.read[from..].ends_with('\n'), "it ended: {}", self.read);
        self.read[from..].trim_end().to_owned()
    }

    /// The address that is to be opened in a browser.
    fn address(&mut self) -> String {
        assert_eq!(self.line(), "Open this in a browser of this machine, and log in:");
        self.line().strip_prefix("  ").unwrap().to_owned()
    }

    /// How it ends, and the rest of what it prints; nothing of it is a secret.
    fn end(mut self) -> (ExitStatus, String) {
        let from = self.read.len();
        self.told.read_to_string(&mut self.read).unwrap();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        for canary in CANARIES {
            assert!(!self.read.contains(canary) && !stdout.contains(canary), "{}{stdout}", self.read);
        }
        assert_eq!(stdout, "");
        (self.child.wait().unwrap(), self.read[from..].to_owned())
    }
}

/// What is kept of the account's tokens, by its file.
fn kept(place: &Place) -> Option<String> {
    let mail = place.home().join("data/mail");
    let mail = if mail.exists() { mail } else { place.home().join("mail") };
    let file = mail.join("mail-secrets.age");
    for entry in std::fs::read_dir(&mail).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(CANARIES.iter().all(|canary| !text.contains(canary)), "{}", path.display());
    }
    if !file.exists() {
        return None;
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let store = PassphraseFile::open(&file, Secret::new(PASSPHRASE)).unwrap();
    store.get("anna@x.example oauth").unwrap().map(|secret| secret.reveal().to_owned())
}

#[test]
fn a_login_with_a_browser_keeps_the_tokens_that_it_gets() {
    let (place, provider) = (place(), Provider::start());
    let mut going = Going::start(&mut login(&place, &provider, &["--client-secret"]), "client-canary\n");
    let address = going.address();
    assert!(address.starts_with(&provider.at("authorize")), "{address}");
    let (redirect, asked) = asked(&address);
    assert_eq!(
        ["response_type", "client_id", "scope", "code_challenge_method", "access_type"]
            .map(|name| asked[name].as_str()),
        ["code", "a-client", "mail offline_access", "S256", "offline"]
    );
    assert_eq!(redirect.host_str(), Some("127.0.0.1"));
    // With PKCE: what the code is got with goes to the provider alone.
    assert_eq!(asked["code_challenge"].len(), 43);
    provider.state().challenge = asked["code_challenge"].clone();
    // One that does not know the state is none of this login.
    assert!(come_back(&redirect, "code=other&state=guessed").contains("404"));
    assert!(come_back(&redirect, "code=code-canary").contains("404"));
    assert!(come_back(&redirect, &format!("code=code-canary&state={}", asked["state"])).contains("200"));
    let (status, told) = going.end();
    assert_eq!((status.code(), told.as_str()), (Some(0), "logged in as work\n"));
    let kept = kept(&place).unwrap();
    assert!(kept.contains("access-canary") && kept.contains("refresh-canary-0"), "{kept}");
}

#[test]
fn a_login_that_is_refused_says_so_and_keeps_nothing() {
    let (place, provider) = (place(), Provider::start());
    let mut refused = Going::start(&mut login(&place, &provider, &[]), "");
    let (redirect, said) = asked(&refused.address());
    assert!(come_back(&redirect, &format!("error=access_denied&state={}", said["state"])).contains("400"));
    let (status, told) = refused.end();
    assert_eq!(status.code(), Some(125));
    assert_eq!(told, "error: the provider of tokens refused: access_denied\n");
    // The provider does not take the code, and repeats all that it was told.
    provider.state().is_echoing = true;
    let mut refused = Going::start(&mut login(&place, &provider, &["--client-secret"]), "client-canary\n");
    let (redirect, said) = asked(&refused.address());
    come_back(&redirect, &format!("code=code-canary&state={}", said["state"]));
    let (status, told) = refused.end();
    assert_eq!(status.code(), Some(125));
    assert!(told.starts_with("error: the provider of tokens refused: invalid_grant"), "{told}");
    assert_eq!(kept(&place), None);
}

#[test]
fn a_login_that_nobody_comes_back_to_ends() {
    let (place, provider) = (place(), Provider::start());
    let mut going = Going::start(&mut login(&place, &provider, &["--wait", "500ms"]), "");
    let (redirect, _) = asked(&going.address());
    // Somebody who guesses does not make it last longer.
    come_back(&redirect, "code=other&state=guessed");
    let (status, told) = going.end();
    assert_eq!((status.code(), told.as_str()), (Some(125), "error: nobody has logged in with the browser\n"));
    assert_eq!(kept(&place), None);
}

#[test]
fn a_login_with_a_device_says_where_to_go_and_what_to_type() {
    let (place, provider) = (place(), Provider::start());
    provider.state().pending = 2;
    let mut going = Going::start(&mut login(&place, &provider, &["--device"]), "");
    assert_eq!(going.line(), format!("Open {} and type ABCD", provider.at("type")));
    let (status, told) = going.end();
    assert_eq!((status.code(), told.as_str()), (Some(0), "logged in as work\n"));
    assert!(kept(&place).unwrap().contains("access-canary"));
    // The person says no; nobody says anything until the code is worth nothing.
    provider.state().error = Some("access_denied");
    let mut going = Going::start(&mut login(&place, &provider, &["--device"]), "");
    going.line();
    let (status, told) = going.end();
    assert_eq!(status.code(), Some(125));
    assert_eq!(told, "error: the provider of tokens refused: access_denied: no\n");
    provider.state().error = Some("authorization_pending");
    provider.state().lasts = 1;
    let mut going = Going::start(&mut login(&place, &provider, &["--device"]), "");
    going.line();
    let (status, told) = going.end();
    assert_eq!(status.code(), Some(125), "{told}");
    assert!(told.starts_with("error: the provider of tokens"), "{told}");
}

/// A login that says only what is other than with the last, with these variables.
fn again(place: &Place, more: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = place.airlock();
    command.args(["email", "login"]).args(more).envs(variables.iter().copied());
    command.env("AIRLOCK_MAIL_PASSPHRASE", PASSPHRASE);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// PRX-Email's variables that name a provider.
const VARIABLES: [(&str, &str); 3] =
    [("CLIENT_ID", "prx-client"), ("TENANT", "prx-tenant"), ("REDIRECT_URI", "http://localhost/back")];

#[test]
fn a_provider_stays_until_a_login_with_another_has_succeeded() {
    let (place, provider) = (place(), Provider::start());
    provider.state().error = Some("access_denied");
    let mut refused = Going::start(&mut login(&place, &provider, &["--device"]), "");
    refused.line();
    assert_eq!(refused.end().0.code(), Some(125));
    assert_eq!(kept_provider(&place), None, "the login failed");
    provider.state().error = None;
    let mut going = Going::start(&mut login(&place, &provider, &["--device"]), "");
    going.line();
    assert_eq!(going.end().0.code(), Some(0));
    let first = kept_provider(&place).unwrap();
    let expected = airlock_email::OauthProvider {
        auth_url: Some(provider.at("authorize")),
        token_url: provider.at("token"),
        device_url: Some(provider.at("device")),
        redirect_url: None,
        client_id: "a-client".to_owned(),
        scopes: vec!["mail".to_owned(), "offline_access".to_owned()],
    };
    assert_eq!(first, expected);
    // What is in the environment says nothing of an account that has one.
    let mut going = Going::start(&mut again(&place, &["--device"], &VARIABLES), "");
    assert_eq!(going.line(), format!("Open {} and type ABCD", provider.at("type")));
    assert_eq!(going.end().0.code(), Some(0));
    assert_eq!(kept_provider(&place), Some(first.clone()));
    // Another one, with which nobody logs in.
    let other = Provider::start();
    let other_url = other.at("token");
    let flags = ["--token-url", &other_url, "--auth-url", &other_url, "--client-id", "b", "--wait", "300ms"];
    let mut going = Going::start(&mut again(&place, &flags, &[]), "");
    assert!(going.address().starts_with(&other.at("token?")));
    assert_eq!(going.end().0.code(), Some(125));
    assert_eq!(kept_provider(&place), Some(first));
    let told = crate::support::fed(&mut again(&place, &["--tenant", "t"], &[]), "");
    assert_eq!(told, "exit 2\n--- stderr\nerror: `--tenant`: only Microsoft's provider has tenants\n");
}

#[test]
fn a_later_login_changes_what_its_flags_say_and_keeps_the_rest() {
    let (place, provider) = (place(), Provider::start());
    let mut going = Going::start(&mut login(&place, &provider, &["--device"]), "");
    going.line();
    assert_eq!(going.end().0.code(), Some(0));
    let first = kept_provider(&place).unwrap();
    let flags = ["--client-id", "other", "--scope", "s1", "--client-secret"];
    let log_in = |flags: &[&str], typed: &str| {
        let mut going = Going::start(&mut again(&place, flags, &[]), typed);
        let address = going.address();
        assert!(address.starts_with(&provider.at("authorize")), "{address}");
        let (redirect, said) = asked(&address);
        provider.state().challenge = said["code_challenge"].clone();
        come_back(&redirect, &format!("code=code-canary&state={}", said["state"]));
        let (status, told) = going.end();
        (said["client_id"].clone(), said["scope"].clone(), status.code(), told)
    };
    // With the wrong secret nothing is other.
    let (client, scope, code, _) = log_in(&flags, "wrong-secret\n");
    assert_eq!((client.as_str(), scope.as_str(), code), ("other", "s1", Some(125)));
    assert_eq!(kept_provider(&place), Some(first.clone()));
    let (client, scope, code, told) = log_in(&flags, "client-canary\n");
    assert_eq!((client.as_str(), scope.as_str(), code), ("other", "s1", Some(0)));
    assert_eq!(told, "logged in as work\n");
    let changed = airlock_email::OauthProvider {
        client_id: "other".to_owned(),
        scopes: vec!["s1".to_owned()],
        ..first
    };
    assert_eq!(kept_provider(&place), Some(changed.clone()));
    // The secret is kept with it, and needs not be said again.
    let (client, scope, code, _) = log_in(&["--scope", "s2"], "");
    assert_eq!((client.as_str(), scope.as_str(), code), ("other", "s2", Some(0)));
    // It is no other client's: the provider misses one.
    let (client, _, code, _) = log_in(&["--client-id", "third"], "");
    assert_eq!((client.as_str(), code), ("third", Some(125)));
    let scopes = vec!["s2".to_owned()];
    assert_eq!(kept_provider(&place), Some(airlock_email::OauthProvider { scopes, ..changed }));
}

#[test]
fn the_variables_of_prx_name_the_provider_of_an_account_that_has_none() {
    let place = place();
    let mut going = Going::start(&mut again(&place, &["--wait", "300ms"], &VARIABLES), "");
    let address = going.address();
    let start = "https://login.microsoftonline.com/prx-tenant/oauth2/v2.0/authorize?";
    assert!(address.starts_with(start), "{address}");
    let (redirect, said) = asked(&address);
    assert_eq!((said["client_id"].as_str(), redirect.path()), ("prx-client", "/back"));
    assert_eq!(going.end().0.code(), Some(125));
    assert_eq!(kept_provider(&place), None);
    // With a flag beside them.
    let flags = ["--wait", "300ms", "--client-id", "mine", "--tenant", "t"];
    let mut going = Going::start(&mut again(&place, &flags, &VARIABLES), "");
    let address = going.address();
    assert!(address.starts_with("https://login.microsoftonline.com/t/oauth2/v2.0/authorize?"), "{address}");
    assert_eq!(asked(&address).1["client_id"], "mine");
    assert_eq!(going.end().0.code(), Some(125));
    // One of them alone is none.
    let told = crate::support::fed(&mut again(&place, &[], &VARIABLES[..2]), "");
    assert!(told.starts_with("exit 2\n--- stderr\nerror: `work`: nothing says where"), "{told}");
}

#[test]
fn an_account_without_a_provider_is_told_how_it_gets_one() {
    let place = place();
    assert_eq!(
        place.show(&["email", "login"]),
        "exit 2\n--- stderr\nerror: `work`: nothing says where its tokens come from\n\
         hint: `--provider` with `--client-id` does, or `--token-url` and the like\n"
    );
}

#[test]
fn what_is_done_with_mail_is_in_the_audit_log_by_a_person_and_by_a_plugin() {
    const BODY: &str = "body-canary";
    let place = Place::new();
    std::fs::create_dir_all(place.home()).unwrap();
    let servers = ["--imap", "localhost:9", "--imap-security", "plain", "--smtp", "localhost:9"];
    let account = ["email", "account", "add", "work", "--email", "anna@x.example", "--auth", "none"];
    place.ok(&[&account[..], &servers, &["--smtp-security", "plain"]].concat());
    for feature in ["email_send", "email_reply"] {
        place.ok(&["email", "account", "switch", feature, "on"]);
    }
    // Nobody listens, and there is no message: what was to be done is noted all the same.
    let plugin = |grants: &[&str], args: String| {
        let mut call = vec!["call"];
        grants.iter().for_each(|grant| call.extend(["--allow", grant]));
        place.output(&[&call[..], &["plugins/prx-email", "email.execute", &args]].concat());
    };
    let runs: [&[&str]; 18] = [
        &["sync"],
        &["list"],
        &["show", "m"],
        &["search", BODY],
        &["send", "--to", "bert@x.example", "--subject", "about", "--body", BODY],
        &["reply", "m", "--body", BODY],
        &["outbox", "send"],
        &["outbox", "list"],
        &["outbox", "check", "1"],
        &["outbox", "arrived", "1"],
        &["outbox", "cancel", "1"],
        &["outbox", "retry", "1"],
        // There is no such message, and nothing is done with it.
        &["outbox", "retry", "99"],
        &["account", "list"],
        &["account", "test"],
        &["account", "switch", "email_reply", "off"],
        &["sync", "--all"],
        &["login"],
    ];
    for run in runs {
        place.output(&[&["email"], run].concat());
    }
    plugin(&["email.read=work", "email.search=*"], "{\"tool\":\"email.list\"}".to_owned());
    plugin(&["email.search=*"], format!("{{\"tool\":\"email.search\",\"query\":\"{BODY}\"}}"));
    plugin(&["email.read=home"], "{\"tool\":\"email.list\"}".to_owned());
    place.output(&["email", "account", "remove", "work"]);
    let log = place.ok(&["--json", "audit"]);
    for canary in [BODY, "bert@x.example", "about"] {
        assert!(!log.contains(canary), "{canary}: {log}");
    }
    let noted = log.lines().filter_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let event = &record["event"];
        let kind = event["kind"].as_str().unwrap();
        let what = match kind {
            "mail" => format!("{} {}", event["task"].as_str()?, event["account"].as_str()?),
            _ => event["capability"].as_str()?.to_owned(),
        };
        Some(format!("{} {kind} {what}", record["plugin"].as_str().unwrap()))
    });
    let expected = [
        "airlock email mail set_account work",
        "airlock email mail switch_on work",
        "airlock email mail switch_on work",
        "airlock email used email.sync=work",
        "airlock email used email.read=work",
        "airlock email used email.read=work",
        "airlock email used email.search=work",
        "airlock email used email.send=work",
        "airlock email used email.reply=work",
        "airlock email mail send_due *",
        "airlock email mail outbox work",
        "airlock email mail check work",
        "airlock email mail arrived work",
        "airlock email mail cancel work",
        "airlock email mail retry work",
        "airlock email mail accounts *",
        "airlock email mail test work",
        "airlock email mail switch_off work",
        "airlock email mail folders work",
        "airlock email mail login work",
        "prx-email used email.read=*",
        "prx-email used email.read=work",
        "prx-email used email.search=*",
        "prx-email used email.search=work",
        "prx-email used email.read=*",
        "prx-email refused email.read=work",
        "airlock email mail remove_account work",
    ];
    assert_eq!(noted.collect::<Vec<_>>(), expected);
    place.ok(&["audit", "verify"]);
}

#[test]
fn a_password_is_kept_under_the_passphrase_and_an_account_without_one_needs_none() {
    let place = Place::new();
    std::fs::create_dir_all(place.home()).unwrap();
    let account = ["email", "account", "add", "work", "--email", "anna@x.example", "--no-password"];
    let with_server = [&account[..], &["--imap", "localhost:9", "--imap-security", "plain"]].concat();
    let typed = |args: &[&str], passphrase: Option<&str>, typed: &str| {
        let mut command = place.airlock();
        command.args(args).env("AIRLOCK_MAIL_SECRETS", "file").env_remove("AIRLOCK_MAIL_PASSPHRASE");
        if let Some(passphrase) = passphrase {
            command.env("AIRLOCK_MAIL_PASSPHRASE", passphrase);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        crate::support::describe(&child.wait_with_output().unwrap())
    };
    // Settings that make no sense are not noted as if they had been made.
    let bad = ["email", "account", "add", "no name", "--email", "anna@x.example", "--no-password"];
    assert!(place.show(&bad).contains("an account's name has 1 to 64"), "{}", place.show(&bad));
    place.ok(&with_server);
    // Nobody is asked for a passphrase where nothing is kept under one.
    let told = typed(&["email", "sync"], None, "");
    assert_eq!(told, "exit 2\n--- stderr\nerror: there is no imap password of `work`: set one\n");
    let removed = "exit 0\n--- stderr\nremoved work and its mail\n";
    assert_eq!(typed(&["email", "account", "remove", "work"], None, ""), removed);
    place.ok(&with_server);
    let password = ["email", "account", "password"];
    let of_none = [&password[..], &["--of", "smtp"]].concat();
    let told = typed(&of_none, Some(PASSPHRASE), "password-canary\n");
    assert_eq!(told, "exit 2\n--- stderr\nerror: `--of`: `work` has no server for smtp\n");
    let told = typed(&password, None, "password-canary\n");
    assert!(told.contains("set `AIRLOCK_MAIL_PASSPHRASE`"), "{told}");
    assert_eq!(typed(&password, Some(PASSPHRASE), "password-canary\n"), "exit 0\n");
    let file = place.home().join("data/mail/mail-secrets.age");
    let file = if file.exists() { file } else { place.home().join("mail/mail-secrets.age") };
    let store = PassphraseFile::open(&file, Secret::new(PASSPHRASE)).unwrap();
    assert_eq!(store.get("anna@x.example imap").unwrap(), Some(Secret::new("password-canary")));
    // What is kept has to be opened to be removed, and nothing is removed before.
    let told = typed(&["email", "account", "remove", "work"], None, "");
    assert!(told.contains("set `AIRLOCK_MAIL_PASSPHRASE`"), "{told}");
    assert!(place.ok(&["email", "account", "list"]).contains("anna@x.example"));
    assert_eq!(typed(&["email", "account", "remove", "work"], Some(PASSPHRASE), ""), removed);
    assert_eq!(store.get("anna@x.example imap").unwrap(), None);
    let log = place.ok(&["--json", "audit"]);
    assert!(!log.contains("canary") && !log.contains("no name"), "{log}");
    let tasks = log.lines().filter_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["event"]["task"].as_str().map(str::to_owned)
    });
    let (set, remove, password) = ("set_account", "remove_account", "set_password");
    // Noted before each is tried.
    let expected = [set, remove, set, password, password, remove, "accounts", remove];
    assert_eq!(tasks.collect::<Vec<_>>(), expected);
}

#[test]
fn the_network_is_for_plugins_where_the_host_is_started_with_it() {
    let place = Place::new();
    std::fs::create_dir_all(place.home()).unwrap();
    let account = ["email", "account", "add", "work", "--email", "anna@x.example", "--auth", "none"];
    place.ok(&[&account[..], &["--imap", "localhost:9", "--imap-security", "plain"]].concat());
    let call = |switch: Option<&str>, tool: &str| {
        let mut command = place.airlock();
        match switch {
            Some(value) => command.env("PRX_EMAIL_ENABLE_REAL_NETWORK", value),
            None => command.env_remove("PRX_EMAIL_ENABLE_REAL_NETWORK"),
        };
        let args = format!("{{\"tool\":\"{tool}\"}}");
        let grants = ["--allow", "email.sync=*", "--allow", "email.read=*"];
        command.arg("call").args(grants).args(["plugins/prx-email", "email.execute", &args]);
        crate::support::describe(&command.output().unwrap())
    };
    for off in [None, Some(""), Some("0"), Some("no"), Some("off")] {
        let told = call(off, "email.sync");
        assert!(told.contains("EMAIL_NETWORK_GUARD"), "{off:?}: {told}");
        assert!(call(off, "email.list").contains("\"ok\":true"), "{off:?}");
    }
    for on in ["1", "true", "yes", "on", " TRUE "] {
        let told = call(Some(on), "email.sync");
        assert!(told.contains("\"EMAIL_NETWORK\""), "{on:?}: {told}");
    }
}
