//! Where a module's code comes from: files and lines, from the line tables in its DWARF.
//!
//! DWARF is the guest's, and most of it can be made so that reading it has no end: entries nested
//! without bound, ranges that stand for one another, paths that are repeated. Line tables cannot.
//! They are programs without jumps, each byte of which makes one row at most. So those are all
//! that is read here, with gimli; wasmtime's own look-up, which reads the rest too, is left out of
//! the build. What is lost are the names of functions that were inlined into others.

use std::collections::HashMap;
use std::ops::Range;

use gimli::{
    AttributeValue, ColumnType, DebugLine, DebugLineOffset, EndianSlice, LineProgramHeader, LittleEndian,
};
use wasmparser::{Parser, Payload};

/// Bytes of line tables that are read, of all modules of an artifact together.
const MAX_BYTES: usize = 8 << 20;

/// Rows that are kept of them.
const MAX_ROWS: usize = 2 << 20;

/// Bytes of the head of one table, which lists its folders and files.
const MAX_HEAD: u64 = 256 << 10;

/// Files that rows can be of.
const MAX_FILES: usize = 1 << 16;

/// Bytes of a path, and of each part that it is put together from.
const MAX_PATH: usize = 512;

/// A place in a guest's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLine<'a> {
    /// The file, as whoever compiled it named it; at most 1 KiB of any text.
    pub file: &'a str,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1, where it is known.
    pub column: Option<u32>,
}

/// The line tables of an artifact.
#[derive(Debug, Default)]
pub struct Lines {
    modules: Vec<ModuleLines>,
    files: Vec<Box<str>>,
}

/// Those of one module.
#[derive(Debug)]
struct ModuleLines {
    /// Where its code section is in the artifact.
    code: Range<usize>,
    /// By where they begin.
    sequences: Vec<Sequence>,
}

/// Rows of code without a gap, by their addresses, which count from the code section's beginning.
#[derive(Debug)]
struct Sequence {
    addresses: Range<u32>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    address: u32,
    file: u32,
    line: u32,
    column: u32,
}

/// What a module's line tables are made of.
#[derive(Default)]
struct Sections<'a> {
    code: Range<usize>,
    line: &'a [u8],
    line_str: &'a [u8],
    str: &'a [u8],
}

impl Lines {
    /// Reads the line tables of a module or component. What is damaged, or more than is read, is left
    /// out: a place that is not known is no error.
    pub fn of(wasm: &[u8]) -> Self {
        let mut reader = Reader::default();
        // Modules in a component come within it, one after the other.
        let mut open: Vec<Option<Sections<'_>>> = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            let Ok(payload) = payload else { break };
            match payload {
                Payload::Version { encoding, .. } => {
                    open.push((encoding == wasmparser::Encoding::Module).then(Sections::default));
                }
                Payload::CodeSectionStart { range, .. } => {
                    if let Some(Some(sections)) = open.last_mut() {
                        sections.code = range;
                    }
                }
                Payload::CustomSection(section) => {
                    let Some(Some(sections)) = open.last_mut() else { continue };
                    match section.name() {
                        ".debug_line" => sections.line = section.data(),
                        ".debug_line_str" => sections.line_str = section.data(),
                        ".debug_str" => sections.str = section.data(),
                        _ => {}
                    }
                }
                Payload::End(_) => {
                    if let Some(Some(sections)) = open.pop() {
                        reader.read(&sections);
                    }
                }
                _ => {}
            }
        }
        Lines { modules: reader.modules, files: reader.files }
    }

    /// Where the instruction at this offset of the artifact comes from.
    pub fn find(&self, offset: usize) -> Option<SourceLine<'_>> {
        let module = self.modules.iter().find(|module| module.code.contains(&offset))?;
        let address = u32::try_from(offset - module.code.start).ok()?;
        let after = module.sequences.partition_point(|sequence| sequence.addresses.start <= address);
        let sequence = module.sequences.get(after.checked_sub(1)?)?;
        if !sequence.addresses.contains(&address) {
            return None;
        }
        let after = sequence.rows.partition_point(|row| row.address <= address);
        let row = sequence.rows.get(after.checked_sub(1)?).filter(|row| row.line > 0)?;
        let file = self.files.get(usize::try_from(row.file).ok()?)?;
        Some(SourceLine { file, line: row.line, column: (row.column > 0).then_some(row.column) })
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn bytes(&self) -> u64 {
        let sequences = self.modules.iter().flat_map(|module| &module.sequences);
        let rows: usize = sequences
            .map(|sequence| size_of::<Sequence>() + sequence.rows.capacity() * size_of::<Row>())
            .sum();
        (rows + self.files.iter().map(|file| size_of::<Box<str>>() + file.len()).sum::<usize>()) as u64
    }
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Reads modules, as long as there is room for their rows.
#[derive(Default)]
struct Reader {
    modules: Vec<ModuleLines>,
    files: Vec<Box<str>>,
    bytes: usize,
    rows: usize,
}

impl Reader {
    fn read(&mut self, sections: &Sections<'_>) {
        self.bytes += sections.line.len();
        if sections.line.is_empty() || self.bytes > MAX_BYTES {
            return;
        }
        let mut sequences = Vec::new();
        let mut rest = sections.line;
        // What comes after a table that is damaged can be read all the same.
        while let Some((table, after)) = next_table(rest) {
            if let Some(table) = table {
                // Its error says where a row is damaged; those before it are good.
                let _ = self.table(table, sections, &mut sequences);
            }
            rest = after;
        }
        sequences.sort_by_key(|sequence: &Sequence| sequence.addresses.start);
        self.modules.push(ModuleLines { code: sections.code.clone(), sequences });
    }

    fn table(
        &mut self,
        table: &[u8],
        sections: &Sections<'_>,
        sequences: &mut Vec<Sequence>,
    ) -> gimli::Result<()> {
        let mut rows = DebugLine::new(table, LittleEndian).program(DebugLineOffset(0), 4, None, None)?.rows();
        let mut known = HashMap::new();
        let mut sequence: Vec<Row> = Vec::new();
        while let Some((header, row)) = rows.next_row()? {
            let Ok(address) = u32::try_from(row.address()) else {
                sequence.clear();
                continue;
            };
            if row.end_sequence() {
                let mut rows = std::mem::take(&mut sequence);
                // No function is where the section has their number: code that the linker has left
                // out begins there.
                if let Some(start) = rows.first().map(|row| row.address).filter(|start| *start > 0) {
                    rows.shrink_to_fit();
                    sequences.push(Sequence { addresses: start..address, rows });
                }
                continue;
            }
            self.rows += 1;
            if self.rows > MAX_ROWS {
                return Ok(());
            }
            let index = row.file_index();
            let file = *known.entry(index).or_insert_with(|| self.file(header, index, sections));
            let small = |value: u64| u32::try_from(value).unwrap_or(0);
            sequence.push(Row {
                address,
                file,
                line: row.line().map_or(0, |line| small(line.get())),
                column: match row.column() {
                    ColumnType::LeftEdge => 0,
                    ColumnType::Column(column) => small(column.get()),
                },
            });
        }
        Ok(())
    }

    /// The number of a file; one that is none where it has no name that could be shown.
    fn file(&mut self, header: &LineProgramHeader<Slice<'_>>, index: u64, sections: &Sections<'_>) -> u32 {
        let path = path(header, index, sections).filter(|_| self.files.len() < MAX_FILES);
        let Some(path) = path else { return u32::MAX };
        self.files.push(path.into());
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }
}

/// The next table, where it is of a kind that is read, and what comes after it.
fn next_table(rest: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = rest.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    // Lengths from here up say that others are of 64 bits, which nobody writes for WebAssembly.
    let length = number(0, 4).filter(|length| *length < 0xffff_fff0)?;
    let end = 4 + usize::try_from(length).ok()?;
    let (table, after) = (rest.get(..end)?, rest.get(end..)?);
    // Since version 5 there are two bytes about addresses before the length of the head.
    let head = match number(4, 2)? {
        2..=4 => number(6, 4),
        5 => number(8, 4),
        _ => None,
    };
    Some((head.filter(|head| *head <= MAX_HEAD).map(|_| table), after))
}

/// A file's path with its folder, as far as the table has that.
fn path(header: &LineProgramHeader<Slice<'_>>, index: u64, sections: &Sections<'_>) -> Option<String> {
    let file = header.file(index)?;
    let name = text(file.path_name(), sections)?;
    let folder = match file.directory_index() {
        // Up to version 4 that is the folder of compiling, which stands elsewhere.
        0 if header.version() < 5 => None,
        _ => file.directory(header).and_then(|folder| text(folder, sections)),
    };
    Some(match folder {
        Some(folder) if !folder.is_empty() && !name.starts_with('/') => {
            format!("{}/{name}", folder.trim_end_matches('/'))
        }
        _ => name,
    })
}

fn text(value: AttributeValue<Slice<'_>>, sections: &Sections<'_>) -> Option<String> {
    let bytes = match value {
        AttributeValue::String(text) => text.slice(),
        AttributeValue::DebugLineStrRef(offset) => sections.line_str.get(offset.0..)?,
        AttributeValue::DebugStrRef(offset) => sections.str.get(offset.0..)?,
        _ => return None,
    };
    // Looked through no further, since any number of files can name one long text.
    let bytes = &bytes[..bytes.len().min(MAX_PATH)];
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails to get what it needs has failed")]
mod tests {
    use super::{Lines, MAX_BYTES, MAX_PATH};

    const PRIMES: &[u8] = include_bytes!("../../../plugins/primes/primes.wasm");

    /// Every place that some byte of the file comes from.
    fn places(wasm: &[u8]) -> Vec<(String, u32)> {
        let lines = Lines::of(wasm);
        let mut places: Vec<_> = (0..wasm.len())
            .filter_map(|offset| lines.find(offset))
            .map(|place| (place.file.to_owned(), place.line))
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    #[test]
    fn code_comes_from_the_lines_that_it_was_compiled_from() {
        let source = include_str!("../../../plugins/primes/primes.c");
        let places = places(PRIMES);
        assert!(places.iter().all(|(file, _)| file == "./primes.c"), "{places:?}");
        let line_of = |text: &str| source.lines().position(|line| line.contains(text)).unwrap() + 1;
        for text in ["n % divisor == 0", "__builtin_trap()", "divisors(n) == 0", "turns += "] {
            let line = u32::try_from(line_of(text)).unwrap();
            assert!(places.contains(&("./primes.c".to_owned(), line)), "{text}: {line} of {places:?}");
        }
        let comments = source.lines().zip(1..).filter(|(text, _)| text.starts_with("//"));
        for (text, line) in comments {
            assert!(!places.contains(&("./primes.c".to_owned(), line)), "{text}");
        }
    }

    #[test]
    fn what_is_cut_short_or_changed_is_left_out() {
        for end in 0..PRIMES.len() {
            places_are_few(&PRIMES[..end]);
        }
        let mut changed = PRIMES.to_vec();
        for at in 8..PRIMES.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                changed[at] = value;
                let _ = Lines::of(&changed).find(at);
            }
            changed[at] = PRIMES[at];
        }
    }

    fn places_are_few(wasm: &[u8]) {
        assert!(places(wasm).len() <= 40);
    }

    /// A module without code, with this as its line tables.
    fn with_tables(tables: &[u8], texts: &[u8]) -> Vec<u8> {
        let module =
            wat::parse_str("(module (func (export \"f\") nop nop nop nop nop nop nop nop))").unwrap();
        let section = |name: &str, data: &[u8]| {
            let content = [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), data].concat();
            let mut size = content.len();
            let mut section = vec![0];
            while size >= 0x80 {
                section.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
                size >>= 7;
            }
            section.push(u8::try_from(size).unwrap());
            [section, content].concat()
        };
        [module, section(".debug_line", tables), section(".debug_line_str", texts)].concat()
    }

    /// A table of version 5 whose files all have the name that the texts begin with, and whose one row
    /// is of the first of them.
    fn table(files: usize) -> Vec<u8> {
        let mut head = vec![1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
        // One folder, `.`, and files that are named by where their name is among the texts.
        head.extend([1, 1, 0x08, 1, b'.', 0, 1, 1, 0x1f]);
        let count = u32::try_from(files).unwrap();
        let low = |shift: u32| u8::try_from(count >> shift & 0x7f).unwrap();
        head.extend([low(0) | 0x80, low(7) | 0x80, low(14)]);
        head.extend([0, 0, 0, 0].repeat(files));
        let program = [0, 5, 2, 2, 0, 0, 0, 4, 0, 3, 5, 1, 2, 4, 0, 1, 1];
        let mut table = vec![5, 0, 4, 0];
        table.extend(u32::try_from(head.len()).unwrap().to_le_bytes());
        table.extend(head);
        table.extend(program);
        [u32::try_from(table.len()).unwrap().to_le_bytes().to_vec(), table].concat()
    }

    #[test]
    fn a_path_is_no_longer_than_can_be_read() {
        let name = "x".repeat(100_000);
        let wasm = with_tables(&table(2), name.as_bytes());
        let places = places(&wasm);
        assert_eq!(places, [(format!("./{}", "x".repeat(MAX_PATH)), 6)]);
    }

    #[test]
    fn more_than_is_read_is_left_out() {
        let small = table(1);
        // Of a version that there is not, so that nothing in it is read.
        let filler = |size: usize| {
            let mut table = u32::try_from(size - 4).unwrap().to_le_bytes().to_vec();
            table.extend([9, 0]);
            table.resize(size, 0);
            [table, small.clone()].concat()
        };
        let most = MAX_BYTES - small.len();
        assert_eq!(places(&with_tables(&filler(most), b"a.c\0")), [("./a.c".to_owned(), 6)]);
        assert_eq!(places(&with_tables(&filler(most + 1), b"a.c\0")), []);
        // A head with more files than anybody has, before one that is as it should be.
        let large = [table(100_000), small].concat();
        let lines = Lines::of(&with_tables(&large, b"a.c\0"));
        assert_eq!(lines.files.len(), 1);
    }
}
