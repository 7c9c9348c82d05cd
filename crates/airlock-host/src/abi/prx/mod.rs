//! The `prx` ABI: components of PRX's worlds.
//!
//! A plugin exports one or more of `prx:plugin`'s interfaces and imports from `prx:host`, both of version
//! 0.1.0 or without one. Its functions are called as any component's are. What a tool has is more: it says
//! itself what it is called (`get-spec`), takes JSON as it was given, and says whether it did well.
//!
//! PRX's own host has some functions by other types than its WIT files; `dialect.rs` finds out which a
//! component is for, and `imports/` has both.

mod dialect;
mod imports;
mod tool;

use std::sync::Arc;

use airlock_core::{
    AbiId, CapabilityKind, Error, ErrorKind, LimitKind, Manifest, ManifestFormat, PrxKind, Result,
};
use airlock_engine::Shape;
use wasmtime::component::{self, Linker};

use self::tool::Tool;
use super::component::Functions;
use super::exports::is_before_components;
use super::{Abi, Adapter, Describer, Dialect, Fit, GuestFuture, Match, Profile};
use crate::answer::{Answer, Input};
use crate::schedule;
use crate::store::{CallState, Live};

pub(super) struct Prx;

/// Its host's limits, of which it counts fuel for a plugin's whole life, and its documents for each call.
static PROFILE: Profile = Profile {
    limits: &[
        (LimitKind::Fuel, 1_000_000_000),
        (LimitKind::Memory, 64 << 20),
        (LimitKind::Timeout, 30_000_000_000),
        (LimitKind::HttpRequests, 10),
    ],
    baseline: &[CapabilityKind::Log, CapabilityKind::Config, CapabilityKind::Clock],
    keeps_state: true,
    stays_inside: false,
    canonical_nan: false,
    root: &[],
};

/// The package of what it imports.
const HOST: &str = "prx:host/";

/// The version that there is of them.
const VERSION: &str = "0.1.0";

/// What a kind of plugin exports, without a version.
pub(crate) fn interface(kind: PrxKind) -> &'static str {
    match kind {
        PrxKind::Middleware => "prx:plugin/middleware-exports",
        PrxKind::Hook => "prx:plugin/hook-exports",
        PrxKind::Cron => "prx:plugin/cron-exports",
        PrxKind::Provider => "prx:plugin/provider-exports",
        PrxKind::Storage => "prx:plugin/storage-exports",
        _ => "prx:plugin/tool-exports",
    }
}

/// An interface's name, where its version is the one that there is, or it has none.
fn unversioned(interface: &str) -> Option<&str> {
    match interface.split_once('@') {
        None => Some(interface),
        Some((name, version)) => (version == VERSION).then_some(name),
    }
}

/// Whether an interface is that of the host's tools.
pub(crate) fn is_host_calls(interface: &str) -> bool {
    unversioned(interface) == Some(imports::HOST_CALLS)
}

/// Whether a component exports what makes it a plugin of this kind.
pub(crate) fn is_a(shape: &Shape, kind: PrxKind) -> bool {
    let interfaces = shape.wit.functions.iter().filter_map(|function| function.interface.as_deref());
    interfaces.into_iter().any(|name| unversioned(name) == Some(interface(kind)))
}

impl Abi for Prx {
    fn id(&self) -> AbiId {
        AbiId::Prx
    }

    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn detect(&self, shape: &Shape, manifest: Option<&Manifest>) -> Option<Match> {
        match manifest {
            Some(manifest) if manifest.format == ManifestFormat::Prx && !is_before_components(shape) => {
                return Some(Match { fit: Fit::Declared, why: "its manifest is PRX's".to_owned() });
            }
            Some(_) => return None,
            None if !shape.is_component => return None,
            None => {}
        }
        if let Some(kind) = PrxKind::ALL.into_iter().find(|kind| is_a(shape, *kind)) {
            let why = format!("it is a component that exports `{}`", interface(kind));
            return Some(Match { fit: Fit::Likely, why });
        }
        let of_host = |module: &str| {
            is_host_calls(module) || unversioned(module).is_some_and(|name| name.starts_with(HOST))
        };
        let import = shape.imports.iter().find(|import| of_host(&import.module))?;
        let why = format!("it is a component that imports `{}`", import.module);
        Some(Match { fit: Fit::Likely, why })
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &imports::INTERFACES
    }

    fn component_dialect(&self, component: &component::Component) -> Dialect {
        dialect::of(component)
    }

    fn link_component(&self, linker: &mut Linker<CallState>, dialect: Dialect) -> wasmtime::Result<()> {
        imports::link(linker, dialect)
    }

    /// Whatever a component imports is asked of the host on a fiber.
    fn waits(&self, _module: &str, _name: &str) -> bool {
        true
    }

    fn takes_components(&self) -> bool {
        true
    }

    fn describer(&self, shape: &Arc<Shape>, _manifest: Option<&Manifest>) -> Result<Option<Describer>> {
        let Some(tool) = Tool::of(shape, None) else { return Ok(None) };
        Ok(Some(Describer {
            adapter: Arc::new(tool::Asked(tool)),
            is_manifest: false,
            read: |said, manifest, name| match said {
                // It had nothing when it was asked, and may need something.
                Err(error)
                    if !matches!(error.kind(), ErrorKind::Trap { .. } | ErrorKind::BadGuest { .. }) =>
                {
                    Err(error)
                }
                Err(error) => Manifest::with_prx_spec(Err(error), manifest, name),
                Ok(said) => Manifest::with_prx_spec(Ok(&said), manifest, name),
            },
        }))
    }

    fn bind(&self, shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Arc<dyn Adapter>> {
        let mismatch = |reason: String| Error::new(ErrorKind::AbiMismatch { abi: AbiId::Prx, reason });
        if !shape.is_component {
            return Err(mismatch("it is a module, and PRX's plugins are components".to_owned()));
        }
        let Some(functions) = Functions::of(shape) else {
            return Err(mismatch("it exports no function".to_owned()));
        };
        let prx = manifest.and_then(|manifest| manifest.prx.as_ref());
        for capability in prx.iter().flat_map(|prx| &prx.capabilities) {
            if !is_a(shape, capability.kind) {
                let interface = interface(capability.kind);
                let reason = format!(
                    "its manifest says that it is a {}, and it exports no `{interface}`",
                    capability.kind
                );
                return Err(mismatch(reason));
            }
            if let Some(written) = &capability.schedule {
                schedule::read(written).map_err(|error| mismatch(error.to_string()))?;
            }
        }
        let tool = Tool::of(shape, manifest);
        let own = tool.iter().map(|tool| tool.name().to_owned());
        let listed = own.chain(functions.functions().iter().cloned()).collect();
        Ok(Arc::new(PrxAdapter { functions, tool, listed }))
    }
}

struct PrxAdapter {
    functions: Functions,
    tool: Option<Tool>,
    listed: Vec<String>,
}

impl Adapter for PrxAdapter {
    fn functions(&self) -> &[String] {
        &self.listed
    }

    fn start<'a>(&'a self, _live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        None
    }

    fn call<'a>(&'a self, live: &'a mut Live, function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        match &self.tool {
            Some(tool) if tool.is_called(function) => Box::pin(tool.run(live, function, input)),
            _ => self.functions.call(live, function, input),
        }
    }
}
