//! What a module exports, against what its ABI looks for.

use airlock_host::{
    AbiId, ExternType, Gap, KNOWN_EXPORTS, KnownExport, ManifestFormat, Signature, ValueType,
};

use super::Looked;
use super::codes;
use super::finding::Finding;

/// Names of a kind that are told one by one.
const TOLD: usize = 5;

/// How alike names are whose one is taken for a slip of the other, between 0 and 1.
const ALIKE: f64 = 0.9;

pub(super) fn check(looked: &Looked<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(slips(looked));
    findings.extend(no_memory(looked));
    findings.extend(unnamed(looked));
    findings.extend(looked.examined.gaps().into_iter().map(|gap| of_gap(looked, &gap)));
    findings.extend(others(looked));
    findings.extend(uncallable(looked));
    let table =
        looked.examined.shape.exports.iter().find(|export| matches!(export.ty, ExternType::Table { .. }));
    findings.extend(table.map(|table| {
        let message =
            format!("`{}` exports its table `{}`, which nothing here reads", looked.file, table.name);
        Finding::new(&codes::TABLE_EXPORTED, message)
            .hint("a linker exports it when it is told to (`--export-table`), and for nothing else")
    }));
    findings
}

/// Exports that are nearly what an ABI looks for, by name or by type.
fn slips(looked: &Looked<'_>) -> Vec<Finding> {
    let (file, shape) = (looked.file, &looked.examined.shape);
    let mut findings = Vec::new();
    for (name, ty) in shape.exported_functions() {
        match KNOWN_EXPORTS.iter().find(|known| known.name == name) {
            Some(known) if ty.is(known.params, known.results) => {}
            // What stops it from being loaded is told by the error.
            Some(_) if looked.examined.abi.is_err() => {}
            Some(known) => {
                let wanted = Signature::of(known.params, known.results);
                let message = format!(
                    "`{file}` exports `{name}` as a func {ty}, and {} looks for a func {wanted}",
                    known.of
                );
                findings.push(
                    Finding::new(&codes::EXPORT_TYPE, message)
                        .hint("as it is nobody calls it; another name says that nobody is to"),
                );
            }
            None => {
                let of_kind = |known: &&KnownExport| shape.function(known.name).is_none();
                let near = KNOWN_EXPORTS.iter().filter(of_kind).find(|known| is_slip(name, known.name));
                findings.extend(near.map(|known| {
                    let message = format!(
                        "`{file}` exports `{name}`, and no `{}`, which {} looks for",
                        known.name, known.of
                    );
                    let wanted = Signature::of(known.params, known.results);
                    Finding::new(&codes::NEAR_EXPORT, message)
                        .hint(format!("`{}` is a func {wanted}", known.name))
                }));
            }
        }
    }
    findings
}

/// Whether a name was meant to be another: the same but for case and underlines, or one that begins and
/// ends nearly alike. Short names are alike too often.
fn is_slip(name: &str, known: &str) -> bool {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
    let (own, wanted) = (plain(name), plain(known));
    own == wanted || (wanted.len() >= 10 && strsim::jaro(&own, &wanted) >= ALIKE)
}

/// Functions of the `json` ABI in a module that does not let anybody hand them anything.
fn no_memory(looked: &Looked<'_>) -> Option<Finding> {
    let shape = &looked.examined.shape;
    let is_raw = matches!(looked.examined.abi, Ok((AbiId::Raw, _)));
    if !is_raw || shape.is_component || shape.memories == 0 || shape.exports_memory() {
        return None;
    }
    let pair = [ValueType::I32; 2];
    let taking = |ty: &Signature| ty.is(&pair, &[ValueType::I32]) || ty.is(&pair, &[ValueType::I64]);
    let allocates = shape.function("alloc").or(shape.function("malloc")).is_some();
    let (name, _) = shape.exported_functions().find(|(_, ty)| taking(ty)).filter(|_| allocates)?;
    let message = format!(
        "`{}` exports an allocator and `{name}`, and not its memory: numbers are all that it can be handed",
        looked.file
    );
    Some(
        Finding::new(&codes::NO_MEMORY_EXPORT, message)
            .hint("linkers export it under the name `memory` unless told otherwise"),
    )
}

/// What could be called, were it named.
fn unnamed(looked: &Looked<'_>) -> Option<Finding> {
    let manifest = looked.manifest.filter(|manifest| manifest.format == ManifestFormat::Cortex)?;
    if !matches!(looked.examined.abi, Ok((AbiId::Json, _))) || manifest.functions.is_empty() {
        return None;
    }
    let pair = [ValueType::I32; 2];
    let shape = &looked.examined.shape;
    let left: Vec<&str> = looked.examined.uncallable();
    let left: Vec<&str> = left
        .into_iter()
        .filter(|name| shape.function(name).is_some_and(|ty| ty.is(&pair, &[ValueType::I32])))
        .collect();
    if left.is_empty() {
        return None;
    }
    let message = format!(
        "`{}` exports {}, which its manifest does not name: nobody can call it",
        looked.file,
        quoted(&left)
    );
    Some(
        Finding::new(&codes::UNNAMED_FUNCTION, message)
            .hint("functions are the keys of `capabilities`, and the names of `tools`"),
    )
}

fn of_gap(looked: &Looked<'_>, gap: &Gap) -> Finding {
    let file = looked.file;
    match gap {
        Gap::NoAllocator => {
            let message = format!("`{file}` exports no allocator: its memory grows by what it is handed");
            Finding::new(&codes::NO_ALLOCATOR, message)
                .hint("an export `alloc`, which takes a size and gives a pointer, is asked for room")
        }
        Gap::NoLength(functions) => {
            let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
            let message = format!(
                "nothing in `{file}` tells how long the results of {} are: their end is looked for",
                quoted(&functions)
            );
            Finding::new(&codes::NO_LENGTH, message)
                .hint("an export `result_len`, which takes nothing and gives a length, is asked for it")
        }
        _ => Finding::new(&codes::NO_LENGTH, format!("`{file}` leaves something to be guessed")),
    }
}

/// Whether it could be called in another way, where nobody has said in which.
fn others(looked: &Looked<'_>) -> Option<Finding> {
    let Ok((chosen, _)) = looked.examined.abi else { return None };
    if looked.has_file {
        return None;
    }
    // All of fledge's plugins are programs, and what they import runs nowhere else.
    let is_news = |(abi, _): &(AbiId, String)| (chosen, *abi) != (AbiId::Fledge, AbiId::Command);
    let (abi, why) = looked.examined.other_abis().into_iter().find(is_news)?;
    let message = format!("`{}` is called as `{chosen}`, and fits `{abi}` too: {why}", looked.file);
    Some(Finding::new(&codes::OTHER_ABI, message).hint(format!("`--abi {abi}` calls it that way")))
}

fn uncallable(looked: &Looked<'_>) -> Option<Finding> {
    let (abi, _) = looked.examined.abi.as_ref().ok()?;
    // Of programs and tools nobody calls an export by its name.
    if !matches!(abi, AbiId::Raw | AbiId::Mofa | AbiId::Json) {
        return None;
    }
    let pair = [ValueType::I32; 2];
    let shape = &looked.examined.shape;
    let is_other = |name: &&str| {
        !shape.function(name).is_some_and(|ty| *abi == AbiId::Json && ty.is(&pair, &[ValueType::I32]))
    };
    let left: Vec<&str> = looked.examined.uncallable().into_iter().filter(is_other).collect();
    let first = shape.function(left.first()?)?;
    let message = format!(
        "`{}` exports {}, which cannot be called as `{abi}`: `{}` is a func {first}",
        looked.file,
        quoted(&left),
        left.first()?
    );
    Some(Finding::new(&codes::UNCALLABLE, message).hint(match abi {
        AbiId::Json => "a `json` function is a func (i32, i32) -> (i32): a pointer and a length, a pointer",
        _ => "a `raw` function takes and gives numbers only",
    }))
}

fn quoted(names: &[&str]) -> String {
    let mut shown: Vec<String> = names.iter().take(TOLD).map(|name| format!("`{name}`")).collect();
    if names.len() > TOLD {
        shown.push(format!("{} more", names.len() - TOLD));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::is_slip;

    #[test]
    fn slips_are_told_from_other_names() {
        for (name, known) in [
            ("plugin_exec_tool", "plugin_execute_tool"),
            ("pluginManifest", "plugin_manifest"),
            ("plugin_get_capability", "plugin_get_capabilities"),
            ("_Start", "_start"),
        ] {
            assert!(is_slip(name, known), "{name}");
        }
        for (name, known) in [
            ("start", "_cleanup"),
            ("execute", "plugin_execute"),
            ("plugin_exec", "plugin_init"),
            ("restart", "_start"),
            ("alloc", "cortex_alloc"),
            ("plugin_name", "plugin_manifest"),
        ] {
            assert!(!is_slip(name, known), "{name}");
        }
    }
}
