//! `[export]`: contents of the exported file.

use serde::Serialize;

use super::loss::LossFunction;
use crate::document::{Bound, Field, RecipeError, Section};

pub(super) const KEYS: &[&str] = &["softmax", "sigmoid", "threshold", "golden"];

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
}

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
    Ok(Export {
        softmax: section.boolean_or("softmax", false)?,
        sigmoid: section.boolean_or("sigmoid", false)?,
        threshold: section
            .get("threshold")
            .map(|field| threshold(&field, loss))
            .transpose()?,
        golden: section.boolean_or("golden", true)?,
    })
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
