//! Text that is safe to keep and to show.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a body that are kept.
pub(super) const BODY: usize = 4 << 20;

/// Bytes of HTML that text is made of.
const HTML: usize = 1 << 20;

/// Elements that HTML may have open at once to be laid out.
const DEPTH: usize = 100;

/// Columns that text made of HTML is laid out in.
const WIDTH: usize = 100;

/// One line of at most so many bytes, without control characters.
pub(super) fn line(text: &str, bytes: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(text.trim(), bytes).to_owned()
}

/// Encoded words (RFC 2047) of one character set and encoding that follow each other, as one.
pub(super) fn words_joined(header: &str) -> String {
    let (mut joined, mut rest) = (String::new(), header);
    // What the last encoded word began with, and its content, where nothing came after it.
    let mut open: Option<(String, String)> = None;
    let close = |open: Option<(String, String)>| {
        open.map_or(String::new(), |(beginning, content)| format!("{beginning}{content}?="))
    };
    while let Some((between, beginning, content, after)) = encoded_word(rest) {
        let follows = between.trim().is_empty();
        open = match open {
            Some((same, before)) if follows && same.eq_ignore_ascii_case(beginning) => {
                Some((same, appended(beginning, &before, content)))
            }
            other => {
                joined.push_str(&close(other));
                joined.push_str(between);
                Some((beginning.to_owned(), content.to_owned()))
            }
        };
        rest = after;
    }
    joined + &close(open) + rest
}

/// The next encoded word of a header: what is before it, `=?utf-8?Q?`, its content, what is after it.
fn encoded_word(header: &str) -> Option<(&str, &str, &str, &str)> {
    let mut from = 0;
    while let Some(start) = header[from..].find("=?").map(|at| from + at) {
        let rest = &header[start..];
        let mut marks = rest.match_indices('?').map(|(at, _)| at).skip(1);
        if let (Some(_), Some(encoding)) = (marks.next(), marks.next())
            && let Some(end) = rest[encoding + 1..].find("?=").map(|at| encoding + 1 + at)
            && !rest[..end].contains(char::is_whitespace)
        {
            return Some((&header[..start], &rest[..=encoding], &rest[encoding + 1..end], &rest[end + 2..]));
        }
        from = start + 2;
    }
    None
}

/// Two contents of encoded words as one.
fn appended(beginning: &str, one: &str, other: &str) -> String {
    let is_base64 = beginning.len() > 3 && beginning.to_ascii_lowercase().ends_with("?b?");
    match (is_base64, STANDARD.decode(one), STANDARD.decode(other)) {
        (true, Ok(one), Ok(other)) => STANDARD.encode([one, other].concat()),
        _ => format!("{one}{other}"),
    }
}

/// Lines without control characters but tabs.
pub(super) fn plain(text: &str) -> String {
    let mut rest = cut(text, BODY);
    let mut kept = String::with_capacity(rest.len());
    while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        kept.push_str(&rest[..at]);
        let mut chars = rest[at..].chars();
        let control = chars.next();
        rest = chars.as_str();
        // Lines end in one way only.
        if control == Some('\r') && !rest.starts_with('\n') {
            kept.push('\n');
        }
    }
    kept.push_str(rest);
    kept.truncate(kept.trim_end().len());
    kept
}

/// What HTML shows: no scripts, no styles, no markup.
pub(super) fn of_html(html: &str) -> String {
    let html = cut(html, HTML);
    let laid_out = (depth(html) <= DEPTH).then(|| {
        let config =
            html2text::config::plain_no_decorate().no_table_borders().raw_mode(true).allow_width_overflow();
        config.string_from_read(html.as_bytes(), WIDTH)
    });
    match laid_out {
        Some(Ok(text)) => plain(&text),
        // Words without their places, which need no tree.
        _ => plain(&mail_parser::decoders::html::html_to_text(html)),
    }
}

/// How many elements are open at once at most, where none is closed by another.
fn depth(html: &str) -> usize {
    const VOID: [&str; 9] = ["br", "img", "hr", "meta", "link", "input", "col", "wbr", "!"];
    let (mut open, mut deepest) = (0_usize, 0);
    for tag in html.split('<').skip(1) {
        let name = tag.to_ascii_lowercase();
        if tag.starts_with('/') {
            open = open.saturating_sub(1);
        } else if !VOID.iter().any(|void| name.starts_with(void)) {
            open += 1;
            deepest = deepest.max(open);
        }
    }
    deepest
}

/// A file's name: the last part of a path, without what a file system or a terminal acts on.
pub(super) fn file_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = line(name, 200);
    name.trim_start_matches('.').to_owned()
}

/// The beginning of a text, of at most so many bytes.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
