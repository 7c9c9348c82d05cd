//! What a manifest says against the module that it says it of, and names.

use airlock_host::{ExternType, Manifest, ManifestFormat, visible};

use super::codes;
use super::finding::Finding;
use super::{Looked, own_commands};

/// What is odd about a manifest, whosever it is. `installed` are the names of other plugins.
pub(super) fn check(manifest: &Manifest, installed: &[String]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        manifest.warnings.iter().map(|warning| Finding::new(&codes::MANIFEST, warning)).collect();
    findings.extend(own_commands(manifest).map(|name| {
        Finding::new(&codes::OWN_COMMAND, format!("its command `{name}` is one of Airlock's own too"))
            .hint(format!("`airlock run {name}` is the plugin's"))
    }));
    if let Some(version) = manifest.version.as_deref().filter(|text| semver::Version::parse(text).is_err()) {
        let message = match manifest.format {
            ManifestFormat::Fledge | ManifestFormat::Prx => "`plugin.version`",
            _ => "its version",
        };
        let message = format!("{message} is `{version}`, which is no semantic version");
        findings.push(Finding::new(&codes::VERSION, message).hint("three numbers, such as `0.1.0`"));
    }
    findings.extend(lookalike(&manifest.name, installed));
    findings
}

/// A name that a person would take for another.
fn lookalike(name: &str, installed: &[String]) -> Option<Finding> {
    let of = |other: &&String| *other != name && skeleton(other) == skeleton(name);
    let message = match installed.iter().find(of) {
        Some(other) => format!("its name `{name}` looks like that of `{other}`, which is installed"),
        None if is_mixed(name) => {
            format!("its name `{name}` has letters of several scripts, which look alike")
        }
        None => return None,
    };
    Some(
        Finding::new(&codes::LOOKALIKE_NAME, message)
            .hint("people grant by name: one of its own tells it apart"),
    )
}

/// What is left of a name in the eye.
fn skeleton(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' '));
    let alike = |c: char| match c {
        '0' => 'o',
        '1' | 'I' | '|' => 'l',
        other => other,
    };
    kept.map(alike).flat_map(char::to_lowercase).collect()
}

/// Whether letters of the Latin script stand beside some of another.
fn is_mixed(name: &str) -> bool {
    // Latin ends before the phonetic letters; what is above them and a letter is another script's.
    let is_other =
        |c: char| c.is_alphabetic() && c as u32 >= 0x250 && !('\u{1e00}'..='\u{1eff}').contains(&c);
    name.chars().any(|c| c.is_ascii_alphabetic()) && name.chars().any(is_other)
}

/// What a manifest says of memory against the module's own.
pub(super) fn memory(looked: &Looked<'_>) -> Vec<Finding> {
    let Some(asked) = looked.manifest.map(|manifest| manifest.memory) else { return Vec::new() };
    let Some(ExternType::Memory { minimum, maximum, .. }) = looked.examined.shape.export("memory") else {
        return Vec::new();
    };
    let (file, pages) = (looked.file, asked.initial_pages.map(u64::from));
    let mut findings = Vec::new();
    if let (Some(pages), Some(most)) = (pages, *maximum)
        && pages > most
    {
        let message = format!("`wasm.memoryPages` is {pages}, and `{file}` has {most} at most");
        findings.push(
            Finding::new(&codes::MEMORY_PAGES, message).hint(
                "it gets what it has at most; `--max-memory=BYTES` tells the linker of another maximum",
            ),
        );
    }
    if let Some(pages) = pages.filter(|pages| pages < minimum) {
        let message = format!("`wasm.memoryPages` is {pages}, and `{file}` starts with {minimum}");
        findings.push(
            Finding::new(&codes::FEWER_PAGES, message)
                .hint("a page has 64 KiB; the module's own number holds"),
        );
    }
    findings
}

/// Names in the module that a terminal would act on.
pub(super) fn names(looked: &Looked<'_>) -> Option<Finding> {
    let shape = &looked.examined.shape;
    let exports = shape.exports.iter().map(|export| export.name.as_str());
    let imports = shape.imports.iter().flat_map(|import| [import.module.as_str(), import.name.as_str()]);
    let function = looked.anatomy.odd_name.as_deref();
    let odd = exports.chain(imports).chain(function).find(|name| visible(name, false) != *name)?;
    let odd: String = visible(odd, false).chars().take(100).collect();
    let message =
        format!("`{}` has the name `{odd}`, with characters that a terminal would act on", looked.file);
    Some(
        Finding::new(&codes::ODD_NAME, message).hint("no compiler writes such names; they are shown escaped"),
    )
}

#[cfg(test)]
mod tests {
    use super::lookalike;

    #[test]
    fn names_that_look_like_others_are_found() {
        let installed = ["text-tool".to_owned(), "mail".to_owned()];
        for name in ["text_tool", "Text-Tool", "texttool", "text-too1", "mai1", "tеxt"] {
            assert!(lookalike(name, &installed).is_some(), "{name}");
        }
        for name in ["text-tool", "text-tools", "mall", "größe", "данные", "plain"] {
            assert!(lookalike(name, &installed).is_none(), "{name}");
        }
    }
}
