//! Exports that ABIs know by their names, with the types that they have to have.

use airlock_core::ValueType;
use airlock_engine::Shape;

use super::json;

/// A function that an ABI looks for by its name.
#[derive(Debug, Clone, Copy)]
pub struct KnownExport {
    /// Its name.
    pub name: &'static str,
    /// What looks for it, for people.
    pub of: &'static str,
    /// What it takes.
    pub params: &'static [ValueType],
    /// What it gives.
    pub results: &'static [ValueType],
}

const fn known(
    name: &'static str,
    of: &'static str,
    params: &'static [ValueType],
    results: &'static [ValueType],
) -> KnownExport {
    KnownExport { name, of, params, results }
}

const I: ValueType = ValueType::I32;

/// All of them. A module that exports something of such a name and another type is not called there, and
/// one whose name is nearly such a one is not either.
pub static KNOWN_EXPORTS: [KnownExport; 15] = [
    known("plugin_manifest", "the `sen` ABI", &[], &[ValueType::I64]),
    known("plugin_execute", "the `sen` ABI", &[I, I], &[ValueType::I64]),
    known("plugin_resume", "the `sen` ABI", &[I, I, I], &[ValueType::I64]),
    known("plugin_alloc", "the `sen` ABI", &[I], &[I]),
    known("plugin_dealloc", "the `sen` ABI", &[I, I], &[]),
    known("plugin_get_abi_version", "the `cortex` ABI", &[], &[I]),
    known("plugin_get_capabilities", "the `cortex` ABI", &[I, I], &[I]),
    known("plugin_execute_tool", "the `cortex` ABI", &[I; 6], &[I]),
    known("plugin_init", "every ABI", &[], &[]),
    known("plugin_destroy", "every ABI", &[], &[]),
    known("_cleanup", "every ABI", &[], &[]),
    known("_start", "the `command` ABI", &[], &[]),
    known("_initialize", "every ABI", &[], &[]),
    known("__wasm_call_ctors", "every ABI", &[], &[]),
    known("cortex_alloc", "the `json` ABI", &[I], &[I]),
];

/// Whether a module is a plugin of PRX's from before its components: it takes `{"tool", "params"}` and gives JSON as
/// those of the `json` ABI do, and says how long that is.
pub(super) fn is_before_components(shape: &Shape) -> bool {
    let is = |name: &str, params: &[ValueType], results: &[ValueType]| {
        shape.function(name).is_some_and(|ty| ty.is(params, results))
    };
    !shape.is_component
        && shape.exports_memory()
        && is("execute", &[I, I], &[I])
        && is("result_len", &[], &[I])
        && TELLS.iter().any(|name| is(name, &[], &[I]))
}

/// What such a plugin says of itself with, as JSON.
pub(super) const TELLS: [&str; 2] = ["describe", "get_spec"];

/// Whether an export belongs to an ABI or a toolchain, rather than being a function of the plugin's own.
pub(crate) fn is_known(name: &str) -> bool {
    name.starts_with('_') || KNOWN_EXPORTS.iter().any(|known| known.name == name) || json::is_reserved(name)
}

#[cfg(test)]
mod tests {
    use super::{KNOWN_EXPORTS, is_known};
    use crate::abi::{Hooks, sen};

    #[test]
    fn the_types_are_those_that_the_adapters_look_for() {
        for (name, params, results) in sen::WANTED {
            let known = KNOWN_EXPORTS.iter().find(|known| known.name == name);
            assert!(known.is_some_and(|known| known.params == params && known.results == results), "{name}");
        }
        for name in Hooks::NAMES {
            let known = KNOWN_EXPORTS.iter().find(|known| known.name == name);
            assert!(known.is_some_and(|known| known.params.is_empty() && known.results.is_empty()), "{name}");
        }
        assert!(is_known("malloc") && is_known("transform_result_len") && !is_known("transform"));
    }
}
