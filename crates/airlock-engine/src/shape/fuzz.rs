//! What a shape says against what wasmtime's compiler makes of the same module.

use std::sync::LazyLock;
use std::time::Duration;

use airlock_core::{Limits, ValueType};
use arbitrary::{Result, Unstructured};
use wasm_smith::{Config, Module};
use wasmtime::{Engine, ValType};

use super::{Export, ExternType, Import, Shape, Signature, Slot};
use crate::EngineKey;
use crate::admit::fuzz::judge;
use crate::engines::compiler_config;

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(&compiler_config(EngineKey::default())).expect("it is the compiler's"));

#[test]
fn a_shape_is_what_the_compiler_sees() {
    let bytes = bolero::produce::<Vec<u8>>().with().len(0..=2048_usize);
    let target = bolero::check!().with_generator(bytes);
    target.with_iterations(500).with_test_time(Duration::from_secs(2)).for_each(|bytes: &Vec<u8>| {
        let Ok(Made { module, may_be_refused }) = Made::from(&mut Unstructured::new(bytes)) else { return };
        match judge(&module, &Limits::default()) {
            Some(shape) => compare(&shape, &module),
            None => assert!(may_be_refused, "a valid module without unusual features is refused"),
        }
    });
}

/// A small module made of a fuzzer's bytes.
struct Made {
    module: Vec<u8>,
    /// Whether something in it may be invalid or need a feature that is off.
    may_be_refused: bool,
}

impl Made {
    fn from(source: &mut Unstructured<'_>) -> Result<Self> {
        let (edited, references) = (source.ratio(1, 4)?, source.ratio(1, 4)?);
        let edits: [(u16, u8); 3] = source.arbitrary()?;
        let config = Config {
            allow_start_export: true,
            custom_page_sizes_enabled: false,
            exceptions_enabled: false,
            export_everything: source.arbitrary()?,
            gc_enabled: false,
            generate_custom_sections: true,
            max_funcs: 6,
            max_imports: 12,
            max_instructions: 40,
            max_memories: 2,
            max_tables: if references { 3 } else { 1 },
            reference_types_enabled: references,
            threads_enabled: false,
            ..Config::default()
        };
        let mut module = Module::new(config, source)?.to_bytes();
        for (at, value) in edits.into_iter().take(if edited { 3 } else { 0 }) {
            // The header stays: what has none is no module at all.
            let at = 8 + usize::from(at) % (module.len() - 7);
            match module.get_mut(at) {
                Some(byte) => *byte = value,
                None => module.push(value),
            }
        }
        Ok(Made { module, may_be_refused: edited || references })
    }
}

fn compare(shape: &Shape, module: &[u8]) {
    let module = wasmtime::Module::new(&ENGINE, module).expect("what is admitted compiles");
    let imports: Vec<Import> = module
        .imports()
        .map(|import| Import {
            module: import.module().to_owned(),
            name: import.name().to_owned(),
            ty: extern_type(&import.ty()),
        })
        .collect();
    assert_eq!(shape.imports, imports);
    let exports: Vec<Export> = module
        .exports()
        .map(|export| Export { name: export.name().to_owned(), ty: extern_type(&export.ty()) })
        .collect();
    assert_eq!(shape.exports, exports);

    let kept = serde_json::to_vec(shape).expect("the cache can keep it");
    assert_eq!(serde_json::from_slice::<Shape>(&kept).ok().as_ref(), Some(shape));
}

fn extern_type(ty: &wasmtime::ExternType) -> ExternType {
    match ty {
        wasmtime::ExternType::Func(function) => ExternType::Function(Signature {
            params: function.params().map(|ty| slot(&ty)).collect(),
            results: function.results().map(|ty| slot(&ty)).collect(),
        }),
        wasmtime::ExternType::Memory(memory) => ExternType::Memory {
            minimum: memory.minimum(),
            maximum: memory.maximum(),
            memory64: memory.is_64(),
        },
        wasmtime::ExternType::Table(table) => {
            ExternType::Table { minimum: table.minimum(), maximum: table.maximum() }
        }
        wasmtime::ExternType::Global(global) => ExternType::Global {
            ty: slot(global.content()),
            mutable: global.mutability() == wasmtime::Mutability::Var,
        },
        wasmtime::ExternType::Tag(_) => ExternType::Tag,
    }
}

fn slot(ty: &ValType) -> Slot {
    match ty {
        ValType::I32 => Slot::Number(ValueType::I32),
        ValType::I64 => Slot::Number(ValueType::I64),
        ValType::F32 => Slot::Number(ValueType::F32),
        ValType::F64 => Slot::Number(ValueType::F64),
        ValType::V128 => Slot::Other("v128".to_owned()),
        reference if reference.is_funcref() => Slot::Other("funcref".to_owned()),
        other => panic!("{other} needs a feature that is off"),
    }
}
