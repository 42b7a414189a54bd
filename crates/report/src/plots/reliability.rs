//! Whether a model is as sure as it is right, as a plot.

use plotters::prelude::*;

use super::axes::{Axis, Ticks, axes};
use super::canvas::{Area, Drawn, FAINT, LEGEND_HEIGHT, Mark, dashed, legend, picture};
use crate::{Picture, ReportError};
use kiln_metrics::Calibration;

/// Width and height of one panel: the square within has sides of about the same length.
const PANEL: (u32, u32) = (440, 420);

/// The reliability diagram of Guo et al. 2017, 880 x 464 pixels. Left, for each bin of confidence
/// that has images, their accuracy at their mean confidence, and a line to perfect calibration,
/// where a model is exactly as sure as it is right: points below the diagonal are of one that is
/// too sure. Right, the share of all images in each bin.
pub fn plot_reliability(calibration: &Calibration) -> Result<Picture, ReportError> {
    let images: u64 = calibration.bins.iter().map(|bin| bin.images).sum();
    if images == 0 {
        return Err(ReportError::Empty { what: "images" });
    }
    picture((PANEL.0 * 2, PANEL.1 + LEGEND_HEIGHT as u32), |root| {
        legend(
            root,
            &[
                (Some(Mark::Training), "accuracy".into()),
                (None, "perfect calibration".into()),
            ],
        )?;
        let (_, below) = root.split_vertically(LEGEND_HEIGHT);
        let (left, right) = below.split_horizontally(PANEL.0 as i32);
        accuracies(&left, calibration)?;
        shares(&right, calibration, images as f64)
    })
}

/// 0 to 1, with a little room for points at the ends.
fn unit() -> Axis {
    Axis {
        range: -0.02..1.02,
        ticks: Ticks::new(0.0, 1.0, 6),
    }
}

fn accuracies(area: &Area<'_>, calibration: &Calibration) -> Drawn {
    let chart = axes(area, (unit(), "confidence"), (unit(), "accuracy"))?;
    let screen = area.use_screen_coord();
    dashed(
        &screen,
        chart.backend_coord(&(0.0, 0.0)),
        chart.backend_coord(&(1.0, 1.0)),
    )?;
    for bin in calibration.bins.iter().filter(|bin| bin.images > 0) {
        let [point, ideal] =
            [bin.accuracy, bin.confidence].map(|y| chart.backend_coord(&(bin.confidence, y)));
        screen.draw(&PathElement::new(
            [point, ideal],
            Mark::Training.color().stroke_width(2),
        ))?;
        Mark::Training.draw(&screen, point)?;
    }
    Ok(())
}

fn shares(area: &Area<'_>, calibration: &Calibration, images: f64) -> Drawn {
    let share = |bin: u64| bin as f64 / images;
    let largest = calibration
        .bins
        .iter()
        .map(|bin| share(bin.images))
        .fold(0.0, f64::max);
    let range = 0.0..largest * 1.08;
    let ticks = Ticks::new(range.start, range.end, 6);
    let chart = axes(
        area,
        (unit(), "confidence"),
        (Axis { range, ticks }, "share of all images"),
    )?;
    let screen = area.use_screen_coord();
    let bins = calibration.bins.len() as f64;
    for (at, bin) in calibration
        .bins
        .iter()
        .enumerate()
        .filter(|(_, bin)| bin.images > 0)
    {
        let (left, top) = chart.backend_coord(&(at as f64 / bins, share(bin.images)));
        let (right, bottom) = chart.backend_coord(&((at + 1) as f64 / bins, 0.0));
        // A share of one image in thousands is seen too.
        let bar = [(left + 1, top.min(bottom - 1)), (right - 1, bottom)];
        screen.draw(&Rectangle::new(bar, FAINT.filled()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use kiln_metrics::CalibrationBin;

    fn calibration(bins: Vec<CalibrationBin>) -> Calibration {
        Calibration { ece: 0.0, bins }
    }

    #[test]
    fn only_bins_with_images_are_drawn() {
        let empty = CalibrationBin::default();
        let full = |images, confidence, accuracy| CalibrationBin {
            images,
            confidence,
            accuracy,
        };
        let some = calibration(vec![empty, full(3, 0.5, 1.0), full(1, 0.9, 0.0)]);
        let document = plot_reliability(&some).unwrap().to_svg();
        // A point each, and one in the legend.
        assert_eq!(document.matches("<circle").count(), 3);
        assert_eq!(
            plot_reliability(&calibration(vec![empty])),
            Err(ReportError::Empty { what: "images" })
        );
    }

    #[test]
    fn a_point_below_the_diagonal_is_of_a_model_that_is_too_sure() {
        let at = |accuracy| {
            let bin = CalibrationBin {
                images: 1,
                confidence: 0.5,
                accuracy,
            };
            let document = plot_reliability(&calibration(vec![bin])).unwrap().to_svg();
            let circle = document.split("<circle").last().unwrap().to_owned();
            let y = circle
                .split("cy=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned();
            y.parse::<f64>().unwrap()
        };
        // Pixels are counted from above.
        assert!(at(0.25) > at(0.5) && at(0.5) > at(0.75));
    }

    proptest! {
        #[test]
        fn any_bins_can_be_drawn(
            bins in prop::collection::vec((0_u64..1 << 40, 0.0..=1.0_f64, 0.0..=1.0_f64), 1..20),
        ) {
            prop_assume!(bins.iter().any(|bin| bin.0 > 0));
            let bins = bins.into_iter().map(|(images, confidence, accuracy)| CalibrationBin { images, confidence, accuracy });
            let document = plot_reliability(&calibration(bins.collect())).unwrap().to_svg();
            prop_assert!(document.trim_end().ends_with("</svg>") && !document.contains("NaN"));
        }
    }
}
