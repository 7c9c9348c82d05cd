//! What errors say: their messages and hints.

use std::fmt;
use std::time::Duration;

use super::{Error, ErrorKind, Location};
use crate::{AbiId, Capability, LimitKind, Manifest, visible};

/// What to do about an error of this kind, where that is always the same.
pub(super) fn hint(kind: &ErrorKind) -> Option<String> {
    let listed =
        |names: &[String]| (!names.is_empty()).then(|| format!("did you mean {}?", quoted_list(names, "or")));
    match kind {
        ErrorKind::UnknownName { nearest, .. } | ErrorKind::NotLoaded { nearest, .. } => listed(nearest),
        ErrorKind::NotInstalled { nearest, .. } => {
            listed(nearest).or_else(|| Some("`airlock list` shows what is installed".to_owned()))
        }
        ErrorKind::AlreadyInstalled(name) => {
            Some(format!("`airlock update {} SOURCE` replaces it", crate::shell_quoted(name)))
        }
        ErrorKind::CommandTaken { holder, .. } => {
            Some(format!("`airlock remove {}` makes room", crate::shell_quoted(holder)))
        }
        ErrorKind::StateUntrusted { path, .. } => {
            Some(format!("`chmod go-w {}` if it was not meant", crate::shell_quoted(&path.to_string_lossy())))
        }
        ErrorKind::UnknownFunction { nearest, .. } => {
            listed(nearest).or_else(|| Some("`airlock inspect` lists a plugin's functions".to_owned()))
        }
        ErrorKind::AmbiguousAbi(abis) => Some(
            abis.iter().map(|abi| format!("`--abi {abi}`")).collect::<Vec<_>>().join(" or ") + " decides",
        ),
        ErrorKind::WatNotAsked => {
            Some("`--wat` accepts WebAssembly text, as the ending `.wat` does".to_owned())
        }
        ErrorKind::Limit { limit, .. } => Some(format!("`--{} VALUE` changes it", limit.flag())),
        ErrorKind::Deadline { .. } => {
            Some(format!("`--{} VALUE` allows more time", LimitKind::Timeout.flag()))
        }
        ErrorKind::Denied(capability) => {
            Some(format!("`{}` grants it", crate::allow_arguments([capability])))
        }
        ErrorKind::NameTaken { .. } => {
            Some("another name, or `unload` or `replace` of the one that has it".to_owned())
        }
        ErrorKind::BlockingInRuntime => Some("await the call instead".to_owned()),
        ErrorKind::HashMismatch { .. } => Some(
            "whoever built it anew writes the new digest into the manifest; a file that changed on its way is not to \
             be trusted"
                .to_owned(),
        ),
        ErrorKind::ApiVersion { .. } => Some("build it again with an SDK of such a version".to_owned()),
        ErrorKind::WrongVerb { abi, .. } if abi.is_program() => {
            Some("`airlock run PLUGIN [ARGS]` runs a program".to_owned())
        }
        ErrorKind::WrongVerb { .. } => {
            Some("`airlock call PLUGIN FUNCTION [INPUT]` calls a function".to_owned())
        }
        ErrorKind::NoManifest(_) => {
            Some("name the `.wasm` file itself to run it without a manifest".to_owned())
        }
        _ => None,
    }
}

fn quoted_list(names: &[String], join: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", visible(name, false))).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {join} {last}", rest.join(", ")),
        None => String::new(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = |text: &str| visible(text, false).into_owned();
        match self.kind() {
            ErrorKind::PluginNotFound(path) => write!(f, "no plugin at `{}`", v(&path.to_string_lossy())),
            ErrorKind::Unreadable(path) => write!(f, "cannot read `{}`", v(&path.to_string_lossy())),
            ErrorKind::NoManifest(folder) => {
                let looked_for = Manifest::FILE_NAMES.map(|name| format!("`{name}`")).join(", ");
                write!(f, "no manifest in `{}` (looked for {looked_for})", v(&folder.to_string_lossy()))
            }
            ErrorKind::InvalidManifest { file, at, reason } => {
                write!(f, "manifest `{}` is not valid: {}{}", v(file), v(reason), At(*at))
            }
            ErrorKind::UnknownName { what, name, .. } => write!(f, "unknown {what} `{}`", v(name)),
            ErrorKind::InvalidSetting { name, reason } => write!(f, "`{}`: {}", v(name), v(reason)),
            ErrorKind::UnknownFunction { plugin, function, .. } => {
                write!(f, "`{}` has no function `{}`", v(plugin), v(function))
            }
            ErrorKind::UnsuitableExport { export, reason } => {
                write!(f, "export `{}` cannot be called: {}", v(export), v(reason))
            }
            ErrorKind::InvalidInput { at, reason } => {
                write!(f, "input is not valid JSON: {}{}", v(reason), At(*at))
            }
            ErrorKind::InvalidArgument { given, expected } => {
                write!(f, "`{}` is not an {expected}", v(given))
            }
            ErrorKind::InvalidValue { place, reason } => write!(f, "`{}`: {}", v(place), v(reason)),
            ErrorKind::WrongArgumentCount { function, signature, given } => {
                write!(
                    f,
                    "`{}` is {signature}, but {given} {} given",
                    v(function),
                    if *given == 1 { "argument was" } else { "arguments were" }
                )
            }
            ErrorKind::WrongVerb { abi, asked } => write!(f, "a plugin of the `{abi}` ABI cannot be {asked}"),
            ErrorKind::AmbiguousAbi(abis) => {
                let names: Vec<String> = abis.iter().map(AbiId::to_string).collect();
                write!(f, "several ABIs fit this module: {}", quoted_list(&names, "and"))
            }
            ErrorKind::AbiMismatch { abi, reason } => {
                write!(f, "the module does not fit the `{abi}` ABI: {}", v(reason))
            }
            ErrorKind::HashMismatch { expected, found } => {
                write!(
                    f,
                    "the wasm file has the digest {found}, and its manifest says `{}`",
                    visible(expected, false)
                )
            }
            ErrorKind::ApiVersion { abi, found, known } => {
                let known: Vec<String> = known.iter().map(u32::to_string).collect();
                let known = known.join(" and ");
                write!(f, "the plugin speaks version {found} of the `{abi}` ABI, and {known} are spoken here")
            }
            ErrorKind::NotWasm { found } => write!(f, "not WebAssembly: {}", v(found)),
            ErrorKind::WatNotAsked => write!(f, "this is WebAssembly text, which was not asked for"),
            ErrorKind::InvalidWat(reason) => write!(f, "WebAssembly text does not parse: {}", v(reason)),
            ErrorKind::InvalidWasm { offset, reason } => {
                write!(f, "not a valid module: {} (at byte {offset})", v(reason))
            }
            ErrorKind::InvalidWorld(reason) => {
                write!(f, "no component can be made of the module: {}", v(reason))
            }
            ErrorKind::ComponentUnsupported => {
                write!(f, "this is a component, and of a kind that this version of Airlock does not run")
            }
            ErrorKind::FeatureOff(feature) => write!(f, "the module uses `{}`, which is off", v(feature)),
            ErrorKind::UnknownImport { module, name, belongs_to } => {
                write!(f, "nobody provides the import `{}.{}`", v(module), v(name))?;
                belongs_to.as_ref().map_or(Ok(()), |owner| write!(f, ": it belongs to {owner}"))
            }
            ErrorKind::IncompatibleImport { module, name, reason } => {
                write!(
                    f,
                    "import `{}.{}` has another type than the host's: {}",
                    v(module),
                    v(name),
                    v(reason)
                )
            }
            ErrorKind::Limit { limit, maximum, asked, phase } => {
                let row = limit.row();
                write!(f, "limit `{}` of {} hit {phase}", row.name, row.unit.show(*maximum))?;
                asked.map_or(Ok(()), |asked| write!(f, ": {} asked for", row.unit.show(asked)))
            }
            ErrorKind::Deadline { timeout, phase } => {
                write!(f, "stopped {phase}: the deadline of {} passed", humantime::format_duration(*timeout))
            }
            ErrorKind::Cancelled { phase } => write!(f, "cancelled {phase}"),
            ErrorKind::Trap { reason, phase, .. } => write!(f, "the plugin trapped {phase}: {}", v(reason)),
            ErrorKind::Failed(message) => write!(f, "the plugin failed: {}", v(message)),
            ErrorKind::BadGuest { function, reason } => {
                write!(f, "`{}` broke its ABI's rules: {}", v(function), v(reason))
            }
            ErrorKind::HostFunction { function, reason } => {
                write!(f, "the application's function `{}` failed: {}", v(function), v(reason))
            }
            ErrorKind::Denied(capability) => write!(f, "`{capability}` is needed and not granted"),
            ErrorKind::Unusable { capability, reason } => {
                write!(f, "`{capability}` is granted and cannot be used: {}", v(reason))
            }
            ErrorKind::ShuttingDown => write!(f, "the host is shutting down"),
            ErrorKind::BlockingInRuntime => {
                write!(f, "a blocking call of a plugin whose imports wait, inside a tokio runtime")
            }
            ErrorKind::SessionEnded(reason) => write!(f, "the session has ended: {}", v(reason)),
            ErrorKind::Crashed { plugin, reason, rest } => {
                write!(f, "`{}` has crashed and is not called ", v(plugin))?;
                match rest {
                    // Whoever reads this needs no more than milliseconds.
                    Some(rest) => {
                        let rest =
                            Duration::from_millis(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX) + 1);
                        write!(f, "for another {}", humantime::format_duration(rest))?;
                    }
                    None => f.write_str("until it is restarted")?,
                }
                write!(f, ": {}", v(reason))
            }
            ErrorKind::Escalation { plugin, more } => {
                let more: Vec<String> = more.iter().map(Capability::to_string).collect();
                write!(f, "`{}` asks for more than before: {}", v(plugin), quoted_list(&more, "and"))
            }
            ErrorKind::CacheUnusable { path, reason } => {
                write!(f, "the compile cache cannot use `{}`: {}", v(&path.to_string_lossy()), v(reason))
            }
            ErrorKind::StateUntrusted { path, reason } => {
                write!(f, "`{}` cannot be trusted: {}", v(&path.to_string_lossy()), v(reason))
            }
            ErrorKind::StateUnusable { path, reason } => {
                write!(f, "`{}` cannot be used: {}", v(&path.to_string_lossy()), v(reason))
            }
            ErrorKind::NotInstallable { source, reason } => {
                write!(f, "`{}` cannot be installed: {}", v(source), v(reason))
            }
            ErrorKind::NotInstalled { name, .. } => write!(f, "no plugin `{}` is installed", v(name)),
            ErrorKind::AlreadyInstalled(name) => write!(f, "a plugin `{}` is installed already", v(name)),
            ErrorKind::CommandTaken { command, holder, plugin } => {
                write!(f, "`{}` and `{}` both want the command `{}`", v(holder), v(plugin), v(command))
            }
            ErrorKind::NameTaken { name, holder: Some(holder), plugin } => {
                write!(f, "{} and {} both want the name `{}`", v(holder), v(plugin), v(name))
            }
            ErrorKind::NameTaken { name, holder: None, plugin } => {
                write!(f, "{} wants the name `{}`, as which another is being loaded", v(plugin), v(name))
            }
            ErrorKind::Reentered(name) => {
                write!(f, "`{}` keeps state and is called from inside of a call of it", v(name))
            }
            ErrorKind::NotLoaded { name, .. } => write!(f, "no plugin is loaded as `{}`", v(name)),
            ErrorKind::AuditBroken { seq, reason } => {
                write!(f, "the audit log is broken at record {seq}: {}", v(reason))
            }
            ErrorKind::InvalidCases { file, at, reason } => {
                write!(f, "cases `{}` are not valid: {}{}", v(&file.to_string_lossy()), v(reason), At(*at))
            }
            ErrorKind::NoCases(reason) => write!(f, "no case to run: {}", v(reason)),
            ErrorKind::ToolMissing { tool, reason: None } => {
                write!(f, "`{}` is needed and not here", v(tool))
            }
            ErrorKind::ToolMissing { tool, reason: Some(reason) } => {
                write!(f, "`{}` cannot be used: {}", v(tool), v(reason))
            }
            ErrorKind::NotBuilt(reason) => write!(f, "it is not built: {}", v(reason)),
            // Made visible when it was made.
            ErrorKind::Mail(error) => write!(f, "{error}"),
            ErrorKind::Declined(what) => write!(f, "{} was not agreed to", v(what)),
            ErrorKind::Host(what) => f.write_str(what),
        }
    }
}

struct At(Option<Location>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |at| write!(f, " (line {}, column {})", at.line, at.column))
    }
}
