//! The prediction for an image, as a line of a file: which columns there are, and what they hold.

use std::borrow::Cow;

use kiln_inference::{Classified, Model};
use kiln_util::{counted, shown};
use serde::{Deserialize, Serialize};

use crate::error::predictions::PredictionsError;
use crate::inputs::{Input, Inputs, SEPARATOR};

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
            logits: model.output_kind().takes_softmax(),
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

/// The line of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row<'a> {
    /// Place of the image among all images of the source, from 0.
    pub index: u64,
    /// The path of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Cow<'a, str>>,
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Cow<'a, str>>,
    /// The predicted class; of a model whose images can have several the names of all, with `|` between them.
    pub predicted: Cow<'a, str>,
    /// The probability of the predicted class, 0 to 1; of several that of the most probable class.
    pub probability: f32,
    /// The probability of each class.
    pub probabilities: Cow<'a, [f32]>,
    /// The score of each class where the model outputs logits; empty where it outputs
    /// probabilities. What is measured from these again is what was measured from them at first, to
    /// the last bit.
    #[serde(default, skip_serializing_if = "<[f32]>::is_empty")]
    pub logits: Cow<'a, [f32]>,
}

impl<'a> Row<'a> {
    /// Makes the line of an image.
    pub fn new(input: &'a Input, classified: &Classified<'a>, model: &'a Model) -> Self {
        let classes = model.labels();
        let logits = if model.output_kind().takes_softmax() {
            classified.scores
        } else {
            &[]
        };
        let predicted = if model.spec().has_several() && input.label.is_none() {
            let names = classified
                .chosen()
                .into_iter()
                .map(|class| classes[class].as_str());
            Cow::Owned(names.collect::<Vec<_>>().join(&SEPARATOR.to_string()))
        } else {
            Cow::Borrowed(classes[classified.predicted()].as_str())
        };
        Self {
            index: input.index,
            path: input.path(),
            label: input.label_name(classes),
            predicted,
            probability: classified.probabilities[classified.predicted()],
            probabilities: classified.probabilities.into(),
            logits: logits.into(),
        }
    }

    /// Copies what it borrows.
    pub(super) fn into_owned(self) -> Row<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Row {
            index: self.index,
            path: self.path.map(own),
            label: self.label.map(own),
            predicted: own(self.predicted),
            probability: self.probability,
            probabilities: self.probabilities.into_owned().into(),
            logits: self.logits.into_owned().into(),
        }
    }

    /// Returns whether it has what these columns say, and nothing else.
    pub fn fits(&self, columns: &Columns) -> bool {
        let classes = columns.classes.len();
        let logits = if columns.logits { classes } else { 0 };
        let present = (self.path.is_some(), self.label.is_some());
        present == (columns.path, columns.label)
            && [self.probabilities.len(), self.logits.len()] == [classes, logits]
    }

    /// Reads a line of a CSV file with these columns; nothing if it is not one.
    pub(super) fn from_csv(record: &'a csv::StringRecord, columns: &Columns) -> Option<Self> {
        let mut fields = record.iter();
        let index = fields.next()?.parse().ok()?;
        let mut text = |present: bool| {
            if present {
                fields.next().map(|text| Some(Cow::Borrowed(text)))
            } else {
                Some(None)
            }
        };
        let path = text(columns.path)?;
        let label = text(columns.label)?;
        let predicted = text(true)??;
        let probability = fields.next()?.parse().ok()?;
        let mut probabilities = fields
            .map(|field| field.parse().ok())
            .collect::<Option<Vec<f32>>>()?;
        let classes = columns.classes.len();
        let logits = probabilities.split_off(classes.min(probabilities.len()));
        let row = Row {
            index,
            path,
            label,
            predicted,
            probability,
            probabilities: probabilities.into(),
            logits: logits.into(),
        };
        row.fits(columns).then_some(row)
    }
}

/// What a line says, without the probabilities of the classes that were not predicted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prediction {
    /// Place of the image in the dataset's subset, from 0.
    pub index: usize,
    /// Its class.
    pub label: String,
    /// The predicted class.
    pub predicted: String,
    /// The probability of the predicted class, 0 to 1.
    pub probability: f64,
}

/// Reads a CSV file of predictions for labeled images whole; `name` is what messages call it.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<Prediction>, PredictionsError> {
    csv::Reader::from_reader(bytes)
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|source| PredictionsError::Csv {
            name: name.into(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_need_every_column() {
        let columns = Columns {
            path: false,
            label: true,
            classes: vec!["a".into(), "b".into()],
            logits: true,
        };
        let row = |fields: &[&str]| {
            Row::from_csv(&csv::StringRecord::from(fields.to_vec()), &columns).map(|row| row.index)
        };
        assert_eq!(
            row(&["3", "a", "b", "0.75", "0.25", "0.75", "0", "1"]),
            Some(3)
        );
        let without = &["3", "a", "b", "0.75", "0.25", "0.75"];
        for bad in [
            &without[..5],
            without,
            &["x", "a", "b", "0.75", "0.25", "0.75", "0", "1"],
            &["3"],
            &[],
        ] {
            assert_eq!(row(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lines_are_read_by_the_names_of_their_columns() {
        let bytes = b"index,label,predicted,probability,p_a,p_b\n7,a,b,0.75,0.25,0.75\n";
        let expected = Prediction {
            index: 7,
            label: "a".into(),
            predicted: "b".into(),
            probability: 0.75,
        };
        assert_eq!(read("p.csv", bytes).unwrap(), [expected]);
        let message = read("p.csv", b"index,label\n1,a\n")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("p.csv") && message.contains("missing field"),
            "{message}"
        );
    }
}
