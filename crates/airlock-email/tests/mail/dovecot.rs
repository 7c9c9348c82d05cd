//! An IMAP server, Dovecot, with a mailbox for anna.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use airlock_email::{Auth, Connector, Mailbox, NewAccount, Security, Server};
use tempfile::TempDir;

use crate::server::{PASSWORD, TOKEN, certificates, free_port};

const DOVECOT: &str = "/usr/sbin/dovecot";

/// Whose mail it is where the superuser runs the test: Dovecot serves none of the superuser's.
const USER: &str = "mail";

/// A server with a certificate for `localhost` of an authority of its own.
pub(crate) struct Dovecot {
    home: TempDir,
    process: Child,
    /// Where it speaks in the clear, with STARTTLS.
    pub(crate) port: u16,
    /// Where it speaks TLS at once.
    pub(crate) tls_port: u16,
    pub(crate) authority: String,
    mail: PathBuf,
    user: &'static str,
}

impl Dovecot {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mail = home.path().join("mail");
        Dovecot::start_in(home, mail, USER, "")
    }

    /// The same with more in its configuration.
    pub(crate) fn start_with(more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mail = home.path().join("mail");
        Dovecot::start_in(home, mail, USER, more)
    }

    /// One that serves the mail of this folder, which belongs to that user.
    pub(crate) fn serve(mail: &Path, user: &'static str) -> Self {
        Dovecot::start_in(tempfile::tempdir().unwrap(), mail.to_owned(), user, "")
    }

    fn start_in(home: TempDir, mail: PathBuf, user: &'static str, more: &str) -> Self {
        assert!(Path::new(DOVECOT).exists(), "install dovecot-imapd: {DOVECOT} is not there");
        let authority = certificates(home.path());
        let (port, tls_port) = (free_port(), free_port());
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let introspection = introspection();
        let config = home.path().join("dovecot.conf");
        let text = configuration(home.path(), &mail, user, port, tls_port) + more;
        std::fs::write(&config, text).unwrap();
        std::fs::write(home.path().join("oauth2.conf"), oauth(introspection)).unwrap();
        std::fs::write(home.path().join("users"), format!("anna:{{PLAIN}}{PASSWORD}::::::\n")).unwrap();
        own(&mail, user);
        own(&home.path().join("home"), user);
        let process = Command::new(DOVECOT)
            .args(["-F", "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(home.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let server = Dovecot { home, process, port, tls_port, authority, mail, user };
        server.wait_for_it();
        server
    }

    fn wait_for_it(&self) {
        for _ in 0..600 {
            let greets = |port: u16| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
                stream.read_exact(&mut [0; 4]).ok()
            };
            if greets(self.port).is_some() && TcpStream::connect(("127.0.0.1", self.tls_port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not start: {}", self.log());
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
        format!("{}{}", read("stderr"), read("log"))
    }

    #[allow(dead_code, reason = "the benchmark asks for it")]
    /// Seconds that a processor was busy for it, of all its processes until now.
    pub(crate) fn busy(&self) -> f64 {
        let mut busy = 0.0;
        let mut open = vec![self.process.id().to_string()];
        while let Some(id) = open.pop() {
            let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}"));
            // One that has ended since is in what its parent says.
            let Ok(stat) = read("stat") else { continue };
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
            busy += ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
            let children = read(&format!("task/{id}/children")).unwrap_or_default();
            open.extend(children.split_whitespace().map(str::to_owned));
        }
        busy
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::default()
            .with_patience(Duration::from_secs(20))
            .with_authorities(self.authority.as_bytes())
            .unwrap()
    }

    /// A session of its own, to do at the server what other programs do.
    pub(crate) fn session(&self) -> Raw {
        Raw::open(self.port)
    }

    /// Puts messages into the inbox as a delivery does, all at once.
    pub(crate) fn deliver(&self, messages: impl IntoIterator<Item = Vec<u8>>) {
        let new = self.mail.join("new");
        for folder in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(self.mail.join(folder)).unwrap();
        }
        for (index, message) in messages.into_iter().enumerate() {
            // The size in the name spares the server reading it.
            let name = format!("{index:08}.{}.x,S={}", std::process::id(), message.len());
            std::fs::write(new.join(name), message).unwrap();
        }
        own(&self.mail, self.user);
    }
}

/// Makes a folder that belongs to that user.
fn own(folder: &Path, user: &str) {
    std::fs::create_dir_all(folder).unwrap();
    if rustix::process::geteuid().is_root() {
        assert!(Command::new("chown").args(["-R", user]).arg(folder).status().unwrap().success());
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // It ends its own processes when it is asked to.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

/// A session that says what a test says.
pub(crate) struct Raw {
    stream: TcpStream,
    read: String,
}

impl Raw {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut session = Raw { stream, read: String::new() };
        session.until("* OK");
        session.run(&format!("LOGIN anna {PASSWORD}"));
        session
    }

    /// Runs a command; what is answered.
    pub(crate) fn run(&mut self, command: &str) -> String {
        self.stream.write_all(format!("t {command}\r\n").as_bytes()).unwrap();
        let answer = self.until("t ");
        assert!(answer.lines().last().unwrap().starts_with("t OK"), "{command}: {answer}");
        answer
    }

    /// Puts a message into a folder.
    pub(crate) fn append(&mut self, folder: &str, message: &[u8]) {
        let command = format!("t APPEND {folder} {{{}}}\r\n", message.len());
        self.stream.write_all(command.as_bytes()).unwrap();
        self.until("+ ");
        self.stream.write_all(message).unwrap();
        self.stream.write_all(b"\r\n").unwrap();
        let answer = self.until("t ");
        assert!(answer.contains("t OK"), "{answer}");
    }

    /// What is said up to a line that begins so.
    fn until(&mut self, beginning: &str) -> String {
        self.read.clear();
        let mut byte = [0];
        loop {
            let start = self.read.len();
            while !self.read[start..].ends_with('\n') {
                self.stream.read_exact(&mut byte).unwrap();
                self.read.push(char::from(byte[0]));
            }
            if self.read[start..].starts_with(beginning) {
                return std::mem::take(&mut self.read);
            }
        }
    }
}

/// Says of a token whether it is anna's, as RFC 7662 has it; where it does so.
fn introspection() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let request = crate::provider::request(&mut stream);
                let is_known =
                    request.is_some_and(|request| request.body.contains(&format!("token={TOKEN}")));
                let answer = match is_known {
                    true => "{\"active\":true,\"username\":\"anna\",\"email\":\"anna\"}",
                    false => "{\"active\":false}",
                };
                crate::provider::answer(&mut stream, "200 OK", "application/json", answer);
            });
        }
    });
    port
}

fn oauth(port: u16) -> String {
    format!(
        "introspection_mode = post
introspection_url = http://127.0.0.1:{port}/introspect
username_attribute = username
active_attribute = active
active_value = true
"
    )
}

fn configuration(home: &Path, mail: &Path, user: &str, port: u16, tls_port: u16) -> String {
    let is_root = rustix::process::geteuid().is_root();
    let (home, mail) = (home.display(), mail.display());
    let named = |option| {
        let name = Command::new("id").arg(option).output().unwrap().stdout;
        String::from_utf8(name).unwrap().trim().to_owned()
    };
    let (me, mine) = (named("-un"), named("-gn"));
    // Without the superuser all of it runs as who runs the test.
    let users = match is_root {
        true => format!("mail_uid = {user}\nmail_gid = {user}\nfirst_valid_uid = 1\n"),
        false => format!(
            "mail_uid = {me}\nmail_gid = {mine}\ndefault_internal_user = {me}\ndefault_internal_group = {mine}
default_login_user = {me}\nfirst_valid_uid = 1\nfirst_valid_gid = 1
service anvil {{\n  chroot =\n}}\nservice imap-login {{\n  chroot =\n}}\nservice stats {{\n  chroot =\n}}\n"
        ),
    };
    format!(
        r#"
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{home}/certificate.pem
ssl_key = <{home}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2 oauthbearer
mail_location = maildir:{mail}
mail_max_userip_connections = 0
mail_fsync = never
{users}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service stats {{
  client_limit = 1000
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = {home}/users
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {home}/oauth2.conf
}}
userdb {{
  driver = static
  args = home={home}/home
}}
namespace inbox {{
  inbox = yes
  mailbox Sent {{
    auto = create
    special_use = \Sent
  }}
  mailbox Drafts {{
    auto = create
    special_use = \Drafts
  }}
}}
"#
    )
}

/// A mailbox in this folder with one account that fetches from a server of this kind.
pub(crate) fn fetching(home: &Path, port: u16, security: Security, auth: Auth) -> Mailbox {
    let mailbox = Mailbox::open(&home.join("mail.db")).unwrap();
    let host = if security == Security::Plain { "127.0.0.1" } else { "localhost" };
    let imap = Server { host: host.to_owned(), port, security, user: "anna".to_owned(), auth };
    let account = NewAccount {
        name: "work".to_owned(),
        email: "anna@x.example".to_owned(),
        display_name: None,
        imap: Some(imap),
        smtp: None,
    };
    mailbox.set_account(&account).unwrap();
    mailbox
}
