//! Secrets: kept by the operator, used for a plugin, seldom seen by it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::ServiceError;
use crate::{Error, ErrorKind, OriginPattern, Permit, Scheme};

/// A value that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// A secret with this value.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Secret(value.into())
    }

    /// The value, for who has to use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Shorter values stand in too many texts by chance to be taken out of them.
const SHORTEST: usize = 6;

/// Takes secrets out of texts. All clones know the same secrets.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Vec<(String, Secret)>>>);

impl Redactor {
    /// Knows no secret yet.
    pub fn new() -> Self {
        Redactor::default()
    }

    /// Has this secret taken out from now on. One of fewer than six bytes is not.
    pub fn know(&self, name: &str, secret: &Secret) {
        if secret.reveal().len() < SHORTEST || self.known().iter().any(|(_, known)| known == secret) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.push((name.to_owned(), secret.clone()));
        // The longest first: one may begin with another.
        known.sort_by_key(|(_, secret)| std::cmp::Reverse(secret.reveal().len()));
    }

    /// `text` with `[secret NAME]` for every secret that is known.
    pub fn redact<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        let mut text = std::borrow::Cow::Borrowed(text);
        for (name, secret) in self.known().iter() {
            if text.contains(secret.reveal()) {
                text = text.replace(secret.reveal(), &format!("[secret {name}]")).into();
            }
        }
        text
    }

    fn known(&self) -> RwLockReadGuard<'_, Vec<(String, Secret)>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("known", &self.known().len()).finish()
    }
}

/// Where secrets are kept.
pub trait Secrets: Send + Sync + fmt::Debug {
    /// The secret of this name, when there is one.
    ///
    /// # Errors
    /// When it cannot be looked up.
    fn get(&self, permit: &Permit, name: &str) -> Result<Option<Secret>, ServiceError>;

    /// Headers with credentials that requests to this host carry, as the operator wrote it.
    /// The plugin never sees them, and needs no grant of the secret for them. None where this is
    /// not said.
    ///
    /// # Errors
    /// When they cannot be looked up.
    fn credentials(
        &self,
        permit: &Permit,
        scheme: Scheme,
        host: &str,
        port: u16,
    ) -> Result<Vec<(String, Secret)>, ServiceError> {
        let _ = (permit, scheme, host, port);
        Ok(Vec::new())
    }
}

/// Where there are no secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _permit: &Permit, _name: &str) -> Result<Option<Secret>, ServiceError> {
        Ok(None)
    }
}

/// A header with credentials that requests of a plugin to some hosts carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    plugin: String,
    origin: OriginPattern,
    header: String,
    /// Texts and names of secrets in turn, beginning and ending with a text.
    value: Vec<String>,
}

impl Credential {
    /// For requests of `plugin` to hosts of `origin`: the header `header` with `value`, in
    /// which `{NAME}` stands for the secret of that name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] with what is wrong with it.
    pub fn new(plugin: &str, origin: &str, header: &str, value: &str) -> crate::Result<Self> {
        let invalid = |reason: &str| {
            let name = format!("credentials for {origin}");
            Error::new(ErrorKind::InvalidSetting { name, reason: reason.to_owned() })
        };
        let pattern: OriginPattern = origin.parse().map_err(|reason: String| invalid(&reason))?;
        if pattern.scheme().is_none() {
            return Err(invalid("say how the host is spoken to, as in `https://api.example.com`"));
        }
        let header = http::HeaderName::from_bytes(header.as_bytes()).map_err(|_| invalid("no header"))?;
        let parts: Vec<String> = value.split(['{', '}']).map(str::to_owned).collect();
        let braces: String = value.chars().filter(|c| matches!(c, '{' | '}')).collect();
        let well_formed = braces == "{}".repeat(braces.len() / 2);
        let named = parts.iter().skip(1).step_by(2).all(|name| !name.is_empty());
        if !well_formed || !named || parts.len() < 3 {
            return Err(invalid("`{NAME}` stands for a secret in the value"));
        }
        let (plugin, header) = (plugin.to_owned(), header.as_str().to_owned());
        Ok(Credential { plugin, origin: pattern, header, value: parts })
    }

    /// The header for a request of `plugin`, with secrets as `secret` gives them; none where it
    /// is for others.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`] where a secret is missing; whatever `secret` fails with.
    pub fn render(
        &self,
        plugin: &str,
        (scheme, host, port): (Scheme, &str, u16),
        secret: impl Fn(&str) -> Result<Option<Secret>, ServiceError>,
    ) -> Result<Option<(String, Secret)>, ServiceError> {
        if self.plugin != plugin || !self.origin.permits(scheme, host, port) {
            return Ok(None);
        }
        let mut value = String::new();
        for (at, part) in self.value.iter().enumerate() {
            match at % 2 {
                0 => value.push_str(part),
                _ => {
                    let missing = || ServiceError::Unavailable(format!("there is no secret `{part}`"));
                    value.push_str(secret(part)?.ok_or_else(missing)?.reveal());
                }
            }
        }
        Ok(Some((self.header.clone(), Secret::new(value))))
    }
}

#[cfg(test)]
mod tests {
    use super::{Credential, Redactor, Secret};
    use crate::{Scheme, ServiceError};

    #[test]
    fn credentials_are_for_one_plugin_and_its_hosts() {
        let credential =
            Credential::new("one", "https://*.example", "Authorization", "Bearer {TOKEN}!").expect("valid");
        let secret = |name: &str| Ok((name == "TOKEN").then(|| Secret::new("abc")));
        let at = |plugin: &str, scheme, host: &str| {
            let found = credential.render(plugin, (scheme, host, 443), secret).expect("there is one");
            found.map(|(header, value)| (header, value.reveal().to_owned()))
        };
        let expected = ("authorization".to_owned(), "Bearer abc!".to_owned());
        assert_eq!(at("one", Scheme::Https, "api.example"), Some(expected));
        assert_eq!(at("two", Scheme::Https, "api.example"), None);
        assert_eq!(at("one", Scheme::Http, "api.example"), None);
        assert_eq!(at("one", Scheme::Https, "example.evil"), None);
        let missing = credential.render("one", (Scheme::Https, "a.example", 443), |_| Ok(None));
        assert_eq!(missing, Err(ServiceError::Unavailable("there is no secret `TOKEN`".to_owned())));
        for (origin, header, value) in [
            ("api.example", "a", "{T}"),
            ("https://api.example", "a b", "{T}"),
            ("https://api.example", "a", "no secret"),
            ("https://api.example", "a", "{T"),
            ("https://api.example", "a", "}T{"),
            ("https://api.example", "a", "{}"),
            ("gopher://api.example", "a", "{T}"),
        ] {
            assert!(Credential::new("one", origin, header, value).is_err(), "{origin} {header} {value}");
        }
    }

    #[test]
    fn secrets_are_taken_out_of_texts_and_are_not_printed() {
        let redactor = Redactor::new();
        let (long, short, tiny) = (Secret::new("hunter2-longer"), Secret::new("hunter2"), Secret::new("abc"));
        for (name, secret) in [("SHORT", &short), ("LONG", &long), ("TINY", &tiny), ("AGAIN", &short)] {
            redactor.know(name, secret);
        }
        assert_eq!(redactor.redact("a hunter2-longer b hunter2 abc"), "a [secret LONG] b [secret SHORT] abc");
        assert!(matches!(redactor.redact("nothing"), std::borrow::Cow::Borrowed("nothing")));
        assert_eq!(format!("{short:?} {redactor:?}"), "Secret(…) Redactor { known: 2 }");
    }
}
