//! Modules and components linked to what the host provides: all that is left to do for an instance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use airlock_core::{AbiId, Digest, Error, ErrorKind, Result};
use airlock_engine::{Allocation, Compiled, EngineKey, ExternType, Shape, WitFunction};
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{self, Component, ComponentExportIndex};
use wasmtime::{
    Engine, InstancePre, Linker, Memory, MemoryType, Module, ModuleExport, Store, UnknownImportError,
};
use wasmtime_wasi::p2::bindings::CommandIndices;

use crate::abi::{self, Abi, Failure, MEMORY};
use crate::host::Host;
use crate::store::CallState;
use crate::wasi;

/// Linked code of either kind.
pub(crate) enum Linked {
    Module(InstancePre<CallState>),
    /// A module that has its memory from the host.
    Dependent(Box<Dependent>),
    Component(Box<LinkedComponent>),
}

/// A component with what it exports looked up once.
pub(crate) struct LinkedComponent {
    pub(crate) pre: component::InstancePre<CallState>,
    /// What it is run by, where it is a program.
    pub(crate) run: Option<CommandIndices>,
    /// Its functions in the order of its shape; none for what drops a resource.
    pub(crate) functions: Vec<Option<ComponentExportIndex>>,
    /// Whether it has anything from the host.
    pub(crate) imports: bool,
}

impl LinkedComponent {
    /// Looks up what a linked component exports.
    fn new(pre: component::InstancePre<CallState>, shape: &Shape) -> Self {
        let component = pre.component();
        let find = |function: &WitFunction| {
            let interface = match &function.interface {
                Some(interface) => Some(component.get_export_index(None, interface.as_str())?),
                None => None,
            };
            component.get_export_index(interface.as_ref(), function.name.as_str())
        };
        let functions = shape.wit.functions.iter().map(find).collect();
        let run = CommandIndices::new(&pre).ok().filter(|_| runs(component, shape));
        LinkedComponent { run, functions, imports: !shape.imports.is_empty(), pre }
    }
}

/// A module that imports a memory. What is imported from a store cannot be linked before there is
/// one, so the module is linked for each instance.
pub(crate) struct Dependent {
    linker: Arc<Linker<CallState>>,
    module: Module,
    memory: MemoryType,
    imports: Arc<Shape>,
}

impl Dependent {
    /// The module, where it imports a memory that its ABI provides.
    fn new(
        linker: &Arc<Linker<CallState>>,
        module: &Module,
        shape: &Arc<Shape>,
        abi: &dyn Abi,
    ) -> Option<Self> {
        let (pages, most) = abi.memory_pages()?;
        let import = module.imports().find(|import| (import.module(), import.name()) == MEMORY)?;
        let asked = import.ty().memory()?.clone();
        if asked.is_64() || asked.is_shared() {
            return None;
        }
        // What it declares bounds what it can be given.
        let most = asked.maximum().unwrap_or(most.max(asked.minimum()));
        let pages = pages.clamp(asked.minimum(), most.max(asked.minimum()));
        let (pages, most) = (u32::try_from(pages).ok()?, u32::try_from(most).ok()?);
        let memory = MemoryType::new(pages, Some(most));
        Some(Dependent { linker: linker.clone(), module: module.clone(), memory, imports: shape.clone() })
    }

    /// Links it for `store`, with a memory that is made there.
    ///
    /// # Errors
    /// As [`Host::prepare`], and when the memory is more than the store's limits let it have.
    pub(crate) fn link(&self, store: &mut Store<CallState>) -> Result<InstancePre<CallState>, Failure> {
        let memory = Memory::new(&mut *store, self.memory.clone())?;
        store.data_mut().provided = Some(memory);
        let mut linker = (*self.linker).clone();
        linker.define(&*store, MEMORY.0, MEMORY.1, memory)?;
        Ok(linker.instantiate_pre(&self.module).map_err(|error| import_error(&error, &self.imports))?)
    }
}

impl Linked {
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Linked::Module(pre) => pre.module().engine(),
            Linked::Dependent(dependent) => dependent.module.engine(),
            Linked::Component(linked) => linked.pre.engine(),
        }
    }
}

/// Code linked once for one engine.
pub(crate) struct Prepared {
    pub(crate) linked: Linked,
    /// A module's.
    pub(crate) exports: HashMap<String, ModuleExport>,
    /// Whether the memory exported as `memory` is a 64-bit one.
    pub(crate) memory64: bool,
}

/// What linked code depends on.
type Key = (Digest, EngineKey, AbiId, Allocation);

/// Those that plugins of a host have, which plugins of the same bytes share.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<HashMap<Key, Weak<Prepared>>>);

impl Shelf {
    fn get(&self, key: &Key) -> Option<Arc<Prepared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.upgrade()
    }

    fn put(&self, key: Key, prepared: &Arc<Prepared>) {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Each time that there is no room, which is each time that there are twice as many.
        if shelf.len() == shelf.capacity() {
            shelf.retain(|_, prepared| prepared.strong_count() > 0);
        }
        shelf.insert(key, Arc::downgrade(prepared));
    }
}

impl Host {
    /// A module linked for instances of this allocation.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownImport`] and [`ErrorKind::IncompatibleImport`].
    pub(crate) fn prepare(
        &self,
        module: &Module,
        compiled: &Compiled,
        abi: &'static dyn Abi,
        allocation: Allocation,
    ) -> Result<Arc<Prepared>> {
        let key = (compiled.artifact().digest(), compiled.key(), abi.id(), allocation);
        if let Some(prepared) = self.0.made.prepared.get(&key) {
            return Ok(prepared);
        }
        let shape = compiled.shape();
        let linker = self.linker(abi, abi.dialect(shape), compiled.key(), allocation)?;
        tracing::debug!(imports = shape.imports.len(), ?allocation, "link");
        let linked = match Dependent::new(&linker, module, shape, abi) {
            Some(dependent) => Linked::Dependent(Box::new(dependent)),
            None => {
                let linked = linker.instantiate_pre(module);
                Linked::Module(
                    linked.map_err(|error| with_others(import_error(&error, shape), &linker, module))?,
                )
            }
        };
        let exports = module
            .exports()
            .filter_map(|export| Some((export.name().to_owned(), module.get_export_index(export.name())?)))
            .collect();
        let memory64 = matches!(shape.export("memory"), Some(ExternType::Memory { memory64: true, .. }));
        let prepared = Arc::new(Prepared { linked, exports, memory64 });
        self.0.made.prepared.put(key, &prepared);
        Ok(prepared)
    }

    /// A component linked for instances of this allocation.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownImport`] and [`ErrorKind::IncompatibleImport`];
    /// [`ErrorKind::AbiMismatch`] where what it is run by is of another type.
    pub(crate) fn prepare_component(
        &self,
        component: &Component,
        compiled: &Compiled,
        abi: &'static dyn Abi,
        allocation: Allocation,
    ) -> Result<Arc<Prepared>> {
        let key = (compiled.artifact().digest(), compiled.key(), abi.id(), allocation);
        if let Some(prepared) = self.0.made.prepared.get(&key) {
            return Ok(prepared);
        }
        let shape = compiled.shape();
        tracing::debug!(imports = shape.imports.len(), ?allocation, "link a component");
        let linker = self.component_linker(abi, component, compiled.key(), allocation)?;
        let linked =
            linker.instantiate_pre(component).map_err(|error| interface_error(&error, shape, abi))?;
        let linked = LinkedComponent::new(linked, shape);
        if abi.id().is_program() && linked.run.is_none() {
            let reason = match shape.exports_interface("wasi:cli/run") {
                Some(_) => "what it exports as `wasi:cli/run` has no function `run` of its type",
                None => "it exports no `wasi:cli/run`",
            };
            return Err(Error::new(ErrorKind::AbiMismatch { abi: abi.id(), reason: reason.to_owned() }));
        }
        let linked = Linked::Component(Box::new(linked));
        let prepared = Arc::new(Prepared { linked, exports: HashMap::new(), memory64: false });
        self.0.made.prepared.put(key, &prepared);
        Ok(prepared)
    }
}

/// Whether it exports `run: func() -> result`. wasmtime looks at the type when it is called, which is late.
fn runs(component: &Component, shape: &Shape) -> bool {
    let version = shape.exports_interface("wasi:cli/run").unwrap_or_default();
    let run = component
        .get_export_index(None, format!("wasi:cli/run@{version}").as_str())
        .and_then(|interface| component.get_export(Some(&interface), "run"));
    let Some((ComponentItem::ComponentFunc(run), _)) = run else { return false };
    let plain =
        |ty: Type| matches!(ty, Type::Result(result) if result.ok().is_none() && result.err().is_none());
    run.params().len() == 0 && run.results().len() == 1 && run.results().all(plain)
}

/// Which interface could not be provided. That wasmtime only says in words, innermost last.
fn interface_error(error: &wasmtime::Error, shape: &Shape, abi: &dyn Abi) -> Error {
    let text = format!("{error:#}");
    let says = |name: &str| !name.is_empty() && text.contains(&format!("`{name}`"));
    let of_it = || shape.imports.iter().filter(|import| says(&import.module));
    let Some(import) = of_it().find(|import| says(&import.name)).or_else(|| of_it().next()) else {
        return Error::host("cannot link the component").with_source(std::io::Error::other(text));
    };
    let (module, name) = (import.module.clone(), import.name.clone());
    let of_wasi = |known: &str| module.strip_prefix(known).is_some_and(|rest| rest.starts_with("@0.2."));
    let of_abi = |known: &str| module.split('@').next() == Some(known);
    let is_there = wasi::preview2::INTERFACES.iter().any(|known| of_wasi(known))
        || abi.interfaces().iter().any(|known| of_abi(known));
    Error::new(match is_there {
        true => ErrorKind::IncompatibleImport { module, name, reason: text },
        false => {
            let belongs_to = Some("a component interface that Airlock does not have".to_owned());
            ErrorKind::UnknownImport { module, name, belongs_to }
        }
    })
}

/// Imports that are named beside the first one that nobody provides.
const MORE: usize = 5;

/// The error for an import that nobody provides, with the others of which that is true: who mends one
/// wants to know of all.
fn with_others(error: Error, linker: &Linker<CallState>, module: &Module) -> Error {
    let ErrorKind::UnknownImport { module: from, name, .. } = error.kind() else { return error };
    let (mut linker, mut last) = (linker.clone(), (from.clone(), name.clone()));
    let mut others = Vec::new();
    while others.len() < MORE {
        let import = module.imports().find(|import| (import.module(), import.name()) == (&last.0, &last.1));
        let Some(ty) = import.and_then(|import| import.ty().func().cloned()) else { break };
        let trap = |_: wasmtime::Caller<'_, CallState>, _: &[wasmtime::Val], _: &mut [wasmtime::Val]| Ok(());
        if linker.func_new(&last.0, &last.1, ty, trap).is_err() {
            break;
        }
        let Err(next) = linker.instantiate_pre(module) else { break };
        let Some(unknown) = next.downcast_ref::<UnknownImportError>() else { break };
        last = (unknown.module().to_owned(), unknown.name().to_owned());
        others.push(format!("`{}.{}`", last.0, last.1));
    }
    match others.is_empty() {
        true => error,
        false => error.with_hint(format!("nor does anybody provide {}", others.join(", "))),
    }
}

/// Which import could not be provided, and whose it is.
fn import_error(error: &wasmtime::Error, shape: &Shape) -> Error {
    if let Some(unknown) = error.downcast_ref::<UnknownImportError>() {
        let (module, name) = (unknown.module().to_owned(), unknown.name().to_owned());
        let belongs_to = abi::owner_of(&module, &name);
        return Error::new(ErrorKind::UnknownImport { module, name, belongs_to });
    }
    let text = error.to_string();
    let named =
        shape.imports.iter().find(|import| text.contains(&format!("`{}::{}`", import.module, import.name)));
    match named {
        Some(import) => Error::new(ErrorKind::IncompatibleImport {
            module: import.module.clone(),
            name: import.name.clone(),
            reason: format!("the module imports a {}", import.ty),
        }),
        None => Error::host("cannot link the module").with_source(std::io::Error::other(text)),
    }
}
