//! Secrets in a real keyring, that of GNOME, on a bus that the test starts.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use airlock_core::{MailCode, MailError, Secret};
use airlock_email::{
    Auth, Connector, Credentials, Mailbox, Protocol, SecretPlace, Security, StoredCredentials,
};
use tempfile::TempDir;

use crate::dovecot::fetching;

const DAEMON: &str = "/usr/bin/gnome-keyring-daemon";

/// A bus with a keyring, each a process.
struct Session {
    home: TempDir,
    bus: Option<Child>,
    keyring: Option<Child>,
}

impl Session {
    /// One without anything.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for folder in ["run", "data", "mail"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(home.path().join("run"), private).unwrap();
        Session { home, bus: None, keyring: None }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("run/bus")
    }

    /// The same with a bus.
    fn with_bus(mut self) -> Self {
        let config = self.home.path().join("bus.conf");
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"
 \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">
<busconfig><type>session</type><listen>unix:path={}</listen><policy context=\"default\">
<allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/>
</policy></busconfig>",
            self.socket().display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg("--config-file").arg(&config).arg("--nofork").stderr(Stdio::null());
        self.bus = Some(command.spawn().expect("install dbus-daemon"));
        self.wait_until("the bus", |session| session.socket().exists());
        self
    }

    /// The same with a keyring on the bus, unlocked with a password or not at all.
    fn with_keyring(mut self, password: Option<&str>) -> Self {
        assert!(Path::new(DAEMON).exists(), "install gnome-keyring: {DAEMON} is not there");
        let mut command = Command::new(DAEMON);
        self.environment(&mut command);
        command.args(["--foreground", "--components=secrets"]).args(password.map(|_| "--unlock"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // Dropped, so that it has read all of it.
        child.stdin.take().unwrap().write_all(password.unwrap_or_default().as_bytes()).unwrap();
        self.keyring = Some(child);
        self.wait_until("the keyring", |session| {
            let mut ask = Command::new("dbus-send");
            session.environment(&mut ask);
            ask.args(["--session", "--print-reply", "--dest=org.freedesktop.secrets"]);
            ask.args(["/org/freedesktop/secrets", "org.freedesktop.DBus.Peer.Ping"]);
            ask.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
        });
        self
    }

    fn wait_until(&self, what: &str, is_there: impl Fn(&Self) -> bool) {
        for _ in 0..600 {
            if is_there(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{what} does not start");
    }

    fn environment(&self, command: &mut Command) {
        let home = self.home.path();
        command.env("HOME", home).env("XDG_DATA_HOME", home.join("data"));
        command.env("XDG_RUNTIME_DIR", home.join("run"));
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", self.socket().display()));
    }

    /// Runs one of the tests below in a process that has this session.
    fn run(&self, test: &str) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        self.environment(&mut command);
        let args = ["--ignored", "--exact", &format!("keyring::{test}"), "--test-threads", "1"];
        let output = command.args(args).env(HOME, self.home.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.contains("1 passed"), "{test}: {told}");
    }

    /// All files of the session and of the mailbox in it.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.home.path().to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => folders.push(entry.path()),
                    kind if kind.is_file() => {
                        files.push((entry.path(), std::fs::read(entry.path()).unwrap()))
                    }
                    _ => {}
                }
            }
        }
        files
    }

    fn has(&self, name: &str) -> bool {
        self.home.path().join("mail").join(name).exists()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for mut child in [self.keyring.take(), self.bus.take()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The session's folder, for the tests that run in one.
const HOME: &str = "AIRLOCK_TEST_KEYRING";

fn mailbox() -> Mailbox {
    let home = std::env::var(HOME).expect("another test runs it, and says where");
    fetching(&Path::new(&home).join("mail"), 1, Security::Tls, Auth::Plain)
}

fn no_passphrase() -> Result<Secret, MailError> {
    Err(MailError::invalid("a passphrase is asked for"))
}

#[test]
#[ignore = "another test runs it"]
fn keeps_secrets() {
    let mailbox = mailbox();
    let store = mailbox.secrets(SecretPlace::Auto, &no_passphrase).unwrap();
    assert!(format!("{store:?}").starts_with("Keyring"), "{store:?}");
    let (account, password) = (mailbox.account(None).unwrap(), Secret::new("pass-canary ÿ"));
    let credentials = StoredCredentials::new(&mailbox, store.clone(), Connector::default());
    credentials.set_password(&account, None, &Secret::new("first-canary")).unwrap();
    credentials.set_password(&account, Some(Protocol::Imap), &password).unwrap();
    assert_eq!(credentials.secret(&account, Protocol::Imap).unwrap(), password);
    assert_eq!(credentials.secret(&account, Protocol::Smtp).unwrap(), Secret::new("first-canary"));
    assert_eq!(store.get("another").unwrap(), None);
    store.remove("another").unwrap();
    // What another mailbox keeps under the same name is another secret.
    let other = std::env::var(HOME).unwrap();
    let other = fetching(&Path::new(&other).join("run"), 1, Security::Tls, Auth::Plain);
    let theirs = other.secrets(SecretPlace::Keyring, &no_passphrase).unwrap();
    assert_eq!(theirs.get("anna@x.example imap").unwrap(), None);
}

#[test]
#[ignore = "another test runs it"]
fn finds_secrets_and_forgets_them() {
    let mailbox = mailbox();
    let store = mailbox.secrets(SecretPlace::Auto, &no_passphrase).unwrap();
    let account = mailbox.account(None).unwrap();
    let credentials = StoredCredentials::new(&mailbox, store, Connector::default());
    assert_eq!(credentials.secret(&account, Protocol::Imap).unwrap(), Secret::new("pass-canary ÿ"));
    credentials.forget(&account).unwrap();
    let error = credentials.secret(&account, Protocol::Imap).unwrap_err();
    assert_eq!(error.message(), "there is no imap password of `work`: set one");
    // A file that is there goes before it, and one can say that it is to be the file.
    let passphrase = || Ok(Secret::new("open sesame"));
    let file = mailbox.secrets(SecretPlace::File, &passphrase).unwrap();
    assert!(format!("{file:?}").starts_with("PassphraseFile"), "{file:?}");
}

#[test]
#[ignore = "another test runs it"]
fn takes_the_file() {
    let mailbox = mailbox();
    let asked = std::cell::Cell::new(0);
    let passphrase = || {
        asked.set(asked.get() + 1);
        Ok(Secret::new("open sesame"))
    };
    let store = mailbox.secrets(SecretPlace::Auto, &passphrase).unwrap();
    assert!(format!("{store:?}").starts_with("PassphraseFile"), "{store:?}");
    assert_eq!(asked.get(), 1);
}

#[test]
#[ignore = "another test runs it"]
fn says_that_there_is_no_keyring() {
    let mailbox = mailbox();
    let store = mailbox.secrets(SecretPlace::Keyring, &no_passphrase).unwrap();
    let error = store.get("a").unwrap_err();
    assert_eq!(error.code(), MailCode::Storage);
    assert!(error.message().starts_with("secrets cannot be kept: the system's keyring: "), "{error}");
}

#[test]
fn secrets_are_in_a_keyring_that_is_unlocked_and_in_no_file_as_they_are() {
    let session = Session::new().with_bus().with_keyring(Some("the keyring's password"));
    session.run("keeps_secrets");
    assert!(session.has("mail-secrets.keyring") && !session.has("mail-secrets.age"));
    for (path, bytes) in session.files() {
        assert!(memchr::memmem::find(&bytes, b"canary").is_none(), "{}", path.display());
    }
    session.run("finds_secrets_and_forgets_them");
}

#[test]
fn where_no_keyring_can_be_used_the_file_is_and_nobody_waits_for_ever() {
    let none = Session::new();
    none.run("takes_the_file");
    none.run("says_that_there_is_no_keyring");
    // A bus without one.
    Session::new().with_bus().run("takes_the_file");
    // One that was never unlocked.
    let locked = Session::new().with_bus().with_keyring(None);
    locked.run("takes_the_file");
    // Somebody who takes the connection and says nothing.
    let silent = Session::new();
    let listener = Arc::new(UnixListener::bind(silent.socket()).unwrap());
    let accepting = listener.clone();
    std::thread::spawn(move || {
        let open: Vec<_> = accepting.incoming().collect();
        drop(open);
    });
    silent.run("takes_the_file");
    assert!(!silent.has("mail-secrets.keyring"));
}

#[test]
fn secrets_that_are_in_a_keyring_are_not_looked_for_elsewhere_when_it_is_gone() {
    let mut session = Session::new().with_bus().with_keyring(Some("the keyring's password"));
    session.run("keeps_secrets");
    let mut keyring = session.keyring.take().unwrap();
    keyring.kill().unwrap();
    keyring.wait().unwrap();
    session.run("does_not_ask_for_a_passphrase");
    assert!(!session.has("mail-secrets.age"));
}

#[test]
#[ignore = "another test runs it"]
fn does_not_ask_for_a_passphrase() {
    let mailbox = mailbox();
    let store = mailbox.secrets(SecretPlace::Auto, &no_passphrase).unwrap();
    let error = store.get("anna@x.example imap").unwrap_err();
    assert!(error.message().contains("the system's keyring"), "{error}");
}
