//! `airlock inspect`: what a plugin is, without compiling it, unless it has to be asked that.

use airlock_host::{
    Capability, CommandLine, Error, ErrorKind, Examined, Manifest, ManifestFormat, PrxCapability, PrxKind,
    PrxManifest, ToolParam, ToolSpec, visible,
};
use serde_json::json;

use super::Session;
use crate::flags::Inspect;

pub(super) fn run(session: &Session, inspect: &Inspect) -> Result<u8, Error> {
    let (source, options) = session.locate(&inspect.plugin, inspect.load.options()?)?;
    let host = session.compiling(session.host(&inspect.load)?, inspect.load.no_cache)?;
    let examined = host.examine(source, &options)?;
    if let Some(function) = &inspect.schema {
        return print_schema(session, &examined, function);
    }
    if inspect.load.wat {
        return print_text(session, &examined);
    }
    if session.printer.json {
        return session.object(true, as_json(&examined));
    }
    for (label, lines) in rows(&examined) {
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            session.printer.line(&format!("{label:<11}{}", visible(line, false)))?;
        }
    }
    for warning in examined.manifest.iter().flat_map(|manifest| &manifest.warnings) {
        session.printer.warning(warning);
    }
    Ok(0)
}

/// The module as WebAssembly text. Names in it are the guest's, so they are made visible.
fn print_text(session: &Session, examined: &Examined) -> Result<u8, Error> {
    let text = wasmprinter::print_bytes(examined.artifact.bytes())
        .map_err(|error| Error::host(format!("cannot print the module: {error}")))?;
    session.printer.line(visible(text.trim_end(), true).as_ref())?;
    Ok(0)
}

/// The schema of one function, or of all where none is named.
fn print_schema(session: &Session, examined: &Examined, function: &str) -> Result<u8, Error> {
    if examined.signatures().is_empty() {
        return Err(Error::new(ErrorKind::InvalidSetting {
            name: "--schema".to_owned(),
            reason: "only a component says what its functions take and give".to_owned(),
        }));
    }
    let schema = match function {
        "" => {
            let functions = examined.functions().into_iter();
            let all = functions.map(|function| Ok((function.clone(), examined.schema(&function)?)));
            all.collect::<Result<serde_json::Map<_, _>, Error>>()?.into()
        }
        function => examined.schema(function)?,
    };
    if session.printer.json {
        return session.object(true, json!({ "json_schema": schema }));
    }
    let text = serde_json::to_string_pretty(&schema).map_err(|error| Error::host(error.to_string()))?;
    session.printer.line(visible(&text, true).as_ref())?;
    Ok(0)
}

/// The functions, of a component with their signatures.
fn functions(examined: &Examined) -> Vec<String> {
    let signatures = examined.signatures();
    match signatures.is_empty() {
        true => examined.functions(),
        false => {
            // A tool has a name that is none of its functions'.
            let own = examined.functions().into_iter();
            let named = own.filter(|name| !signatures.iter().any(|(function, _)| function == name));
            let signed = signatures.iter().map(|(name, signature)| format!("{name}: {signature}"));
            named.chain(signed).collect()
        }
    }
}

fn rows(examined: &Examined) -> Vec<(&'static str, Vec<String>)> {
    let manifest = examined.manifest.as_ref();
    let version = manifest.and_then(|manifest| manifest.version.as_deref()).unwrap_or_default();
    let shape = &examined.shape;
    let abi = match &examined.abi {
        Ok((abi, why)) => format!("{abi}: {why}"),
        Err(error) => format!("none: {error}"),
    };
    let instance = if examined.keeps_state() { "kept in a session" } else { "fresh for every call" };
    let names = |kinds: Vec<String>| if kinds.is_empty() { vec!["none".to_owned()] } else { kinds };
    let baseline = examined.baseline().iter().map(|kind| Capability::all_of(*kind).to_string()).collect();
    let requests = examined.requests.iter().map(|request| {
        let need = if request.required { "required" } else { "optional" };
        format!("{} ({need}): {}", request.capability, request.capability.sentence())
    });
    let imports =
        shape.imports.iter().map(|import| format!("{}.{}: {}", import.module, import.name, import.ty));
    let exports = shape.exports.iter().map(|export| format!("{}: {}", export.name, export.ty));
    let mut rows = vec![
        ("plugin", vec![format!("{} {version}", examined.name).trim_end().to_owned()]),
        ("about", manifest.and_then(|manifest| manifest.description.clone()).into_iter().collect()),
        ("details", manifest.map(details).unwrap_or_default()),
        ("digest", vec![format!("sha256:{}", examined.artifact.digest())]),
        (
            "size",
            vec![bytesize::ByteSize::b(examined.artifact.bytes().len() as u64).display().iec().to_string()],
        ),
        ("kind", vec![shape.kind().to_owned()]),
        ("abi", vec![abi]),
        ("instance", vec![instance.to_owned()]),
        (
            "memory",
            manifest
                .filter(|manifest| manifest.format == ManifestFormat::Cortex && asks_for_pages(manifest))
                .map(memory)
                .into_iter()
                .collect(),
        ),
        ("functions", names(functions(examined))),
        ("tools", tools(examined)),
        ("prx", manifest.and_then(|manifest| manifest.prx.as_ref()).map(prx).unwrap_or_default()),
        ("commands", manifest.map(usages).unwrap_or_default()),
        ("requests", names(requests.collect())),
        ("baseline", names(baseline)),
        ("imports", names(imports.collect())),
        ("exports", names(exports.collect())),
        ("limits", examined.limits.shown().map(|(name, value)| format!("{name} = {value}")).collect()),
    ];
    rows.retain(|(_, lines)| !lines.is_empty());
    rows
}

/// How the commands are typed that say what they take.
fn usages(manifest: &Manifest) -> Vec<String> {
    let specs = manifest.commands.iter().filter_map(|command| command.spec.clone());
    let usages = specs.map(|spec| CommandLine::new(spec).command().render_usage().to_string());
    let lines = |usage: String| -> Vec<String> {
        let lines = usage.lines().map(|line| line.trim_start_matches("Usage: ").trim().to_owned());
        lines.collect()
    };
    usages.flat_map(lines).collect()
}

/// The functions that are described, with what they take: `name(param: type, optional?: type)`. What a manifest
/// names and the plugin is not called by is none.
fn tools(examined: &Examined) -> Vec<String> {
    let functions = examined.functions();
    let is_called = |tool: &&ToolSpec| examined.abi.is_err() || functions.contains(&tool.name);
    let param = |param: &ToolParam| {
        let optional = if param.required { "" } else { "?" };
        format!("{}{optional}: {}", param.name, param.kind)
    };
    let line = |tool: &ToolSpec| {
        let params: Vec<String> = tool.params.iter().map(param).collect();
        let call = format!("{}({})", tool.name, params.join(", "));
        match &tool.description {
            Some(description) => format!("{call}: {description}"),
            None => call,
        }
    };
    let tools = examined.manifest.iter().flat_map(|manifest| &manifest.tools);
    tools.filter(is_called).map(line).collect()
}

/// What a plugin of PRX's does, and when.
fn prx(prx: &PrxManifest) -> Vec<String> {
    let line = |one: &PrxCapability| {
        let more = match (one.kind, &one.schedule) {
            (PrxKind::Middleware, _) => format!(", priority {}", one.priority),
            (PrxKind::Hook, _) if !one.events.is_empty() => format!(" of {}", one.events.join(", ")),
            (PrxKind::Cron, Some(schedule)) => format!(" at {schedule}"),
            _ => String::new(),
        };
        format!("{} `{}`{more}", one.kind, one.name)
    };
    prx.capabilities.iter().map(line).collect()
}

/// Who made the plugin, where it comes from and under what terms.
fn details(manifest: &Manifest) -> Vec<String> {
    manifest.details.iter().map(|(key, value)| format!("{key}: {value}")).collect()
}

fn asks_for_pages(manifest: &Manifest) -> bool {
    manifest.memory.initial_pages.is_some() || manifest.memory.maximum_pages.is_some()
}

/// What the manifest says about memory.
fn memory(manifest: &Manifest) -> String {
    let pages =
        |count: Option<u32>, none: &str| count.map_or_else(|| none.to_owned(), |count| count.to_string());
    let asked = manifest.memory;
    format!(
        "{} to {} pages",
        pages(asked.initial_pages, "as many as it has"),
        pages(asked.maximum_pages, "as many as limits allow")
    )
}

fn as_json(examined: &Examined) -> serde_json::Value {
    let (abi, why) = match &examined.abi {
        Ok((abi, why)) => (json!(abi), json!(why)),
        Err(error) => (json!(null), json!(error.to_string())),
    };
    let limits: serde_json::Map<String, serde_json::Value> = airlock_host::LIMITS
        .iter()
        .map(|row| (row.name.to_owned(), json!(examined.limits.get(row.kind))))
        .collect();
    let signatures: serde_json::Map<String, serde_json::Value> =
        examined.signatures().into_iter().map(|(name, signature)| (name, signature.into())).collect();
    json!({
        "name": examined.name,
        "digest": examined.artifact.digest(),
        "size": examined.artifact.bytes().len(),
        "kind": examined.shape.kind(),
        "abi": abi,
        "abi_reason": why,
        "keeps_state": examined.keeps_state(),
        "functions": examined.functions(),
        "signatures": signatures,
        "requests": examined.requests,
        "baseline": examined.baseline().iter().map(|kind| Capability::all_of(*kind).to_string()).collect::<Vec<_>>(),
        "imports": examined.shape.imports,
        "exports": examined.shape.exports,
        "limits": limits,
        "manifest": examined.manifest,
    })
}
