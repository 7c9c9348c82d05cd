//! A mail server that keeps every message it takes in a file of its own.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use airlock_core::{MailError, Secret, SendMail};
use airlock_email::{
    Account, Auth, Connector, Credentials, Feature, Mailbox, NewAccount, Protocol, Security, Server,
};
use base64::Engine as _;
use tempfile::TempDir;

/// What the server and the account agree on. Found nowhere else.
pub(crate) const PASSWORD: &str = "correct-horse-42";
pub(crate) const TOKEN: &str = "ya29.token-of-anna";

const EXIM: &str = "/usr/sbin/exim4";

/// A server with a certificate for `localhost` of an authority of its own.
pub(crate) struct Exim {
    pub(crate) home: TempDir,
    process: Child,
    /// Where it speaks in the clear, with STARTTLS.
    pub(crate) port: u16,
    /// Where it speaks TLS at once.
    pub(crate) tls_port: u16,
    pub(crate) authority: String,
}

impl Exim {
    pub(crate) fn start() -> Self {
        Exim::start_with("")
    }

    /// The same with more in its list of what it looks at for each recipient.
    pub(crate) fn start_with(acl: &str) -> Self {
        assert!(Path::new(EXIM).exists(), "install exim4-daemon-light: {EXIM} is not there");
        let home = tempfile::tempdir().unwrap();
        let authority = certificates(home.path());
        let (port, tls_port) = (free_port(), free_port());
        let config = home.path().join("exim.conf");
        std::fs::write(&config, configuration(home.path(), port, tls_port, acl)).unwrap();
        for folder in ["spool", "log", "maildir"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // Exim delivers as its own user, never as the superuser.
        if rustix::process::geteuid().is_root() {
            assert!(given_to(Command::new("chown").args(["-R", "Debian-exim:Debian-exim"]), home.path()));
            // It obeys a configuration of the superuser only.
            assert!(given_to(Command::new("chown").arg("root:root"), &config));
        }
        let process = Command::new(EXIM)
            .arg("-C")
            .arg(&config)
            .args(["-bdf", "-q1s"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(home.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let server = Exim { home, process, port, tls_port, authority };
        server.wait_for_it();
        server
    }

    fn wait_for_it(&self) {
        for _ in 0..600 {
            if [self.port, self.tls_port].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let stderr = std::fs::read_to_string(self.home.path().join("stderr")).unwrap();
        panic!("the server does not start: {stderr}{}", self.log());
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::default()
            .with_patience(Duration::from_secs(20))
            .with_authorities(self.authority.as_bytes())
            .unwrap()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        let read =
            |name| std::fs::read_to_string(self.home.path().join("log").join(name)).unwrap_or_default();
        format!("{}{}{}", read("mainlog"), read("rejectlog"), read("paniclog"))
    }

    /// What it has delivered, once there are so many and nothing is on its way.
    pub(crate) fn delivered(&self, count: usize) -> Vec<String> {
        for _ in 0..600 {
            let delivered = self.files();
            if delivered.len() >= count && self.queued() == 0 {
                return self.files();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} of {count} are delivered: {}", self.files().len(), self.log());
    }

    fn files(&self) -> Vec<String> {
        let new = self.home.path().join("maildir/new");
        let Ok(entries) = std::fs::read_dir(new) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
    }

    fn queued(&self) -> usize {
        let Ok(entries) = std::fs::read_dir(self.home.path().join("spool/input")) else { return 0 };
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with("-H")).count()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn given_to(command: &mut Command, path: &Path) -> bool {
    command.arg(path).status().unwrap().success()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// Makes an authority and a certificate of it; the authority's.
pub(crate) fn certificates(home: &Path) -> String {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "a test's authority");
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = own.signed_by(&key, &issuer).unwrap();
    std::fs::write(home.join("certificate.pem"), pem("CERTIFICATE", certificate.der())).unwrap();
    std::fs::write(home.join("key.pem"), pem("PRIVATE KEY", key.serialized_der())).unwrap();
    pem("CERTIFICATE", authority_certificate.der())
}

fn configuration(home: &Path, port: u16, tls_port: u16, acl: &str) -> String {
    let home = home.display();
    let user = if rustix::process::geteuid().is_root() { "user = Debian-exim" } else { "" };
    format!(
        r#"
primary_hostname = mail.x.example
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
pid_file_path = {home}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {tls_port}
tls_on_connect_ports = {tls_port}
tls_advertise_hosts = *
tls_certificate = {home}/certificate.pem
tls_privatekey = {home}/key.pem
auth_advertise_hosts = *
acl_smtp_rcpt = check
acl_smtp_data = accepted
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = 60M
keep_environment =
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
queue_run_max = 1
split_spool_directory = false

begin acl
check:
{acl}
  deny message = who are you
       !authenticated = *
       !hosts = ${{if eq{{$received_port}}{{{port}}}{{127.0.0.1}}{{}}}}
  accept domains = x.example
  deny message = no such place
accepted:
  accept

begin routers
here:
  driver = accept
  domains = x.example
  transport = kept

begin transports
kept:
  driver = appendfile
  directory = {home}/maildir
  maildir_format
  create_directory
  envelope_to_add
  batch_max = 100
  {user}

begin retry
* * F,1h,1s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{anna}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{anna}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
xoauth2:
  driver = plaintext
  public_name = XOAUTH2
  server_prompts = :
  server_condition = ${{if eq{{$auth1}}{{user=anna\x01auth=Bearer {TOKEN}\x01\x01}}}}
  server_set_id = anna
oauthbearer:
  driver = plaintext
  public_name = OAUTHBEARER
  server_prompts = :
  server_condition = ${{if and{{{{match{{$auth1}}{{^n,a=anna,\x01host=localhost\x01port=}}}}{{match{{$auth1}}{{auth=Bearer {TOKEN}\x01\x01\$}}}}}}}}
  server_set_id = anna
"#
    )
}

/// A secret for every account.
#[derive(Debug)]
pub(crate) struct Known(Secret);

impl Known {
    pub(crate) fn new(secret: &str) -> Arc<Self> {
        Arc::new(Known(Secret::new(secret)))
    }
}

impl Credentials for Known {
    fn secret(&self, _account: &Account, _protocol: Protocol) -> Result<Secret, MailError> {
        Ok(self.0.clone())
    }
}

/// A mailbox in this folder with one account that may send by a server of this kind.
pub(crate) fn mailbox(home: &Path, port: u16, security: Security, auth: Auth) -> Mailbox {
    let mailbox = Mailbox::open(&home.join("mail.db")).unwrap();
    let host = if security == Security::Plain { "127.0.0.1" } else { "localhost" };
    let smtp = Server { host: host.to_owned(), port, security, user: "anna".to_owned(), auth };
    let account = NewAccount {
        name: "work".to_owned(),
        email: "anna@x.example".to_owned(),
        display_name: Some("Anna".to_owned()),
        imap: None,
        smtp: Some(smtp),
    };
    let id = mailbox.set_account(&account).unwrap();
    for feature in Feature::ALL {
        mailbox.switch(id, feature, true).unwrap();
    }
    mailbox
}

/// Something to send.
pub(crate) fn message(subject: &str) -> SendMail {
    SendMail {
        account_id: None,
        to: vec!["bert@x.example".to_owned()],
        cc: Vec::new(),
        bcc: Vec::new(),
        subject: subject.to_owned(),
        body_text: format!("about {subject}"),
        body_html: None,
        attachments: Vec::new(),
    }
}
