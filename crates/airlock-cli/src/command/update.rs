//! `airlock update`: shows what would change, and changes it once that is agreed to.

use airlock_host::{Capability, Error, ErrorKind, GrantStore as _, visible};
use airlock_store::{Change, Difference, Installed, NewVersion};
use serde_json::json;

use super::Session;
use super::candidate::Candidate;
use super::install::tell;
use crate::flags::{Decide, Update};
use crate::prompt;

pub(super) fn run(session: &Session, update: &Update) -> Result<u8, Error> {
    let installed = session.store()?.plugin(&update.name)?;
    let candidate = Candidate::read(session, &update.source, installed.link.is_some())?;
    match replace(session, &installed, &candidate, update.yes, &update.decide)? {
        Some(updated) => tell(session, "updated", &updated),
        None if session.printer.json => session.object(true, json!({ "plugin": installed })),
        None => {
            session.printer.note("nothing changes");
            Ok(0)
        }
    }
}

/// Puts a candidate in the place of the installed plugin, once the difference is agreed to and it
/// was decided over what it asks for; `None` where nothing changes.
pub(super) fn replace(
    session: &Session,
    installed: &Installed,
    candidate: &Candidate,
    yes: bool,
    decide: &Decide,
) -> Result<Option<Installed>, Error> {
    let store = session.store()?;
    if candidate.package.name() != installed.name {
        let reason = format!("it is a plugin `{}` and no `{}`", candidate.package.name(), installed.name);
        let source = candidate.package.source().to_owned();
        return Err(Error::new(ErrorKind::NotInstallable { source, reason }));
    }
    let difference = Difference::between(installed, &candidate.package, &candidate.facts)?;
    if difference.is_empty() {
        return Ok(None);
    }
    let shown = lines(&difference).join("\n");
    session.printer.note(&format!("`{}` would change:\n{shown}", visible(&installed.name, false)));
    let agreed = yes || (prompt::is_interactive() && prompt::agrees("Update?")?);
    if !agreed {
        let error = Error::new(ErrorKind::Declined(format!("updating `{}`", installed.name)));
        return Err(match prompt::is_interactive() {
            true => error,
            false => error.with_hint("nobody can be asked here; `--yes` agrees to the difference"),
        });
    }

    // Other bytes inherit nothing, unless the operator chose so.
    let decided = store.decided(&installed.identity()?)?.unwrap_or_default();
    let before: Vec<Capability> =
        decided.iter().filter(|grant| grant.allowed).map(|grant| grant.capability.clone()).collect();
    let keeps = session.config.grants.keep_on_update && candidate.asks_for_no_more(&before);
    let decided = match keeps {
        true => Some((candidate.all_allowed(), "earlier version")),
        false => candidate.decide(decide, Some(&before))?,
    };
    let Some((decisions, by)) = decided else {
        return Err(Error::new(ErrorKind::Declined(format!("updating `{}`", installed.name))));
    };
    let new = NewVersion { package: &candidate.package, facts: &candidate.facts, decisions: &decisions, by };
    store.update(new, installed).map(Some)
}

/// The difference, a line for each thing that changes; what asks for more is marked `+`.
fn lines(difference: &Difference) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |mark: char, label: &str, text: String| {
        lines.push(format!("{mark} {label:<11}{}", visible(&text, false)));
    };
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    if let Some(Change { from, to }) = &difference.version {
        line(' ', "version", format!("{} -> {}", or_none(from), or_none(to)));
    }
    if let Some(Change { from, to }) = &difference.digest {
        line(' ', "digest", format!("{} -> {}", from.short(), to.short()));
    }
    if let Some(Change { from, to }) = &difference.size {
        let size = |bytes: &u64| bytesize::ByteSize::b(*bytes).display().iec().to_string();
        line(' ', "size", format!("{} -> {}", size(from), size(to)));
    }
    if let Some(Change { from, to }) = &difference.abi {
        line(' ', "abi", format!("{from} -> {to}"));
    }
    for added in &difference.added {
        line('+', "asks for", format!("{added}: {}", added.sentence()));
    }
    for Change { from, to } in &difference.widened {
        line('+', "asks for", format!("{from} -> {to}: {}", to.sentence()));
    }
    for removed in &difference.removed {
        line('-', "asks for", removed.to_string());
    }
    for import in &difference.imports_added {
        line(' ', "import", format!("none -> {import}"));
    }
    for import in &difference.imports_removed {
        line(' ', "import", format!("{import} -> none"));
    }
    for (name, Change { from, to }) in &difference.limits {
        line(' ', "limit", format!("{name}: {} -> {}", or_none(from), or_none(to)));
    }
    for (name, Change { from, to }) in &difference.commands {
        line(' ', "command", format!("{name}: {} -> {}", or_none(from), or_none(to)));
    }
    for (name, Change { from, to }) in &difference.hooks {
        let mark = if to.is_some() { '+' } else { '-' };
        line(mark, "hook", format!("{name}: {} -> {} (not run)", or_none(from), or_none(to)));
    }
    lines
}
