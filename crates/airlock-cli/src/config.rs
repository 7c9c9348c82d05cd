//! The operator's file, `airlock.toml`, and where everything of Airlock's is.
//!
//! ```toml
//! folders = ["/opt/plugins"]
//!
//! [limits]
//! timeout = "5s"
//! memory = "32MiB"
//!
//! [cache]
//! size = "4GiB"
//! verify = "copy"
//!
//! # What plugins may have at most, whatever is granted.
//! [ceiling]
//! deny = ["exec=*"]
//!
//! [plugins.weather.ceiling]
//! allow = ["clock", "net=https://*.example.com"]
//!
//! [plugins.weather.limits]
//! timeout = "1s"
//!
//! # What it is configured with, before what its manifest says.
//! [plugins.weather.config]
//! units = "metric"
//!
//! # A header of its requests to a host, with a secret of `airlock secret` in it, which the
//! # plugin does not see.
//! [[plugins.weather.credentials]]
//! host = "https://api.example.com"
//! header = "authorization"
//! value = "Bearer {WEATHER_TOKEN}"
//!
//! [audit]
//! file = "/var/log/airlock.jsonl"
//! on_failure = "refuse"
//!
//! [grants]
//! keep_on_update = false
//!
//! # Whom plugins may write mail to, beside what is granted, and how often in an hour.
//! [email]
//! recipients = ["boss@example.com", "*@team.example.com"]
//! per_hour = 10
//! # Where passwords and tokens of mail are kept: `auto`, `keyring` or `file`.
//! secrets = "auto"
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use airlock_email::{SecretPlace, SendRules};
use airlock_host::service::OperatorConfig;
use airlock_host::{
    CacheSettings, Capability, CapabilityKind, Ceiling, Credential, Error, ErrorKind, Host, HostBuilder,
    LimitKind, Mapping, OnAuditFailure, Overrides, Place, Unit,
};
use serde::Deserialize;

/// Puts every file of Airlock's under one folder.
const AIRLOCK_HOME: &str = "AIRLOCK_HOME";

/// The highest `schema` this version reads.
const SCHEMA: u32 = 1;

/// Bytes of compiled code that are kept where nothing else is said.
const CACHE_BYTES: u64 = 1 << 30;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    schema: Option<u32>,
    #[serde(default)]
    limits: BTreeMap<String, toml::Value>,
    #[serde(default)]
    cache: CacheSection,
    #[serde(default)]
    ceiling: CeilingSection,
    #[serde(default)]
    plugins: BTreeMap<String, PluginSection>,
    #[serde(default)]
    audit: AuditSection,
    #[serde(default)]
    grants: GrantsSection,
    #[serde(default)]
    email: EmailSection,
    /// Folders in which plugins are found that somebody put there by hand.
    #[serde(default)]
    folders: Vec<PathBuf>,
}

/// The audit log of the command.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuditSection {
    /// Whether calls are recorded.
    pub(crate) calls: bool,
    /// A file that gets each record as well, as a line of JSON.
    pub(crate) file: Option<PathBuf>,
    /// What becomes of a call that cannot be recorded.
    on_failure: OnFailure,
}

impl Default for AuditSection {
    fn default() -> Self {
        AuditSection { calls: true, file: None, on_failure: OnFailure::Refuse }
    }
}

impl AuditSection {
    pub(crate) fn on_failure(&self) -> OnAuditFailure {
        match self.on_failure {
            OnFailure::Refuse => OnAuditFailure::Refuse,
            OnFailure::Continue => OnAuditFailure::Continue,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnFailure {
    Refuse,
    Continue,
}

/// How grants are decided and kept.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GrantsSection {
    /// Whether a new version that asks for no more keeps what the one before it had.
    pub(crate) keep_on_update: bool,
}

/// What bounds the mail of plugins.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EmailSection {
    recipients: Vec<String>,
    per_hour: Option<u32>,
    secrets: Option<String>,
}

impl EmailSection {
    fn read(self) -> Result<(SendRules, SecretPlace), Error> {
        let rules = SendRules::default();
        let per_hour = self.per_hour.unwrap_or(rules.per_hour);
        let place = self.secrets.as_deref().map(SecretPlace::named).transpose()?.unwrap_or_default();
        Ok((SendRules { recipients: self.recipients, per_hour }.checked()?, place))
    }
}

/// What one plugin, by its name, may have and use.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginSection {
    #[serde(default)]
    limits: BTreeMap<String, toml::Value>,
    #[serde(default)]
    ceiling: CeilingSection,
    #[serde(default)]
    config: BTreeMap<String, toml::Value>,
    #[serde(default)]
    credentials: Vec<CredentialSection>,
}

/// A header that a plugin's requests to a host carry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialSection {
    host: String,
    header: String,
    value: String,
}

/// Capabilities in their written form.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CeilingSection {
    allow: Option<Vec<String>>,
    #[serde(default)]
    deny: Vec<String>,
}

impl CeilingSection {
    fn read(&self) -> Result<Ceiling, Error> {
        let all = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, Error>>();
        let ceiling = Ceiling::new().deny(all(&self.deny)?);
        Ok(match &self.allow {
            Some(allow) => ceiling.allow_only(all(allow)?),
            None => ceiling,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheSection {
    enabled: Option<bool>,
    size: Option<String>,
    verify: Option<Verify>,
}

/// How cached code is checked.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verify {
    /// In the file that is then mapped.
    #[default]
    Map,
    /// In a private copy, which is then loaded.
    Copy,
}

/// What the operator set.
#[derive(Debug, Default)]
pub(crate) struct Config {
    limits: Overrides,
    ceiling: Ceiling,
    plugins: BTreeMap<String, (Overrides, Ceiling)>,
    /// What plugins are configured with.
    pub(crate) settings: OperatorConfig,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) audit: AuditSection,
    pub(crate) grants: GrantsSection,
    pub(crate) mail: SendRules,
    /// Where passwords and tokens of mail are kept.
    pub(crate) mail_secrets: SecretPlace,
    pub(crate) folders: Vec<PathBuf>,
    cache: CacheConfig,
}

#[derive(Debug)]
struct CacheConfig {
    enabled: bool,
    maximum_bytes: u64,
    mapping: Mapping,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig { enabled: true, maximum_bytes: CACHE_BYTES, mapping: Mapping::Shared }
    }
}

impl Config {
    /// The limits that hold for all plugins.
    pub(crate) fn limits(&self) -> Overrides {
        self.limits.clone()
    }

    /// What the plugin of this name may have at most.
    pub(crate) fn ceiling(&self, plugin: &str) -> Ceiling {
        let own = self.plugins.get(plugin).map(|(_, ceiling)| ceiling.clone());
        self.ceiling.clone().and(own.unwrap_or_default()).and(own_files())
    }

    /// A host with what is set here; `flags` go before the limits that hold for all plugins.
    pub(crate) fn host(&self, flags: &Overrides) -> HostBuilder {
        let mut limits = self.limits.clone();
        limits.extend(flags);
        let host = Host::builder().ceiling(self.ceiling.clone()).ceiling(own_files());
        let host = limits.into_iter().fold(host, |host, (kind, value)| host.limit(kind, value));
        self.plugins
            .iter()
            .fold(host, |host, (name, (limits, ceiling))| host.plugin(name, limits.clone(), ceiling.clone()))
    }

    /// Where the compile cache is and how it is used; `None` when it is switched off, or
    /// when there is no telling where it belongs.
    pub(crate) fn cache(&self) -> Option<CacheSettings> {
        let CacheConfig { enabled, maximum_bytes, mapping } = self.cache;
        let (cache, data) = (folder(Kind::Cache)?, folder(Kind::Data)?);
        enabled.then(|| CacheSettings {
            folder: cache.join("code"),
            key_file: data.join("cache.key"),
            maximum_bytes,
            mapping,
        })
    }
}

/// The kinds of files that the XDG base directory specification keeps apart.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Config,
    Data,
    Cache,
}

/// The folder for files of a kind: `$AIRLOCK_HOME`, else the specification's.
fn folder(kind: Kind) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let (name, default) = match kind {
        Kind::Config => ("XDG_CONFIG_HOME", ".config"),
        Kind::Data => ("XDG_DATA_HOME", ".local/share"),
        Kind::Cache => ("XDG_CACHE_HOME", ".cache"),
    };
    // The specification has relative paths ignored.
    let base = || variable(name).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| home.join(default));
    variable(AIRLOCK_HOME).or_else(|| Some(base().or_else(home)?.join("airlock")))
}

/// The folder of what is kept: the database, artifacts, the key of the cache.
///
/// # Errors
/// When there is no telling where it belongs.
pub(crate) fn data() -> Result<PathBuf, Error> {
    let data = folder(Kind::Data).ok_or_else(|| {
        let error = Error::host("there is no folder to keep anything in");
        error.with_hint(format!("set `HOME` or `{AIRLOCK_HOME}`"))
    })?;
    std::path::absolute(&data).map_err(|error| Error::host("there is no current folder").with_source(error))
}

/// Where the paths of capabilities begin.
pub(crate) fn place() -> Place {
    // A folder that is gone covers nothing.
    let working = std::env::current_dir().unwrap_or_default();
    Place { working, home: std::env::home_dir(), ..Place::default() }
}

/// What no plugin is ever given, whatever is granted: who can write there decides what is
/// granted and what code is run, and who can read there knows the key that vouches for it.
fn own_files() -> Ceiling {
    let of = |kind: Kind, names: &[&str]| -> Vec<PathBuf> {
        let folder = folder(kind).and_then(|folder| std::path::absolute(folder).ok());
        // Also under the name that symbolic links lead to.
        let real = folder.as_ref().and_then(|folder| folder.canonicalize().ok());
        let folders = folder.into_iter().chain(real);
        folders
            .flat_map(|folder| names.iter().map(move |name| folder.join(name)).collect::<Vec<_>>())
            .collect()
    };
    let state =
        ["airlock.db", "airlock.db-wal", "airlock.db-shm", "artifacts", "cache.key", "secrets.toml", "mail"];
    let paths = [of(Kind::Data, &state), of(Kind::Cache, &["code"]), of(Kind::Config, &["airlock.toml"])];
    // Who may not read there may not write there either.
    let denied = paths.concat();
    Ceiling::new().deny(denied.iter().filter_map(|path| Capability::below(CapabilityKind::FsRead, path)))
}

/// What the operator set; nothing when there is no file.
pub(crate) fn read() -> Result<Config, Error> {
    let Some(path) = folder(Kind::Config).map(|folder| folder.join("airlock.toml")) else {
        return Ok(Config::default());
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => return Err(Error::new(ErrorKind::Unreadable(path)).with_source(error)),
    };
    parse(&text).map_err(|error| {
        let hint = format!("in {}", path.display());
        error.with_hint(hint)
    })
}

fn parse(text: &str) -> Result<Config, Error> {
    let invalid =
        |reason: String| Error::new(ErrorKind::InvalidSetting { name: "airlock.toml".to_owned(), reason });
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
        let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
        invalid(format!("{}{place}", error.message()))
    })?;
    if file.schema.is_some_and(|schema| schema > SCHEMA) {
        return Err(invalid(format!("its `schema` is newer than {SCHEMA}, which this version reads")));
    }
    let limits = read_limits(file.limits)?;
    let (mut plugins, mut settings, mut credentials) = (BTreeMap::new(), OperatorConfig::new(), Vec::new());
    for (name, section) in file.plugins {
        for CredentialSection { host, header, value } in &section.credentials {
            credentials.push(Credential::new(&name, host, header, value)?);
        }
        let config = section.config.into_iter().map(|(key, value)| Ok((key.clone(), setting(&key, value)?)));
        settings = settings.plugin(&name, config.collect::<Result<Vec<_>, Error>>()?);
        plugins.insert(name, (read_limits(section.limits)?, section.ceiling.read()?));
    }
    let mut cache = CacheConfig { enabled: file.cache.enabled.unwrap_or(true), ..CacheConfig::default() };
    if let Some(size) = file.cache.size {
        cache.maximum_bytes = Unit::Bytes.read(&size).map_err(|reason| {
            Error::new(ErrorKind::InvalidSetting { name: "cache.size".to_owned(), reason })
        })?;
    }
    cache.mapping = match file.cache.verify.unwrap_or_default() {
        Verify::Map => Mapping::Shared,
        Verify::Copy => Mapping::Copy,
    };
    let File { audit, grants, folders, .. } = file;
    let (ceiling, (mail, mail_secrets)) = (file.ceiling.read()?, file.email.read()?);
    Ok(Config {
        limits,
        ceiling,
        plugins,
        settings,
        credentials,
        cache,
        audit,
        grants,
        mail,
        mail_secrets,
        folders,
    })
}

/// A value of a plugin's configuration, which is text for it.
fn setting(key: &str, value: toml::Value) -> Result<String, Error> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => Ok(value.to_string()),
        _ => Err(Error::new(ErrorKind::InvalidSetting {
            name: key.to_owned(),
            reason: "a plugin is configured with texts, numbers and truths".to_owned(),
        })),
    }
}

fn read_limits(section: BTreeMap<String, toml::Value>) -> Result<Overrides, Error> {
    let limits = section.into_iter().map(|(name, value)| {
        let kind: LimitKind = name.parse()?;
        let text = match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        Ok((kind, kind.read(&text)?))
    });
    limits.collect()
}

#[cfg(test)]
mod tests {
    use airlock_host::{Ceiling, LimitKind, Mapping, Overrides};

    use super::parse;

    #[test]
    fn limits_are_read_in_their_units() {
        let limits = parse("schema = 1\n[limits]\ntimeout = \"5s\"\nfuel = 1000\n").expect("valid").limits;
        assert_eq!(limits, Overrides::from([(LimitKind::Timeout, 5_000_000_000), (LimitKind::Fuel, 1000)]));
    }

    #[test]
    fn the_cache_is_on_and_a_gibibyte_large_unless_said() {
        let cache = parse("").expect("valid").cache;
        assert_eq!((cache.enabled, cache.maximum_bytes, cache.mapping), (true, 1 << 30, Mapping::Shared));
        let text = "[cache]\nenabled = false\nsize = \"64MiB\"\nverify = \"copy\"";
        let cache = parse(text).expect("valid").cache;
        assert_eq!((cache.enabled, cache.maximum_bytes, cache.mapping), (false, 64 << 20, Mapping::Copy));
    }

    #[test]
    fn a_plugin_has_limits_and_a_ceiling_of_its_own() {
        let text = "[limits]\nfuel = 1\nmemory = \"1MiB\"\n[ceiling]\ndeny = [\"exec=*\"]\n\
                    [plugins.a]\nlimits = { fuel = 2 }\nceiling = { allow = [\"clock\", \"exec=git\"] }";
        let config = parse(text).expect("valid");
        let (limits, ceiling) = &config.plugins["a"];
        assert_eq!(limits, &Overrides::from([(LimitKind::Fuel, 2)]));
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("valid")).collect::<Vec<_>>();
        let denied = Ceiling::new().deny(all(&["exec=*"]));
        assert_eq!(config.ceiling, denied);
        assert_eq!(ceiling, &Ceiling::new().allow_only(all(&["clock", "exec=git"])));
    }

    #[test]
    fn a_plugin_is_configured_and_its_credentials_are_named() {
        let text = "[plugins.a.config]\nunits = \"metric\"\ncount = 3\nfast = true\n\
                    [[plugins.a.credentials]]\nhost = \"https://api.example\"\nheader = \"X-Key\"\nvalue = \"{KEY}\"";
        let config = parse(text).expect("valid");
        let shown = format!("{:?}", config.settings);
        assert!(shown.contains(r#""count": "3", "fast": "true", "units": "metric""#), "{shown}");
        assert_eq!(config.credentials.len(), 1);
        let fails = |text: &str| parse(text).expect_err("invalid").to_string();
        assert_eq!(
            fails("[plugins.a.config]\nlist = [1]"),
            "`list`: a plugin is configured with texts, numbers and truths"
        );
        let credential = |value: &str| {
            fails(&format!(
                "[[plugins.a.credentials]]\nhost = \"https://x.example\"\nheader = \"a\"\nvalue = \"{value}\""
            ))
        };
        assert_eq!(
            credential("plain"),
            "`credentials for https://x.example`: `{NAME}` stands for a secret in the value"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fails = |text: &str| parse(text).expect_err("invalid");
        assert_eq!(fails("[limits]\ntimeuot = \"5s\"").hint(), Some("did you mean `timeout`?"));
        assert_eq!(
            fails("[limits]\nmemory = \"lots\"").to_string(),
            "`memory`: `lots` is no size such as `64MiB`"
        );
        assert!(fails("\n[limit]").to_string().starts_with("`airlock.toml`: unknown field `limit`"));
        assert_eq!(
            fails("[cache]\nsize = \"big\"").to_string(),
            "`cache.size`: `big` is no size such as `64MiB`"
        );
        assert!(fails("[cache]\nverify = \"trust\"").to_string().contains("unknown variant `trust`"));
        assert_eq!(fails("[ceiling]\ndeny = [\"exce=*\"]").to_string(), "unknown capability `exce`");
        assert!(fails("schema = 2").to_string().contains("newer than 1"));
    }
}
