//! Which types a component imports the host's functions by.
//!
//! PRX's WIT files say one thing and its own host links another for five functions, so that a component
//! made from those files cannot be loaded there, and one that can be loaded there is made from others. Each
//! of the five is told by its type alone; a bit says which of its two types it is.

use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};

use super::unversioned;
use crate::abi::Dialect;

/// `log` takes its level as a text.
pub(super) const LEVEL_IS_TEXT: u8 = 1;
/// `request` gives a tuple.
pub(super) const RESPONSE_IS_TUPLE: u8 = 1 << 1;
/// `recall` gives tuples.
pub(super) const ENTRY_IS_TUPLE: u8 = 1 << 2;
/// `set` gives nothing.
pub(super) const SET_GIVES_NOTHING: u8 = 1 << 3;
/// `delete` gives a truth.
pub(super) const DELETE_GIVES_BOOL: u8 = 1 << 4;

/// The set of imports that a component is for.
pub(super) fn of(component: &Component) -> Dialect {
    let engine = component.engine();
    let mut bits = 0;
    for (name, item) in component.component_type().imports(engine) {
        let (Some(interface), ComponentItem::ComponentInstance(instance)) = (unversioned(name), item.ty)
        else {
            continue;
        };
        for (name, item) in instance.exports(engine) {
            if let ComponentItem::ComponentFunc(function) = item.ty {
                bits |= bit(interface, name, &function);
            }
        }
    }
    Dialect(bits)
}

fn bit(interface: &str, name: &str, function: &ComponentFunc) -> u8 {
    let result = || function.results().next();
    let ok = || match result() {
        Some(Type::Result(result)) => result.ok(),
        _ => None,
    };
    let is = match (interface, name) {
        ("prx:host/log", "log") => {
            (matches!(function.params().next(), Some((_, Type::String))), LEVEL_IS_TEXT)
        }
        ("prx:host/http-outbound", "request") => (matches!(ok(), Some(Type::Tuple(_))), RESPONSE_IS_TUPLE),
        ("prx:host/memory", "recall") => {
            let of_tuples = matches!(ok(), Some(Type::List(list)) if matches!(list.ty(), Type::Tuple(_)));
            (of_tuples, ENTRY_IS_TUPLE)
        }
        ("prx:host/kv", "set") => (result().is_none(), SET_GIVES_NOTHING),
        ("prx:host/kv", "delete") => (matches!(result(), Some(Type::Bool)), DELETE_GIVES_BOOL),
        _ => (false, 0),
    };
    if is.0 { is.1 } else { 0 }
}
