//! Comma-separated values as RFC 4180 describes them.

use std::fmt;

pub type Row = Vec<String>;

/// Rows of as many cells as there are headers.
pub struct Table {
    pub headers: Row,
    pub rows: Vec<Row>,
    /// What a line ends with, as in the file it came from.
    pub newline: &'static str,
}

impl Table {
    /// Reads a table. Lines end with `\n` or `\r\n`; an empty one at the end is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        // What some programs put there to say that it is UTF-8.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader { rest: text, line: 1 };
        let headers = reader.row()?.ok_or("there is no row of headers")?;
        let newline = if text[..text.len() - reader.rest.len()].ends_with("\r\n") { "\r\n" } else { "\n" };
        let mut rows = Vec::new();
        loop {
            let line = reader.line;
            let Some(row) = reader.row()? else { break };
            if row.len() != headers.len() {
                let (has, needs) = (row.len(), headers.len());
                return Err(format!("line {line}: expected {needs} cells, found {has}"));
            }
            rows.push(row);
        }
        Ok(Table { headers, rows, newline })
    }

    /// Where the column with this name is: the first, should there be several.
    pub fn column(&self, name: &str) -> Result<usize, String> {
        let at = self.headers.iter().position(|header| header == name);
        at.ok_or_else(|| format!("there is no column `{name}`"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in std::iter::once(&self.headers).chain(&self.rows) {
            for (index, cell) in row.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                // A row of one empty cell would be an empty line, which is no row.
                if cell.contains([',', '"', '\n', '\r']) || cell.is_empty() && row.len() == 1 {
                    write!(f, "{comma}\"{}\"", cell.replace('"', "\"\""))?;
                } else {
                    write!(f, "{comma}{cell}")?;
                }
            }
            f.write_str(self.newline)?;
        }
        Ok(())
    }
}

/// Reads `text` as one row.
pub fn parse_row(text: &str) -> Result<Row, String> {
    let mut reader = Reader { rest: text, line: 1 };
    match reader.row()? {
        Some(row) if reader.rest.is_empty() => Ok(row),
        _ => Err(format!("`{text}` is no list of columns")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    /// The number of the line that `rest` begins in.
    line: usize,
}

impl<'a> Reader<'a> {
    /// The next row; `None` at the end.
    fn row(&mut self) -> Result<Option<Row>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut row = Vec::new();
        loop {
            let cell = match self.rest.strip_prefix('"') {
                Some(rest) => self.quoted(rest)?,
                None => self.plain()?,
            };
            row.push(cell);
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            self.end_line();
            return Ok(Some(row));
        }
    }

    fn plain(&mut self) -> Result<String, String> {
        let end = self.rest.find([',', '\n', '"']).unwrap_or(self.rest.len());
        if self.rest[end..].starts_with('"') {
            return Err(format!("line {}: a quote inside a cell that does not begin with one", self.line));
        }
        // What a line ends with is no part of its last cell.
        let end = match self.rest[end..].starts_with(',') {
            true => end,
            false => self.rest[..end].strip_suffix('\r').map_or(end, str::len),
        };
        let (cell, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(cell.to_owned())
    }

    /// A cell of which `rest` is what follows the first quote.
    fn quoted(&mut self, mut rest: &'a str) -> Result<String, String> {
        let start = self.line;
        let mut cell = String::new();
        loop {
            let Some(quote) = rest.find('"') else {
                return Err(format!("line {start}: a quote that nothing closes"));
            };
            cell.push_str(&rest[..quote]);
            rest = &rest[quote + 1..];
            // Two quotes are one that belongs to the cell.
            let Some(more) = rest.strip_prefix('"') else { break };
            cell.push('"');
            rest = more;
        }
        self.line += cell.matches('\n').count();
        if !rest.is_empty() && !rest.starts_with([',', '\n']) && !rest.starts_with("\r\n") {
            return Err(format!("line {}: text after the quote that closes a cell", self.line));
        }
        self.rest = rest;
        Ok(cell)
    }

    fn end_line(&mut self) {
        let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
        self.rest = rest.strip_prefix('\n').unwrap_or(rest);
        self.line += 1;
    }
}
