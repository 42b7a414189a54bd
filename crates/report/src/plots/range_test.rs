//! The loss by learning rate, of a learning-rate range test.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Logarithmic, Ticks, axes, roomy};
use super::canvas::{
    Area, Drawn, FAINT, INK, LEGEND_HEIGHT, Mark, TEXT, dashed, legend, parts_below, picture, text,
    width,
};
use crate::{Picture, ReportError};

/// Width and height of the plot without its legend.
const PANEL: (u32, u32) = (760, 420);
/// Pixels between a line and its text.
const GAP: i32 = 6;
/// Height in pixels of a line of text.
const LINE: i32 = 18;

/// A step of a range test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RangePoint {
    /// Learning rate of the step, above 0.
    pub learning_rate: f64,
    /// Loss of the step.
    pub loss: f64,
    /// The loss, smoothed.
    pub smoothed: f64,
}

/// Draws the loss by learning rate, whose axis is logarithmic, 760 x 464 pixels: each step's as a point, the smoothed one as
/// a line. At some learning rates there is a dashed line with a text.
///
/// The axis ends at the largest loss before the lowest smoothed one: a loss that grows beyond all bounds leaves
/// the picture.
///
/// # Errors
///
/// [`ReportError::Empty`] without a step whose values can be drawn.
pub fn plot_range_test(
    steps: &[RangePoint],
    marked: &[(f64, String)],
) -> Result<Picture, ReportError> {
    let drawable = |step: &&RangePoint| {
        let positive = step.learning_rate > 0.0 && step.learning_rate.is_finite();
        let within = |value: f64| value.abs() <= f64::from(f32::MAX);
        positive && within(step.loss) && within(step.smoothed)
    };
    let steps: Vec<RangePoint> = steps.iter().filter(drawable).copied().collect();
    if steps.is_empty() {
        return Err(ReportError::Empty { what: "steps" });
    }
    picture((PANEL.0, PANEL.1 + LEGEND_HEIGHT as u32), |root| {
        let smoothed = (Some(Mark::Training), "smoothed".to_owned());
        legend(root, &[smoothed])?;
        let (_, below) = root.split_vertically(LEGEND_HEIGHT);
        draw(&below, &steps, marked)
    })
}

fn draw(area: &Area<'_>, steps: &[RangePoint], marked: &[(f64, String)]) -> Drawn {
    let lowest = steps
        .iter()
        .enumerate()
        .min_by(|(_, a), (_, b)| a.smoothed.total_cmp(&b.smoothed))
        .map_or(0, |(at, _)| at);
    let falling = steps[..=lowest].iter().map(|step| step.loss);
    let range = roomy(falling.chain([steps[lowest].smoothed]), 0.01);
    let top = range.end;
    let mut ticks = Ticks::new(range.start, range.end, 6);
    ticks.at.retain(|&tick| tick >= 0.0);
    let rates = steps.iter().map(|step| step.learning_rate);
    let chart = axes(
        area,
        (Logarithmic::around(rates), "learning rate"),
        (Axis { range, ticks }, "loss"),
    )?;
    let screen = area.use_screen_coord();
    let plot = chart.plotting_area();
    let (across, down) = plot.get_pixel_range();
    for step in steps.iter().filter(|step| step.loss <= top) {
        let (x, y) = chart.backend_coord(&(step.learning_rate, step.loss));
        if down.contains(&y) {
            screen.draw(&Circle::new((x, y), 2, FAINT.filled()))?;
        }
    }
    // Straight on the logarithmic axis.
    let line: Vec<(f64, f64)> = steps
        .iter()
        .map(|step| (step.learning_rate.ln(), step.smoothed))
        .collect();
    for part in parts_below(&line, top) {
        let pixels = part
            .iter()
            .map(|&(x, y)| chart.backend_coord(&(x.exp(), y)));
        let color = Mark::Training.color().stroke_width(2);
        screen.draw(&PathElement::new(pixels.collect::<Vec<_>>(), color))?;
    }
    let mut marked: Vec<_> = marked.iter().collect();
    marked.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    for (at, (rate, name)) in marked.iter().enumerate() {
        let (x, _) = chart.backend_coord(&(*rate, top));
        if !across.contains(&x) {
            continue;
        }
        dashed(&screen, (x, down.start), (x, down.end))?;
        // On the side where the other lines are not, if there is room.
        let wide = GAP + width(name, TEXT);
        let fits = [x - wide >= across.start, x + wide < across.end];
        let is_left = match fits {
            [true, true] => at + 1 < marked.len(),
            [left, _] => left,
        };
        let (side, x) = if is_left {
            (HPos::Right, x - GAP)
        } else {
            (HPos::Left, x + GAP)
        };
        // Below one another, since lines may be close.
        let y = down.start + 4 + at as i32 * LINE;
        let style = text(TEXT, INK, side, VPos::Top);
        screen.draw(&Text::new(name.as_str(), (x, y), style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(learning_rate: f64, loss: f64) -> RangePoint {
        RangePoint {
            learning_rate,
            loss,
            smoothed: loss,
        }
    }

    #[test]
    fn a_loss_that_explodes_leaves_the_picture() {
        let losses = [2.3, 2.2, 1.0, 0.5, 1.0, 900.0];
        let rates = (-6..0).map(|power| 10_f64.powi(power));
        let steps: Vec<_> = rates
            .zip(losses)
            .map(|(rate, loss)| point(rate, loss))
            .collect();
        let marked = [(1e-4, "suggested".to_owned()), (10.0, "outside".to_owned())];
        let document = plot_range_test(&steps, &marked).unwrap().to_svg();
        // A point of each step but the last, and the legend's.
        assert_eq!(document.matches("<circle").count(), 6);
        assert!(document.contains("suggested") && !document.contains("outside"));
        assert!(!document.contains("900"), "{document}");
    }

    #[test]
    fn without_a_step_there_is_no_picture() {
        let nothing = Err(ReportError::Empty { what: "steps" });
        assert_eq!(plot_range_test(&[], &[]), nothing);
        assert_eq!(plot_range_test(&[point(1.0, f64::NAN)], &[]), nothing);
    }

    proptest! {
        #[test]
        fn any_steps_can_be_drawn(steps in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>()), 1..60)) {
            let points = steps.iter().map(|&(learning_rate, loss, smoothed)| RangePoint { learning_rate, loss, smoothed });
            let marked: Vec<_> = steps.iter().map(|step| (step.0, "here".to_owned())).collect();
            if let Ok(picture) = plot_range_test(&points.collect::<Vec<_>>(), &marked) {
                let document = picture.to_svg();
                prop_assert!(document.trim_end().ends_with("</svg>") && !document.contains("NaN"));
            }
        }
    }
}
