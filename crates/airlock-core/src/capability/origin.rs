//! Hosts, with how and where they are spoken to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// HTTP without encryption.
    Http,
    /// HTTP over TLS.
    Https,
    /// A bare connection.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Which hosts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HostPattern {
    /// Every host.
    Any,
    /// The host of this name, in lower case.
    Name(String),
    /// Every host below this name, and not the name itself: `*.NAME`.
    Below(String),
    /// Every address with these leading bits, spoken to by address. A host that has such an
    /// address and is asked for by name is not meant.
    Network {
        /// The first address.
        address: IpAddr,
        /// How many leading bits are the network's.
        bits: u8,
    },
}

/// Which ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PortPattern {
    /// Every port.
    Any,
    /// The one that the scheme is known for: 80 or 443. A bare connection has none, and datagrams have none.
    Usual,
    /// This one.
    Exact(u16),
}

/// Hosts with the scheme and port they may be spoken to by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginPattern {
    /// `None`: every scheme.
    scheme: Option<Scheme>,
    host: HostPattern,
    port: PortPattern,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Scheme; 4] = [Scheme::Http, Scheme::Https, Scheme::Tcp, Scheme::Udp];

    /// As it stands before `://`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Tcp => "tcp",
            Scheme::Udp => "udp",
        }
    }

    /// The port it is known for.
    pub fn usual_port(self) -> Option<u16> {
        match self {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Tcp | Scheme::Udp => None,
        }
    }
}

impl PortPattern {
    /// The same with the scheme's own port as a number.
    fn of(self, scheme: Scheme) -> PortPattern {
        match (self, scheme.usual_port()) {
            (PortPattern::Usual, Some(port)) => PortPattern::Exact(port),
            (port, _) => port,
        }
    }
}

impl HostPattern {
    /// Whether it stands for this host: a name in any case, or an address, one of version 6
    /// in brackets or not.
    pub fn permits(&self, host: &str) -> bool {
        let address = address(host);
        match (self, address) {
            (HostPattern::Any, _) => true,
            (HostPattern::Network { address: network, bits }, Some(address)) => {
                masked(address, *bits) == Some(*network)
            }
            (HostPattern::Name(name), None) => trimmed(host).eq_ignore_ascii_case(name),
            (HostPattern::Below(parent), None) => is_below(&trimmed(host).to_ascii_lowercase(), parent),
            _ => false,
        }
    }

    fn covers(&self, other: &HostPattern) -> bool {
        use HostPattern::{Any, Below, Name, Network};
        match (self, other) {
            (Any, _) => true,
            (Name(mine), Name(theirs)) => mine == theirs,
            (Below(parent), Name(name)) => is_below(name, parent),
            (Below(parent), Below(theirs)) => parent == theirs || is_below(theirs, parent),
            (Network { address, bits }, Network { address: theirs, bits: longer }) => {
                bits <= longer && masked(*theirs, *bits) == Some(*address)
            }
            _ => false,
        }
    }
}

impl OriginPattern {
    pub(super) fn everything() -> Self {
        OriginPattern { scheme: None, host: HostPattern::Any, port: PortPattern::Any }
    }

    /// The scheme it is for; `None` for every one.
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// The hosts it is for.
    pub fn host(&self) -> &HostPattern {
        &self.host
    }

    /// Whether `host` may be spoken to this way.
    pub fn permits(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        let port_fits = match self.port {
            PortPattern::Any => true,
            PortPattern::Usual => scheme.usual_port() == Some(port),
            PortPattern::Exact(mine) => mine == port,
        };
        self.scheme.is_none_or(|mine| mine == scheme) && port_fits && self.host.permits(host)
    }

    /// Whether `host` may be spoken to this way at some port.
    pub fn permits_some_port(&self, scheme: Scheme, host: &str) -> bool {
        let has_port = self.port != PortPattern::Usual || scheme.usual_port().is_some();
        self.scheme.is_none_or(|mine| mine == scheme) && has_port && self.host.permits(host)
    }

    /// This host at every port, as a URL's parser gives it; none where it is no host.
    pub(crate) fn at_some_port(scheme: Scheme, host: &str) -> Option<Self> {
        let exactly = OriginPattern::exactly(scheme, host, 1)?;
        Some(OriginPattern { port: PortPattern::Any, ..exactly })
    }

    /// Exactly this origin, as a URL's parser gives it; none where it is no host.
    pub(crate) fn exactly(scheme: Scheme, host: &str, port: u16) -> Option<Self> {
        let host = match address(host) {
            Some(address) => HostPattern::Network { address, bits: width(address) },
            None => {
                let name = trimmed(host).to_ascii_lowercase();
                check_name(&name).ok()?;
                HostPattern::Name(name)
            }
        };
        let port = match scheme.usual_port() == Some(port) {
            true => PortPattern::Usual,
            false => PortPattern::Exact(port),
        };
        Some(OriginPattern { scheme: Some(scheme), host, port })
    }

    /// Whether it names one scheme, host and port.
    pub(super) fn is_single(&self) -> bool {
        let host = match &self.host {
            HostPattern::Name(_) => true,
            HostPattern::Network { address, bits } => *bits == width(*address),
            HostPattern::Any | HostPattern::Below(_) => false,
        };
        host && self.scheme.is_some() && self.port != PortPattern::Any
    }

    pub(super) fn covers(&self, other: &OriginPattern) -> bool {
        let scheme = match (self.scheme, other.scheme) {
            (None, _) => true,
            (mine, theirs) => mine == theirs,
        };
        let port = self.port == PortPattern::Any || self.port == other.port;
        scheme && port && self.host.covers(&other.host)
    }

    pub(super) fn overlaps(&self, other: &OriginPattern) -> bool {
        let mut schemes = Scheme::ALL.into_iter().filter(|scheme| {
            self.scheme.is_none_or(|mine| mine == *scheme)
                && other.scheme.is_none_or(|theirs| theirs == *scheme)
        });
        let ports = |scheme: Scheme| match (self.port.of(scheme), other.port.of(scheme)) {
            (PortPattern::Any, _) | (_, PortPattern::Any) => true,
            (mine, theirs) => mine == theirs,
        };
        let hosts = self.host.covers(&other.host) || other.host.covers(&self.host);
        hosts && schemes.any(ports)
    }

    pub(super) fn in_words(&self) -> String {
        let hosts = match &self.host {
            HostPattern::Any => "every host".to_owned(),
            HostPattern::Name(name) => format!("`{name}`"),
            HostPattern::Below(name) => format!("every host below `{name}`"),
            network => format!("`{network}`"),
        };
        let port = match self.port {
            PortPattern::Any => " on any port".to_owned(),
            PortPattern::Usual => String::new(),
            PortPattern::Exact(port) => format!(" on port {port}"),
        };
        let scheme = self.scheme.map_or_else(String::new, |scheme| format!(" by {}", scheme.name()));
        format!("{hosts}{port}{scheme}")
    }
}

impl FromStr for OriginPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((name, rest)) => {
                let known = Scheme::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
                (Some(known.ok_or_else(|| format!("`{name}` is not `http`, `https`, `tcp` or `udp`"))?), rest)
            }
        };
        let rest = match scheme {
            Some(_) => rest.strip_suffix('/').unwrap_or(rest),
            None => rest,
        };
        if rest.contains('@') {
            return Err("an origin has no user and no password".to_owned());
        }
        let (host, port) = split_port(rest);
        let host: HostPattern = host.parse()?;
        let port = match (port, scheme) {
            (Some("*"), _) => PortPattern::Any,
            (None, None) => PortPattern::Any,
            (None, Some(scheme)) => match scheme.usual_port() {
                Some(_) => PortPattern::Usual,
                None => {
                    let name = scheme.name();
                    return Err(format!("needs a port: `{name}://HOST:25`, or `{name}://HOST:*` for all"));
                }
            },
            (Some(port), scheme) => {
                let number = port.parse().ok().filter(|number| *number != 0 && !port.starts_with('+'));
                let number = number.ok_or_else(|| format!("`{port}` is no port"))?;
                match scheme.and_then(Scheme::usual_port) == Some(number) {
                    true => PortPattern::Usual,
                    false => PortPattern::Exact(number),
                }
            }
        };
        Ok(OriginPattern { scheme, host, port })
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        if let Some(network) = network(text)? {
            return Ok(network);
        }
        if text.contains(['/', '?', '#']) {
            return Err("an origin ends after its host and port".to_owned());
        }
        let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let name = trimmed(name).to_ascii_lowercase();
        check_name(&name)?;
        Ok(if below { HostPattern::Below(name) } else { HostPattern::Name(name) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Name(name) => f.write_str(name),
            HostPattern::Below(name) => write!(f, "*.{name}"),
            HostPattern::Network { address, bits } => {
                match address {
                    IpAddr::V4(address) => write!(f, "{address}")?,
                    IpAddr::V6(address) => write!(f, "[{address}]")?,
                }
                match *bits == width(*address) {
                    true => Ok(()),
                    false => write!(f, "/{bits}"),
                }
            }
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.name())?;
        }
        self.host.fmt(f)?;
        match (self.port, self.scheme) {
            (PortPattern::Usual, _) | (PortPattern::Any, None) => Ok(()),
            (PortPattern::Any, Some(_)) => f.write_str(":*"),
            (PortPattern::Exact(port), _) => write!(f, ":{port}"),
        }
    }
}

/// A host and the port after it. Colons of an address of version 6 are its own, in brackets
/// or not.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let after = text.rfind(']').map_or(0, |end| end + 1);
    let colons = text[after..].matches(':').count();
    match text[after..].rfind(':') {
        Some(colon) if colons == 1 => (&text[..after + colon], Some(&text[after + colon + 1..])),
        _ => (text, None),
    }
}

/// The network that `text` is; `None` when it is no address.
fn network(text: &str) -> Result<Option<HostPattern>, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = bracketless(address).parse::<IpAddr>() else {
        return Ok(None);
    };
    let bits = match bits {
        None => width(address),
        Some(text) => text
            .parse()
            .ok()
            .filter(|bits| *bits <= width(address) && text.bytes().all(|digit| digit.is_ascii_digit()))
            .ok_or_else(|| format!("`/{text}` is no number of leading bits, up to {}", width(address)))?,
    };
    Ok(masked(address, bits).map(|address| HostPattern::Network { address, bits }))
}

/// The address that a host is, where it is one. Most are names, which is seen without reading
/// them as an address.
fn address(host: &str) -> Option<IpAddr> {
    let may_be = host.starts_with(|first: char| first.is_ascii_digit() || first == '[') || host.contains(':');
    if may_be { bracketless(host).parse().ok() } else { None }
}

fn bracketless(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Without the dot that names may end with.
fn trimmed(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all but its leading `bits` cleared.
fn masked(address: IpAddr, bits: u8) -> Option<IpAddr> {
    let clear = u32::from(width(address).checked_sub(bits)?);
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(clear).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(clear).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    })
}

/// Names as the domain name system has them (RFC 1123), in their ASCII form.
fn check_name(name: &str) -> Result<(), String> {
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.is_empty() {
        return Err("a host is missing".to_owned());
    }
    if !name.is_ascii() {
        return Err("a host is written in ASCII, as `xn--…` where it has other letters".to_owned());
    }
    if name.contains('*') {
        return Err("`*` stands for a host, or before `.NAME`".to_owned());
    }
    if name.len() > 253 || !name.split('.').all(label_is_good) {
        return Err(format!("`{name}` is no host"));
    }
    // What resolvers take for an address in another notation, such as `127.1` or `0x7f.1`.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|c| c.is_ascii_digit()) || last.starts_with("0x") {
        return Err(format!("`{name}` is no address such as `127.0.0.1`"));
    }
    Ok(())
}
