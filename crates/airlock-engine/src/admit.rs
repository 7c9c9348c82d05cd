//! Admission: the whole module or component is parsed and validated, within bounds, before a
//! compiler sees it.
//!
//! Validation costs under one percent of compilation. What it buys: nothing that fails
//! to validate is compiled, and nothing whose single function could hold a compiler for
//! minutes is either. wasmparser's own implementation limits (types, imports, exports,
//! data segments) apply beneath the ones checked here.
//!
//! A component is one artifact: what is counted is counted over all modules in it together. One that
//! neither is a program of WASI preview 2 nor exports a function is refused.

mod tree;
mod wit;

use std::sync::{Arc, Mutex, PoisonError};

use airlock_core::{Digest, Error, ErrorKind, LimitKind, Limits, Phase, Result, ValueType};
use serde::{Deserialize, Serialize};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{
    BinaryReaderError, Encoding, FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody,
    KnownCustom, Parser, Payload, ValType, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use crate::code::Variant;
use crate::compile::Configuration;
use crate::lru::Lru;
use crate::shape::{Export, ExternType, Import, Shape, Signature, Slot};
use crate::{Artifact, Cache, Engines};
use tree::{Fault, Tree};

/// A WebAssembly feature that is off unless allowed for a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Feature {
    /// 64-bit linear memories.
    Memory64,
    /// More than one linear memory.
    MultiMemory,
}

impl Feature {
    /// Every feature that can be allowed.
    pub const ALL: [Feature; 2] = [Feature::Memory64, Feature::MultiMemory];

    /// The name used in flags.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Memory64 => "memory64",
            Feature::MultiMemory => "multi-memory",
        }
    }

    fn flag(self) -> WasmFeatures {
        match self {
            Feature::Memory64 => WasmFeatures::MEMORY64,
            Feature::MultiMemory => WasmFeatures::MULTI_MEMORY,
        }
    }
}

/// What every plugin may use: WebAssembly 2.0 without garbage-collected references
/// (wasmtime is built without a collector), tail calls, extended constants, relaxed SIMD.
pub(crate) const ALWAYS: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::RELAXED_SIMD)
    .difference(WasmFeatures::GC_TYPES);

/// What a component exports that is a program: preview 2's `main`.
const RUN: &str = "wasi:cli/run";

/// Features that a module may turn out to need, to name the one it lacks.
const OFF: [(&str, WasmFeatures); 8] = [
    ("memory64", WasmFeatures::MEMORY64),
    ("multi-memory", WasmFeatures::MULTI_MEMORY),
    ("threads", WasmFeatures::THREADS),
    ("reference-types", WasmFeatures::GC_TYPES),
    ("exceptions", WasmFeatures::EXCEPTIONS.union(WasmFeatures::GC_TYPES)),
    ("function-references", WasmFeatures::FUNCTION_REFERENCES.union(WasmFeatures::GC_TYPES)),
    ("gc", WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES).union(WasmFeatures::GC_TYPES)),
    ("custom-page-sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
];

impl Shape {
    /// Parses and validates an artifact within `limits`, with the features every plugin
    /// may use and those in `allowed`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidWasm`], [`ErrorKind::FeatureOff`],
    /// [`ErrorKind::ComponentUnsupported`] for a component that is no program of WASI preview 2 and
    /// has no function to be called, and [`ErrorKind::Limit`] for the limits of the admit phase.
    pub fn admit(artifact: &Artifact, allowed: &[Feature], limits: &Limits) -> Result<Shape> {
        Ok(Arc::unwrap_or_clone(Admitted::check(artifact, allowed, limits)?.shape))
    }
}

impl Engines {
    /// [`Shape::admit`], with what this host and its cache remember of the same bytes. Of
    /// those it remembers, the artifact that comes back is the one it has, so that many plugins
    /// of the same bytes have them once.
    ///
    /// # Errors
    /// As [`Shape::admit`].
    pub fn admit(
        &self,
        artifact: Artifact,
        allowed: &[Feature],
        limits: &Limits,
    ) -> Result<(Artifact, Arc<Shape>)> {
        let key = (artifact.digest(), allowed.iter().fold(0, |set, feature| set | 1 << *feature as u8));
        // What is not within these limits is looked at again, so that it is refused in the
        // same words.
        if let Some(known) = self.admissions.get(&key).filter(|known| known.admitted.is_within(limits)) {
            return Ok((known.artifact.clone(), known.admitted.shape.clone()));
        }
        let admitted = Admitted::cached(&artifact, allowed, limits, self.settings().cache.as_deref())?;
        let shape = admitted.shape.clone();
        self.admissions.keep(key, Arc::new(Known { artifact: artifact.clone(), admitted }));
        Ok((artifact, shape))
    }
}

/// Which bytes, and which features they were allowed.
type AdmissionKey = (Digest, u8);

/// An artifact that was admitted.
#[derive(Debug)]
struct Known {
    artifact: Artifact,
    admitted: Admitted,
}

/// What admission found, as far as it is kept in memory.
#[derive(Debug)]
pub(crate) struct Admissions(Mutex<Lru<AdmissionKey, Arc<Known>>>);

impl Admissions {
    /// Keeps artifacts of so many bytes together.
    pub(crate) fn new(maximum: u64) -> Self {
        Admissions(Mutex::new(Lru::new(maximum)))
    }

    fn get(&self, key: &AdmissionKey) -> Option<Arc<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: AdmissionKey, known: Arc<Known>) {
        // A shape is made of what is in the bytes, and not larger than some times those.
        let weight = known.artifact.bytes().len() as u64;
        let gone = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, known, weight);
        drop(gone);
    }

    pub(crate) fn clear(&self) {
        let gone = self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(gone);
    }
}

/// What admission found, to be remembered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Admitted {
    shape: Arc<Shape>,
    /// The most that was met of each limited thing.
    most: [u64; MEASURED.len()],
}

/// The limits that admission applies.
const MEASURED: [LimitKind; 5] = [
    LimitKind::Sections,
    LimitKind::Functions,
    LimitKind::FunctionBody,
    LimitKind::Locals,
    LimitKind::Nesting,
];

impl Admitted {
    fn check(artifact: &Artifact, allowed: &[Feature], limits: &Limits) -> Result<Admitted> {
        let features = allowed.iter().fold(ALWAYS, |all, feature| all.union(feature.flag()));
        let (shape, most) = (Shape::default(), Default::default());
        let mut admission = Admission { limits, features, shape, most, functions: 0 };
        admission.run(artifact.bytes())?;
        admission.check_component()?;
        Ok(Admitted { shape: Arc::new(admission.shape), most: admission.most })
    }

    /// The same, with what a cache remembers.
    pub(crate) fn cached(
        artifact: &Artifact,
        allowed: &[Feature],
        limits: &Limits,
        cache: Option<&Cache>,
    ) -> Result<Admitted> {
        let Some(cache) = cache else { return Admitted::check(artifact, allowed, limits) };
        let names = allowed.iter().map(|feature| feature.name());
        let configuration = Configuration::of("admission").and_all(names).short();
        let variant = Variant { digest: artifact.digest(), configuration };
        if let Some(known) = cache.admitted(&variant).filter(|known| known.is_within(limits)) {
            return Ok(known);
        }
        let admitted = Admitted::check(artifact, allowed, limits)?;
        cache.keep_admitted(&variant, &admitted);
        Ok(admitted)
    }

    /// Whether the same bytes would be admitted under these limits too.
    fn is_within(&self, limits: &Limits) -> bool {
        MEASURED.iter().zip(self.most).all(|(limit, met)| met <= limits.value(*limit))
    }
}

struct Admission<'a> {
    limits: &'a Limits,
    features: WasmFeatures,
    shape: Shape,
    most: [u64; MEASURED.len()],
    /// Functions of the modules of a component that have been read.
    functions: u64,
}

impl Admission<'_> {
    fn run(&mut self, bytes: &[u8]) -> Result<()> {
        // Whether it is a component is no feature of a plugin's: only the header says so.
        self.shape.is_component = Parser::is_component(bytes);
        self.features.set(WasmFeatures::COMPONENT_MODEL, self.shape.is_component);
        let mut validator = Validator::new_with_features(self.features);
        let mut allocations = FuncValidatorAllocations::default();
        let (mut sections, mut tree) = (0_u64, Tree::default());
        // What is open: the component, what is nested in it, a module in that.
        let mut open: Vec<Encoding> = Vec::new();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| self.explain(bytes, &error))?;
            if payload.as_section().is_some() {
                sections += 1;
                self.within(LimitKind::Sections, sections)?;
            }
            match &payload {
                Payload::Version { encoding, .. } => {
                    open.push(*encoding);
                    if open.len() > tree::MAX_DEPTH {
                        return Err(unsupported(format!(
                            "its components are nested deeper than {} levels",
                            tree::MAX_DEPTH
                        )));
                    }
                }
                Payload::StartSection { .. } => self.shape.has_start = true,
                Payload::CustomSection(section) => {
                    self.shape.custom_sections.push(section.name().to_owned());
                    self.shape.has_names |= matches!(section.as_known(), KnownCustom::Name(_));
                    self.shape.has_dwarf |= section.name() == ".debug_line";
                }
                _ => {}
            }
            match validator.payload(&payload).map_err(|error| self.explain(bytes, &error))? {
                ValidPayload::Func(function, body) => {
                    allocations = self.check_function(bytes, function, &body, allocations)?;
                }
                ValidPayload::End(types) => {
                    let ended = open.pop();
                    self.describe(types.as_ref(), ended, open.is_empty())?;
                    if ended == Some(Encoding::Component) {
                        tree.end();
                    }
                }
                ValidPayload::Ok | ValidPayload::Parser(_) => {}
            }
            tree.read(&payload).map_err(|fault| self.refuse(bytes, fault))?;
            let Some(types) = validator.types(0) else { continue };
            match payload {
                Payload::ImportSection(imports) => {
                    self.within(LimitKind::Functions, self.functions + u64::from(types.function_count()))?;
                    if open.len() > 1 {
                        continue;
                    }
                    for import in imports.into_imports() {
                        let import = import.map_err(|error| self.explain(bytes, &error))?;
                        self.describe_import(&types, &import);
                    }
                }
                Payload::FunctionSection(_) => {
                    self.within(LimitKind::Functions, self.functions + u64::from(types.function_count()))?;
                }
                Payload::ComponentImportSection(imports) if open.len() == 1 => {
                    for import in imports {
                        let import = import.map_err(|error| self.explain(bytes, &error))?;
                        self.describe_interface(&types, import.name.name);
                    }
                }
                Payload::ComponentExportSection(exports) if open.len() == 1 => {
                    for export in exports {
                        let name = export.map_err(|error| self.explain(bytes, &error))?.name.name;
                        let what =
                            types.component_item_for_export(name).map_or("item", |found| item(found.ty));
                        let (name, ty) = (name.to_owned(), ExternType::Item(what.to_owned()));
                        self.shape.exports.push(Export { name, ty });
                    }
                }
                _ => {}
            }
        }
        tree.write_out().map_err(|fault| self.refuse(bytes, fault))?;
        Ok(())
    }

    fn refuse(&self, bytes: &[u8], fault: Fault) -> Error {
        match fault {
            Fault::Invalid(error) => self.explain(bytes, &error),
            Fault::Unsupported(why) => unsupported(why),
        }
    }

    fn check_function(
        &mut self,
        bytes: &[u8],
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations> {
        self.within(LimitKind::FunctionBody, body.range().len() as u64)?;
        let mut locals = 0_u64;
        for local in body.get_locals_reader().map_err(|error| self.explain(bytes, &error))? {
            locals += u64::from(local.map_err(|error| self.explain(bytes, &error))?.0);
            self.within(LimitKind::Locals, locals)?;
        }
        let mut deepest = 0;
        let mut validator = function.into_validator(allocations);
        let valid = self.check_operators(body, &mut validator, &mut deepest);
        self.within(LimitKind::Nesting, u64::from(deepest))?;
        valid.map_err(|error| self.explain(bytes, &error))?;
        Ok(validator.into_allocations())
    }

    /// Validates a function's code until its end, a fault, or blocks nested too deep.
    fn check_operators(
        &self,
        body: &FunctionBody<'_>,
        validator: &mut FuncValidator<ValidatorResources>,
        deepest: &mut u32,
    ) -> Result<(), BinaryReaderError> {
        let most = u32::try_from(self.limits.value(LimitKind::Nesting)).unwrap_or(u32::MAX);
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        while !reader.eof() && *deepest <= most {
            let at = reader.original_position();
            reader.visit_operator(&mut validator.visitor(at)).and_then(|result| result)?;
            // The function's own frame is not a nested block.
            *deepest = validator.control_stack_height().saturating_sub(1).max(*deepest);
        }
        match *deepest <= most {
            true => reader.finish_expression(&validator.visitor(reader.original_position())),
            false => Ok(()),
        }
    }

    fn within(&mut self, limit: LimitKind, value: u64) -> Result<()> {
        let maximum = self.limits.value(limit);
        if value > maximum {
            return Err(Error::new(ErrorKind::Limit {
                limit,
                maximum,
                asked: Some(value),
                phase: Phase::Admit,
            }));
        }
        if let Some(index) = MEASURED.iter().position(|measured| *measured == limit) {
            let most = &mut self.most[index];
            *most = value.max(*most);
        }
        Ok(())
    }

    /// Why validation failed: a feature that is off, or plainly wrong bytes.
    ///
    /// A feature is to blame when turning it on moves the first fault further down.
    fn explain(&self, bytes: &[u8], error: &BinaryReaderError) -> Error {
        let blamed = OFF.iter().filter(|(_, flag)| !self.features.contains(*flag)).find(|(_, flag)| {
            match Validator::new_with_features(self.features.union(*flag)).validate_all(bytes) {
                Ok(_) => true,
                Err(later) => later.offset() > error.offset(),
            }
        });
        match blamed {
            Some((name, _)) => {
                let hint = match Feature::ALL.iter().any(|feature| feature.name() == *name) {
                    true => format!("`--wasm-feature {name}` allows it"),
                    false => "this version of Airlock does not have it".to_owned(),
                };
                Error::new(ErrorKind::FeatureOff((*name).to_owned())).with_hint(hint)
            }
            None => Error::new(ErrorKind::InvalidWasm {
                offset: error.offset(),
                reason: error.message().to_owned(),
            }),
        }
    }

    /// Takes imports one by one: the validator's list has those of one name side by side.
    fn describe_import(&mut self, types: &TypesRef<'_>, import: &wasmparser::Import<'_>) {
        if let Some(ty) = types.entity_type_from_import(import) {
            let (module, name) = (import.module.to_owned(), import.name.to_owned());
            self.shape.imports.push(Import { module, name, ty: extern_type(types, ty) });
        }
    }

    /// Takes what a component imports: each function of an interface, its types where it has no functions,
    /// and the interface itself where it has nothing.
    fn describe_interface(&mut self, types: &TypesRef<'_>, interface: &str) {
        let entity = types.component_item_for_import(interface).map(|found| found.ty);
        let import = |name: &str, what: &str| Import {
            module: interface.to_owned(),
            name: name.to_owned(),
            ty: ExternType::Item(what.to_owned()),
        };
        let before = self.shape.imports.len();
        if let Some(ComponentEntityType::Instance(id)) = entity {
            let is_type = |ty: ComponentEntityType| matches!(ty, ComponentEntityType::Type { .. });
            let exports = || types[id].exports.iter();
            let has_only_types = exports().all(|(_, found)| is_type(found.ty));
            let told = exports().filter(|(_, found)| has_only_types || !is_type(found.ty));
            self.shape.imports.extend(told.map(|(name, found)| import(name, item(found.ty))));
        }
        if self.shape.imports.len() == before {
            self.shape.imports.push(import("", entity.map_or("item", item)));
        }
    }

    /// Takes what is known of a module or a component once it has been read.
    ///
    /// # Errors
    /// [`ErrorKind::ComponentUnsupported`] for functions with types that there is no way to call with.
    fn describe(&mut self, types: TypesRef<'_>, ended: Option<Encoding>, is_all: bool) -> Result<()> {
        if ended != Some(Encoding::Module) {
            if is_all {
                let names = self.shape.exports.iter().map(|export| export.name.as_str());
                let is_run = |name: &str| name.strip_prefix(RUN).is_some_and(|rest| rest.starts_with('@'));
                self.shape.wit = wit::read(types, names, is_run).map_err(unsupported)?;
            }
            return Ok(());
        }
        self.functions += u64::from(types.function_count());
        self.shape.functions += types.function_count() as usize;
        self.shape.memories += types.memory_count() as usize;
        if is_all {
            let exports = types.core_exports().into_iter().flatten();
            self.shape.exports = exports
                .map(|(name, ty)| Export { name: name.to_owned(), ty: extern_type(&types, ty) })
                .collect();
        }
        Ok(())
    }

    /// Refuses a component that there is nothing to do with.
    fn check_component(&self) -> Result<()> {
        let shape = &self.shape;
        let is_program = shape.exports_interface(RUN).is_some();
        match shape.is_component && !is_program && shape.wit.functions.is_empty() {
            true => Err(unsupported(format!("it exports neither a function nor `{RUN}@0.2`"))),
            false => Ok(()),
        }
    }
}

/// The error for a component of another kind than those that are run.
fn unsupported(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::ComponentUnsupported).with_hint(why)
}

/// What something that a component imports or exports is.
fn item(entity: ComponentEntityType) -> &'static str {
    match entity {
        ComponentEntityType::Module(_) => "module",
        ComponentEntityType::Func(_) => "function",
        ComponentEntityType::Value(_) => "value",
        ComponentEntityType::Type { .. } => "type",
        ComponentEntityType::Instance(_) => "instance",
        ComponentEntityType::Component(_) => "component",
    }
}

fn extern_type(types: &TypesRef<'_>, ty: EntityType) -> ExternType {
    match ty {
        EntityType::Func(id) | EntityType::FuncExact(id) => {
            let function = types[id].unwrap_func();
            ExternType::Function(Signature {
                params: function.params().iter().map(slot).collect(),
                results: function.results().iter().map(slot).collect(),
            })
        }
        EntityType::Memory(memory) => {
            ExternType::Memory { minimum: memory.initial, maximum: memory.maximum, memory64: memory.memory64 }
        }
        EntityType::Table(table) => ExternType::Table { minimum: table.initial, maximum: table.maximum },
        EntityType::Global(global) => {
            ExternType::Global { ty: slot(&global.content_type), mutable: global.mutable }
        }
        EntityType::Tag(_) => ExternType::Tag,
    }
}

fn slot(ty: &ValType) -> Slot {
    match ty {
        ValType::I32 => Slot::Number(ValueType::I32),
        ValType::I64 => Slot::Number(ValueType::I64),
        ValType::F32 => Slot::Number(ValueType::F32),
        ValType::F64 => Slot::Number(ValueType::F64),
        other => Slot::Other(other.to_string()),
    }
}

#[cfg(test)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use airlock_core::{Error, LimitKind, Limits};

    use super::Feature;
    use crate::{Artifact, Shape};

    fn admit(wat: &str, allowed: &[Feature], limits: &Limits) -> Result<Shape, Error> {
        let artifact = Artifact::new(wat.as_bytes().to_vec(), true, limits)?;
        Shape::admit(&artifact, allowed, limits)
    }

    fn refused(wat: &str, limit: LimitKind, maximum: u64) -> String {
        admit(wat, &[], &Limits::default().capped(limit, maximum)).expect_err("refused").to_string()
    }

    #[test]
    fn the_shape_tells_imports_exports_and_what_is_inside() {
        let shape = admit(
            r#"(module (import "env" "log" (func (param i32 f64)))
                (memory (export "memory") 2 5) (global (export "g") (mut i64) (i64.const 1))
                (table (export "t") 3 funcref)
                (func $f (export "f") (param i32) (result i64 f32) i64.const 0 f32.const 0)
                (func $start) (start $start))"#,
            &[],
            &Limits::default(),
        )
        .expect("valid");
        let lines: Vec<String> = shape.exports.iter().map(|e| format!("{}: {}", e.name, e.ty)).collect();
        assert_eq!(
            lines,
            [
                "memory: memory of 2 pages, at most 5",
                "g: mutable global i64",
                "t: table of 3 elements, no maximum",
                "f: func (i32) -> (i64, f32)"
            ]
        );
        assert_eq!(shape.imports[0].ty.to_string(), "func (i32, f64) -> ()");
        assert!(shape.has_start && shape.has_names && !shape.has_dwarf);
        assert_eq!((shape.memories, shape.functions), (1, 3));
    }

    #[test]
    fn imports_keep_their_order_when_a_name_comes_again() {
        let shape = admit(
            r#"(module (import "a" "f" (func)) (import "a" "g" (func)) (import "a" "f" (global i32)))"#,
            &[],
            &Limits::default(),
        )
        .expect("valid");
        let names: Vec<&str> = shape.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(names, ["f", "g", "f"]);
    }

    #[test]
    fn each_limit_of_admission_is_reported_as_that_limit() {
        let three = "(module (func) (func) (func))";
        assert_eq!(
            refused(three, LimitKind::Functions, 2),
            "limit `functions` of 2 hit while checking the artifact: 3 asked for"
        );
        let imported = r#"(module (import "a" "a" (func)) (import "a" "b" (func)) (import "a" "c" (func)))"#;
        assert_eq!(
            refused(imported, LimitKind::Functions, 2),
            "limit `functions` of 2 hit while checking the artifact: 3 asked for"
        );
        let other = r#"(module (import "a" "a" (memory 1)) (import "a" "b" (global i32)) (func))"#;
        admit(other, &[], &Limits::default().capped(LimitKind::Functions, 1)).expect("one function");
        let body = format!("(module (func {}))", "nop ".repeat(100));
        assert_eq!(
            refused(&body, LimitKind::FunctionBody, 100),
            "limit `function_body` of 100 B hit while checking the artifact: 102 B asked for"
        );
        let locals = "(module (func (local i32 i32 i64 i64 i64)))";
        assert_eq!(
            refused(locals, LimitKind::Locals, 4),
            "limit `locals` of 4 hit while checking the artifact: 5 asked for"
        );
        let nested = format!("(module (func {} {}))", "(block ".repeat(12), ")".repeat(12));
        assert_eq!(
            refused(&nested, LimitKind::Nesting, 11),
            "limit `nesting` of 11 hit while checking the artifact: 12 asked for"
        );
        admit(&nested, &[], &Limits::default().capped(LimitKind::Nesting, 12))
            .expect("12 levels are 12 levels");
        let customs = format!("(module {})", r#"(@custom "x" "y")"#.repeat(30));
        assert_eq!(
            refused(&customs, LimitKind::Sections, 20),
            "limit `sections` of 20 hit while checking the artifact: 21 asked for"
        );
    }

    #[test]
    fn features_that_are_off_are_named_and_can_be_allowed() {
        let off = |wat: &str| admit(wat, &[], &Limits::default()).expect_err("off").to_string();
        assert_eq!(off("(module (memory i64 1))"), "the module uses `memory64`, which is off");
        assert_eq!(off("(module (memory 1) (memory 1))"), "the module uses `multi-memory`, which is off");
        assert_eq!(off("(module (memory 1 2 shared))"), "the module uses `threads`, which is off");
        assert_eq!(off("(module (table 1 externref))"), "the module uses `reference-types`, which is off");
        assert_eq!(off("(module (type (struct)))"), "the module uses `gc`, which is off");
        admit("(module (memory i64 1))", &[Feature::Memory64], &Limits::default()).expect("allowed");
        admit("(module (memory 1) (memory 1))", &[Feature::MultiMemory], &Limits::default())
            .expect("allowed");
    }

    #[test]
    fn truncated_at_any_byte_is_refused_with_the_place() {
        let wat = r#"(module (memory (export "memory") 1) (func (export "f") (result i32) i32.const 7))"#;
        let whole = Artifact::new(wat.as_bytes().to_vec(), true, &Limits::default()).expect("valid");
        for end in 8..whole.bytes().len() {
            let cut = Artifact::new(whole.bytes()[..end].to_vec(), false, &Limits::default())
                .expect("magic is there");
            match Shape::admit(&cut, &[], &Limits::default()) {
                Err(error) => assert_eq!(error.code(), "invalid-wasm", "cut at {end}"),
                // A cut between sections can leave a smaller module that is whole.
                Ok(shape) => assert!(shape.exports.len() < 2, "cut at {end}"),
            }
        }
    }

    #[test]
    fn component_as_module_is_named() {
        let error = admit("(component)", &[], &Limits::default()).expect_err("a component");
        assert_eq!(error.code(), "component-unsupported");
    }

    /// A program of preview 2 with `parts` in it.
    fn program(parts: &str) -> String {
        format!(
            r#"(component {parts}
                (core module $main (func (export "run") (result i32) i32.const 0))
                (core instance $main (instantiate $main))
                (func $run (result (result)) (canon lift (core func $main "run")))
                (instance $run (export "run" (func $run)))
                (export "wasi:cli/run@0.2.6" (instance $run)))"#
        )
    }

    #[test]
    fn a_program_of_preview_2_is_admitted_with_what_it_imports_and_exports() {
        let shape = admit(
            &program(
                r#"(import "wasi:cli/environment@0.2.0" (instance
                    (export "get-arguments" (func (result (list string))))))
                (core module (memory 1) (func) (func (export "no export of the component's")))"#,
            ),
            &[],
            &Limits::default(),
        )
        .expect("a program");
        assert!(shape.is_component);
        assert_eq!((shape.functions, shape.memories, shape.has_start), (3, 1, false));
        assert_eq!(shape.exports_interface("wasi:cli/run"), Some("0.2.6"));
        let exports: Vec<String> = shape.exports.iter().map(|e| format!("{}: {}", e.name, e.ty)).collect();
        assert_eq!(exports, ["wasi:cli/run@0.2.6: instance"]);
        let imports = shape.imports.iter().map(|i| format!("{}.{}: {}", i.module, i.name, i.ty));
        assert_eq!(imports.collect::<Vec<_>>(), ["wasi:cli/environment@0.2.0.get-arguments: function"]);
        assert!(shape.imports_of_interface("wasi:cli/environment", "get-arguments"));
        assert!(!shape.imports_of_interface("wasi:cli/environment", "get-environment"));
    }

    #[test]
    fn what_is_counted_of_a_component_is_counted_over_all_its_modules() {
        let modules = |count: usize| program(&"(core module (func) (func))".repeat(count));
        admit(&modules(1), &[], &Limits::default().capped(LimitKind::Functions, 3)).expect("three functions");
        assert_eq!(
            refused(&modules(2), LimitKind::Functions, 4),
            "limit `functions` of 4 hit while checking the artifact: 5 asked for"
        );
        assert!(refused(&modules(20), LimitKind::Sections, 60).starts_with("limit `sections` of 60 hit"));
        // In a component within the component.
        let nested = program("(component (core module (func (local i32 i32 i32))))");
        assert!(refused(&nested, LimitKind::Locals, 2).starts_with("limit `locals` of 2 hit"));
    }

    /// A component with one function, which takes `ty` after `parts`.
    fn taking(parts: &str, ty: &str, core: &str) -> Result<Shape, Error> {
        let wat = format!(
            r#"(component
                (core module $m (memory (export "memory") 1) (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
                    (func (export "f") (param i32)) (func (export "pair") (param i32 i32)))
                (core instance $m (instantiate $m))
                (alias core export $m "memory" (core memory $memory))
                (alias core export $m "realloc" (core func $realloc))
                {parts}
                (func (export "f") (param "it" {ty})
                    (canon lift (core func $m "{core}") (memory $memory) (realloc (core func $realloc)))))"#
        );
        admit(&wat, &[], &Limits::default())
    }

    #[test]
    fn the_functions_of_a_component_are_told_with_their_types() {
        let shape =
            taking(r#"(type $e (enum "red" "green")) (export $color "color" (type $e))"#, "$color", "f")
                .expect("one");
        let function = &shape.wit.functions[0];
        assert_eq!(
            (function.full_name(), shape.wit.signature(function)),
            ("f".into(), "func(it: color)".into())
        );
        let text = serde_json::to_string(&shape).expect("it is kept");
        assert_eq!(serde_json::from_str::<Shape>(&text).expect("it comes back"), shape);
    }

    #[test]
    fn functions_of_a_component_are_within_bounds() {
        let hint = |admitted: Result<Shape, Error>| {
            let error = admitted.expect_err("it is refused");
            assert_eq!(error.code(), "component-unsupported", "{error}");
            error.hint().unwrap_or_default().to_owned()
        };
        let many: String = (0..2_000).map(|n| format!("(export \"f{n}\" (func $g))")).collect();
        let one = r#"(func $g (canon lift (core func $m "g")))"#;
        let of = |exports: &str| {
            let wat = format!(
                r#"(component (core module $m (func (export "g"))) (core instance $m (instantiate $m)) {one} {exports})"#
            );
            admit(&wat, &[], &Limits::default())
        };
        assert_eq!(of(&many).expect("few enough").wit.functions.len(), 2_000);
        assert_eq!(
            hint(of(&format!("{many}(export \"more\" (func $g))"))),
            "it exports more than 2000 functions"
        );
        let long = format!("(export \"{}\" (func $g))", "a".repeat(201));
        assert_eq!(hint(of(&long)), "a name in it is longer than 200 bytes");
        let nested = |levels: usize| {
            let types: String = (1..levels).map(|n| format!("(type $t{n} (list $t{}))", n - 1)).collect();
            taking(&format!("(type $t0 (list u8)) {types}"), &format!("$t{}", levels - 1), "pair").err()
        };
        assert!(nested(99).is_none());
        assert!(nested(100).is_some());
    }

    #[test]
    fn features_are_off_in_the_modules_of_components_too() {
        let off = admit(&program("(core module (memory i64 1))"), &[], &Limits::default());
        assert_eq!(off.expect_err("off").code(), "feature-off");
    }
}
