//! Training curves: loss and accuracy by epoch.

use std::ops::RangeInclusive;

use super::canvas::{LEGEND_HEIGHT, Mark, legend, picture};
use super::panel::{PANEL, Panel, Series, drawable};
use crate::{Picture, ReportError};

/// A metric drawn by epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// Mean cross-entropy.
    Loss,
    /// Share of images classified correctly.
    Accuracy,
}

impl Curve {
    /// Returns the metric's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
        }
    }

    /// Returns the values that the metric can have.
    pub(super) fn possible(self) -> RangeInclusive<f64> {
        match self {
            Self::Loss => 0.0..=f64::INFINITY,
            Self::Accuracy => 0.0..=1.0,
        }
    }

    /// The metric's value for training and for validation.
    pub(super) fn values(self, epoch: &EpochMetrics) -> [Option<f64>; 2] {
        match self {
            Self::Loss => [Some(epoch.train_loss), epoch.val_loss],
            Self::Accuracy => [Some(epoch.train_accuracy), epoch.val_accuracy],
        }
    }

    fn series(self, epochs: &[EpochMetrics]) -> [Series; 2] {
        let marks = [Mark::Training, Mark::Validation];
        let values = |at: usize| epochs.iter().map(move |e| (e.epoch, self.values(e)[at]));
        [0, 1].map(|at| Series::new(marks[at], drawable(values(at))))
    }
}

/// Draws loss and accuracy by epoch, side by side, for training and validation, 1000 x 400 pixels.
///
/// Epochs are drawn in the order given. `best` is marked where it is among them. Missing, NaN and
/// infinite values leave a gap.
///
/// Where the loss of the first epochs is more than four times as high as the others reach, the axis
/// ends below it; arrows and a number tell so.
pub fn plot_curves(epochs: &[EpochMetrics], best: Option<u32>) -> Result<Picture, ReportError> {
    draw(&[Curve::Loss, Curve::Accuracy], epochs, best)
}

/// Draws one half of [`plot_curves`], 500 x 400 pixels: to be shown where a page may be narrow.
pub fn plot_curve(
    curve: Curve,
    epochs: &[EpochMetrics],
    best: Option<u32>,
) -> Result<Picture, ReportError> {
    draw(&[curve], epochs, best)
}

fn draw(
    curves: &[Curve],
    epochs: &[EpochMetrics],
    best: Option<u32>,
) -> Result<Picture, ReportError> {
    let numbers = || epochs.iter().map(|e| e.epoch);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else {
        return Err(ReportError::Empty { what: "epochs" });
    };
    let best = best.filter(|best| numbers().any(|epoch| epoch == *best));
    let series: Vec<_> = curves.iter().map(|curve| curve.series(epochs)).collect();
    let panels: Vec<Panel<'_>> = curves
        .iter()
        .zip(&series)
        .map(|(curve, series)| Panel {
            name: curve.name(),
            epochs: first..=last,
            series,
            possible: curve.possible(),
            best,
        })
        .collect();
    let mut marks: Vec<Mark> = series
        .iter()
        .flatten()
        .filter(|series| series.has_values())
        .map(|series| series.mark)
        .collect();
    marks.sort();
    marks.dedup();
    let best_epoch = best.map(|epoch| (None, format!("best epoch: {epoch}")));
    let entries: Vec<_> = marks
        .iter()
        .map(|mark| (Some(*mark), mark.name().to_owned()))
        .chain(best_epoch)
        .collect();
    let size = (
        PANEL.0 * panels.len() as u32,
        PANEL.1 + LEGEND_HEIGHT as u32,
    );
    picture(size, |root| {
        legend(root, &entries)?;
        let (_, below) = root.split_vertically(LEGEND_HEIGHT);
        below
            .split_evenly((1, panels.len()))
            .iter()
            .zip(&panels)
            .try_for_each(|(area, panel)| panel.draw(area))
    })
}

/// Metrics of one epoch. A value that is NaN or infinite counts as missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochMetrics {
    /// Number of the epoch, the first being 1.
    pub epoch: u32,
    /// Mean loss over the training set.
    pub train_loss: f64,
    /// Accuracy on the training set, 0 to 1.
    pub train_accuracy: f64,
    /// Mean loss over the validation set, if there is one.
    pub val_loss: Option<f64>,
    /// Accuracy on the validation set, 0 to 1, if there is one.
    pub val_accuracy: Option<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(epoch: u32, value: f64) -> EpochMetrics {
        let (loss, accuracy) = (value, value.mul_add(0.5, 0.1));
        EpochMetrics {
            epoch,
            train_loss: loss,
            train_accuracy: accuracy,
            val_loss: Some(loss),
            val_accuracy: Some(accuracy),
        }
    }

    fn svg(epochs: &[EpochMetrics], best: Option<u32>) -> String {
        plot_curves(epochs, best).unwrap().to_svg()
    }

    fn count(document: &str, what: &str) -> usize {
        document.matches(what).count()
    }

    #[test]
    fn one_epoch_draws_points() {
        let document = svg(&[epoch(1, 0.5)], Some(1));
        // One disc per panel and one in the legend.
        assert_eq!(count(&document, "<circle"), 3);
        assert!(document.contains("best epoch: 1"), "{document}");
    }

    #[test]
    fn one_curve_is_half_of_both() {
        let loss = plot_curve(Curve::Loss, &[epoch(1, 0.5), epoch(2, 0.25)], None)
            .unwrap()
            .to_svg();
        assert!(
            loss.starts_with("<svg width=\"500\" height=\"400\"") && loss.contains("loss"),
            "{loss}"
        );
        assert!(!loss.contains("accuracy"));
    }

    #[test]
    fn values_that_are_not_finite_leave_a_gap() {
        let epochs = [
            epoch(1, 0.5),
            epoch(2, f64::NAN),
            epoch(3, f64::INFINITY),
            epoch(4, 0.25),
        ];
        let document = svg(&epochs, None);
        assert_eq!(count(&document, "<circle"), 5);
        assert!(
            !document.contains("NaN") && !document.contains("inf") && !document.contains("best"),
            "{document}"
        );
    }

    #[test]
    fn without_validation_the_legend_names_none() {
        let epochs = [EpochMetrics {
            val_loss: None,
            val_accuracy: None,
            ..epoch(1, 0.5)
        }];
        let document = svg(&epochs, None);
        assert!(
            document.contains("training") && !document.contains("validation"),
            "{document}"
        );
    }

    #[test]
    fn without_any_value_the_panels_say_so() {
        let document = svg(&[epoch(1, f64::NAN)], Some(7));
        assert_eq!(count(&document, "no finite values"), 2);
        assert!(!document.contains("best epoch") && !document.contains("training"));
        assert_eq!(
            plot_curves(&[], None),
            Err(ReportError::Empty { what: "epochs" })
        );
    }

    proptest! {
        #[test]
        fn any_history_can_be_drawn(history in prop::collection::vec((any::<u32>(), any::<f64>()), 1..60)) {
            let epochs: Vec<_> = history.into_iter().map(|(number, value)| epoch(number, value)).collect();
            let document = svg(&epochs, Some(epochs[0].epoch));
            prop_assert!(document.trim_end().ends_with("</svg>"));
        }
    }

    #[test]
    fn the_value_of_an_epoch_that_the_axis_leaves_out_is_written() {
        let losses = [9.0, 0.5, 0.4, 0.3, 0.25];
        let epochs: Vec<_> = (1..)
            .zip(losses)
            .map(|(number, loss)| epoch(number, loss))
            .collect();
        let document = plot_curve(Curve::Loss, &epochs, None).unwrap().to_svg();
        let (before, _) = document.split_once("up to 9.000").expect("a label");
        let y = before
            .rsplit(" y=\"")
            .next()
            .and_then(|y| y.split('"').next());
        // At the top of the panel, not a legend's height below it.
        let y: f64 = y.unwrap().parse().unwrap();
        let top = f64::from(LEGEND_HEIGHT);
        assert!((top..top + 20.0).contains(&y), "{y}");
    }
}
