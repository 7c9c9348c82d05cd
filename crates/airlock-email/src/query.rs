//! What is written to search for messages.
//!
//! A query is words, all of which a message has to hold: `report "third quarter" -draft
//! from:anna to:team subject:"all hands" has:attachment after:2024-01-31 before:2024-03-01`. A
//! word that ends in `*` is the beginning of one, `-` before anything is its opposite, and
//! what is no key of a filter is a word, as in `12:30`.
//!
//! What comes out is bound to a statement as a value. Within it, FTS5 has a language of its
//! own, which a word cannot speak: each is a string of that language, quoted as it says.

use airlock_core::MailError;
use jiff::civil::Date;

/// Bytes that a query may have.
const LENGTH: usize = 4096;

/// Words and filters that a query may have: FTS5 bounds how deep its expressions are.
const PARTS: usize = 64;

/// What is searched for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
    /// Whether something has to be attached, or may not.
    pub(crate) attachment: Option<bool>,
    /// From this second on.
    pub(crate) after: Option<i64>,
    /// Before this second.
    pub(crate) before: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    column: Option<&'static str>,
    text: String,
    is_beginning: bool,
    is_unwanted: bool,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`MailCode::Validation`](airlock_core::MailCode::Validation) with what is wrong with it.
    pub fn read(text: &str) -> Result<Self, MailError> {
        if text.len() > LENGTH {
            return Err(MailError::invalid(&format!("a query has at most {LENGTH} bytes")));
        }
        let mut query = Query::default();
        let (mut rest, mut parts) = (text.trim_start(), 0);
        while !rest.is_empty() {
            parts += 1;
            if parts > PARTS {
                return Err(MailError::invalid(&format!("a query has at most {PARTS} words and filters")));
            }
            rest = query.take(rest)?.trim_start();
        }
        match query == Query::default() {
            true => Err(MailError::invalid("a query has at least one word or filter")),
            false => Ok(query),
        }
    }

    /// Takes one word or filter, and gives what comes after it.
    fn take<'a>(&mut self, rest: &'a str) -> Result<&'a str, MailError> {
        let (is_unwanted, rest) = match rest.strip_prefix('-') {
            Some(after) if !after.starts_with(char::is_whitespace) && !after.is_empty() => (true, after),
            _ => (false, rest),
        };
        let key = rest.split_once(':').map(|(key, after)| (key.to_ascii_lowercase(), after));
        let column = match &key {
            Some((key, _)) => match key.as_str() {
                "from" => Some("sender"),
                "to" => Some("recipients"),
                "subject" => Some("subject"),
                _ => None,
            },
            None => None,
        };
        match key {
            Some((_, after)) if column.is_some() => self.word(column, is_unwanted, after),
            Some((key, after)) if matches!(key.as_str(), "has" | "after" | "before") => {
                let (value, rest) = value(after)?;
                self.filter(&key, &value.text, is_unwanted)?;
                Ok(rest)
            }
            _ => self.word(None, is_unwanted, rest),
        }
    }

    fn word<'a>(
        &mut self,
        column: Option<&'static str>,
        is_unwanted: bool,
        rest: &'a str,
    ) -> Result<&'a str, MailError> {
        let (value, rest) = value(rest)?;
        if !value.text.chars().any(char::is_alphanumeric) {
            let reason = format!("`{}` in the query has no letter or digit to search for", value.text);
            return Err(MailError::invalid(&reason));
        }
        self.terms.push(Term { column, text: value.text, is_beginning: value.is_beginning, is_unwanted });
        Ok(rest)
    }

    fn filter(&mut self, key: &str, value: &str, is_unwanted: bool) -> Result<(), MailError> {
        if key == "has" {
            if !matches!(value.to_ascii_lowercase().as_str(), "attachment" | "attachments") {
                return Err(MailError::invalid(&format!(
                    "`has:{value}` in the query can be `has:attachment`"
                )));
            }
            self.attachment = Some(!is_unwanted);
            return Ok(());
        }
        let start = day(value).ok_or_else(|| {
            MailError::invalid(&format!("`{key}:{value}` in the query has to be a day as 2024-01-31"))
        })?;
        match (key == "after") != is_unwanted {
            true => self.after = Some(self.after.unwrap_or(i64::MIN).max(start)),
            false => self.before = Some(self.before.unwrap_or(i64::MAX).min(start)),
        }
        Ok(())
    }

    /// What a message has to hold, and must not, in the language of FTS5.
    pub(crate) fn wanted(&self) -> Option<String> {
        let wanted = self.expression(false, " AND ")?;
        Some(match self.unwanted() {
            Some(unwanted) => format!("({wanted}) NOT ({unwanted})"),
            None => wanted,
        })
    }

    /// Whether words have to follow each other, as those of an address have to too.
    pub(crate) fn has_phrase(&self) -> bool {
        let separates = |c: char| !c.is_alphanumeric();
        let is_phrase =
            |term: &Term| !term.is_unwanted && term.text.trim_matches(separates).contains(separates);
        self.terms.iter().any(is_phrase)
    }

    /// What a message must not hold, in the language of FTS5.
    pub(crate) fn unwanted(&self) -> Option<String> {
        self.expression(true, " OR ")
    }

    fn expression(&self, is_unwanted: bool, operator: &str) -> Option<String> {
        let terms = self.terms.iter().filter(|term| term.is_unwanted == is_unwanted);
        let terms: Vec<String> = terms
            .map(|term| {
                let column = term.column.map(|column| format!("{column} : ")).unwrap_or_default();
                let beginning = if term.is_beginning { " *" } else { "" };
                format!("{column}\"{}\"{beginning}", term.text.replace('"', "\"\""))
            })
            .collect();
        (!terms.is_empty()).then(|| terms.join(operator))
    }
}

struct Value {
    text: String,
    is_beginning: bool,
}

/// The value at the beginning of `rest`, quoted or up to the next white space, and what comes
/// after it.
fn value(rest: &str) -> Result<(Value, &str), MailError> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let (text, rest) = quoted
            .split_once('"')
            .ok_or_else(|| MailError::invalid("a `\"` in the query has no other that ends it"))?;
        return Ok((Value { text: shown(text), is_beginning: false }, rest));
    }
    let (text, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
    let (text, is_beginning) = match text.strip_suffix('*') {
        Some(text) => (text, true),
        None => (text, false),
    };
    Ok((Value { text: shown(text), is_beginning }, rest))
}

/// FTS5 takes a NUL for the end of an expression, and no control character is part of a word.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The first second of a day of UTC.
fn day(text: &str) -> Option<i64> {
    let date: Date = text.replace('/', "-").parse().ok()?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|start| start.timestamp().as_second())
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
