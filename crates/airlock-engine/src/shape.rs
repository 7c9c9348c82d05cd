//! What parsing tells about a module, once: detection, linking, `inspect` and `check`
//! all read it, and none but `check`, which takes a module apart, parses again.

mod wit;

use std::fmt;

use airlock_core::ValueType;
use serde::{Deserialize, Serialize};

pub use wit::{Wit, WitFunction, WitKind, WitType};

/// One parameter or result type. Types that are no plain number are kept as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Slot {
    /// A number.
    Number(ValueType),
    /// A vector or a reference, by its name in the text format.
    Other(String),
}

/// A function's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Signature {
    /// Parameter types in order.
    pub params: Vec<Slot>,
    /// Result types in order.
    pub results: Vec<Slot>,
}

impl Signature {
    /// That of these numeric types.
    pub fn of(params: &[ValueType], results: &[ValueType]) -> Self {
        let slots = |types: &[ValueType]| types.iter().copied().map(Slot::Number).collect();
        Signature { params: slots(params), results: slots(results) }
    }

    /// Whether it is exactly these numeric types.
    pub fn is(&self, params: &[ValueType], results: &[ValueType]) -> bool {
        let same = |slots: &[Slot], types: &[ValueType]| {
            slots.len() == types.len() && slots.iter().zip(types).all(|(slot, ty)| *slot == Slot::Number(*ty))
        };
        same(&self.params, params) && same(&self.results, results)
    }

    /// The parameter types, when all are numbers.
    pub fn numeric_params(&self) -> Option<Vec<ValueType>> {
        numbers(&self.params)
    }

    /// The result types, when all are numbers.
    pub fn numeric_results(&self) -> Option<Vec<ValueType>> {
        numbers(&self.results)
    }
}

fn numbers(slots: &[Slot]) -> Option<Vec<ValueType>> {
    slots
        .iter()
        .map(|slot| match slot {
            Slot::Number(ty) => Some(*ty),
            Slot::Other(_) => None,
        })
        .collect()
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |slots: &[Slot]| slots.iter().map(Slot::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "({}) -> ({})", list(&self.params), list(&self.results))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Number(ty) => ty.fmt(f),
            Slot::Other(name) => f.write_str(name),
        }
    }
}

/// The type of an import or export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExternType {
    /// A function.
    Function(Signature),
    /// A linear memory, sizes in its pages.
    Memory {
        /// Pages at the start.
        minimum: u64,
        /// Pages it declares as its most.
        maximum: Option<u64>,
        /// Whether it is a 64-bit memory.
        memory64: bool,
    },
    /// A table, sizes in elements.
    Table {
        /// Elements at the start.
        minimum: u64,
        /// Elements it declares as its most.
        maximum: Option<u64>,
    },
    /// A global variable.
    Global {
        /// Its type.
        ty: Slot,
        /// Whether it can change.
        mutable: bool,
    },
    /// An exception tag.
    Tag,
    /// What only components import and export, by what it is: an `instance`, which is an interface
    /// that is there, or a `function`, a `type` and so on.
    Item(String),
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = |maximum: &Option<u64>| {
            maximum.map_or_else(|| "no maximum".to_owned(), |most| format!("at most {most}"))
        };
        match self {
            ExternType::Function(signature) => write!(f, "func {signature}"),
            ExternType::Memory { minimum, maximum, memory64 } => {
                write!(
                    f,
                    "memory{} of {minimum} pages, {}",
                    if *memory64 { "64" } else { "" },
                    bounds(maximum)
                )
            }
            ExternType::Table { minimum, maximum } => {
                write!(f, "table of {minimum} elements, {}", bounds(maximum))
            }
            ExternType::Global { ty, mutable } => {
                write!(f, "{}global {ty}", if *mutable { "mutable " } else { "" })
            }
            ExternType::Tag => f.write_str("tag"),
            ExternType::Item(what) => f.write_str(what),
        }
    }
}

/// Something the module or component needs. What a component needs of an interface is imported from
/// that interface, one thing of it at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Import {
    /// The module or interface that it is imported from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ExternType,
}

/// Something the module offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ExternType,
}

/// What parsing tells about a module or a component. It exists only for those that passed admission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Shape {
    /// Whether it is a component. Its memories and functions are those of all its modules.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_component: bool,
    /// What it needs, in order.
    pub imports: Vec<Import>,
    /// What it offers, in order.
    pub exports: Vec<Export>,
    /// How many linear memories it has, imported ones included.
    pub memories: usize,
    /// How many functions it has, imported ones included.
    pub functions: usize,
    /// Whether it has a start function.
    pub has_start: bool,
    /// Whether functions carry names.
    pub has_names: bool,
    /// Whether it carries DWARF line tables, so that traps can name file and line.
    pub has_dwarf: bool,
    /// Names of its custom sections, in order.
    pub custom_sections: Vec<String>,
    /// The functions of a component, but for what runs it as a program.
    #[serde(default, skip_serializing_if = "no_functions")]
    pub wit: Wit,
}

impl Shape {
    /// Which of the two kinds of WebAssembly it is: `module` or `component`.
    pub fn kind(&self) -> &'static str {
        if self.is_component { "component" } else { "module" }
    }

    /// The signature of the exported function `name`.
    pub fn function(&self, name: &str) -> Option<&Signature> {
        match self.export(name)? {
            ExternType::Function(signature) => Some(signature),
            _ => None,
        }
    }

    /// The type of the export `name`.
    pub fn export(&self, name: &str) -> Option<&ExternType> {
        self.exports.iter().find(|export| export.name == name).map(|export| &export.ty)
    }

    /// Every exported function with its signature.
    pub fn exported_functions(&self) -> impl Iterator<Item = (&str, &Signature)> {
        self.exports.iter().filter_map(|export| match &export.ty {
            ExternType::Function(signature) => Some((export.name.as_str(), signature)),
            _ => None,
        })
    }

    /// Whether a 32-bit memory is exported under the name `memory`.
    pub fn exports_memory(&self) -> bool {
        matches!(self.export("memory"), Some(ExternType::Memory { memory64: false, .. }))
    }

    /// Whether it imports `module.name`.
    pub fn imports_item(&self, module: &str, name: &str) -> bool {
        self.imports.iter().any(|import| import.module == module && import.name == name)
    }

    /// The signature of the imported function `module.name`.
    pub fn imported_function(&self, module: &str, name: &str) -> Option<&Signature> {
        let import = self.imports.iter().find(|import| import.module == module && import.name == name)?;
        match &import.ty {
            ExternType::Function(signature) => Some(signature),
            _ => None,
        }
    }

    /// The version of the interface `interface` of WASI preview 2 that a component exports, written
    /// without a version as `wasi:cli/run`.
    pub fn exports_interface(&self, interface: &str) -> Option<&str> {
        let exports = self.exports.iter().filter(|_| self.is_component);
        exports
            .filter_map(|export| preview2(&export.name))
            .find(|(name, _)| *name == interface)
            .map(|(_, v)| v)
    }

    /// Whether a component imports `name` of `interface`, which is written without a version.
    pub fn imports_of_interface(&self, interface: &str, name: &str) -> bool {
        let is_it = |import: &Import| {
            import.name == name && preview2(&import.module).is_some_and(|(module, _)| module == interface)
        };
        self.is_component && self.imports.iter().any(is_it)
    }

    /// Whether it imports anything from `module`.
    pub fn imports_from(&self, module: &str) -> bool {
        self.imports.iter().any(|import| import.module == module)
    }
}

fn no_functions(wit: &Wit) -> bool {
    wit.functions.is_empty()
}

/// An interface's name and its version, where that is one of preview 2.
fn preview2(interface: &str) -> Option<(&str, &str)> {
    interface.split_once('@').filter(|(_, version)| version.starts_with("0.2."))
}

#[cfg(test)]
mod fuzz;
