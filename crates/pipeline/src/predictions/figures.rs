//! Figures computed from rows of predictions: what an evaluation counts, without a model.

use kiln_inference::{Model, OutputKind};
use kiln_metrics::{
    Evaluation, Evaluator, MostConfident, ScoreKind, SeveralEvaluation, SeveralEvaluator,
};
use serde::{Deserialize, Serialize};

use super::row::Row;
use crate::error::Result;
use crate::error::predictions::PredictionsError;
use crate::inputs::SEPARATOR;

/// An image whose predicted class is not its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Place of the image among all images of the source, from 0.
    pub index: u64,
    /// The path of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its class.
    pub label: String,
    /// The predicted class.
    pub predicted: String,
    /// The probability of the predicted class, 0 to 1.
    pub probability: f32,
}

/// What of a model decides how its scores become figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// What scores are.
    kind: ScoreKind,
    /// Whether an image can have several classes.
    several: bool,
    /// Probabilities from which on an image has a class; of one with one class none, or that of the second of two.
    thresholds: Vec<f32>,
}

impl Scoring {
    /// Returns that of a model.
    pub fn of(model: &Model) -> Self {
        let spec = model.spec();
        Self {
            kind: score_kind(model),
            several: spec.has_several(),
            thresholds: spec.thresholds.clone(),
        }
    }

    /// Returns what scores are.
    const fn kind(&self) -> ScoreKind {
        self.kind
    }

    /// An evaluator, which decides between two classes with one score by its threshold.
    pub(crate) fn evaluator(&self, classes: &[String]) -> Result<Evaluator> {
        let evaluator = Evaluator::new(classes.to_vec())?;
        Ok(match self.thresholds.as_slice() {
            [threshold] if !self.several => evaluator.with_threshold(*threshold)?,
            _ => evaluator,
        })
    }
}

/// Which figures there are besides those that always are.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct FiguresOptions {
    /// Measures accuracy among this many most probable classes too.
    pub top_k: Option<usize>,
    /// Number of most confident errors to keep.
    pub mistakes: usize,
}

/// What was measured on labeled images.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Figures {
    /// On images with one class each.
    One {
        /// Metrics.
        #[serde(flatten)]
        evaluation: Box<Evaluation>,
        /// The most confident errors.
        mistakes: Vec<Mistake>,
        /// Number of all errors.
        #[serde(skip)]
        wrong: u64,
    },
    /// On images with any number of classes.
    Several(Box<SeveralEvaluation>),
}

/// Figures that are being counted, in memory that does not grow with the images.
pub(crate) struct FiguresTally(Counted);

enum Counted {
    One(Box<OneTally>),
    Several {
        classes: Vec<String>,
        evaluator: Box<SeveralEvaluator>,
    },
}

impl FiguresTally {
    /// Begins with nothing counted.
    pub fn new(classes: &[String], scoring: &Scoring, options: &FiguresOptions) -> Result<Self> {
        Ok(Self(if scoring.several {
            let evaluator = SeveralEvaluator::new(classes.to_vec(), scoring.thresholds.clone())?;
            Counted::Several {
                classes: classes.to_vec(),
                evaluator: Box::new(evaluator),
            }
        } else {
            Counted::One(Box::new(OneTally::new(classes, scoring, options)?))
        }))
    }

    /// Counts a row.
    pub fn row(&mut self, row: &Row<'_>) -> Result<()> {
        match &mut self.0 {
            Counted::One(one) => one.row(row),
            Counted::Several { classes, evaluator } => several_row(evaluator, classes, row),
        }
    }

    /// Computes the figures of what was counted.
    pub fn finish(self) -> Result<Figures> {
        Ok(match self.0 {
            Counted::One(one) => {
                let (evaluation, mistakes, wrong) = one.finish()?;
                Figures::One {
                    evaluation: Box::new(evaluation),
                    mistakes,
                    wrong,
                }
            }
            Counted::Several { evaluator, .. } => Figures::Several(Box::new(evaluator.finish()?)),
        })
    }
}

/// Counts a row of an image that has any number of classes.
pub(crate) fn several_row(
    evaluator: &mut SeveralEvaluator,
    classes: &[String],
    row: &Row<'_>,
) -> Result<()> {
    let names = row.label.as_deref().unwrap_or_default();
    let names = names.split(SEPARATOR).filter(|name| !name.is_empty());
    let labels = names.map(|name| label_of(row.index, name, classes));
    let labels = labels.collect::<Result<Vec<u32>>>()?;
    Ok(evaluator.push(&row.probabilities, &labels)?)
}

/// Figures of images with one class each.
pub(crate) struct OneTally {
    classes: Vec<String>,
    scoring: Scoring,
    evaluator: Evaluator,
    mistakes: MostConfident<Mistake>,
}

impl OneTally {
    pub fn new(classes: &[String], scoring: &Scoring, options: &FiguresOptions) -> Result<Self> {
        let mut evaluator = scoring.evaluator(classes)?;
        if let Some(k) = options.top_k {
            evaluator = evaluator.with_top_k(k);
        }
        Ok(Self {
            classes: classes.to_vec(),
            scoring: scoring.clone(),
            evaluator,
            mistakes: MostConfident::new(options.mistakes),
        })
    }

    /// Counts a row as the image was counted at first.
    pub fn row(&mut self, row: &Row<'_>) -> Result<()> {
        let name = row.label.as_deref().unwrap_or_default();
        let label = label_of(row.index, name, &self.classes)?;
        let scores = if row.logits.is_empty() {
            &row.probabilities
        } else {
            &row.logits
        };
        self.push(scores, label)?;
        let names = [name, &row.predicted];
        self.mistake(row.index, row.path.as_deref(), names, row.probability);
        Ok(())
    }

    pub fn push(&mut self, scores: &[f32], label: u32) -> Result<()> {
        Ok(self
            .evaluator
            .push_scores(scores, &[label], self.scoring.kind())?)
    }

    pub fn mistake(
        &mut self,
        index: u64,
        path: Option<&str>,
        [label, predicted]: [&str; 2],
        probability: f32,
    ) {
        if label != predicted {
            self.mistakes.push(probability, || Mistake {
                index,
                path: path.map(str::to_owned),
                label: label.to_owned(),
                predicted: predicted.to_owned(),
                probability,
            });
        }
    }

    /// Returns the metrics, the most confident errors, and the number of all.
    pub fn finish(self) -> Result<(Evaluation, Vec<Mistake>, u64)> {
        let wrong = self.mistakes.seen();
        Ok((self.evaluator.finish()?, self.mistakes.into_sorted(), wrong))
    }
}

/// The number of the class that an image's line of predictions names.
fn label_of(index: u64, name: &str, classes: &[String]) -> Result<u32> {
    let label = classes.iter().position(|class| class == name);
    let unknown = || PredictionsError::Label {
        index,
        label: name.into(),
    };
    Ok(label.ok_or_else(unknown)? as u32)
}

/// What a model's scores are to the metrics.
pub(crate) fn score_kind(model: &Model) -> ScoreKind {
    match model.output_kind() {
        OutputKind::Logits | OutputKind::LogProbabilities => ScoreKind::Logits,
        OutputKind::Probabilities if model.spec().scores.is_quantized => {
            ScoreKind::RoundedProbabilities
        }
        OutputKind::Probabilities => ScoreKind::Probabilities,
        OutputKind::Sigmoid | OutputKind::SigmoidLogits => ScoreKind::Independent,
    }
}
