//! The live view of a training on a terminal: the epoch, the whole run, and the losses so far.

use std::time::Duration;

use indicatif::ProgressBar;
use kiln_model::Monitor;
use kiln_run::{Epoch, History};
use kiln_trainer::BatchReport;
use kiln_util::{duration, percent, thousands};

use crate::terminal::Terminal;

/// At most this many epochs in the line of blocks.
const DRAWN: usize = 20;
/// Epochs that tell how long the next one takes.
const RECENT: usize = 5;

/// Less time than this measures nothing.
const MEASURED: Duration = Duration::from_millis(500);

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct SoFar<'a> {
    /// Number of epochs of the whole run.
    pub epochs: usize,
    /// The epochs before the current one.
    pub history: &'a History,
    /// Number of those that belong to earlier phases.
    pub before_phase: usize,
    /// Time since the current epoch began.
    pub elapsed: Duration,
}

/// Three lines that are redrawn after every batch. Without a terminal nothing is drawn.
#[derive(Debug, Default)]
pub struct Live {
    bar: Option<ProgressBar>,
}

impl Live {
    /// Draws the progress of the epoch and of the run. `title` is `Epoch` or `Validating`.
    pub fn show(
        &mut self,
        terminal: &Terminal,
        title: &str,
        report: BatchReport,
        so_far: SoFar<'_>,
    ) {
        let epochs = so_far.epochs;
        let bar = self.bar.get_or_insert_with(|| {
            let width = epochs.to_string().len();
            let first = format!("{title:>12} {:>width$}/{epochs}", report.epoch);
            let of = "{human_pos}/{human_len}";
            terminal.bar(
                report.total as u64,
                &format!("{first} {{wide_bar:.green}} {of}{{prefix}}\n{{msg}}"),
                "images",
            )
        });
        bar.set_position(report.done as u64);
        let (left, rate) = speed(bar.elapsed(), bar.eta(), bar.per_sec());
        bar.set_prefix(left);
        let (loss, accuracy) = (report.loss, percent(report.accuracy));
        let figures = format!("{:>12} loss {loss:.4}  accuracy {accuracy}{rate}", "");
        bar.set_message(format!("{figures}\n{}", whole(report, so_far)));
        if report.done >= report.total {
            self.clear();
        }
    }

    /// Returns whether drawing is disabled.
    pub fn is_hidden(&self) -> bool {
        self.bar.as_ref().is_some_and(ProgressBar::is_hidden)
    }

    /// Erases the lines.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// What is left of the epoch and the rate, each with the space before it; nothing while there is
/// hardly anything to measure.
fn speed(elapsed: Duration, left: Duration, rate: f64) -> (String, String) {
    if elapsed < MEASURED {
        return (String::new(), String::new());
    }
    let left = format!(" {} left", duration(left.as_secs_f64()));
    (
        left,
        format!("  {} images/s", thousands(rate.round() as usize)),
    )
}

/// The line about the whole run.
fn whole(report: BatchReport, so_far: SoFar<'_>) -> String {
    let history = so_far.history;
    let unknown = history.epochs.len() == so_far.before_phase && so_far.elapsed < MEASURED;
    let left = if unknown && history.epochs.is_empty() {
        format!("{:>12} begins", "Run")
    } else if unknown {
        format!("{:>12} in its next phase", "Run")
    } else {
        format!("{:>12} {} left", "Run", duration(left(report, so_far)))
    };
    let Some(best) = history.best() else {
        return left;
    };
    let (name, figure): (_, fn(&Epoch) -> f64) = match history.monitor {
        Monitor::ValLoss => ("val_loss", |epoch| epoch.val_loss),
        Monitor::ValAccuracy => ("val_accuracy", |epoch| epoch.val_accuracy),
        Monitor::ValMacroF1 => ("val_macro_f1", |epoch| {
            epoch.val_macro_f1.unwrap_or_default()
        }),
    };
    let shown = match history.monitor {
        Monitor::ValLoss => format!("{:.4}", best.val_loss),
        Monitor::ValAccuracy => percent(best.val_accuracy),
        Monitor::ValMacroF1 => format!("{:.4}", best.val_macro_f1.unwrap_or_default()),
    };
    let figures: Vec<f64> = history.epochs.iter().map(figure).collect();
    let blocks = spark_line(&figures[figures.len().saturating_sub(DRAWN)..]);
    format!(
        "{left}  best {name} {shown} in epoch {}  {blocks}",
        best.epoch
    )
}

/// Seconds that the run will take if the epochs to come are as long as the last ones of this phase,
/// or as this one so far.
fn left(report: BatchReport, so_far: SoFar<'_>) -> f64 {
    let SoFar {
        epochs, history, ..
    } = so_far;
    let elapsed = so_far.elapsed.as_secs_f64();
    let of_phase = history
        .epochs
        .get(so_far.before_phase..)
        .unwrap_or_default();
    let recent = &of_phase[of_phase.len().saturating_sub(RECENT)..];
    let epoch = if recent.is_empty() {
        elapsed * report.total as f64 / report.done.max(1) as f64
    } else {
        recent.iter().map(|epoch| epoch.seconds).sum::<f64>() / recent.len() as f64
    };
    (epoch - elapsed).max(0.0) + epoch * epochs.saturating_sub(report.epoch) as f64
}

/// Values as a line of blocks, the lowest as the lowest block; one that is not finite leaves a gap.
fn spark_line(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    let block = |&value: &f64| match value {
        value if !value.is_finite() => ' ',
        _ if high <= low => BLOCKS[0],
        value => BLOCKS[((value - low) / (high - low) * 7.0).round() as usize],
    };
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use kiln_model::Monitor;
    use kiln_run::Epoch;

    use super::*;

    fn history(losses: &[f64]) -> History {
        let epoch = |(at, &val_loss): (usize, &f64)| Epoch {
            epoch: at + 1,
            train_loss: 1.0,
            train_accuracy: 0.5,
            val_loss,
            val_accuracy: 0.75,
            val_macro_f1: None,
            learning_rate: 1.0,
            seconds: 20.0,
            penalty: None,
            images_per_second: None,
        };
        History {
            epochs: losses.iter().enumerate().map(epoch).collect(),
            monitor: Monitor::ValLoss,
        }
    }

    fn so_far(history: &History, elapsed: Duration) -> SoFar<'_> {
        SoFar {
            epochs: 4,
            history,
            before_phase: 0,
            elapsed,
        }
    }

    fn report(epoch: usize, done: usize) -> BatchReport {
        BatchReport {
            epoch,
            done,
            total: 100,
            loss: 0.5,
            accuracy: 0.9,
        }
    }

    #[test]
    fn a_line_of_blocks_follows_the_values() {
        assert_eq!(spark_line(&[8.0, 4.0, 1.0, f64::NAN, 2.0]), "█▄▁ ▂");
        assert_eq!(spark_line(&[3.0, 3.0]), "▁▁");
        assert_eq!(spark_line(&[f64::INFINITY]), " ");
        assert_eq!(spark_line(&[]), "");
    }

    #[test]
    fn what_is_left_follows_from_this_epoch_and_then_from_the_last_ones() {
        let seconds = |report, history: &History, elapsed| {
            left(report, so_far(history, Duration::from_secs(elapsed))) as u64
        };
        // A quarter of the first of four epochs took 10 s.
        assert_eq!(seconds(report(1, 25), &history(&[]), 10), 30 + 3 * 40);
        assert_eq!(seconds(report(3, 50), &history(&[1.0, 0.5]), 12), 8 + 20);
        // Longer than the others: nothing is left of it.
        assert_eq!(seconds(report(4, 50), &history(&[1.0, 0.5, 0.4]), 60), 0);
        // The second epoch is the first of a phase: how long those before took tells nothing.
        let history = history(&[1.0]);
        let second = SoFar {
            before_phase: 1,
            ..so_far(&history, Duration::from_secs(2))
        };
        assert_eq!(left(report(2, 50), second) as u64, 2 + 2 * 4);
        let first_moments = SoFar {
            elapsed: Duration::ZERO,
            ..second
        };
        let line = whole(report(2, 1), first_moments);
        assert!(line.contains("Run in its next phase  best"), "{line}");
    }

    #[test]
    fn nothing_is_said_of_speed_before_there_is_something_to_measure() {
        let speed = |millis| {
            speed(
                Duration::from_millis(millis),
                Duration::from_secs(7),
                5_220_723.0,
            )
        };
        assert_eq!(speed(1), (String::new(), String::new()));
        assert_eq!(
            speed(500),
            (" 7.0 s left".into(), "  5,220,723 images/s".into())
        );
        assert_eq!(
            whole(
                report(1, 1),
                so_far(&history(&[]), Duration::from_millis(1))
            ),
            "         Run begins"
        );
    }

    #[test]
    fn the_line_of_the_run_names_the_best_epoch() {
        let line = whole(
            report(4, 1),
            so_far(&history(&[1.0, 0.25, 0.5]), Duration::ZERO),
        );
        assert_eq!(
            line,
            "         Run 20.0 s left  best val_loss 0.2500 in epoch 2  █▁▃"
        );
        let by_accuracy = History {
            monitor: Monitor::ValAccuracy,
            ..history(&[1.0, 0.25])
        };
        let line = whole(report(4, 1), so_far(&by_accuracy, Duration::ZERO));
        assert_eq!(
            line,
            "         Run 20.0 s left  best val_accuracy 75.00 % in epoch 1  ▁▁"
        );
        assert!(whole(report(1, 1), so_far(&history(&[]), MEASURED)).ends_with("left"));
    }
}
