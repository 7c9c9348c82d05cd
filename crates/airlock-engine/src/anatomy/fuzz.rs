//! Taking apart whatever is admitted, held against the shape and against arithmetic.

use std::time::Duration;

use airlock_core::Limits;
use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

use super::{Anatomy, LARGEST, TOLD};
use crate::admit::fuzz::judge;
use crate::{Artifact, Shape};

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

#[test]
fn whatever_is_admitted_is_taken_apart_and_the_rest_is_refused() {
    let target = bolero::check!().with_iterations(5_000).with_test_time(Duration::from_secs(2));
    target.for_each(|bytes: &[u8]| {
        let module = match bytes.starts_with(b"\0asm") {
            true => bytes.to_vec(),
            false => [HEADER, bytes].concat(),
        };
        compare(&module);
        let config = Config { allow_start_export: true, generate_custom_sections: true, ..Config::default() };
        if let Ok(made) = Module::new(config, &mut Unstructured::new(bytes)) {
            compare(&made.to_bytes());
        }
    });
}

fn compare(module: &[u8]) {
    let limits = Limits::default();
    let artifact = Artifact::new(module.to_vec(), false, &limits).expect("it is small and has the magic");
    // Bytes that were not admitted are refused or read, and nothing worse.
    let anatomy = Anatomy::of(&artifact);
    let Some(shape) = judge(module, &limits) else { return };
    let anatomy = anatomy.expect("what is admitted can be read");
    agrees(&anatomy, &shape);
    assert!(anatomy.code + anatomy.data + anatomy.custom <= anatomy.size);
    assert!(anatomy.largest.len() <= LARGEST && anatomy.sections.len() <= TOLD);
    assert!(anatomy.largest.iter().map(|function| function.size).sum::<u64>() <= anatomy.code);
    assert!(anatomy.largest.is_sorted_by(|a, b| a.size >= b.size));
    if let Some((first, last)) = anatomy.data_range {
        assert!(first < last && last - first >= 1);
    }
    if let Some(stack) = anatomy.stack {
        assert!(stack.top > 0 && stack.size <= stack.top);
    }
    serde_json::to_vec(&anatomy).expect("it can be told");
}

fn agrees(anatomy: &Anatomy, shape: &Shape) {
    assert_eq!(anatomy.functions + anatomy.imported_functions, shape.functions as u64);
    assert_eq!(anatomy.memories.len(), shape.memories.min(TOLD));
    assert_eq!(anatomy.has_start, shape.has_start);
}
