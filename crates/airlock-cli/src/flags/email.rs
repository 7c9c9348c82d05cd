//! What a person types about mail.

use std::path::PathBuf;
use std::time::Duration;

use airlock_email::{Auth, Feature, Security};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum EmailTask {
    /// Set up accounts
    Account {
        #[command(subcommand)]
        task: AccountTask,
    },
    /// Get tokens for an account by OAuth 2: with a browser, or with a code for another device
    Login(Box<Login>),
    /// Fetch new messages of an account from its server
    Sync(Sync),
    /// List the newest messages
    List {
        #[command(flatten)]
        account: WhichAccount,
        /// The folder
        #[arg(long, default_value = "INBOX")]
        folder: String,
        /// So many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Show a message
    Show {
        /// Its Message-ID, as `list` and `search` have it
        message: String,
        #[command(flatten)]
        account: WhichAccount,
    },
    /// Find messages: words, "a phrase", -word, from: to: subject: has:attachment before: after:
    Search {
        /// What is searched for
        #[arg(required = true, allow_hyphen_values = true)]
        query: Vec<String>,
        #[command(flatten)]
        account: WhichAccount,
        /// So many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Send a message, whose text is read from standard input
    Send(Box<Send>),
    /// Answer a message, with the text from standard input
    Reply {
        /// The Message-ID of the message
        message: String,
        #[command(flatten)]
        account: WhichAccount,
        /// Answer everyone else that it went to as well
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        body: Body,
    },
    /// Look after what is to be sent
    Outbox {
        #[command(subcommand)]
        task: OutboxTask,
    },
}

/// Whose mail.
#[derive(Debug, Args)]
pub(crate) struct WhichAccount {
    /// The account, by its name, address or number; the only one where it is not said
    #[arg(short, long = "account", value_name = "ACCOUNT")]
    pub(crate) name: Option<String>,
}

/// What is fetched.
#[derive(Debug, Args)]
pub(crate) struct Sync {
    #[command(flatten)]
    pub(crate) account: WhichAccount,
    /// Of all accounts whose mail is fetched, several at once
    #[arg(long, conflicts_with = "name")]
    pub(crate) all_accounts: bool,
    /// The folders, each by its path on the server; INBOX where none is said
    #[arg(long = "folder", value_name = "FOLDER")]
    pub(crate) folders: Vec<String>,
    /// All folders that the server has
    #[arg(long, conflicts_with = "folders")]
    pub(crate) all: bool,
}

/// A message that is to be sent.
#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) account: WhichAccount,
    /// To whom
    #[arg(long, required = true, value_name = "ADDRESS")]
    pub(crate) to: Vec<String>,
    /// Who gets a copy
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) cc: Vec<String>,
    /// Who gets a copy that the others do not know of
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bcc: Vec<String>,
    /// About what
    #[arg(long)]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) body: Body,
}

/// What a message says.
#[derive(Debug, Args)]
pub(crate) struct Body {
    /// The text, in the place of standard input
    #[arg(long, value_name = "TEXT")]
    pub(crate) body: Option<String>,
    /// A file with the same in HTML
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// A file that is attached
    #[arg(long = "attach", value_name = "FILE")]
    pub(crate) attachments: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountTask {
    /// Make an account, or set the one of that address anew; its password is asked for, or read from
    /// standard input
    ///
    /// What is set anew has the name, the servers and the authorities that are said now, and no others.
    /// Its mail, its switches, and where its tokens come from stay.
    Add(Box<AccountAdd>),
    /// Show all accounts
    List,
    /// Log in to an account's servers, and say how that went
    Test {
        #[command(flatten)]
        account: WhichAccount,
    },
    /// Switch what may be done with an account's mail on or off
    Switch {
        #[command(flatten)]
        account: WhichAccount,
        /// What
        #[arg(value_parser = PossibleValuesParser::new(Feature::ALL.map(Feature::key)))]
        feature: String,
        /// On, or off
        #[arg(value_parser = PossibleValuesParser::new(["on", "off"]))]
        state: String,
    },
    /// Keep another password for an account, which is asked for, or read from standard input
    Password {
        #[command(flatten)]
        account: WhichAccount,
        /// The server that it is for; both where it is not said
        #[arg(long, value_name = "SERVER", value_parser = PossibleValuesParser::new(["imap", "smtp"]))]
        of: Option<String>,
    },
    /// Remove an account with all its mail and what it logs in with
    Remove {
        /// Its name, address or number
        account: String,
    },
}

/// An account.
#[derive(Debug, Args)]
pub(crate) struct AccountAdd {
    /// What grants call it: `work`
    pub(crate) name: String,
    /// Its address
    #[arg(long)]
    pub(crate) email: String,
    /// Its owner's name, for `From`
    #[arg(long, value_name = "NAME")]
    pub(crate) display_name: Option<String>,
    /// Who logs in; the address where it is not said
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Who logs in to send, where that is another; `airlock email account password --of smtp` keeps a
    /// password of its own
    #[arg(long, value_name = "USER", requires = "smtp")]
    pub(crate) smtp_user: Option<String>,
    /// Where its mail is fetched, with a port where that is not the usual one
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) imap: Option<String>,
    /// How that connection is protected
    #[arg(long, default_value = "tls", value_parser = PossibleValuesParser::new(Security::ALL.map(Security::name)))]
    pub(crate) imap_security: String,
    /// Where its mail is sent, with a port where that is not the usual one
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) smtp: Option<String>,
    /// How that connection is protected
    #[arg(long, default_value = "tls", value_parser = PossibleValuesParser::new(Security::ALL.map(Security::name)))]
    pub(crate) smtp_security: String,
    /// How it logs in
    #[arg(long, default_value = "plain", value_parser = PossibleValuesParser::new(Auth::ALL.map(Auth::name)))]
    pub(crate) auth: String,
    /// How it logs in to send, where that is another way
    #[arg(long, value_name = "AUTH", requires = "smtp", value_parser = PossibleValuesParser::new(Auth::ALL.map(Auth::name)))]
    pub(crate) smtp_auth: Option<String>,
    /// A file of certificates in PEM whose servers are trusted beside those of the system; those of the
    /// system alone where it is not said
    #[arg(long, value_name = "FILE")]
    pub(crate) authorities: Option<PathBuf>,
    /// Keep no password: it logs in with what `airlock email login` gets, or not at all
    #[arg(long)]
    pub(crate) no_password: bool,
}

/// How an account gets its tokens.
#[derive(Debug, Args)]
pub(crate) struct Login {
    #[command(flatten)]
    pub(crate) account: WhichAccount,
    /// Whose tokens they are. Once the login has succeeded this is kept with the account, as are the
    /// flags below: a later login says only what is other
    #[arg(long, value_parser = PossibleValuesParser::new(["google", "microsoft"]))]
    pub(crate) provider: Option<String>,
    /// What the provider calls this client
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Read the client's secret from standard input, or ask for it
    #[arg(long)]
    pub(crate) client_secret: bool,
    /// Microsoft's tenant; all where none was ever said
    #[arg(long, conflicts_with = "token_url")]
    pub(crate) tenant: Option<String>,
    /// Where another provider asks a person
    #[arg(long, value_name = "URL", conflicts_with = "provider")]
    pub(crate) auth_url: Option<String>,
    /// Where another provider gives tokens; of the provider that the account has, nothing else is kept
    /// where this is another
    #[arg(long, value_name = "URL", conflicts_with = "provider")]
    pub(crate) token_url: Option<String>,
    /// Where another provider gives codes for another device
    #[arg(long, value_name = "URL", conflicts_with = "provider")]
    pub(crate) device_url: Option<String>,
    /// Where the browser comes back to on this machine; a free port where it is not said
    #[arg(long, value_name = "URL")]
    pub(crate) redirect_url: Option<String>,
    /// What the tokens are for; the provider's mail where nothing was ever said
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(crate) scopes: Vec<String>,
    /// Log in with another device, where a code is typed
    #[arg(long)]
    pub(crate) device: bool,
    /// How long the browser has to come back
    #[arg(long, value_name = "TIME", default_value = "5m", conflicts_with = "device", value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxTask {
    /// Show what is to be sent and what was
    List {
        #[command(flatten)]
        account: WhichAccount,
    },
    /// Send everything that is due
    Send,
    /// Send what is due, whenever it is, until Ctrl-C or SIGTERM
    Run,
    /// Have what failed tried again, also what may have arrived
    Retry {
        /// Its number
        id: i64,
    },
    /// Have what is not sent yet never be sent
    Cancel {
        /// Its number
        id: i64,
    },
    /// Look among the messages at the server whether what is uncertain arrived, and whether a copy
    /// of what is sent is there
    Check {
        /// Its number
        id: i64,
    },
    /// Say of what is uncertain that it did arrive
    Arrived {
        /// Its number
        id: i64,
    },
}
