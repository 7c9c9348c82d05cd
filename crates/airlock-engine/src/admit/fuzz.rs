//! Admission against wasmparser's own validator and a count of the module's parts.

use std::sync::Arc;
use std::time::Duration;

use airlock_core::{ErrorKind, LimitKind, Limits, Phase};
use wasmparser::{Operator, Parser, Payload, Validator, WasmFeatures};

use super::{ALWAYS, Admitted, Feature, MEASURED};
use crate::{Artifact, Shape};

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// Limits that a module of a few hundred bytes can reach.
const TIGHT: [(LimitKind, u64); 5] = [
    (LimitKind::Functions, 3),
    (LimitKind::FunctionBody, 40),
    (LimitKind::Locals, 6),
    (LimitKind::Nesting, 3),
    (LimitKind::Sections, 8),
];

#[test]
fn a_module_is_admitted_when_it_is_valid_and_within_the_limits() {
    let tight = TIGHT.iter().fold(Limits::default(), |limits, (kind, most)| limits.capped(*kind, *most));
    bolero::check!().with_iterations(10_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            let module = match bytes.starts_with(b"\0asm") {
                true => bytes.to_vec(),
                false => [HEADER, bytes].concat(),
            };
            judge(&module, &Limits::default());
            judge(&module, &tight);
        },
    );
}

/// Admits `module` with every feature and holds the verdict against what is true of it.
pub(crate) fn judge(module: &[u8], limits: &Limits) -> Option<Shape> {
    let mut features = Feature::ALL.iter().fold(ALWAYS, |all, feature| all.union(feature.flag()));
    let is_component = Parser::is_component(module);
    features.set(WasmFeatures::COMPONENT_MODEL, is_component);
    let validity = Validator::new_with_features(features).validate_all(module).map(|_| ());
    let artifact = Artifact::new(module.to_vec(), false, limits).expect("it is small and has the magic");
    let error = match Admitted::check(&artifact, &Feature::ALL, limits) {
        Ok(admitted) => {
            assert!(validity.is_ok(), "admitted, and the validator says {validity:?}");
            if is_component {
                return None;
            }
            let measured = measure(module);
            assert_eq!(admitted.most, measured);
            assert_eq!(admitted.shape.functions as u64, measured[1]);
            for (kind, measured) in MEASURED.iter().zip(measured) {
                assert!(measured <= limits.value(*kind), "admitted with {kind} of {measured}");
            }
            return Some(Arc::unwrap_or_clone(admitted.shape));
        }
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::Limit { limit, maximum, asked: Some(asked), phase: Phase::Admit } => {
            assert_eq!(*maximum, limits.value(*limit));
            assert!(asked > maximum, "{error}");
            let index = MEASURED.iter().position(|kind| kind == limit).expect("a limit of admission");
            assert!(is_component || validity.is_err() || measure(module)[index] >= *asked, "{error}");
        }
        ErrorKind::InvalidWasm { offset, .. } => {
            assert!(validity.is_err(), "refused as invalid: {error}");
            assert!(*offset <= module.len(), "{error}");
        }
        ErrorKind::FeatureOff(name) => {
            assert!(validity.is_err(), "refused for a feature: {error}");
            assert!(Feature::ALL.iter().all(|feature| feature.name() != name), "{name} is on");
        }
        ErrorKind::ComponentUnsupported => assert!(is_component),
        other => panic!("not an error of admission: {other:?}"),
    }
    None
}

/// The most that a valid module has of each of [`MEASURED`].
fn measure(module: &[u8]) -> [u64; MEASURED.len()] {
    let [mut functions, mut largest, mut most_locals, mut deepest] = [0_u64; 4];
    for payload in Parser::new(0).parse_all(module) {
        match payload.expect("it is valid") {
            Payload::ImportSection(reader) => {
                let imports = reader.into_imports().map(|import| import.expect("it is valid"));
                functions +=
                    imports.filter(|import| matches!(import.ty, wasmparser::TypeRef::Func(_))).count() as u64;
            }
            Payload::FunctionSection(reader) => functions += u64::from(reader.count()),
            Payload::CodeSectionEntry(body) => {
                largest = largest.max(body.as_bytes().len() as u64);
                let locals = body.get_locals_reader().expect("it is valid").into_iter();
                most_locals =
                    most_locals.max(locals.map(|local| u64::from(local.expect("it is valid").0)).sum());
                let mut depth = 0_u64;
                for operator in body.get_operators_reader().expect("it is valid") {
                    match operator.expect("it is valid") {
                        Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                        Operator::End => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    deepest = deepest.max(depth);
                }
            }
            _ => {}
        }
    }
    [sections(module), functions, largest, most_locals, deepest]
}

/// Sections of a valid module, counted by their lengths alone.
fn sections(module: &[u8]) -> u64 {
    let mut rest = &module[HEADER.len()..];
    let mut count = 0;
    while let Some((_id, after)) = rest.split_first() {
        let digits = after.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let length =
            after[..digits].iter().rev().fold(0_usize, |all, byte| all << 7 | usize::from(byte & 0x7f));
        rest = &after[digits + length..];
        count += 1;
    }
    count
}
