//! A picture of how long calls took.

use std::path::Path;

use airlock_host::Error;
use plotters::prelude::*;

use super::measure::Samples;

const SIZE: (u32, u32) = (900, 420);

/// Classes in the picture.
const CLASSES: u32 = 60;

/// Draws how many calls took how long, a curve for each series.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn draw(file: &Path, title: &str, series: &[(&str, &Samples)]) -> Result<(), Error> {
    let mut svg = String::new();
    picture(&mut svg, title, series)
        .map_err(|error| Error::host(format!("cannot draw the picture: {error}")))?;
    std::fs::write(file, svg)
        .map_err(|error| Error::host(format!("cannot write `{}`", file.display())).with_source(error))
}

fn picture(
    svg: &mut String,
    title: &str,
    series: &[(&str, &Samples)],
) -> Result<(), Box<dyn std::error::Error>> {
    let classes: Vec<_> =
        series.iter().map(|(name, samples)| (*name, samples.len(), samples.histogram(CLASSES))).collect();
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    let ends = classes.iter().flat_map(|(_, _, classes)| classes.first().into_iter().chain(classes.last()));
    let (shortest, longest) = ends
        .map(|(from, _)| micros(*from))
        .fold((f64::MAX, 0.001_f64), |(least, most), at| (least.min(at), most.max(at)));
    let share = |count: usize, all: usize| 100.0 * count as f64 / all.max(1) as f64;
    let tallest = classes
        .iter()
        .flat_map(|(_, all, classes)| classes.iter().map(|(_, count)| share(*count, *all)))
        .fold(1.0, f64::max);

    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let from = shortest.min(longest).max(0.001) * 0.9;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d((from..longest * 1.1).log_scale(), 0.0..tallest * 1.05)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("microseconds for a call, logarithmic")
        .y_desc("of all calls, %")
        .x_label_formatter(&|micros| {
            format!("{micros:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
        })
        .draw()?;
    for (index, (name, all, classes)) in classes.iter().enumerate() {
        let colour = Palette99::pick(index).stroke_width(2);
        let points = classes.iter().map(|(from, count)| (micros(*from).max(0.001), share(*count, *all)));
        chart
            .draw_series(LineSeries::new(points, colour))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
