//! What a module imports against what its manifest asks for, for all ABIs but fledge's.

use std::collections::BTreeSet;

use airlock_host::{AbiId, CapabilityKind, Manifest, ManifestFormat};

use super::Looked;
use super::codes;
use super::finding::Finding;

/// What is asked for that no module can use.
pub(super) fn of_manifest(manifest: &Manifest, modules: &[&Looked<'_>]) -> Vec<Finding> {
    let Some(first) = modules.first() else { return Vec::new() };
    let mut findings = Vec::new();
    if manifest.format == ManifestFormat::Fledge {
        return findings;
    }
    let asked: BTreeSet<CapabilityKind> =
        manifest.requests.iter().map(|request| request.capability.kind()).collect();
    let used: BTreeSet<CapabilityKind> =
        modules.iter().flat_map(|looked| looked.examined.uses()).map(|(kind, _)| kind).collect();
    let idle = |kind: &CapabilityKind| {
        !used.contains(kind)
            && !first.examined.baseline().contains(kind)
            && is_imported(*kind, manifest.format)
    };
    findings.extend(asked.into_iter().filter(idle).map(|kind| {
        let message = format!("it asks for `{kind}`, and imports nothing that could use it");
        Finding::new(&codes::ASKS_UNUSED, message).hint(format!("without `{kind}` nobody is asked about it"))
    }));
    findings
}

/// Whether it takes an import to use a capability. sen's plugins want most of what they want by what they
/// answer, and input and output are a matter of what they are started with.
fn is_imported(kind: CapabilityKind, format: ManifestFormat) -> bool {
    use CapabilityKind::{Env, EventsSubscribe, FsRead, FsWrite, Stdin, Stdout};
    match format {
        // Hooks are told of events whether they ask their host for any or not.
        ManifestFormat::Prx => kind != EventsSubscribe,
        ManifestFormat::Sen => matches!(kind, FsRead | FsWrite | Env),
        _ => !matches!(kind, Stdin | Stdout),
    }
}

/// What a module could use without its being asked for.
pub(super) fn of_module(looked: &Looked<'_>) -> Vec<Finding> {
    let examined = looked.examined;
    if matches!(examined.abi, Ok((AbiId::Fledge, _)) | Err(_)) {
        return Vec::new();
    }
    let asked = |kind: CapabilityKind| {
        looked
            .manifest
            .is_some_and(|manifest| manifest.requests.iter().any(|request| request.capability.kind() == kind))
    };
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (kind, import) in examined.uses() {
        if !seen.insert(kind) {
            continue;
        }
        let has = examined.baseline().contains(&kind);
        findings.extend(used(looked, kind, &import, has, asked(kind)));
    }
    findings
}

/// The manifest in which a plugin can ask for something: a file, or what a plugin of sen's says. Others
/// only say which tools they have.
fn asking<'a>(looked: &Looked<'a>) -> Option<&'a Manifest> {
    looked.manifest.filter(|manifest| looked.has_file || manifest.format == ManifestFormat::Sen)
}

fn used(looked: &Looked<'_>, kind: CapabilityKind, import: &str, has: bool, asked: bool) -> Option<Finding> {
    let file = looked.file;
    let imports = format!("`{file}` imports `{import}`");
    let gives = |what: &str| format!("{imports}, and its ABI gives it {what} without asking");
    let hint = "test cases have a clock and random numbers that are the same in every run";
    Some(match (kind, has) {
        (CapabilityKind::Clock, true) => Finding::new(&codes::REAL_CLOCK, gives("the clock")).hint(hint),
        (CapabilityKind::Random, true) => {
            Finding::new(&codes::REAL_RANDOM, gives("random numbers")).hint(hint)
        }
        _ if has || asked => return None,
        (CapabilityKind::Clock, _) => {
            let message = format!("{imports}: the time is a virtual one until `clock` is granted");
            Finding::new(&codes::VIRTUAL_CLOCK, message).hint("`--allow clock` grants it")
        }
        (CapabilityKind::Random, _) => {
            let message =
                format!("{imports}: random numbers are the same in every run until `random` is granted");
            Finding::new(&codes::VIRTUAL_RANDOM, message).hint("`--allow random` grants it")
        }
        // What is printed is kept or logged, and there is no harm in that.
        (CapabilityKind::Stdin | CapabilityKind::Stdout | CapabilityKind::Log, _) => return None,
        // Whoever runs a program or a bare module says what it may do.
        _ if asking(looked).is_none() => return None,
        // Of what they import, this is what CortexPrism's manifests have words for.
        (CapabilityKind::Net, _) if !import.starts_with("wasi") => {
            let message = format!(
                "{imports}, and its manifest does not ask for `{kind}`: it is refused what it does there"
            );
            Finding::new(&codes::ASKS_TOO_LITTLE, message)
                .hint("`permissions.network` in its manifest asks for it")
        }
        _ => {
            let message = format!("{imports}, and its manifest does not ask for `{kind}`");
            Finding::new(&codes::COULD_USE, message)
                .hint("what is not granted is refused; `--allow` grants it to a call")
        }
    })
}
