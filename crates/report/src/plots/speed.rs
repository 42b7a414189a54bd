//! Throughput and latency by batch size, a line for each thing measured.

use plotters::coord::ranged1d::{NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::axes::{Axis, Categories, Logarithmic, Ticks, axes};
use super::canvas::{Area, Drawn, LEGEND_HEIGHT, Mark, legend, picture};
use crate::{Picture, ReportError};
use kiln_metrics::Latency;
use kiln_util::shown;

/// Width and height of one panel.
const PANEL: (u32, u32) = (500, 356);
/// Longest name in the legend, in characters.
const MAX_LABEL: usize = 32;
/// Number of series in one row of the legend.
const PER_ROW: usize = 3;
/// Distance in pixels between the points of neighboring series at one batch size.
const APART: i32 = 10;

/// What was measured under one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed<'a> {
    /// The name, such as that of an engine.
    pub name: &'a str,
    /// One for each batch size.
    pub latencies: &'a [Latency],
}

/// Images per second and the duration of a call by batch size, side by side, 1000 x 400 pixels:
/// medians as points, and a thin line from each to the 99th percentile. At most six series; more than
/// three make the picture higher by another row of the legend.
pub fn plot_speed(series: &[Speed<'_>]) -> Result<Picture, ReportError> {
    if series.is_empty() || series.iter().any(|speed| speed.latencies.is_empty()) {
        return Err(ReportError::Empty {
            what: "measurements",
        });
    }
    if series.len() > Mark::COUNT {
        return Err(ReportError::TooManySeries {
            found: series.len(),
            most: Mark::COUNT,
        });
    }
    let mut batches: Vec<u64> = series
        .iter()
        .flat_map(|speed| speed.latencies)
        .map(|latency| latency.batch)
        .collect();
    batches.sort_unstable();
    batches.dedup();
    let lines: Vec<Line<'_>> = series
        .iter()
        .enumerate()
        .map(|(index, speed)| Line {
            mark: Mark::Series(index),
            speed,
        })
        .collect();
    let names: Vec<_> = lines
        .iter()
        .map(|line| (Some(line.mark), shown(line.speed.name, MAX_LABEL)))
        .collect();
    let legend_height = LEGEND_HEIGHT * names.len().div_ceil(PER_ROW) as i32;
    picture((PANEL.0 * 2, PANEL.1 + legend_height as u32), |root| {
        let mut below = root.clone();
        for row in names.chunks(PER_ROW) {
            let (strip, rest) = below.split_vertically(LEGEND_HEIGHT);
            // A legend is placed by the whole area's width and its own height.
            legend(&strip, row)?;
            below = rest;
        }
        let (left, right) = below.split_horizontally(PANEL.0 as i32);
        let panel = |area, name| Panel {
            area,
            name,
            batches: &batches,
            lines: &lines,
        };
        let throughput = panel(&left, "images per second");
        throughput.draw(throughput.linear_axis(), |latency| {
            [drawable(latency.images_per_second); 2]
        })?;
        let duration = panel(&right, "ms per batch: median, line to p99");
        let axis = Logarithmic::around(
            duration.values(|latency| [latency.p50_ms, latency.p99_ms].map(positive)),
        );
        duration.draw(axis, |latency| {
            [latency.p50_ms, latency.p99_ms].map(positive)
        })
    })
}

/// Larger values would overflow the axes' arithmetic.
fn drawable(value: f64) -> f64 {
    value.clamp(0.0, f64::from(f32::MAX))
}

/// A clock may not tell a short call from none, and a logarithm needs a value.
fn positive(ms: f64) -> f64 {
    drawable(ms).max(1e-6)
}

/// One series.
struct Line<'a> {
    mark: Mark,
    speed: &'a Speed<'a>,
}

struct Panel<'a, 'b> {
    area: &'a Area<'b>,
    name: &'a str,
    batches: &'a [u64],
    lines: &'a [Line<'a>],
}

impl Panel<'_, '_> {
    fn values<const N: usize>(
        &self,
        of: impl Fn(&Latency) -> [f64; N],
    ) -> impl Iterator<Item = f64> {
        self.lines
            .iter()
            .flat_map(|line| line.speed.latencies)
            .flat_map(of)
    }

    /// An axis for throughput, from zero.
    fn linear_axis(&self) -> Axis {
        let largest = self
            .values(|latency| [drawable(latency.images_per_second)])
            .fold(0.0, f64::max)
            .max(1e-9);
        let range = 0.0..largest * 1.08;
        let ticks = Ticks::new(range.start, range.end, 6);
        Axis { range, ticks }
    }

    /// Draws the first of two values as points with a line through them, and a line from it to the
    /// second.
    fn draw<Y>(&self, y: Y, of: impl Fn(&Latency) -> [f64; 2]) -> Drawn
    where
        Y: Ranged<ValueType = f64, FormatOption = NoDefaultFormatting> + ValueFormatter<f64>,
    {
        let names = Categories(self.batches.iter().map(u64::to_string).collect());
        let chart = axes(self.area, (names, "batch size"), (y, self.name))?;
        let screen = self.area.use_screen_coord();
        for (at, line) in self.lines.iter().enumerate() {
            let color = line.mark.color();
            let aside = APART * (2 * at as i32 - (self.lines.len() as i32 - 1)) / 2;
            let mut latencies: Vec<&Latency> = line.speed.latencies.iter().collect();
            latencies.sort_by_key(|latency| latency.batch);
            let mut points = Vec::with_capacity(latencies.len());
            for latency in latencies {
                let place = self.batches.partition_point(|&batch| batch < latency.batch) as f64;
                let [point, end] = of(latency).map(|value| {
                    let (x, y) = chart.backend_coord(&(place, value));
                    (x + aside, y)
                });
                if point != end {
                    screen.draw(&PathElement::new([point, end], color.stroke_width(1)))?;
                    screen.draw(&PathElement::new(
                        [(end.0 - 4, end.1), (end.0 + 4, end.1)],
                        color.stroke_width(1),
                    ))?;
                }
                line.mark.draw(&screen, point)?;
                points.push(point);
            }
            screen.draw(&PathElement::new(points, color.stroke_width(2)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn latency(batch: u64, us: &[u64]) -> Latency {
        let durations: Vec<_> = us.iter().map(|&us| Duration::from_micros(us)).collect();
        Latency::from_durations(&durations, batch).unwrap()
    }

    #[test]
    fn every_measurement_is_a_point_in_both_panels() {
        let (tract, ort) = (
            [latency(1, &[300, 400]), latency(32, &[9000])],
            [latency(32, &[3000]), latency(1, &[200])],
        );
        let series = [
            Speed {
                name: "tract",
                latencies: &tract,
            },
            Speed {
                name: "<ort>",
                latencies: &ort,
            },
        ];
        let document = plot_speed(&series).unwrap().to_svg();
        // Discs for the first series, one more in the legend.
        assert_eq!(document.matches("<circle").count(), 5);
        assert!(
            document.contains("&lt;ort&gt;")
                && document.contains("batch size")
                && document.contains(">32<")
        );
    }

    #[test]
    fn too_few_and_too_many_series_are_refused() {
        let one = [latency(1, &[5])];
        let speed = Speed {
            name: "",
            latencies: &one,
        };
        let nothing = Err(ReportError::Empty {
            what: "measurements",
        });
        assert_eq!(
            [
                plot_speed(&[]),
                plot_speed(&[Speed {
                    latencies: &[],
                    ..speed.clone()
                }])
            ],
            [nothing.clone(), nothing]
        );
        let many = vec![speed; 7];
        assert!(plot_speed(&many[..6]).is_ok());
        assert_eq!(
            plot_speed(&many),
            Err(ReportError::TooManySeries { found: 7, most: 6 })
        );
    }

    proptest! {
        #[test]
        fn any_durations_can_be_drawn(
            nanos in prop::collection::vec(any::<u64>(), 1..4), batches in prop::collection::vec(any::<u64>(), 1..6),
        ) {
            let durations: Vec<_> = nanos.into_iter().map(Duration::from_nanos).collect();
            let latencies: Vec<_> =
                batches.iter().map(|&batch| Latency::from_durations(&durations, batch).unwrap()).collect();
            let document = plot_speed(&[Speed { name: "any", latencies: &latencies }]).unwrap().to_svg();
            prop_assert!(document.trim_end().ends_with("</svg>") && !document.contains("NaN"));
        }
    }
}
