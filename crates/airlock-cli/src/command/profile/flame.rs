//! A flame graph: functions as bars, as wide as they were seen often, upon those that called them.
//!
//! It is a picture and no program: names come from the guest, and a picture without scripts can be
//! opened anywhere. Pointing at a bar tells the whole of its name.

use std::collections::BTreeMap;
use std::io;

use airlock_host::{Error, Samples, visible};
use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::figures::{Figures, counts, functions, name, place};
use super::percent;

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const ROW: f64 = 18.0;
const HEAD: f64 = 40.0;

/// How wide a letter is.
const LETTER: f64 = 6.7;

/// Bars that are narrower cannot be seen.
const NARROWEST: f64 = 0.3;

const STYLE: &str = "text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#222}\
    .title{font-size:15px}.bar:hover rect{stroke:#222}";

/// A function where it was called by the functions below it.
#[derive(Default)]
struct Bar {
    samples: usize,
    /// By the function's name, so that pictures of the same plugin can be laid side by side.
    above: BTreeMap<(String, Option<usize>), usize>,
}

/// Bars, the lowest of which is all there is.
struct Bars(Vec<Bar>);

impl Bars {
    fn of(samples: &Samples) -> Self {
        let mut bars = vec![Bar::default()];
        let names = |function| name(samples, function);
        for (stack, count) in samples.stacks.iter().zip(counts(samples)) {
            let mut at = 0;
            bars[0].samples += count;
            for function in functions(stack) {
                let next = bars.len();
                let key = (names(function), function);
                at = *bars[at].above.entry(key).or_insert(next);
                if at == next {
                    bars.push(Bar::default());
                }
                bars[at].samples += count;
            }
        }
        Bars(bars)
    }
}

/// A bar in its place.
struct Placed {
    bar: usize,
    function: Option<Option<usize>>,
    left: f64,
    row: usize,
}

/// The picture, as SVG.
///
/// # Errors
/// Where it cannot be written, which would be a bug here.
pub(super) fn draw(title: &str, samples: &Samples, figures: &Figures) -> Result<Vec<u8>, Error> {
    let bars = Bars::of(samples);
    let mut lines = vec![None; samples.functions.len()];
    figures.functions.iter().for_each(|function| lines[function.function] = function.line);
    let all = samples.samples.len();
    let wide = |count: usize| (WIDTH - 2.0 * MARGIN) * count as f64 / all.max(1) as f64;
    let mut placed = Vec::new();
    let mut open = vec![Placed { bar: 0, function: None, left: MARGIN, row: 0 }];
    while let Some(next) = open.pop() {
        let mut left = next.left;
        for ((_, function), bar) in &bars.0[next.bar].above {
            let width = wide(bars.0[*bar].samples);
            if width >= NARROWEST {
                open.push(Placed { bar: *bar, function: Some(*function), left, row: next.row + 1 });
            }
            left += width;
        }
        placed.push(next);
    }
    let rows = placed.iter().map(|placed| placed.row + 1).max().unwrap_or(1);
    let height = HEAD + ROW * rows as f64 + MARGIN;
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
    let drawn = writer
        .create_element("svg")
        .with_attributes([
            ("xmlns", "http://www.w3.org/2000/svg"),
            ("width", &WIDTH.to_string()),
            ("height", &height.to_string()),
            ("viewBox", &format!("0 0 {WIDTH} {height}")),
        ])
        .write_inner_content(|writer| {
            writer.create_element("style").write_text_content(BytesText::new(STYLE))?;
            writer
                .create_element("rect")
                .with_attributes([("width", "100%"), ("height", "100%"), ("fill", "#fffdf8")])
                .write_empty()?;
            let title = format!("{}: {all} samples", visible(title, false));
            text(writer, ("title", MARGIN, 24.0), &title)?;
            for one in &placed {
                let samples_in = bars.0[one.bar].samples;
                let (label, place) = match one.function {
                    None => ("all".to_owned(), None),
                    Some(function) => {
                        let line = function.and_then(|function| lines[function]);
                        (name(samples, function), place(samples, line))
                    }
                };
                let place = place.map(|place| format!(" ({})", visible(&place, false))).unwrap_or_default();
                let tip = format!("{label}{place}: {samples_in} samples, {:.1}%", percent(samples_in, all));
                let top = height - MARGIN - ROW * (one.row + 1) as f64;
                bar(writer, (one.left, top, wide(samples_in)), &label, &tip)?;
            }
            Ok(())
        });
    drawn.map_err(|error: io::Error| Error::host("cannot draw the picture").with_source(error))?;
    Ok(writer.into_inner())
}

fn bar(
    writer: &mut Writer<Vec<u8>>,
    (left, top, width): (f64, f64, f64),
    label: &str,
    tip: &str,
) -> io::Result<()> {
    writer.create_element("g").with_attribute(("class", "bar")).write_inner_content(|writer| {
        writer.create_element("title").write_text_content(BytesText::new(tip))?;
        writer
            .create_element("rect")
            .with_attributes([
                ("x", format!("{left:.2}").as_str()),
                ("y", &format!("{top:.0}")),
                ("width", &format!("{:.2}", (width - 0.4).max(NARROWEST))),
                ("height", &format!("{:.0}", ROW - 1.0)),
                ("rx", "2"),
                ("fill", &colour(label)),
            ])
            .write_empty()?;
        let letters = (width / LETTER) as usize;
        let length = label.chars().count();
        match letters {
            // Too few to tell anything.
            0..3 => Ok(()),
            _ if length < letters => text(writer, ("name", left + 3.0, top + 12.5), label),
            _ => {
                let short: String = label.chars().take(letters.saturating_sub(2)).chain(['…']).collect();
                text(writer, ("name", left + 3.0, top + 12.5), &short)
            }
        }
    })?;
    Ok(())
}

fn text(writer: &mut Writer<Vec<u8>>, (class, x, y): (&str, f64, f64), content: &str) -> io::Result<()> {
    let element = writer.create_element("text").with_attributes([
        ("class", class),
        ("x", format!("{x:.2}").as_str()),
        ("y", &format!("{y:.1}")),
    ]);
    element.write_text_content(BytesText::new(content))?;
    Ok(())
}

/// From yellow to red, always the same for a name.
fn colour(name: &str) -> String {
    let hash = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    format!("hsl({},{}%,{}%)", 18 + hash % 34, 78 + hash / 64 % 14, 66 + hash / 4096 % 9)
}
