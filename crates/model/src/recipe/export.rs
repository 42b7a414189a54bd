//! `[export]`: contents of the exported file.

use serde::Serialize;

use super::loss::LossFunction;
use crate::document::{Bound, Field, RecipeError, Section};

pub(super) const KEYS: &[&str] = &[
    "softmax",
    "sigmoid",
    "threshold",
    "golden",
    "quantize",
    "max_drop",
];

/// `[export]`: contents of the exported file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    /// Whether the graph ends in a softmax, giving probabilities in place of logits; not of a binary loss.
    pub softmax: bool,
    /// The same of a binary loss: whether the graph ends in a sigmoid.
    #[serde(skip_serializing_if = "is_false")]
    pub sigmoid: bool,
    /// What the probability of a class has to exceed, of a binary loss; without it, 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Whether the file contains golden vectors: test images with the scores that Burn computes for
    /// them.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub golden: bool,
    /// The smaller copy of the model that is made beside it, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Quantize>,
    /// Accuracy on the validation images that the smaller copy may lose, 0 to 1; any if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<f64>,
}

/// How a smaller copy of the model is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantize {
    /// Weights and activations are 8-bit integers.
    Int8,
    /// Weights alone are 8-bit integers.
    WeightsOnly,
    /// Weights alone are in half precision.
    Fp16,
}

kiln_util::str_enum!(Quantize: Serialize {
    Int8 = "int8",
    WeightsOnly = "weights_only",
    Fp16 = "fp16",
});

/// What the probability of a class has to exceed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Threshold {
    /// `"best_f1"`: for each class what gives the largest F1 on the validation images.
    #[serde(serialize_with = "best_f1")]
    BestF1,
    /// One number for all scores, 0 to 1.
    All(f32),
    /// One for each score.
    Each(Vec<f32>),
}

fn best_f1<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("best_f1")
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Export {
    /// Returns whether the graph gives probabilities.
    pub const fn probabilities(&self) -> bool {
        self.softmax || self.sigmoid
    }

    /// The same with probabilities, by the function that the loss has.
    #[must_use]
    pub const fn with_probabilities(mut self, loss: LossFunction) -> Self {
        if loss.is_binary() {
            self.sigmoid = true;
        } else {
            self.softmax = true;
        }
        self
    }
}

/// Reads `[export]` of a model that is trained with this loss.
pub(super) fn parse(root: &Section<'_>, loss: LossFunction) -> Result<Export, RecipeError> {
    let section = root.sub("export", KEYS)?;
    let [wrong, right] = if loss.is_binary() {
        ["softmax", "sigmoid"]
    } else {
        ["sigmoid", "softmax"]
    };
    if section.boolean_or(wrong, false)?
        && let Some(field) = section.get(wrong)
    {
        return Err(field.error(format!(
            "probabilities of a model that is trained with `{}` are those of a {right}: set `export.{right} = true`",
            loss.name()
        )));
    }
    let quantize = match section.get("quantize") {
        Some(field) => Some(field.choice(&Quantize::WORDS)?),
        None => None,
    };
    Ok(Export {
        quantize,
        max_drop: section
            .get("max_drop")
            .map(|field| max_drop(&field, quantize, loss))
            .transpose()?,
        softmax: section.boolean_or("softmax", false)?,
        sigmoid: section.boolean_or("sigmoid", false)?,
        threshold: section
            .get("threshold")
            .map(|field| threshold(&field, loss))
            .transpose()?,
        golden: section.boolean_or("golden", true)?,
    })
}

fn max_drop(
    field: &Field<'_>,
    quantize: Option<Quantize>,
    loss: LossFunction,
) -> Result<f64, RecipeError> {
    if quantize.is_none() {
        return Err(field.error(
            "`max_drop` is what a smaller copy of the model may lose: set `export.quantize`, such as to \"int8\", or leave it out",
        ));
    }
    if loss.is_binary() {
        return Err(field.error(format!(
            "`max_drop` compares how many images are classified correctly, which are not counted with `{}`: leave it out",
            loss.name()
        )));
    }
    field.number(Bound::UpTo(1.0))
}

fn threshold(field: &Field<'_>, loss: LossFunction) -> Result<Threshold, RecipeError> {
    if !loss.is_binary() {
        return Err(field.error(format!(
            "`threshold` is of a binary loss, found `{}`, whose prediction is the most probable class: leave it out, or set \
             `training.loss`",
            loss.name()
        )));
    }
    if field.string().is_ok() {
        return field.choice(&[("best_f1", ())]).map(|()| Threshold::BestF1);
    }
    let number = |field: &Field<'_>| field.number(Bound::UpTo(1.0)).map(|value| value as f32);
    match field.array() {
        Ok(each) => each
            .iter()
            .map(number)
            .collect::<Result<_, _>>()
            .map(Threshold::Each),
        Err(_) => number(field).map(Threshold::All),
    }
}

/// Checks that there is a threshold for each of so many scores.
pub(super) fn check_threshold(
    root: &Section<'_>,
    export: &Export,
    scores: usize,
) -> Result<(), RecipeError> {
    match (&export.threshold, root.sub("export", KEYS)?.get("threshold")) {
        (Some(Threshold::Each(each)), Some(field)) if each.len() != scores => {
            Err(field.error(format!(
                "`export.threshold` has {} numbers, but there are {scores} scores: give one for each, one for all, or \
                 \"best_f1\"",
                each.len()
            )))
        }
        _ => Ok(()),
    }
}
