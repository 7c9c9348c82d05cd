//! From names to addresses.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use airlock_core::{ServiceError, ServiceFuture};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// What finds the addresses of a name.
///
/// What it answers is not trusted: each address is checked before any is connected to. It is
/// asked once for every request, and only for hosts that the plugin was granted.
pub trait Resolve: Send + Sync + fmt::Debug {
    /// All addresses of this name, which is in lower case and no address itself. Awaited in a
    /// tokio runtime with input, output and timers, on a thread that must not be blocked.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] where there are none.
    fn resolve<'a>(&'a self, name: &'a str) -> ServiceFuture<'a, Vec<IpAddr>>;
}

/// Asks the name servers that the system is set up with, after its file of hosts, and keeps
/// answers as long as they say. What the system is set up with is read at the first question
/// and kept.
#[derive(Default)]
pub struct SystemResolver(OnceLock<TokioResolver>);

impl SystemResolver {
    /// A resolver that has read nothing yet.
    pub fn new() -> Self {
        SystemResolver::default()
    }

    fn resolver(&self) -> Result<&TokioResolver, ServiceError> {
        if let Some(resolver) = self.0.get() {
            return Ok(resolver);
        }
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "no name server is known, only the file of hosts");
            let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default())
        });
        // Both at once: an answer that is forbidden must not hide behind one that is not.
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let made = builder.build().map_err(|error| {
            ServiceError::Unavailable(format!("the system's name servers are not known: {error}"))
        })?;
        Ok(self.0.get_or_init(|| made))
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemResolver")
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> ServiceFuture<'a, Vec<IpAddr>> {
        Box::pin(async move {
            let failed = |error: NetError| {
                ServiceError::Failed(match error.is_nx_domain() || error.is_no_records_found() {
                    true => format!("`{name}` has no address"),
                    false => format!("`{name}` could not be looked up: {error}"),
                })
            };
            Ok(self.resolver()?.lookup_ip(name).await.map_err(failed)?.iter().collect())
        })
    }
}
