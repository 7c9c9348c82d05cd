//! `airlock call`: one function, one answer.

use std::io::Read;

use airlock_host::{AbiId, Answer, Error, ErrorKind, Input, LimitKind, Phase, Plugin, escape_json, visible};

use super::Session;
use super::core_dump::DumpFile;
use crate::flags::Call;

pub(super) fn run(session: &Session, call: &Call) -> Result<u8, Error> {
    let dump = call.coredump.as_deref().map(DumpFile::new).transpose()?;
    let plugin = session.load(&call.plugin, &call.load, dump.as_ref().map(DumpFile::place))?;
    let (function, input) = match wave(&plugin, &call.function, &call.input)? {
        Some((function, wave)) => (function, Input::Wave(wave.to_owned())),
        None => (call.function.as_str(), read_input(&plugin, &call.input)?),
    };
    let printer = session.printer;
    let outcome = plugin.invoke_blocking(function, input).inspect_err(|error| {
        if let (Some(printed), false) = (error.printed(), printer.json) {
            printer.log(plugin.name(), &printed.stderr);
        }
    });
    if let Some(dump) = dump {
        dump.finish(printer);
    }
    if let (Some(output), false) = (outcome.as_ref().err().and_then(Error::output), printer.json) {
        printer.line(&visible(output, true))?;
    }
    let outcome = outcome?;
    if printer.json {
        printer.answer_object(&outcome.value.to_json_text(), &outcome.log, &outcome.usage)?;
        return Ok(0);
    }
    printer.log(plugin.name(), &outcome.log);
    match &outcome.value {
        Answer::Values(values) => values.iter().try_for_each(|value| printer.line(&value.to_string()))?,
        other => printer.line(&escape_json(&other.to_json_text()))?,
    }
    printer.usage(&outcome.usage);
    Ok(0)
}

/// A component's function and its arguments in WAVE, where those stand behind its name: `add(1, 2)`.
pub(super) fn wave<'a>(
    plugin: &Plugin,
    function: &'a str,
    input: &[String],
) -> Result<Option<(&'a str, &'a str)>, Error> {
    let is_wave = !plugin.shape().wit.functions.is_empty() && function.ends_with(')');
    let Some((at, _)) = function.char_indices().find(|(_, character)| is_wave && *character == '(') else {
        return Ok(None);
    };
    if !input.is_empty() {
        return Err(Error::new(ErrorKind::InvalidSetting {
            name: "INPUT".to_owned(),
            reason: "the arguments stand behind the function's name already".to_owned(),
        }));
    }
    Ok(Some(function.split_at(at)))
}

/// The words as typed, with a single `@FILE` or `-` read from there.
pub(super) fn read_input(plugin: &Plugin, words: &[String]) -> Result<Input, Error> {
    let maximum = plugin.limits().value(LimitKind::Input);
    let text = match words {
        [word] if word == "-" => read_all(std::io::stdin().lock(), "standard input", maximum)?,
        [word] => match word.strip_prefix('@') {
            Some(path) => {
                let file = std::fs::File::open(path).map_err(|error| unreadable(path, error))?;
                read_all(file, path, maximum)?
            }
            None if plugin.abi() == AbiId::Sen && word.starts_with(['[', '"']) => word.clone(),
            None => return Ok(Input::Words(words.to_vec())),
        },
        _ => return Ok(Input::Words(words.to_vec())),
    };
    Ok(Input::Json(text))
}

fn read_all(reader: impl Read, name: &str, maximum: u64) -> Result<String, Error> {
    let mut bytes = Vec::new();
    reader
        .take(maximum.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(name, error))?;
    if bytes.len() as u64 > maximum {
        let (limit, phase) = (LimitKind::Input, Phase::Call);
        return Err(Error::new(ErrorKind::Limit { limit, maximum, asked: None, phase }));
    }
    String::from_utf8(bytes).map_err(|error| {
        let reason = format!("{name} is not UTF-8");
        Error::new(ErrorKind::InvalidInput { at: None, reason }).with_source(error)
    })
}

fn unreadable(path: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unreadable(path.into())).with_source(error)
}
