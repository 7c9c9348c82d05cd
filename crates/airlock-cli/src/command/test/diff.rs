//! Two texts, line by line.

use std::time::{Duration, Instant};

use airlock_host::visible;
use anstyle::{AnsiColor, Style};
use similar::{ChangeTag, TextDiff};

/// Lines around a change.
const AROUND: usize = 3;

/// Lines of a difference that are shown.
const LINES: usize = 200;

/// How long finding the smallest difference may take; past it a larger one is shown.
const PATIENCE: Duration = Duration::from_millis(500);

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    sign: Sign,
    /// Parts of it, and whether it is they that differ.
    parts: Vec<(bool, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// Something said of the lines that follow.
    Said,
    Same,
    Expected,
    Found,
}

/// How `found` differs from `expected`, with nothing in it that a terminal would act on.
pub(super) fn lines(expected: &str, found: &str) -> Vec<Line> {
    let (expected, found) = (visible(expected, true), visible(found, true));
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(expected.as_ref(), found.as_ref());
    let until = Instant::now() + PATIENCE;
    let mut lines = vec![Line::said("- expected"), Line::said("+ found")];
    for group in diff.grouped_ops(AROUND) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let range = |start: usize, end: usize| format!("{},{}", start + 1, end - start);
        let old = range(first.old_range().start, last.old_range().end);
        let new = range(first.new_range().start, last.new_range().end);
        lines.push(Line::said(&format!("@@ -{old} +{new} @@")));
        for op in &group {
            for change in diff.iter_inline_changes_deadline(op, Some(until)) {
                if lines.len() > LINES {
                    lines.push(Line::said("… and more"));
                    return lines;
                }
                let sign = match change.tag() {
                    ChangeTag::Equal => Sign::Same,
                    ChangeTag::Delete => Sign::Expected,
                    ChangeTag::Insert => Sign::Found,
                };
                let parts = change
                    .iter_strings_lossy()
                    .map(|(differs, text)| (differs, text.trim_end_matches(['\n', '\r']).to_owned()));
                lines.push(Line { sign, parts: parts.collect() });
                if change.missing_newline() && sign != Sign::Same {
                    lines.push(Line::said("\\ no newline at its end"));
                }
            }
        }
    }
    lines
}

impl Line {
    fn said(text: &str) -> Self {
        Line { sign: Sign::Said, parts: vec![(false, text.to_owned())] }
    }

    /// Without colours.
    pub(super) fn plain(&self) -> String {
        let text: String = self.parts.iter().map(|(_, text)| text.as_str()).collect();
        format!("{}{text}", self.sign.mark())
    }

    /// With colours, and what differs in them underlined.
    pub(super) fn styled(&self) -> String {
        let style = self.sign.style();
        let mut line = format!("{style}{}{style:#}", self.sign.mark());
        for (differs, text) in &self.parts {
            let style = if *differs { style.bold().underline() } else { style };
            line.push_str(&format!("{style}{text}{style:#}"));
        }
        line
    }
}

impl Sign {
    fn mark(self) -> &'static str {
        match self {
            Sign::Said => "",
            Sign::Same => " ",
            Sign::Expected => "-",
            Sign::Found => "+",
        }
    }

    fn style(self) -> Style {
        match self {
            Sign::Said => AnsiColor::Cyan.on_default(),
            Sign::Same => Style::new(),
            Sign::Expected => AnsiColor::Red.on_default(),
            Sign::Found => AnsiColor::Green.on_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    fn plain(expected: &str, found: &str) -> Vec<String> {
        lines(expected, found).iter().map(super::Line::plain).collect()
    }

    #[test]
    fn only_lines_near_a_change_are_shown() {
        let text: String = (0..20).map(|line| format!("{line}\n")).collect();
        let shown = plain(&text, &text.replace("10\n", "ten\n"));
        assert_eq!(
            shown,
            [
                "- expected",
                "+ found",
                "@@ -8,7 +8,7 @@",
                " 7",
                " 8",
                " 9",
                "-10",
                "+ten",
                " 11",
                " 12",
                " 13"
            ]
        );
    }

    #[test]
    fn what_differs_is_marked_and_colours_are_the_hosts_own() {
        let line = lines("a quick fox\n", "a slow fox\n")[3].styled();
        assert!(line.contains("\x1b[4m") && line.contains("quick"), "{line:?}");
        let found = plain("x\n", "\x1b[2Jx\r\n").join("\n");
        assert!(found.contains("+\\x1b[2Jx\\r") && !found.contains('\x1b'), "{found:?}");
        assert!(plain("x\n", "x").iter().any(|line| line == "\\ no newline at its end"));
    }

    #[test]
    fn a_long_difference_is_cut_off() {
        let shown = plain("", &"x\n".repeat(100_000));
        assert!(shown.len() < 300 && shown.last().is_some_and(|line| line == "… and more"));
    }
}
