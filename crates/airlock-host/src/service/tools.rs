//! Tools that plugins can call by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use airlock_core::{
    CapabilityKind, Error, ErrorKind, LimitKind, NamePattern, Need, Permit, Result, ServiceError,
    ServiceFuture, Tool, ToolInfo, Tools,
};
use serde_json::value::RawValue;

use crate::bounded::bounded;
use crate::cancel::Cuts;
use crate::caught::caught;

/// Bytes that a tool's name may have.
const NAME: usize = 256;

/// The [`Tools`] that come with Airlock: what the application registers. Clones are one
/// registry.
///
/// A tool is called with one JSON value, up to [`LimitKind::Input`], and answers with one, up
/// to [`LimitKind::Output`]; how deep values nest is the tool's to bound. It has the rest of
/// the call's time. Its future is dropped at the end of it; a tool that blocks its thread
/// instead of waiting cannot be stopped. A tool that panics has failed, and nothing else.
#[derive(Clone, Default)]
pub struct ToolRegistry(Arc<RwLock<BTreeMap<String, Registered>>>);

#[derive(Clone)]
struct Registered {
    /// As it was said when it was registered.
    info: ToolInfo,
    tool: Arc<dyn Tool>,
}

impl ToolRegistry {
    /// No tools.
    pub fn new() -> Self {
        ToolRegistry::default()
    }

    /// Adds a tool under the name that it says. It can be called at once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for a name that another tool has, and for one that no
    /// grant could name: with spaces, control characters, `*` or `=`, empty, or longer than
    /// 256 bytes.
    pub fn register(&self, tool: Arc<dyn Tool>) -> Result<()> {
        let info = tool.info();
        let invalid = |reason: String| {
            let name = format!("tool {}", airlock_core::visible(&info.name, false));
            Error::new(ErrorKind::InvalidSetting { name, reason })
        };
        let is_exact = |pattern: NamePattern| pattern.exact().is_some();
        let nameable = info.name.parse().is_ok_and(is_exact);
        if !nameable || info.name.len() > NAME || info.name.contains(char::is_control) {
            return Err(invalid(format!(
                "a name has 1 to {NAME} bytes and no spaces, control characters, `*` and `=`"
            )));
        }
        let mut tools = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = tools.get(&info.name) {
            let (first, second) = (&other.info.description, &info.description);
            return Err(invalid(format!("it is there already: `{first}`, and not `{second}`")));
        }
        tools.insert(info.name.clone(), Registered { info, tool });
        Ok(())
    }

    /// Takes a tool away; whether it was there. Calls of it that run go on.
    pub fn unregister(&self, name: &str) -> bool {
        let removed = self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        // Dropped here, without the lock: dropping it may run anything.
        removed.is_some()
    }

    /// All tools, by name.
    pub fn all(&self) -> Vec<ToolInfo> {
        self.infos(|_| true)
    }

    fn infos(&self, chosen: impl Fn(&str) -> bool) -> Vec<ToolInfo> {
        let tools = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let chosen = tools.iter().filter(|(name, _)| chosen(name));
        chosen.map(|(_, registered)| registered.info.clone()).collect()
    }

    fn find(&self, name: &str) -> Option<Arc<dyn Tool>> {
        let tools = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tools.get(name).map(|registered| registered.tool.clone())
    }
}

impl Tools for ToolRegistry {
    fn list(&self, permit: &Permit) -> Vec<ToolInfo> {
        self.infos(|name| permit.policy().meets(Need::Name(CapabilityKind::ToolsCall, name)))
    }

    fn call<'a>(&'a self, permit: &'a Permit, name: &'a str, input: &'a str) -> ServiceFuture<'a, String> {
        Box::pin(async move {
            permit.check()?;
            let need = Need::Name(CapabilityKind::ToolsCall, name);
            // Whoever made the permit has asked this. A tool must not depend on it.
            if !permit.policy().meets(need) {
                return Err(ServiceError::Denied(need.capability()));
            }
            let tool = self.find(name).ok_or_else(|| ServiceError::NotFound(format!("tool `{name}`")))?;
            let inside = permit.inside(name)?;
            fits(permit, LimitKind::Input, input)?;
            is_json(input).map_err(|error| {
                ServiceError::Invalid(format!("the input of `{name}` is no JSON: {error}"))
            })?;
            // Nothing of ours is changed by a tool, so nothing can be left half changed by a panic.
            let called = caught(|| tool.call(&inside, input));
            let Ok(output) = bounded(permit.deadline(), Cuts::none(), called).await else {
                return Err(ServiceError::Ended);
            };
            let Ok(output) = output else {
                return Err(ServiceError::Failed(format!("the tool `{name}` panicked")));
            };
            let output = output?;
            fits(permit, LimitKind::Output, &output)?;
            is_json(&output)
                .map_err(|error| ServiceError::Failed(format!("what `{name}` gave is no JSON: {error}")))?;
            Ok(output)
        })
    }
}

fn fits(permit: &Permit, limit: LimitKind, text: &str) -> std::result::Result<(), ServiceError> {
    let maximum = permit.limits().value(limit);
    match text.len() as u64 <= maximum {
        true => Ok(()),
        false => Err(ServiceError::Limit { limit, maximum }),
    }
}

/// Whether it is one JSON value, looked at without being kept.
fn is_json(text: &str) -> serde_json::Result<()> {
    serde_json::from_str::<&RawValue>(text).map(drop)
}

impl fmt::Debug for ToolRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(tools.keys()).finish()
    }
}
