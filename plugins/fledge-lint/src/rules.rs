//! What is untidy.

/// More characters than this are too many for a line.
const LONGEST: usize = 100;

/// Something untidy.
#[derive(Debug, PartialEq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// What it is.
    pub message: String,
}

/// Everything untidy in `text`, by line. A line ends with a newline, or with a carriage
/// return and a newline.
pub fn check(text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut last = 0;
    for (index, line) in text.lines().enumerate() {
        last = index + 1;
        let mut report = |message: String| problems.push(Problem { line: last, message });
        let words = line.trim_start();
        let before = &line[..line.len() - words.len()];
        if !words.is_empty() && before.contains('\t') {
            report("tab before the first word".to_owned());
        }
        if line.ends_with(char::is_whitespace) {
            report("trailing whitespace".to_owned());
        }
        let length = line.chars().count();
        if length > LONGEST {
            report(format!("{length} characters, more than {LONGEST}"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        problems.push(Problem { line: last, message: "no newline at the end".to_owned() });
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::check;

    fn found(text: &str) -> Vec<String> {
        check(text).into_iter().map(|problem| format!("{}: {}", problem.line, problem.message)).collect()
    }

    #[test]
    fn tidy_text_has_no_problems() {
        let longest = format!("{}\n", "ü".repeat(100));
        for text in ["", "\n", "a\n\n    b\n", "a\r\nb\r\n", "a\tb\n", &longest] {
            assert!(found(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn each_problem_has_its_line() {
        assert_eq!(found("a \n"), ["1: trailing whitespace"]);
        assert_eq!(found("a\n\t\nb\t\r\n"), ["2: trailing whitespace", "3: trailing whitespace"]);
        assert_eq!(found("a\n  \tb\n"), ["2: tab before the first word"]);
        assert_eq!(found("a\nb"), ["2: no newline at the end"]);
        assert_eq!(found(&format!("{}\n", "ü".repeat(101))), ["1: 101 characters, more than 100"]);
        assert_eq!(
            found("\ta "),
            ["1: tab before the first word", "1: trailing whitespace", "1: no newline at the end"]
        );
    }
}
