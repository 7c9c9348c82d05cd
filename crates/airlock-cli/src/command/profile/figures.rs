//! What samples add up to.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use airlock_host::{SampledStack, Samples, visible};

/// How often each function was seen.
pub(super) struct Figures {
    /// Those that were seen most while none of theirs was called, first.
    pub(super) functions: Vec<Function>,
}

pub(super) struct Function {
    /// Which of the functions that were seen.
    pub(super) function: usize,
    /// Samples in which it was the one that ran.
    pub(super) own: usize,
    /// Samples in which it had not returned.
    pub(super) total: usize,
    /// Which line it was seen at most: while it ran, or else while what it called did.
    pub(super) line: Option<usize>,
}

impl Figures {
    pub(super) fn of(samples: &Samples) -> Self {
        let mut own = vec![0; samples.functions.len()];
        let mut total = own.clone();
        let mut lines: Vec<HashMap<usize, (usize, usize)>> = vec![HashMap::new(); own.len()];
        for (stack, count) in samples.stacks.iter().zip(counts(samples)) {
            let last = stack.frames.len().saturating_sub(1);
            for (index, frame) in stack.frames.iter().enumerate() {
                let is_own = index == last;
                own[frame.function] += if is_own { count } else { 0 };
                if let Some(line) = frame.line {
                    let (own, called) = lines[frame.function].entry(line).or_default();
                    *if is_own { own } else { called } += count;
                }
            }
            // One that calls itself is there once.
            let functions: HashSet<usize> = stack.frames.iter().map(|frame| frame.function).collect();
            functions.into_iter().for_each(|function| total[function] += count);
        }
        let most = |lines: &HashMap<usize, (usize, usize)>| {
            lines
                .iter()
                .max_by_key(|(line, counts)| (**counts, std::cmp::Reverse(**line)))
                .map(|(line, _)| *line)
        };
        let mut functions: Vec<Function> = (0..own.len())
            .map(|function| Function {
                function,
                own: own[function],
                total: total[function],
                line: most(&lines[function]),
            })
            .collect();
        functions.sort_by_key(|function| std::cmp::Reverse((function.own, function.total)));
        Figures { functions }
    }
}

/// How often each stack was seen.
pub(super) fn counts(samples: &Samples) -> Vec<usize> {
    let mut counts = vec![0; samples.stacks.len()];
    samples.samples.iter().for_each(|sample| counts[sample.stack] += 1);
    counts
}

/// A line as it is shown: its file and number.
pub(super) fn place(samples: &Samples, line: Option<usize>) -> Option<String> {
    line.map(|line| &samples.lines[line]).map(|(file, line)| format!("{file}:{line}"))
}

/// The functions of a stack, outermost first, after a mark where it was deeper.
pub(super) fn functions(stack: &SampledStack) -> impl Iterator<Item = Option<usize>> + '_ {
    stack.is_cut.then_some(None).into_iter().chain(stack.frames.iter().map(|frame| Some(frame.function)))
}

/// A function's name, or that of the mark, with nothing in it that a terminal or a picture acts on.
pub(super) fn name(samples: &Samples, function: Option<usize>) -> String {
    match function {
        // These two are in no XML.
        Some(function) => {
            visible(&samples.functions[function].name, false).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
        }
        None => "(deeper)".to_owned(),
    }
}

/// A line for each stack, as Brendan Gregg's `flamegraph.pl` and its like read them: functions from
/// the outermost on with `;` between them, a space, and how often it was seen.
pub(super) fn folded(samples: &Samples) -> String {
    let mut stacks: HashMap<String, usize> = HashMap::new();
    for (stack, count) in samples.stacks.iter().zip(counts(samples)) {
        let names = functions(stack).map(|function| name(samples, function).replace(';', ":"));
        *stacks.entry(names.collect::<Vec<_>>().join(";")).or_default() += count;
    }
    let mut lines: Vec<_> = stacks.into_iter().collect();
    lines.sort_unstable();
    lines.into_iter().fold(String::new(), |mut text, (stack, count)| {
        let _ = writeln!(text, "{stack} {count}");
        text
    })
}
