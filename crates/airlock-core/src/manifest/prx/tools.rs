//! Tools of plugins from before PRX's components, as their manifests list them and as they answer themselves.

use serde_json::{Map, Value as Json};

use super::super::{Manifest, ManifestFormat, ToolParam, ToolSpec, invalid};
use super::params;
use crate::{Result, visible};

/// Bytes of the longest name of a tool.
const MAX_NAME: usize = 256;

/// Whether a tool can be called by this name: what it shows is all there is of it.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && visible(name, false) == name
}

/// Reads a list of tools: `name`, `description` and `parameters` of each. What is none is a warning.
///
/// # Errors
/// [`ErrorKind::InvalidManifest`](crate::ErrorKind::InvalidManifest) where the list is too long.
pub(super) fn read(file: &str, listed: Json, warnings: &mut Vec<String>) -> Result<Vec<ToolSpec>> {
    let Json::Array(entries) = listed else {
        warnings.push("`tools` is no list: ignored".to_owned());
        return Ok(Vec::new());
    };
    if entries.len() > Manifest::MAX_ENTRIES {
        return Err(invalid(file, format!("it names more than {} tools", Manifest::MAX_ENTRIES)));
    }
    let mut tools: Vec<ToolSpec> = Vec::new();
    for entry in entries {
        match tool(entry) {
            Ok(tool) if tools.iter().any(|other| other.name == tool.name) => {
                warnings.push(format!("`tools` has `{}` twice: the first counts", tool.name));
            }
            Ok(tool) => tools.push(tool),
            Err(reason) => warnings.push(format!("`tools` has an entry {reason}: ignored")),
        }
    }
    Ok(tools)
}

/// One of the list, or what is wrong with it.
fn tool(entry: Json) -> std::result::Result<ToolSpec, String> {
    let Json::Object(mut entry) = entry else { return Err("that is no object".to_owned()) };
    let Some(name) = text(&mut entry, "name") else { return Err("without a name".to_owned()) };
    if !is_name(&name) {
        return Err(match name.len() > MAX_NAME {
            true => format!("whose name has {} bytes, and {MAX_NAME} are the most", name.len()),
            false => format!("with the name `{}`, which is none", visible(&name, false)),
        });
    }
    let description = text(&mut entry, "description").filter(|text| !text.is_empty());
    // A list is theirs; a schema is what came after them.
    let (params, schema) = match entry.remove("parameters") {
        Some(Json::Array(entries)) => (entries.into_iter().filter_map(param).collect(), None),
        Some(schema @ Json::Object(_)) => (params(&schema), Some(schema)),
        _ => (Vec::new(), None),
    };
    Ok(ToolSpec { name, description, params, schema })
}

fn param(entry: Json) -> Option<ToolParam> {
    let Json::Object(mut entry) = entry else { return None };
    let values = match entry.remove("enum") {
        Some(Json::Array(values)) => values,
        _ => Vec::new(),
    };
    Some(ToolParam {
        name: text(&mut entry, "name")?,
        kind: text(&mut entry, "type").unwrap_or_else(|| "any".to_owned()),
        description: text(&mut entry, "description"),
        required: entry.remove("required") == Some(Json::Bool(true)),
        values,
        default: entry.remove("default"),
    })
}

fn text(entry: &mut Map<String, Json>, key: &str) -> Option<String> {
    match entry.remove(key)? {
        Json::String(text) => Some(text),
        _ => None,
    }
}

/// What a module says that its tools are, beside the manifest it came with or one that only knows this name.
/// What it cannot be asked, or what it answers that is nothing, is a warning.
///
/// # Errors
/// [`ErrorKind::InvalidManifest`](crate::ErrorKind::InvalidManifest) where they are too many.
pub(in crate::manifest) fn with_tools(
    file: &str,
    said: Result<&[u8]>,
    manifest: Option<Manifest>,
    name: &str,
) -> Result<Manifest> {
    let mut manifest = manifest.unwrap_or_else(|| Manifest::nothing(ManifestFormat::Prx, name.to_owned()));
    let answer = match said {
        Ok(bytes) => serde_json::from_slice::<Json>(bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let listed = answer.and_then(|mut answer| match answer.get_mut("tools") {
        Some(listed) => Ok(listed.take()),
        None => Err("its answer has no `tools`".to_owned()),
    });
    match listed {
        Ok(listed) => manifest.tools = read(file, listed, &mut manifest.warnings)?,
        Err(reason) => {
            manifest.warnings.push(format!("the module does not say which tools it has: {reason}"));
        }
    }
    Ok(manifest)
}
