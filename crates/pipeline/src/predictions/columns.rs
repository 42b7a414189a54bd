//! Which columns there are.

use kiln_inference::{Model, OutputKind};
use kiln_util::{counted, shown};
use serde::{Deserialize, Serialize};

use crate::inputs::Inputs;

/// Longest part of a class's name in a message.
const LONGEST: usize = 40;

/// Which columns there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Whether images have paths.
    pub path: bool,
    /// Whether images have labels.
    pub label: bool,
    /// Names of the classes, in the order of the model's output.
    pub classes: Vec<String>,
    /// Whether lines hold logits, which probabilities alone cannot be turned back into.
    pub logits: bool,
}

impl Columns {
    /// Returns the columns of predictions of a model for some images.
    pub fn of(inputs: &Inputs, model: &Model) -> Self {
        Self {
            path: inputs.has_paths,
            label: inputs.has_labels,
            classes: model.labels().to_vec(),
            logits: model.output_kind() == OutputKind::Logits,
        }
    }

    /// Returns the header of a CSV file.
    pub fn header(&self) -> Vec<String> {
        let classes = |prefix| {
            self.classes
                .iter()
                .map(move |class| format!("{prefix}_{class}"))
        };
        let logits = self.logits.then(|| classes("logit")).into_iter().flatten();
        self.fixed()
            .map(String::from)
            .chain(classes("p"))
            .chain(logits)
            .collect()
    }

    /// Returns the first difference between the columns of a file and these.
    pub(super) fn difference(&self, expected: &Self) -> Option<String> {
        let fixed = |columns: &Self| columns.fixed().collect::<Vec<_>>().join(",");
        if (self.path, self.label) != (expected.path, expected.label) {
            return Some(format!(
                "it has the columns {}, expected {}",
                fixed(self),
                fixed(expected)
            ));
        }
        let mut pairs = self.classes.iter().zip(&expected.classes);
        if let Some(at) = pairs.position(|(found, expected)| found != expected) {
            let [found, expected] =
                [self, expected].map(|columns| shown(&columns.classes[at], LONGEST));
            return Some(format!(
                "its class {at} is `{found}`, that of this model `{expected}`"
            ));
        }
        if self.classes.len() != expected.classes.len() {
            let classes = counted(self.classes.len() as u64, "class");
            return Some(format!(
                "it has {classes}, this model {}",
                expected.classes.len()
            ));
        }
        (self.logits != expected.logits)
            .then(|| "only one of it and this model has logits".to_owned())
    }

    /// The columns before those of the classes.
    fn fixed(&self) -> impl Iterator<Item = &'static str> {
        let columns = [
            Some("index"),
            self.path.then_some("path"),
            self.label.then_some("label"),
            Some("predicted"),
        ];
        columns.into_iter().flatten().chain(["probability"])
    }
}
