//! Functions and places of a guest, as a person reads them.
//!
//! Names come from the guest: they are demangled and kept within bounds here, and whoever shows
//! one makes it visible first.

use std::fmt::{self, Write};

use airlock_core::TrapFrame;
use airlock_engine::{Lines, SourceLine};
use wasmtime::{FrameInfo, WasmBacktrace};

/// Bytes of a name that is shown.
const MAX_NAME: usize = 256;

/// Bytes of a mangled name that is demangled. C++ has short forms for what was said before, so that
/// little of it can stand for much.
const MAX_MANGLED: usize = 512;

/// The frames of a trap, innermost first.
pub(crate) fn of_trap(error: &wasmtime::Error, lines: &Lines) -> Vec<TrapFrame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frame = |frame: &FrameInfo| {
        let place = frame.module_offset().and_then(|offset| lines.find(offset));
        TrapFrame {
            function: function(frame),
            source: place.map(|SourceLine { file, line, column, .. }| {
                format!("{file}:{line}:{}", column.unwrap_or(0))
            }),
            file: place.map(|place| place.file.to_owned()),
            line: place.map(|place| place.line),
            column: place.and_then(|place| place.column),
        }
    };
    backtrace.frames().iter().map(frame).collect()
}

/// A function's demangled name, or its index when it has none.
pub(crate) fn function(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => demangled(name),
        None => format!("function {}", frame.func_index()),
    }
}

fn demangled(name: &str) -> String {
    let mut shown = Bounded(String::new());
    let done = match name.len() <= MAX_MANGLED {
        true => demangle(name, &mut shown),
        false => None,
    };
    match done {
        // What was cut off is shown as far as it goes.
        Some(Ok(()) | Err(fmt::Error)) if !shown.0.is_empty() => shown.0,
        _ => {
            shown.0.clear();
            let _ = shown.write_str(name);
            shown.0
        }
    }
}

/// `None` where the name is none of a language that mangles them.
fn demangle(name: &str, to: &mut Bounded) -> Option<fmt::Result> {
    if let Ok(symbol) = rustc_demangle::try_demangle(name) {
        return Some(write!(to, "{symbol:#}"));
    }
    let symbol = name.starts_with("_Z").then(|| cpp_demangle::Symbol::new(name).ok())??;
    Some(symbol.structured_demangle(to, &cpp_demangle::DemangleOptions::new()))
}

/// Takes text until it is full.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Room for the mark that something is missing is kept.
        let room = MAX_NAME - '…'.len_utf8();
        let room = room.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        if !self.0.ends_with('…') {
            self.0.push_str(&text[..text.floor_char_boundary(room)]);
            self.0.push('…');
        }
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME, demangled};

    #[test]
    fn names_are_as_their_languages_have_them() {
        for (name, shown) in [
            ("main", "main"),
            ("_ZN4core9panicking5panic17h0123456789abcdefE", "core::panicking::panic"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_ZN5words5countERKNSt3__16vectorIiEE", "words::count(std::__1::vector<int> const&)"),
            ("_Z", "_Z"),
            ("", ""),
        ] {
            assert_eq!(demangled(name), shown);
        }
    }

    #[test]
    fn a_name_is_no_longer_than_can_be_read() {
        let long = "ä".repeat(10_000);
        let shown = demangled(&long);
        assert!(shown.len() <= MAX_NAME && shown.ends_with("ä…"), "{shown}");
        // Each type is a pair of the one before.
        let mut doubling = "_Z1fI1aE".to_owned();
        doubling.push_str(&(0..60).map(|_| "St4pairIS_S_E").collect::<String>());
        assert!(demangled(&doubling).len() <= MAX_NAME);
        let twice = (0..20).fold("1a".to_owned(), |inner, _| format!("1pI{inner}S_E"));
        assert!(demangled(&format!("_Z1f{twice}")).len() <= MAX_NAME);
    }
}
