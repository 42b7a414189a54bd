//! Training curves of several runs in one plot.

use super::canvas::{LEGEND_HEIGHT, Mark, legend, picture};
use super::history::{Curve, EpochMetrics};
use super::panel::{PANEL, Panel, Series, drawable};
use crate::{Picture, ReportError};

/// A run's epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunEpochs<'a> {
    /// Name in the legend: short, since all are in one row.
    pub name: &'a str,
    /// In order; may be empty.
    pub epochs: &'a [EpochMetrics],
}

/// Draws a metric of several runs by epoch, 500 x 400 pixels: each run in a color of its own, validation with a mark
/// for each epoch, training as a thin line. Missing, NaN and infinite values leave a gap.
///
/// # Errors
///
/// No run has an epoch, or there are more than six runs.
pub fn plot_runs(curve: Curve, runs: &[RunEpochs<'_>]) -> Result<Picture, ReportError> {
    if runs.len() > Mark::COUNT {
        return Err(ReportError::TooManySeries {
            found: runs.len(),
            most: Mark::COUNT,
        });
    }
    let numbers = || runs.iter().flat_map(|run| run.epochs).map(|e| e.epoch);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else {
        return Err(ReportError::Empty { what: "epochs" });
    };
    let series = |subset: usize| {
        runs.iter().enumerate().map(move |(at, run)| {
            let values = run.epochs.iter();
            let values = values.map(move |e| (e.epoch, curve.values(e)[subset]));
            Series {
                is_faint: subset == 0,
                ..Series::new(Mark::Series(at), drawable(values))
            }
        })
    };
    // Validation over training.
    let series: Vec<Series> = series(0).chain(series(1)).collect();
    let panel = Panel {
        name: curve.name(),
        epochs: first..=last,
        series: &series,
        possible: curve.possible(),
        best: None,
    };
    let names = runs.iter().enumerate();
    let names = names.map(|(at, run)| (Some(Mark::Series(at)), run.name.to_owned()));
    let names: Vec<_> = names.collect();
    let size = (PANEL.0, PANEL.1 + LEGEND_HEIGHT as u32);
    picture(size, |root| {
        legend(root, &names)?;
        let (_, below) = root.split_vertically(LEGEND_HEIGHT);
        panel.draw(&below)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(losses: &[f64]) -> Vec<EpochMetrics> {
        let epoch = |(epoch, &loss): (u32, &f64)| EpochMetrics {
            epoch,
            train_loss: loss,
            train_accuracy: 0.5,
            val_loss: Some(loss / 2.0),
            val_accuracy: None,
        };
        (1..).zip(losses).map(epoch).collect()
    }

    #[test]
    fn each_run_has_a_color_and_validation_has_the_marks() {
        let [a, b] = [epochs(&[1.0, 0.5, 0.25]), epochs(&[0.9, 0.6])];
        let runs = [
            RunEpochs {
                name: "A",
                epochs: &a,
            },
            RunEpochs {
                name: "B",
                epochs: &b,
            },
        ];
        let document = plot_runs(Curve::Loss, &runs).unwrap().to_svg();
        assert!(
            document.starts_with("<svg width=\"500\" height=\"400\""),
            "{document}"
        );
        assert!(document.contains(">A</text>") && document.contains(">B</text>"));
        // Three epochs and the legend; none for training.
        assert_eq!(document.matches("<circle").count(), 4);
    }

    #[test]
    fn too_many_runs_and_none_are_refused() {
        let run = RunEpochs {
            name: "A",
            epochs: &[],
        };
        let empty = plot_runs(Curve::Loss, &[run]);
        assert_eq!(empty, Err(ReportError::Empty { what: "epochs" }));
        let found = plot_runs(Curve::Accuracy, &[run; 7]);
        assert_eq!(found, Err(ReportError::TooManySeries { found: 7, most: 6 }));
    }
}
