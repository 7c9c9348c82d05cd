//! Admission: the whole module is parsed and validated, within bounds, before a
//! compiler sees it.
//!
//! Validation costs under one percent of compilation. What it buys: nothing that fails
//! to validate is compiled, and nothing whose single function could hold a compiler for
//! minutes is either. wasmparser's own implementation limits (types, imports, exports,
//! data segments) apply beneath the ones checked here.

use std::sync::{Arc, Mutex, PoisonError};

use airlock_core::{Digest, Error, ErrorKind, LimitKind, Limits, Phase, Result, ValueType};
use serde::{Deserialize, Serialize};
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

/// A WebAssembly feature that is off unless allowed for a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// [`ErrorKind::ComponentUnsupported`], and [`ErrorKind::Limit`] for the limits of
    /// the admit phase.
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
        let mut admission = Admission { limits, features, shape, most };
        admission.run(artifact.bytes())?;
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
}

impl Admission<'_> {
    fn run(&mut self, bytes: &[u8]) -> Result<()> {
        let mut validator = Validator::new_with_features(self.features);
        let mut allocations = FuncValidatorAllocations::default();
        let mut sections = 0_u64;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| self.explain(bytes, &error))?;
            if let Payload::Version { encoding: Encoding::Component, .. } = payload {
                return Err(Error::new(ErrorKind::ComponentUnsupported));
            }
            if payload.as_section().is_some() {
                sections += 1;
                self.within(LimitKind::Sections, sections)?;
            }
            match &payload {
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
                ValidPayload::End(types) => self.describe(types.as_ref()),
                ValidPayload::Ok | ValidPayload::Parser(_) => {}
            }
            let Some(types) = validator.types(0) else { continue };
            match payload {
                Payload::ImportSection(imports) => {
                    self.within(LimitKind::Functions, u64::from(types.function_count()))?;
                    for import in imports.into_imports() {
                        let import = import.map_err(|error| self.explain(bytes, &error))?;
                        self.describe_import(&types, &import);
                    }
                }
                Payload::FunctionSection(_) => {
                    self.within(LimitKind::Functions, u64::from(types.function_count()))?;
                }
                _ => {}
            }
        }
        Ok(())
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

    fn describe(&mut self, types: TypesRef<'_>) {
        let exports = types.core_exports().into_iter().flatten();
        self.shape.exports =
            exports.map(|(name, ty)| Export { name: name.to_owned(), ty: extern_type(&types, ty) }).collect();
        self.shape.memories = types.memory_count() as usize;
        self.shape.functions = types.function_count() as usize;
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
}
