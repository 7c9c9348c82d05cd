//! MoFA's words for what Airlock has under others: capabilities and limits.
//!
//! ```
//! use airlock_host::mofa::{PluginCapability, ResourceLimits};
//! use airlock_host::{Host, LoadOptions};
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! let limits = ResourceLimits { max_memory_pages: 16, max_fuel: None, ..ResourceLimits::default() };
//! let host = Host::builder().limits(&limits.overrides()).build()?;
//! let options = PluginCapability::ReadConfig.grant(LoadOptions::new().wat(true));
//! let wat = r#"(module (func (export "add") (param i32 i32) (result i32)
//!     (i32.add (local.get 0) (local.get 1))))"#;
//! let plugin = host.load_blocking(wat.as_bytes(), options)?;
//! assert_eq!(plugin.call_blocking::<_, i32>("add", &(10, 5))?.value, 15);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::str::FromStr;

use airlock_core::{Capability, CapabilityKind, Error, ErrorKind, LimitKind, Overrides, nearest};

use crate::load::LoadOptions;

/// Bytes of a WebAssembly page.
const PAGE: u64 = 64 << 10;

/// Bytes of stack that one level of calls is taken to use. What it does use depends on the function:
/// a few dozen where it is small, some hundreds where it keeps many values.
const FRAME: u64 = 1 << 10;

/// Bytes of stack that a guest has at the least, and at the most.
const STACK: (u64, u64) = (64 << 10, 64 << 20);

/// What MoFA's plugins may do, by its names: those of its code, and those that only its documents have
/// (`WriteState`, `CallHostFunction`, `NetworkAccess`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginCapability {
    /// Reads its configuration.
    ReadConfig,
    /// Sets its configuration, for as long as its instance lives.
    WriteConfig,
    /// Keeps data between calls.
    WriteState,
    /// The same.
    Storage,
    /// Publishes events.
    SendMessage,
    /// Receives events.
    ReceiveMessage,
    /// Calls tools.
    CallTool,
    /// The same: what an application offers by a name of its own.
    CallHostFunction,
    /// Makes requests.
    HttpClient,
    /// The same.
    NetworkAccess,
    /// Reads and writes files in a folder of its own.
    FileSystem,
    /// Reads the real time, and sleeps.
    Timer,
    /// Draws random numbers.
    Random,
    /// Calls the tool of this name.
    Custom(String),
}

/// Each by its name, but for [`PluginCapability::Custom`].
const NAMES: [(&str, &str, PluginCapability, CapabilityKind); 13] = {
    use CapabilityKind as K;
    use PluginCapability as P;
    [
        ("ReadConfig", "read_config", P::ReadConfig, K::Config),
        ("WriteConfig", "write_config", P::WriteConfig, K::Config),
        ("WriteState", "write_state", P::WriteState, K::Kv),
        ("Storage", "storage", P::Storage, K::Kv),
        ("SendMessage", "send_message", P::SendMessage, K::EventsPublish),
        ("ReceiveMessage", "receive_message", P::ReceiveMessage, K::EventsSubscribe),
        ("CallTool", "call_tool", P::CallTool, K::ToolsCall),
        ("CallHostFunction", "call_host_function", P::CallHostFunction, K::ToolsCall),
        ("HttpClient", "http_client", P::HttpClient, K::Net),
        ("NetworkAccess", "network_access", P::NetworkAccess, K::Net),
        ("FileSystem", "filesystem", P::FileSystem, K::FsWrite),
        ("Timer", "timer", P::Timer, K::Clock),
        ("Random", "random", P::Random, K::Random),
    ]
};

impl PluginCapability {
    /// What it is here.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSetting`] for a [`PluginCapability::Custom`] that no tool can be called.
    pub fn capability(&self) -> Result<Capability, Error> {
        if let PluginCapability::Custom(tool) = self {
            return Capability::scoped(CapabilityKind::ToolsCall, tool);
        }
        let row = NAMES.iter().find(|(_, _, known, _)| known == self);
        let kind = row.map_or(CapabilityKind::ToolsCall, |(.., kind)| *kind);
        Ok(match kind {
            CapabilityKind::FsWrite => Capability::scoped(kind, "@")?,
            // As it is written without a scope, with the quota that stands for.
            CapabilityKind::Kv => kind.row().name.parse()?,
            kind => Capability::all_of(kind),
        })
    }

    /// Options that grant it. One that is none here grants nothing.
    pub fn grant(&self, options: LoadOptions) -> LoadOptions {
        match self.capability() {
            Ok(capability) => options.allow(capability),
            Err(_) => options,
        }
    }
}

impl fmt::Display for PluginCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginCapability::Custom(name) => write!(f, "custom:{name}"),
            known => {
                let row = NAMES.iter().find(|(_, _, other, _)| other == known);
                f.write_str(row.map_or("", |(_, name, ..)| name))
            }
        }
    }
}

impl FromStr for PluginCapability {
    type Err = Error;

    /// Reads a name as its code (`ReadConfig`) or its texts (`read_config`, `custom:NAME`) have it.
    fn from_str(name: &str) -> Result<Self, Error> {
        if let Some(custom) = name.strip_prefix("custom:") {
            return Ok(PluginCapability::Custom(custom.to_owned()));
        }
        let found = NAMES.iter().find(|(code, text, ..)| name == *code || name == *text);
        found.map(|(_, _, capability, _)| capability.clone()).ok_or_else(|| {
            Error::new(ErrorKind::UnknownName {
                what: "capability of MoFA",
                name: name.to_owned(),
                nearest: nearest(name, NAMES.iter().map(|(code, ..)| *code)),
            })
        })
    }
}

/// What bounds MoFA's plugins, by its names. Its own host enforces one of these; here all are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Pages of 64 KiB that memory and tables may have together ([`LimitKind::Memory`]).
    pub max_memory_pages: u32,
    /// Elements of all tables ([`LimitKind::TableElements`]).
    pub max_table_elements: u32,
    /// Instances of one plugin that live at once: sessions, and calls on instances of their own
    /// ([`LimitKind::Instances`]).
    pub max_instances: u32,
    /// Milliseconds of a call ([`LimitKind::Timeout`]).
    pub max_execution_time_ms: u64,
    /// Fuel of a call ([`LimitKind::Fuel`]); none is not counted at all.
    pub max_fuel: Option<u64>,
    /// How deep calls may nest, which is no count here: it is a stack of as many KiB, from 64 KiB to 64 MiB
    /// ([`LimitKind::Stack`], one value for a whole host). A recursion of small functions gets deeper in
    /// it, one of large functions less deep.
    pub max_call_depth: u32,
}

impl Default for ResourceLimits {
    /// 16 MiB, 10 000 elements, 10 instances, 30 s, 100 million of fuel, a depth of 1000.
    fn default() -> Self {
        ResourceLimits {
            max_memory_pages: 256,
            max_table_elements: 10_000,
            max_instances: 10,
            max_execution_time_ms: 30_000,
            max_fuel: Some(100_000_000),
            max_call_depth: 1000,
        }
    }
}

impl ResourceLimits {
    /// 1 MiB, 1000 elements, 1 instance, 5 s, 10 million of fuel, a depth of 100.
    pub fn restrictive() -> Self {
        ResourceLimits {
            max_memory_pages: 16,
            max_table_elements: 1000,
            max_instances: 1,
            max_execution_time_ms: 5000,
            max_fuel: Some(10_000_000),
            max_call_depth: 100,
        }
    }

    /// As much as can be said: 4 GiB of memory, 64 MiB of stack, and no fuel counted. A call still ends when
    /// it is cancelled, and with the host.
    pub fn unlimited() -> Self {
        ResourceLimits {
            max_memory_pages: u32::MAX,
            max_table_elements: u32::MAX,
            max_instances: u32::MAX,
            max_execution_time_ms: u64::MAX,
            max_fuel: None,
            max_call_depth: u32::MAX,
        }
    }

    /// Bytes of memory.
    pub fn max_memory_bytes(&self) -> u64 {
        u64::from(self.max_memory_pages) * PAGE
    }

    /// Bytes of stack that the depth of calls is.
    pub fn stack_bytes(&self) -> u64 {
        (u64::from(self.max_call_depth) * FRAME).clamp(STACK.0, STACK.1)
    }

    /// The same as limits of Airlock's, for [`HostBuilder::limits`](crate::HostBuilder::limits) and
    /// [`LoadOptions::limits`].
    pub fn overrides(&self) -> Overrides {
        let fixed = [
            (LimitKind::Memory, self.max_memory_bytes()),
            (LimitKind::TableElements, self.max_table_elements.into()),
            (LimitKind::Instances, self.max_instances.into()),
            (LimitKind::Timeout, self.max_execution_time_ms.saturating_mul(1_000_000)),
            (LimitKind::Stack, self.stack_bytes()),
        ];
        fixed.into_iter().chain(self.max_fuel.map(|fuel| (LimitKind::Fuel, fuel))).collect()
    }
}

#[cfg(test)]
mod tests {
    use airlock_core::LimitKind;

    use super::{NAMES, PluginCapability, ResourceLimits};

    #[test]
    fn every_name_of_its_code_and_its_documents_is_one_of_airlocks_capabilities() {
        for (code, text, capability, kind) in NAMES {
            assert_eq!(code.parse::<PluginCapability>().expect("known"), capability);
            assert_eq!(text.parse::<PluginCapability>().expect("known"), capability);
            assert_eq!(capability.to_string(), text);
            assert_eq!(capability.capability().expect("one of ours").kind(), kind);
        }
        let custom: PluginCapability = "custom:deploy".parse().expect("known");
        assert_eq!(custom.to_string(), "custom:deploy");
        assert_eq!(custom.capability().expect("a tool").to_string(), "tools.call=deploy");
        let error = "NetworkAcces".parse::<PluginCapability>().expect_err("unknown");
        assert_eq!(error.to_string(), "unknown capability of MoFA `NetworkAcces`");
        assert_eq!(error.hint(), Some("did you mean `NetworkAccess`?"));
    }

    #[test]
    fn its_limits_are_airlocks_and_the_depth_of_calls_is_bytes_of_stack() {
        assert_eq!(ResourceLimits::default().max_memory_bytes(), 16 << 20);
        assert_eq!(ResourceLimits::restrictive().max_memory_bytes(), 1 << 20);
        let depths = [ResourceLimits::restrictive(), ResourceLimits::default(), ResourceLimits::unlimited()];
        assert_eq!(depths.map(|limits| limits.stack_bytes()), [100 << 10, 1000 << 10, 64 << 20]);
        let limits = ResourceLimits::restrictive().overrides();
        assert_eq!(limits[&LimitKind::Timeout], 5_000_000_000);
        assert_eq!(limits[&LimitKind::Fuel], 10_000_000);
        assert_eq!(ResourceLimits::unlimited().overrides().get(&LimitKind::Fuel), None);
        assert_eq!(ResourceLimits::unlimited().overrides()[&LimitKind::Timeout], u64::MAX);
    }
}
