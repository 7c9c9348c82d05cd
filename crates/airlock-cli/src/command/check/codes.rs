//! All that can be found besides what has an error's own code. `docs/check.md` has the same table.

use crate::printer::Matters;

/// A kind of finding.
#[derive(Debug)]
pub(super) struct Code {
    /// Its stable name, kebab-case.
    pub(super) name: &'static str,
    pub(super) severity: Matters,
    /// What was found then.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is for the page, which a test holds against it"))]
    pub(super) about: &'static str,
}

macro_rules! codes {
    ($($constant:ident = $severity:ident $name:literal: $about:literal;)+) => {
        $(pub(super) static $constant: Code =
            Code { name: $name, severity: Matters::$severity, about: $about };)+

        /// Every code, in the order of the page.
        #[cfg(test)]
        static CODES: &[&Code] = &[$(&$constant),+];
    };
}

codes! {
    MISSING_BINARY = Error "missing-binary": "a file that the manifest names is not there";
    OUTSIDE_FOLDER = Error "outside-folder": "a link leads a file that the manifest names out of the folder";

    MANIFEST = Warning "manifest": "reading the manifest came upon something, such as an unknown key";
    OWN_COMMAND = Warning "own-command": "a command has the name of one of Airlock's";
    VERSION = Warning "version": "the version is no semantic version";
    PROTOCOL_MISSING = Warning "protocol-missing": "fledge's manifest has no `plugin.protocol`";
    DESCRIPTION_MISSING = Warning "description-missing": "fledge's manifest has no `plugin.description`";
    AUTHOR_MISSING = Warning "author-missing": "fledge's manifest has no `plugin.author`";
    BUILD_EMPTY = Warning "build-empty": "`hooks.build` is there and empty";
    BINARY_NAME = Warning "binary-name": "a file of fledge's does not end in `.wasm`";
    NO_PROTOCOL = Warning "no-protocol": "nothing is imported from `fledge`, and `stdout-protocol` is not said";
    ASKS_TOO_LITTLE = Warning "asks-too-little": "an import is there to use what the manifest does not ask for, and is refused";
    ASKS_UNUSED = Warning "asks-unused": "the manifest asks for what no import can use";
    NEAR_EXPORT = Warning "near-export": "an export has nearly the name of one that an ABI looks for";
    EXPORT_TYPE = Warning "export-type": "an export has the name of one that an ABI looks for, and another type";
    NO_MEMORY_EXPORT = Warning "no-memory-export": "functions take pointers, and `memory` is not exported";
    UNNAMED_FUNCTION = Warning "unnamed-function": "a function could be called, and the manifest does not name it";
    MEMORY_PAGES = Warning "memory-pages": "the manifest wants more memory pages than the module can have";
    MEMORY_OVER_LIMIT = Warning "memory-over-limit": "its memory starts larger than the limit `memory`";
    STACK_ABOVE_DATA = Warning "stack-above-data": "the stack is above the data, and running out of it writes over that";
    STACK_SMALL = Warning "stack-small": "the stack has less than 4 KiB";
    ODD_NAME = Warning "odd-name": "a name has characters that a terminal would act on";
    LOOKALIKE_NAME = Warning "lookalike-name": "the plugin's name looks like another one";
    LARGE = Warning "large": "a module has more than 5 MB";

    OTHER_ABI = Note "other-abi": "its bytes fit another ABI too";
    UNCALLABLE = Note "uncallable": "an exported function is of a type that cannot be called";
    NO_ALLOCATOR = Note "no-allocator": "a `json` plugin exports no allocator";
    NO_LENGTH = Note "no-length": "nothing tells how long a result of a `json` plugin is";
    COULD_USE = Note "could-use": "an import is there to use what the manifest does not ask for, as a libc's often is";
    VIRTUAL_CLOCK = Note "virtual-clock": "it does not ask for the clock, and has a virtual one";
    VIRTUAL_RANDOM = Note "virtual-random": "it does not ask for random numbers, and has the same ones in every run";
    REAL_CLOCK = Note "real-clock": "its ABI gives it the clock without asking, so answers can differ";
    REAL_RANDOM = Note "real-random": "its ABI gives it random numbers without asking, so answers can differ";
    NAN_BITS = Note "nan-bits": "it computes with floats, and the bits of what is not a number can differ";
    RELAXED_SIMD = Note "relaxed-simd": "it has instructions that other hosts may run otherwise";
    SEND_RESULT = Note "send-result": "`send` has the type of fledge's document, which its host refuses";
    INITIALISES = Note "initialises": "something runs before every call on a fresh instance";
    ON_DEMAND = Note "on-demand": "instances do not fit the pool";
    START_MEMORY = Note "start-memory": "a fresh instance has more data than is cleared in place";
    STACK_LARGE = Note "stack-large": "the stack has 1 MiB or more, and the plugin a fresh instance for every call";
    FEWER_PAGES = Note "fewer-pages": "the manifest names fewer memory pages than the module starts with";
    MEMORY_UNBOUNDED = Note "memory-unbounded": "its memory grows and has no maximum of its own";
    MEMORY_MAXIMUM = Note "memory-maximum": "its memory's maximum is above the limit `memory`";
    TABLE_EXPORTED = Note "table-exported": "it exports the table of its indirect calls";
    STRIPPABLE = Note "strippable": "a quarter of the file or more is custom sections";
    LARGEST_FUNCTIONS = Note "largest-functions": "where most of a module's code is";
    NO_NAMES = Note "no-names": "traps say numbers of functions, since there is no name section";
    NO_LINES = Note "no-lines": "traps say no file and line, since there is no DWARF";
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{CODES, Matters};

    #[test]
    fn the_page_has_every_code() {
        let page = include_str!("../../../../../docs/check.md");
        let mut table = String::new();
        for code in CODES {
            let severity = match code.severity {
                Matters::Error => "error",
                Matters::Warning => "warning",
                Matters::Note => "note",
            };
            let _ = writeln!(table, "| `{}` | {severity} | {} |", code.name, code.about);
        }
        assert!(page.contains(&table), "docs/check.md should have\n{table}");
    }
}
