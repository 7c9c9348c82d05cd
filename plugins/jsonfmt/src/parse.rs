//! JSON text to a tree that borrows from it.
//!
//! Numbers and strings stay as they were written, so nothing is lost that a formatter has no
//! business to change: digits past what a float can hold, escapes, keys that come twice.

use std::fmt;

/// Deeper nesting is refused: each level takes some of the stack.
const MAX_DEPTH: usize = 500;

pub enum Value<'a> {
    /// `null`, a truth value, a number or a string with its quotes.
    Scalar(&'a str),
    Array(Vec<Value<'a>>),
    /// Keys are with their quotes.
    Object(Vec<(&'a str, Value<'a>)>),
}

/// What is wrong, and where.
pub struct Error {
    line: usize,
    /// In characters, from 1.
    column: usize,
    what: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

/// Reads one JSON value with nothing but white space around it.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        error_after(&valid, "this is no UTF-8")
    })?;
    let mut parser = Parser { text, at: 0 };
    let document = parser.value(0).and_then(|value| {
        parser.skip_space();
        match parser.at == text.len() {
            true => Ok(value),
            false => Err("expected the end of the text"),
        }
    });
    document.map_err(|what| error_after(&text[..parser.at], what))
}

/// An error at the end of `before`.
fn error_after(before: &str, what: &'static str) -> Error {
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Error { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, what }
}

/// What is wrong at the place where the parser stands.
type Parsed<T> = Result<T, &'static str>;

struct Parser<'a> {
    text: &'a str,
    /// At the start of a character wherever something is said about it.
    at: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Parsed<Value<'a>> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::Scalar),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Scalar),
            _ => self.word().map(Value::Scalar),
        }
    }

    fn array(&mut self, depth: usize) -> Parsed<Value<'a>> {
        let mut values = Vec::new();
        self.list(depth, b']', "expected `,` or `]`", |parser| {
            values.push(parser.value(depth + 1)?);
            Ok(())
        })?;
        Ok(Value::Array(values))
    }

    fn object(&mut self, depth: usize) -> Parsed<Value<'a>> {
        let mut members = Vec::new();
        self.list(depth, b'}', "expected `,` or `}`", |parser| {
            parser.skip_space();
            if parser.peek() != Some(b'"') {
                return Err("expected a key in double quotes");
            }
            let key = parser.string()?;
            parser.skip_space();
            parser.expect(b':', "expected `:`")?;
            members.push((key, parser.value(depth + 1)?));
            Ok(())
        })?;
        Ok(Value::Object(members))
    }

    /// What stands between a bracket and the one that closes it, with commas between.
    fn list(
        &mut self,
        depth: usize,
        close: u8,
        expected: &'static str,
        mut item: impl FnMut(&mut Self) -> Parsed<()>,
    ) -> Parsed<()> {
        if depth == MAX_DEPTH {
            return Err("this is nested too deeply");
        }
        self.at += 1;
        self.skip_space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            self.skip_space();
            if self.take(close) {
                return Ok(());
            }
            self.expect(b',', expected)?;
        }
    }

    fn string(&mut self) -> Parsed<&'a str> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(0x00..=0x1f) => return Err("a control character in a string has to be escaped"),
                // Inside a character as well: none of its further bytes looks like one of these.
                Some(_) => self.at += 1,
                None => return Err("the text ends inside a string"),
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at])
    }

    fn escape(&mut self) -> Parsed<()> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        let length = match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', digits @ ..] if digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err("this is no escape of JSON's"),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Parsed<&'a str> {
        let start = self.at;
        self.take(b'-');
        // Nothing may follow a leading zero, so that no number is taken for an octal one.
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Parsed<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err("expected a digit") } else { Ok(()) }
    }

    fn word(&mut self) -> Parsed<&'a str> {
        let rest = &self.text[self.at..];
        let known = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
        let word = known.ok_or("expected a value")?;
        self.at += word.len();
        Ok(word)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Parsed<()> {
        if self.take(byte) { Ok(()) } else { Err(what) }
    }
}
