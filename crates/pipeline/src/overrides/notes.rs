//! What is assumed about a model because nobody specifies it.

use kiln_inference::{Model, Origin};
use kiln_model::repeated_label;

/// Something that makes results of a model say less than they seem to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Nobody names the classes: they are called by their numbers, from 0.
    UnnamedClasses {
        /// Number of classes.
        classes: usize,
    },
    /// Two classes have one name, as in `ImageNet`'s list of short names.
    RepeatedName {
        /// The number of one.
        first: usize,
        /// The number of the other.
        second: usize,
        /// The name.
        name: String,
    },
    /// Nobody specifies what the output is: it is taken for logits.
    AssumedLogits,
}

/// Lists what is assumed about a model that classified something.
pub fn notes(model: &Model) -> Vec<Note> {
    let origins = &model.spec().origins;
    let unnamed = (origins.labels == Origin::Default).then(|| Note::UnnamedClasses {
        classes: model.labels().len(),
    });
    let repeated = repeated_label(model.labels()).map(|[first, second]| Note::RepeatedName {
        first,
        second,
        name: model.labels()[first].clone(),
    });
    let logits = (origins.output == Origin::Default).then_some(Note::AssumedLogits);
    [unnamed, repeated, logits].into_iter().flatten().collect()
}
