//! What a module is made of: sizes, memory, stack, what its code does. `check` tells it.
//!
//! An artifact that was admitted is parsed once more, in one pass over its bytes. What is kept of
//! it is bounded, however many sections and functions there are. Of a component everything is
//! counted over all modules in it, and nothing is said of a memory's layout.

mod code;

use airlock_core::{Error, ErrorKind, Result};
use serde::Serialize;
use wasmparser::{
    BinaryReaderError, ConstExpr, CustomSectionReader, DataKind, ElementItems, ElementKind, Encoding,
    ExternalKind, GlobalType, KnownCustom, MemoryType, Name, NameSectionReader, Operator, Parser, Payload,
    TableType, TypeRef, ValType,
};

use self::code::Code;
use crate::Artifact;
use crate::engines::{MEMORY_KEEP_RESIDENT, POOLED_TABLE_ELEMENTS};

/// Bytes of a WebAssembly page.
const PAGE: u64 = 64 << 10;

/// Sections, and tools in the producers section, that are told one by one, at most.
const TOLD: usize = 100;

/// Functions that are told by their size.
const LARGEST: usize = 5;

/// Characters of a name that are kept.
const NAME: usize = 200;

/// The name that linkers give the global that points to the stack in memory.
const STACK_POINTER: &str = "__stack_pointer";

/// What a module or component is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Anatomy {
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of all function bodies.
    pub code: u64,
    /// Bytes of all data segments.
    pub data: u64,
    /// Bytes of all custom sections, their headers not counted.
    pub custom: u64,
    /// Its sections in order, up to 100 of them.
    pub sections: Vec<Section>,
    /// Functions with a body.
    pub functions: u64,
    /// Functions that are imported.
    pub imported_functions: u64,
    /// Globals, imported ones included.
    pub globals: u64,
    /// Tables, imported ones included.
    pub tables: u64,
    /// Elements of the largest table at the start.
    pub table_elements: u64,
    /// Elements of all element segments.
    pub elements: u64,
    /// Its memories, imported ones included, up to 100 of them.
    pub memories: Vec<MemorySize>,
    /// Where active data segments lie, as far as they say so by a number: the first byte's address and
    /// the one behind the last.
    pub data_range: Option<(u64, u64)>,
    /// Whether a start function runs when it is instantiated.
    pub has_start: bool,
    /// The stack that compilers keep in memory, where there is one.
    pub stack: Option<Stack>,
    /// The largest functions by the bytes of their bodies, the largest first.
    pub largest: Vec<FunctionSize>,
    /// How many functions the name section names.
    pub names: u64,
    /// The first function's name with characters that a terminal would act on.
    pub odd_name: Option<String>,
    /// Bytes of DWARF.
    pub dwarf: u64,
    /// The tools it was made by, from the producers section.
    pub producers: Vec<String>,
    /// A function that can be reached and computes with floats, so that it can come to different
    /// bits for what is not a number.
    pub makes_nan: Option<String>,
    /// A function that can be reached and has relaxed SIMD instructions.
    pub relaxed_simd: Option<String>,
    /// Whether code that can be reached grows a memory.
    pub grows: bool,
    /// Why an instance does not fit a slot of the pool and is made on demand.
    pub off_pool: Option<String>,
}

/// A section and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// What it is: `code`, `data`, `custom` and so on.
    pub kind: &'static str,
    /// A custom section's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Bytes in it.
    pub size: u64,
}

/// A memory's size in pages of 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemorySize {
    /// Pages at the start.
    pub minimum: u64,
    /// Pages that it declares as its most.
    pub maximum: Option<u64>,
    /// Whether it is imported.
    pub imported: bool,
}

impl MemorySize {
    /// Bytes at the start.
    pub fn bytes(&self) -> u64 {
        self.minimum.saturating_mul(PAGE)
    }
}

/// The stack in memory, which grows downwards from where the stack pointer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stack {
    /// Where the stack pointer begins: its end, in bytes.
    pub top: u64,
    /// Whether it is below all data, so that running out of it is a trap; above it writes over data. Unknown
    /// where there is no data.
    pub is_first: Option<bool>,
    /// Bytes that it has, at most: all of those where it is below the data, and above it less what data
    /// has no bytes in the file.
    pub size: u64,
}

/// A function and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionSize {
    /// Its number, imported functions counted.
    pub index: u64,
    /// Its name, where the name section has one.
    pub name: Option<String>,
    /// Bytes of its body.
    pub size: u64,
}

impl Anatomy {
    /// Bytes of a memory that are cleared for the next instance where they are. Of what an instance
    /// wrote to beyond them each page is given back and faulted in again.
    pub const RESIDENT: u64 = MEMORY_KEEP_RESIDENT as u64;

    /// Takes an artifact apart that was admitted. The work is linear in its bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWasm`] for bytes that were not.
    pub fn of(artifact: &Artifact) -> Result<Anatomy> {
        read(artifact.bytes()).map_err(|error| {
            let reason = error.message().to_owned();
            Error::new(ErrorKind::InvalidWasm { offset: error.offset(), reason })
        })
    }
}

fn read(bytes: &[u8]) -> Result<Anatomy, BinaryReaderError> {
    let mut anatomy = Anatomy { size: bytes.len() as u64, ..Anatomy::default() };
    let is_component = Parser::is_component(bytes);
    let (mut open, mut module) = (Vec::new(), Module::default());
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        anatomy.section(&payload);
        match payload {
            Payload::Version { encoding, .. } => open.push(encoding),
            Payload::End(_) if open.pop() == Some(Encoding::Module) => {
                std::mem::take(&mut module).tell(&mut anatomy, is_component);
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    module.import(&mut anatomy, import?.ty);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    anatomy.table(table?.ty);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    anatomy.memory(memory?, false);
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global?;
                    anatomy.globals += 1;
                    module.global(global.ty, &global.init_expr);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        module.code.root(export.index);
                    }
                    if export.kind == ExternalKind::Global && export.name == STACK_POINTER {
                        module.stack_pointer = Some(export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => {
                anatomy.has_start = true;
                module.code.root(func);
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    module.element(&mut anatomy, element?)?;
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    let length = segment.data.len() as u64;
                    anatomy.data += length;
                    if let DataKind::Active { memory_index: 0, offset_expr } = segment.kind {
                        module.data(constant(&offset_expr), length);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                anatomy.code += body.range().len() as u64;
                anatomy.functions += 1;
                module.code.function(&body)?;
            }
            Payload::CustomSection(section) => module.custom(&mut anatomy, &section),
            _ => {}
        }
    }
    anatomy.off_pool = off_pool(&anatomy, is_component);
    Ok(anatomy)
}

impl Anatomy {
    fn section(&mut self, payload: &Payload<'_>) {
        let Some((id, range)) = payload.as_section() else { return };
        let name = match payload {
            Payload::CustomSection(section) => Some(shortened(section.name())),
            _ => None,
        };
        if self.sections.len() < TOLD {
            self.sections.push(Section { kind: kind(payload, id), name, size: range.len() as u64 });
        }
    }

    fn table(&mut self, ty: TableType) {
        self.tables += 1;
        self.table_elements = self.table_elements.max(ty.initial);
    }

    fn memory(&mut self, ty: MemoryType, imported: bool) {
        if self.memories.len() < TOLD {
            self.memories.push(MemorySize { minimum: ty.initial, maximum: ty.maximum, imported });
        }
    }
}

/// What is known of the module that is being read.
#[derive(Default)]
struct Module<'a> {
    code: Code,
    globals: Vec<Option<u64>>,
    stack_pointer: Option<u32>,
    data_range: Option<(u64, u64)>,
    names: Option<NameSectionReader<'a>>,
}

impl<'a> Module<'a> {
    fn import(&mut self, anatomy: &mut Anatomy, ty: TypeRef) {
        match ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                anatomy.imported_functions += 1;
                self.code.import();
            }
            TypeRef::Table(ty) => anatomy.table(ty),
            TypeRef::Memory(ty) => anatomy.memory(ty, true),
            TypeRef::Global(_) => {
                anatomy.globals += 1;
                self.globals.push(None);
            }
            TypeRef::Tag(_) => {}
        }
    }

    /// Where a global begins that could be a stack pointer.
    fn global(&mut self, ty: GlobalType, init: &ConstExpr<'_>) {
        let could_be = ty.mutable && matches!(ty.content_type, ValType::I32 | ValType::I64);
        self.globals.push(constant(init).filter(|_| could_be));
    }

    fn element(
        &mut self,
        anatomy: &mut Anatomy,
        element: wasmparser::Element<'a>,
    ) -> Result<(), BinaryReaderError> {
        // What is declared can be called by reference, so all of them count as reached.
        let _: ElementKind<'_> = element.kind;
        match element.items {
            ElementItems::Functions(functions) => {
                anatomy.elements += u64::from(functions.count());
                for function in functions {
                    self.code.root(function?);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                anatomy.elements += u64::from(expressions.count());
                for expression in expressions {
                    for operator in expression?.get_operators_reader() {
                        if let Operator::RefFunc { function_index } = operator? {
                            self.code.root(function_index);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn data(&mut self, at: Option<u64>, length: u64) {
        let Some(at) = at.filter(|_| length > 0) else { return };
        let (first, last) = self.data_range.unwrap_or((at, at));
        self.data_range = Some((first.min(at), last.max(at.saturating_add(length))));
    }

    fn custom(&mut self, anatomy: &mut Anatomy, section: &CustomSectionReader<'a>) {
        let size = section.data().len() as u64;
        anatomy.custom += size;
        if section.name().starts_with(".debug_") {
            anatomy.dwarf += size;
        }
        match section.as_known() {
            KnownCustom::Name(names) => self.names = Some(names),
            KnownCustom::Producers(fields) => {
                let values = fields.into_iter().map_while(Result::ok).take(TOLD);
                let told = values.flat_map(|field| {
                    field
                        .values
                        .into_iter()
                        .map_while(Result::ok)
                        .take(TOLD)
                        .map(move |value| shortened(format!("{} {}", value.name, value.version).trim()))
                });
                anatomy.producers.extend(told.take(TOLD));
                anatomy.producers.truncate(TOLD);
            }
            _ => {}
        }
    }

    /// What there is to tell once all of it was read.
    fn tell(mut self, anatomy: &mut Anatomy, is_component: bool) {
        let reached = self.code.reached();
        let mut wanted: Vec<u32> = self.code.largest.iter().map(|(_, index)| *index).collect();
        wanted.extend(reached.makes_nan.into_iter().chain(reached.relaxed_simd));
        let names = self.read_names(anatomy, &wanted);
        let name = |index: u32| names.iter().find(|(named, _)| *named == index).map(|(_, name)| name.clone());
        let called = |index: u32| name(index).unwrap_or_else(|| format!("function {index}"));
        anatomy.makes_nan = anatomy.makes_nan.take().or(reached.makes_nan.map(called));
        anatomy.relaxed_simd = anatomy.relaxed_simd.take().or(reached.relaxed_simd.map(called));
        anatomy.grows |= reached.grows;
        let sizes = self.code.largest.iter().map(|(size, index)| FunctionSize {
            index: u64::from(*index),
            name: name(*index),
            size: *size,
        });
        anatomy.largest.extend(sizes);
        anatomy.largest.sort_by_key(|function| std::cmp::Reverse(function.size));
        anatomy.largest.truncate(LARGEST);
        if !is_component {
            anatomy.data_range = self.data_range;
            anatomy.stack = self.stack();
        }
    }

    /// Reads the name section, which nobody has validated: up to the first fault.
    fn read_names(&mut self, anatomy: &mut Anatomy, wanted: &[u32]) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        for subsection in self.names.take().into_iter().flatten().map_while(Result::ok) {
            match subsection {
                Name::Function(names) => {
                    for naming in names.into_iter().map_while(Result::ok) {
                        anatomy.names += 1;
                        if wanted.contains(&naming.index) {
                            found.push((naming.index, shortened(naming.name)));
                        }
                        if anatomy.odd_name.is_none() && is_odd(naming.name) {
                            anatomy.odd_name = Some(shortened(naming.name));
                        }
                    }
                }
                Name::Global(names) => {
                    let mut names = names.into_iter().map_while(Result::ok);
                    let named = names.find(|naming| naming.name == STACK_POINTER);
                    self.stack_pointer = self.stack_pointer.or(named.map(|naming| naming.index));
                }
                _ => {}
            }
        }
        found
    }

    fn stack(&self) -> Option<Stack> {
        let start = |index: u32| self.globals.get(index as usize).copied().flatten();
        let top = self.stack_pointer.or_else(|| self.code.stack_pointer()).and_then(start)?;
        if top == 0 {
            return None;
        }
        Some(match self.data_range {
            Some((first, _)) if top <= first => Stack { top, is_first: Some(true), size: top },
            Some((_, last)) => Stack { top, is_first: Some(false), size: top.saturating_sub(last) },
            None => Stack { top, is_first: None, size: top },
        })
    }
}

fn off_pool(anatomy: &Anatomy, is_component: bool) -> Option<String> {
    if is_component {
        return Some("it is a component".to_owned());
    }
    if anatomy.memories.len() > 1 {
        return Some(format!("it has {} memories", anatomy.memories.len()));
    }
    if anatomy.tables > 1 {
        return Some(format!("it has {} tables", anatomy.tables));
    }
    let most = POOLED_TABLE_ELEMENTS as u64;
    (anatomy.table_elements > most)
        .then(|| format!("its table has {} elements, and a slot {most}", anatomy.table_elements))
}

/// The number that a constant expression is, where it is only that.
fn constant(expression: &ConstExpr<'_>) -> Option<u64> {
    let mut operators = expression.get_operators_reader();
    let value = match operators.read().ok()? {
        Operator::I32Const { value } => u64::from(value.cast_unsigned()),
        Operator::I64Const { value } => value.cast_unsigned(),
        _ => return None,
    };
    matches!(operators.read(), Ok(Operator::End)).then_some(value)
}

fn kind(payload: &Payload<'_>, id: u8) -> &'static str {
    match payload {
        Payload::TypeSection(_) => "type",
        Payload::ImportSection(_) => "import",
        Payload::FunctionSection(_) => "function",
        Payload::TableSection(_) => "table",
        Payload::MemorySection(_) => "memory",
        Payload::TagSection(_) => "tag",
        Payload::GlobalSection(_) => "global",
        Payload::ExportSection(_) => "export",
        Payload::StartSection { .. } => "start",
        Payload::ElementSection(_) => "element",
        Payload::DataCountSection { .. } => "data-count",
        Payload::CodeSectionStart { .. } => "code",
        Payload::DataSection(_) => "data",
        Payload::ModuleSection { .. } => "module",
        Payload::ComponentSection { .. } => "component",
        // Modules have the same number for other sections, which are all above.
        _ if id == 0 => "custom",
        _ => "of a component",
    }
}

fn is_odd(name: &str) -> bool {
    matches!(airlock_core::visible(name, false), std::borrow::Cow::Owned(_))
}

fn shortened(name: &str) -> String {
    name.chars().take(NAME).collect()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests;
