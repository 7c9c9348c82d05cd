//! What an account logs in with is nowhere: a real plugin does everything that can be done with mail,
//! well and badly, and all that came of it is searched.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airlock_core::{OnAuditFailure, Secret};
use airlock_email::{
    Account, Auth, Connector, Feature, MailService, Mailbox, NewAccount, OauthProvider, PassphraseFile,
    Security, SendRules, Server, StoredCredentials, Tokens,
};
use airlock_host::service::Services;
use airlock_host::{CoreDump, Error, Host, LoadOptions, Session};
use airlock_store::AuditLog;
use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::dovecot::Dovecot;
use crate::echoing::{self, At, FORMS};
use crate::provider::Provider;
use crate::server::{Exim, PASSWORD, TOKEN};

const PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/prx-email");

/// A password that no server takes.
const WRONG: &str = "wrong-canary ÿ\"pass";

/// What the provider of tokens is told.
const CLIENT: &str = "client-canary";
const REFRESH: &str = "refresh-canary-";

/// A token that has ended.
const OLD: &str = "old-token-canary";

/// What a plugin does see, so that what it saw is known to be searched.
const SEEN: &str = "marker-of-what-the-plugin-sees";

/// Everything that was logged by anybody in this process.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Logged;

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log::Log for Logged {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        is_of_interest(metadata.target())
    }

    fn log(&self, record: &log::Record<'_>) {
        if is_of_interest(record.target()) {
            let _ = writeln!(Logged, "{} {}", record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

/// The compiler of plugins says megabytes, and knows no credential.
fn is_of_interest(target: &str) -> bool {
    !["cranelift", "wasmtime", "regalloc2"].iter().any(|other| target.starts_with(other))
}

/// Has everything logged from now on.
fn log_everything() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Logged);
        let filter = tracing_subscriber::filter::filter_fn(|metadata| is_of_interest(metadata.target()));
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log::set_boxed_logger(Box::new(Logged)).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Ways in which a credential can stand in bytes.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), format!("{secret:?}").trim_matches('"').to_owned()];
    let percent: String = secret.bytes().fold(String::new(), |mut text, byte| {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => text.push(char::from(byte)),
            false => write!(text, "%{byte:02X}").unwrap(),
        }
        text
    });
    forms.extend([percent.to_lowercase(), percent]);
    forms.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
    // In the base64 of whatever text: there are three ways to stand in it, without its ends.
    for before in 0..3 {
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD
            .encode([&vec![b'.'; before][..], secret.as_bytes()].concat());
        forms.push(encoded[if before == 0 { 0 } else { 4 }..encoded.len() - 2].to_owned());
    }
    // One that was cut, where that is no word of its own.
    if ![CLIENT, REFRESH].contains(&secret) {
        forms.push(secret[..secret.floor_char_boundary(secret.len() / 2)].to_owned());
    }
    forms
}

/// Refuses bytes in which a credential stands.
fn no_canary(what: &str, bytes: &[u8]) {
    let variables = VARIABLES.map(|(_, secret)| secret);
    for secret in [PASSWORD, TOKEN, WRONG, CLIENT, REFRESH, OLD].into_iter().chain(variables) {
        for form in forms(secret) {
            if let Some(at) = memchr::memmem::find(bytes, form.as_bytes()) {
                let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 200)];
                panic!("{what} has `{form}` of `{secret}`: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

/// An error with all that it says and is.
fn all_of(error: &Error) -> String {
    let mut told = format!("{error}\n{error:?}\n{error:#?}\n{:?}\n{:?}", error.hint(), error.output());
    let mut cause = error.source();
    while let Some(further) = cause {
        write!(told, "\n{further}\n{further:?}").unwrap();
        cause = further.source();
    }
    told
}

/// Mailboxes, and everything that belongs to them.
struct World {
    home: TempDir,
    mailbox: Arc<Mailbox>,
    credentials: Arc<StoredCredentials>,
    connector: Connector,
    /// The folder of the plugin.
    plugin: PathBuf,
    told: String,
}

impl World {
    fn new(connector: Connector) -> Self {
        log_everything();
        let home = tempfile::tempdir().unwrap();
        let mailbox = Arc::new(Mailbox::open(&home.path().join("mail.db")).unwrap());
        let file = home.path().join("mail-secrets.age");
        let store = Arc::new(PassphraseFile::with_work(&file, Secret::new("open sesame"), 2).unwrap());
        let credentials = Arc::new(StoredCredentials::new(&mailbox, store, connector.clone()));
        let plugin = home.path().join("plugin");
        put_plugin(&plugin);
        World { home, mailbox, credentials, connector, plugin, told: String::new() }
    }

    /// An account with servers at these ports.
    fn account(&self, name: &str, (imap, smtp): (u16, u16), security: Security, auth: Auth) -> Account {
        let host = if security == Security::Plain { "127.0.0.1" } else { "localhost" };
        let server =
            |port| Some(Server { host: host.to_owned(), port, security, user: "anna".to_owned(), auth });
        let account = NewAccount {
            name: name.to_owned(),
            email: format!("{name}@x.example"),
            display_name: None,
            imap: server(imap),
            smtp: server(smtp),
        };
        let id = self.mailbox.set_account(&account).unwrap();
        Feature::ALL.into_iter().for_each(|feature| self.mailbox.switch(id, feature, true).unwrap());
        self.mailbox.account(Some(id)).unwrap()
    }

    fn password(&self, account: &Account, password: &str) {
        self.credentials.set_password(account, None, &Secret::new(password)).unwrap();
    }

    /// Tokens that have ended, and where the next come from.
    fn tokens(&self, account: &Account, provider: &Provider, access: &str) {
        let settings = OauthProvider {
            auth_url: None,
            token_url: provider.at("token"),
            device_url: None,
            redirect_url: None,
            client_id: "a-client".to_owned(),
            scopes: Vec::new(),
        };
        self.mailbox.set_oauth(account.id, Some(&settings)).unwrap();
        self.credentials.set_client_secret(account, &Secret::new(CLIENT)).unwrap();
        let refresh = Some(Secret::new(provider.state().refresh.as_str()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let tokens = Tokens { access: Secret::new(access), refresh, expires_at: Some(now - 10) };
        self.credentials.set_tokens(account, &tokens).unwrap();
    }

    /// An instance of the plugin, and what its memory will have been.
    fn plugin(&self, network: bool) -> (Session, CoreDump) {
        let (mailbox, credentials) = (self.mailbox.clone(), self.credentials.clone());
        let service =
            MailService::new(mailbox, credentials, self.connector.clone(), SendRules::default()).unwrap();
        let mut services = Services::default();
        services.mail = Arc::new(service);
        services.mail_network = network;
        let lines = self.home.path().join("audit.jsonl");
        let audit = AuditLog::open(&self.home.path().join("data"), Some(&lines)).unwrap();
        let host = Host::builder().services(services).audit(Arc::new(audit), OnAuditFailure::Refuse);
        let dump = CoreDump::new();
        let mut options = LoadOptions::new().core_dump(&dump);
        for kind in ["sync", "read", "search", "send", "reply"] {
            options = options.allow(format!("email.{kind}=*").parse().unwrap());
        }
        let plugin = host.build().unwrap().load_blocking(&*self.plugin, options).unwrap();
        (plugin.session_blocking().unwrap(), dump)
    }

    /// Has the plugin do something; whether it went well. All that it is told is kept.
    fn execute(&mut self, session: &mut Session, args: &Value) -> bool {
        match session.call_blocking::<_, Value>("email.execute", args) {
            Ok(outcome) => {
                writeln!(self.told, "{args}: {}", outcome.value).unwrap();
                true
            }
            Err(error) => {
                writeln!(self.told, "{args}: {}", all_of(&error)).unwrap();
                assert!(session.is_alive(), "{error}");
                false
            }
        }
    }

    /// Everything that can be done with an account's mail; what went well.
    fn everything(&mut self, session: &mut Session, account: &Account) -> Vec<&'static str> {
        let id = account.id;
        let all = [
            ("email.send", json!({ "to": account.email, "subject": SEEN, "body_text": "Hello." })),
            ("email.sync", json!({})),
            ("email.list", json!({ "limit": 5 })),
            ("email.search", json!({ "query": SEEN, "syntax": "words" })),
            ("email.get", json!({ "message_id": "m" })),
            ("email.reply", json!({ "message_id": "m", "body_text": "Yes." })),
        ];
        let mut well = Vec::new();
        for (tool, mut args) in all {
            args["tool"] = tool.into();
            args["account_id"] = id.into();
            if self.execute(session, &args) {
                well.push(tool);
            }
        }
        well
    }

    /// Ends the plugin with a trap, and searches its memories.
    fn search_memory(&self, mut session: Session, dump: &CoreDump) {
        // What it is given does not fit into its memory, which it takes for the end.
        let args = json!({ "tool": "email.list", "body_text": "x".repeat(MEMORY as usize) });
        let error = session.call_blocking::<_, Value>("email.execute", &args).expect_err("there is no room");
        assert_eq!(error.code(), "trap", "{error}");
        let dump = dump.take().expect("it trapped");
        assert!(memchr::memmem::find(&dump, SEEN.as_bytes()).is_some(), "what it saw is not in its memory");
        no_canary("the plugin's memory", &dump);
    }

    /// Searches everything else.
    fn search(&self) {
        no_canary("what the plugin was told", self.told.as_bytes());
        for account in self.mailbox.accounts().unwrap() {
            let entries = self.mailbox.outbox(account.id).unwrap();
            no_canary("the outbox", format!("{account:?} {entries:?} {:?}", self.credentials).as_bytes());
        }
        let mut names = Vec::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        no_canary(&path.display().to_string(), &std::fs::read(&path).unwrap());
                        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                    }
                }
            }
        }
        for name in ["mail.db", "mail.db-wal", "mail-secrets.age", "audit.jsonl"] {
            assert!(names.iter().any(|own| own == name), "{name} was not searched: {names:?}");
        }
        let logged = LOGGED.lock().unwrap();
        assert!(!logged.is_empty());
        no_canary("what was logged", &logged);
    }
}

/// Bytes that the plugin's memory may have: by its own word, so that its end is a trap of the plugin's, which
/// leaves its memory, and no limit of the host's.
const MEMORY: u32 = 8 << 20;

/// Puts the plugin into a folder, with a bound on its memory and as it is otherwise.
fn put_plugin(folder: &Path) {
    let source = Path::new(PLUGIN);
    std::fs::create_dir(folder).unwrap();
    std::fs::copy(source.join("plugin.toml"), folder.join("plugin.toml")).unwrap();
    let module = std::fs::read(source.join("prx_email_plugin.wasm")).unwrap();
    let (mut bounded, mut rest) =
        module.split_at_checked(8).map(|(head, rest)| (head.to_vec(), rest)).unwrap();
    while let Some((id, after)) = rest.split_first() {
        let (size, after) = number(after);
        let (content, after) = after.split_at(size as usize);
        let mut content = content.to_vec();
        // The section of memories: one, of so many pages at least.
        if *id == 5 {
            assert_eq!(content[..2], [1, 0], "it is bounded already");
            content[1] = 1;
            push_number(&mut content, MEMORY >> 16);
        }
        bounded.push(*id);
        push_number(&mut bounded, u32::try_from(content.len()).unwrap());
        bounded.extend(content);
        rest = after;
    }
    std::fs::write(folder.join("plugin.wasm"), bounded).unwrap();
}

/// A number as WebAssembly has it (LEB128), and what comes after it.
fn number(bytes: &[u8]) -> (u32, &[u8]) {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..end].iter().rev().fold(0, |value, byte| value << 7 | u32::from(byte & 0x7f));
    (value, &bytes[end..])
}

fn push_number(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
}

#[test]
fn with_real_servers_no_credential_is_anywhere() {
    let (exim, dovecot, provider) = (Exim::start(), Dovecot::start(), Provider::start());
    provider.state().access = TOKEN.to_owned();
    let connector = exim.connector().with_authorities(dovecot.authority.as_bytes()).unwrap();
    let mut world = World::new(connector);
    let letter = format!("Message-ID: <m>\r\nFrom: bert@x.example\r\nSubject: {SEEN}\r\n\r\nHello.\r\n");
    dovecot.deliver([letter.into_bytes()]);
    let ports = (dovecot.tls_port, exim.tls_port);
    let work = world.account("work", ports, Security::Tls, Auth::Plain);
    world.password(&work, PASSWORD);
    let cloud = world.account("cloud", ports, Security::Tls, Auth::Xoauth2);
    world.tokens(&cloud, &provider, OLD);
    let wrong = world.account("wrong", ports, Security::Tls, Auth::Login);
    world.password(&wrong, WRONG);
    // A token that neither server takes, and that its provider does not renew but repeats.
    let refused = world.account("refused", ports, Security::Tls, Auth::OauthBearer);
    world.tokens(&refused, &provider, "refresh-canary-as-a-token");

    let (mut session, dump) = world.plugin(true);
    let all = ["email.send", "email.sync", "email.list", "email.search", "email.get", "email.reply"];
    assert_eq!(world.everything(&mut session, &work), all, "{}", world.told);
    assert_eq!(world.everything(&mut session, &cloud), all, "{}", world.told);
    assert_eq!(provider.state().renewals, 1);
    provider.state().refresh = "another".to_owned();
    provider.state().is_echoing = true;
    let kept = ["email.list", "email.search", "email.get"];
    for account in [&wrong, &refused] {
        assert_eq!(world.everything(&mut session, account), kept, "{}", world.told);
    }
    world.execute(&mut session, &json!({ "tool": "email.list", "account_id": work.id }));
    world.search_memory(session, &dump);
    let (mut session, dump) = world.plugin(false);
    for account in [&work, &cloud, &wrong, &refused] {
        assert_eq!(world.everything(&mut session, account), kept);
    }
    world.execute(&mut session, &json!({ "tool": "email.list", "account_id": work.id }));
    world.search_memory(session, &dump);
    assert!(world.told.contains("invalid_grant"), "{}", world.told);
    world.search();
}

/// Credentials in the host's environment, which only its owner's own programs read.
const VARIABLES: [(&str, &str); 3] = [
    ("PRX_EMAIL_IMAP_OAUTH_TOKEN", "imap-token-of-the-environment-7411"),
    ("PRX_EMAIL_SMTP_OAUTH_TOKEN", "smtp-token-of-the-environment-7412"),
    ("AIRLOCK_MAIL_PASSPHRASE", "passphrase-of-the-environment-7413"),
];

#[test]
fn a_credential_in_the_hosts_environment_is_in_no_guest() {
    let name = "canary::with_real_servers_no_credential_is_anywhere";
    let ended = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads", "1"])
        .envs(VARIABLES)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn of_what_a_server_repeats_no_credential_is_anywhere() {
    let mut world = World::new(Connector::default().with_patience(Duration::from_secs(20)));
    let mut accounts = Vec::new();
    for (at_name, at) in [("login", At::Login), ("work", At::Work), ("end", At::End)] {
        for (index, form) in FORMS.into_iter().enumerate() {
            for (auth, secret) in [(Auth::Plain, WRONG), (Auth::Plain, PASSWORD), (Auth::Xoauth2, TOKEN)] {
                let name = format!("{at_name}{index}{}{}", auth.name(), secret.len());
                let ports = (echoing::imap(at, form), echoing::smtp(at, form));
                let account = world.account(&name, ports, Security::Plain, auth);
                match auth {
                    Auth::Plain => world.password(&account, secret),
                    _ => {
                        let tokens = Tokens { access: Secret::new(secret), refresh: None, expires_at: None };
                        world.credentials.set_tokens(&account, &tokens).unwrap();
                    }
                }
                accounts.push((at, account));
            }
        }
    }
    let (mut session, dump) = world.plugin(true);
    for (at, account) in &accounts {
        let well = world.everything(&mut session, account);
        // One takes the message, and repeats there what it was told.
        assert_eq!(well.contains(&"email.send"), *at == At::End, "{account:?}: {}", world.told);
        assert!(!well.contains(&"email.sync"));
    }
    // What a server says is told for the rest.
    assert!(world.told.contains("you said"), "{}", world.told);
    world.execute(&mut session, &json!({ "tool": "email.search", "query": SEEN, "account_id": 1 }));
    world.search_memory(session, &dump);
    // Who asks by a library or the command is told no more.
    for (_, account) in &accounts {
        let service = MailService::new(
            world.mailbox.clone(),
            world.credentials.clone(),
            world.connector.clone(),
            SendRules::default(),
        );
        for (protocol, tested) in airlock_host::block_on(service.unwrap().test(account)).unwrap() {
            no_canary(protocol.name(), format!("{tested:?}").as_bytes());
        }
    }
    world.search();
}

#[test]
fn with_the_switch_off_no_connection_is_opened_and_no_token_renewed() {
    // Whatever is connected with is known to be: one listener for all servers and the provider.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let is_connected = || match listener.accept() {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    };
    let mut world = World::new(Connector::default().with_patience(Duration::from_secs(1)));
    let plain = world.account("plain", (port, port), Security::Plain, Auth::Plain);
    world.password(&plain, PASSWORD);
    let token = world.account("token", (port, port), Security::Plain, Auth::Xoauth2);
    let provider = Provider::start();
    world.tokens(&token, &provider, OLD);
    let settings = OauthProvider {
        token_url: format!("http://127.0.0.1:{port}/token"),
        ..world.mailbox.account(Some(token.id)).unwrap().oauth.unwrap()
    };
    world.mailbox.set_oauth(token.id, Some(&settings)).unwrap();
    let kept = ["email.list", "email.search", "email.get"];
    let (mut off, _) = world.plugin(false);
    for account in [&plain, &token] {
        assert_eq!(world.everything(&mut off, account), kept, "{}", world.told);
        assert!(!is_connected(), "{}", account.name);
        assert!(world.mailbox.outbox(account.id).unwrap().is_empty());
    }
    // Nor does reading with the switch on; and one that does is seen.
    let (mut on, _) = world.plugin(true);
    for account in [&plain, &token] {
        for tool in kept {
            let args = json!({ "tool": tool, "account_id": account.id, "query": "q", "message_id": "m" });
            assert!(world.execute(&mut on, &args));
        }
        assert!(!is_connected(), "{}", account.name);
        assert!(!world.execute(&mut on, &json!({ "tool": "email.sync", "account_id": account.id })));
        assert!(is_connected(), "{}", account.name);
        while is_connected() {}
    }
}
