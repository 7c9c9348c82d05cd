//! Entries of a list of URLs.
//!
//! PRX's code compares an entry with the URL, or with its beginning where the entry ends in `*`. Its
//! documents have origins there, which stand for all that they have. Both are meant here, but that a
//! beginning never ends within a host: `https://api.example.com*` is no leave for
//! `https://api.example.com.evil.example`.

use url::Url;

use crate::{Capability, CapabilityKind};

/// Whether an entry stands for this URL.
pub(super) fn permits(entry: &str, url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    if let Some(beginning) = entry.strip_suffix('*') {
        return begins_with(&url, beginning);
    }
    match Url::parse(entry) {
        Ok(entry) if entry.host_str().is_some_and(|host| host.contains('*')) => {
            begins_with(&url, entry.as_str().trim_end_matches('/'))
        }
        Ok(entry) if has_no_path(&entry) => entry.origin() == url.origin(),
        Ok(entry) => entry == url,
        Err(_) => false,
    }
}

fn begins_with(url: &Url, beginning: &str) -> bool {
    let text = url.as_str();
    let (scheme, rest) = match beginning.split_once("://") {
        // `*`, `http*`, `https://*`.
        None | Some((_, "")) => return text.starts_with(beginning),
        Some(parts) => parts,
    };
    let (host, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    // As a parser writes it, so that both are written the same way.
    let Ok(whole) = Url::parse(&format!("{scheme}://{host}/")) else { return false };
    let is_there = match whole.host_str().and_then(|host| host.strip_prefix('*')) {
        // `*.example.com` is every host below that.
        Some(below) => {
            let is_below = url.host_str().is_some_and(|host| host.ends_with(below));
            is_below && url.scheme() == whole.scheme() && url.port() == whole.port()
        }
        None => url.origin() == whole.origin(),
    };
    is_there && text.splitn(4, '/').nth(3).is_some_and(|own| format!("/{own}").starts_with(path))
}

fn has_no_path(url: &Url) -> bool {
    url.path() == "/" && url.query().is_none() && url.fragment().is_none()
}

/// Whether an entry says no more than an origin, or less.
pub(super) fn is_origin(entry: &str) -> bool {
    let bare = entry.strip_suffix('*').unwrap_or(entry);
    match bare.split_once("://") {
        Some((_, rest)) => rest.trim_end_matches('/').find(['/', '?', '#']).is_none(),
        None => true,
    }
}

/// The entry that stands for every URL.
pub(super) const EVERY_URL: &str = "*";

/// What has to be granted for an entry: requests, and no other way to speak to a host.
///
/// # Errors
/// Why it is none.
pub(super) fn capabilities(entry: &str) -> Result<Vec<Capability>, String> {
    let one = |scope: &str| Capability::scoped(CapabilityKind::Net, scope).map_err(|error| error.to_string());
    let all = |scope: &str| one(scope).map(|capability| vec![capability]);
    let bare = entry.strip_suffix('*').unwrap_or(entry);
    let Some((scheme, rest)) = bare.split_once("://") else {
        return match (entry.ends_with('*'), "https://".starts_with(bare)) {
            // `http*` and `*` are both schemes, `https*` one of them.
            (true, true) if bare.starts_with("https") => all("https://*"),
            (true, true) => ["https://*:*", "http://*:*"].into_iter().map(one).collect(),
            _ => Err(format!("`{entry}` is no URL")),
        };
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match (host, entry.ends_with('*')) {
        ("", true) => all(&format!("{scheme}://*")),
        ("", false) => Err(format!("`{entry}` has no host")),
        _ if host.contains('@') => Err(format!("`{entry}` has a user")),
        _ => all(&format!("{scheme}://{host}")),
    }
}
