//! Text that is safe to keep and to show.

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
    cut(text.trim(), bytes)
}

/// Lines without control characters but tabs.
pub(super) fn plain(text: &str) -> String {
    let text = cut(text, BODY).replace("\r\n", "\n").replace('\r', "\n");
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// What HTML shows: no scripts, no styles, no markup.
pub(super) fn of_html(html: &str) -> String {
    let html = cut(html, HTML);
    let laid_out = (depth(&html) <= DEPTH).then(|| {
        let config =
            html2text::config::plain_no_decorate().no_table_borders().raw_mode(true).allow_width_overflow();
        config.string_from_read(html.as_bytes(), WIDTH)
    });
    match laid_out {
        Some(Ok(text)) => plain(&text),
        // Words without their places, which need no tree.
        _ => plain(&mail_parser::decoders::html::html_to_text(&html)),
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
pub(super) fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}
