//! What an evaluation looks like.

use kiln_metrics::Evaluation;
use kiln_report::{Figure, plot_confusion, plot_reliability};

/// The confusion matrix in counts and in shares, and the reliability diagram.
pub fn evaluation(evaluation: &Evaluation) -> anyhow::Result<Vec<Figure>> {
    let labels = evaluation.labels();
    let confusion = |name: &str, normalised, caption: &str| -> anyhow::Result<Figure> {
        let picture = plot_confusion(&evaluation.confusion, &labels, normalised)?;
        Ok(Figure {
            name: name.into(),
            picture,
            caption: caption.into(),
        })
    };
    let mut figures = vec![
        confusion("confusion", false, "Confusion matrix: number of images")?,
        confusion(
            "confusion-normalised",
            true,
            "Confusion matrix: share of the true class",
        )?,
    ];
    if let Some(calibration) = &evaluation.calibration {
        figures.push(Figure {
            name: "reliability".into(),
            picture: plot_reliability(calibration)?,
            caption: format!(
                "Reliability: accuracy by confidence, the probability of the predicted class; expected calibration error {:.4}",
                calibration.ece
            ),
        });
    }
    Ok(figures)
}
