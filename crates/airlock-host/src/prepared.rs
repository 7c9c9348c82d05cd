//! Modules linked to what the host provides: all that is left to do for an instance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use airlock_core::{AbiId, Digest, Error, ErrorKind, Result};
use airlock_engine::{Allocation, Compiled, EngineKey, ExternType, Shape};
use wasmtime::{InstancePre, Module, ModuleExport, UnknownImportError};

use crate::abi::{self, Abi};
use crate::host::Host;
use crate::store::CallState;

/// A module linked once for one engine.
pub(crate) struct Prepared {
    pub(crate) pre: InstancePre<CallState>,
    pub(crate) exports: HashMap<String, ModuleExport>,
    /// Whether the memory exported as `memory` is a 64-bit one.
    pub(crate) memory64: bool,
}

/// What a linked module depends on.
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
        if let Some(prepared) = self.0.prepared.get(&key) {
            return Ok(prepared);
        }
        let shape = compiled.shape();
        let linker = self.linker(abi, abi.dialect(shape), compiled.key(), allocation)?;
        tracing::debug!(imports = shape.imports.len(), ?allocation, "link");
        let pre = linker.instantiate_pre(module).map_err(|error| import_error(&error, shape))?;
        let exports = module
            .exports()
            .filter_map(|export| Some((export.name().to_owned(), module.get_export_index(export.name())?)))
            .collect();
        let memory64 = matches!(shape.export("memory"), Some(ExternType::Memory { memory64: true, .. }));
        let prepared = Arc::new(Prepared { pre, exports, memory64 });
        self.0.prepared.put(key, &prepared);
        Ok(prepared)
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
