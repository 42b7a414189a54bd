//! Lines that were written.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Columns, Row};

/// What a line says, without the probabilities of the classes that were not predicted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prediction {
    /// Which image of the data set's subset, counted from 0.
    pub index: usize,
    /// Its class.
    pub label: String,
    /// The class it was taken for.
    pub predicted: String,
    /// How sure the model was, 0 to 1.
    pub probability: f64,
}

/// Reads a CSV file whole.
pub fn read(bytes: &[u8]) -> Result<Vec<Prediction>, csv::Error> {
    csv::Reader::from_reader(bytes).deserialize().collect()
}

/// A line of a CSV file with these columns; nothing if it is not one.
pub fn row<'a>(record: &'a csv::StringRecord, columns: &Columns) -> Option<Row<'a>> {
    let mut fields = record.iter();
    let index = fields.next()?.parse().ok()?;
    let mut text = |present: bool| {
        if present {
            fields.next().map(|text| Some(Cow::Borrowed(text)))
        } else {
            Some(None)
        }
    };
    let (path, label, predicted) = (text(columns.path)?, text(columns.label)?, text(true)??);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_by_the_names_of_their_columns() {
        let lines =
            read(b"index,label,predicted,probability,p_a,p_b\n7,a,b,0.75,0.25,0.75\n").unwrap();
        let expected = Prediction {
            index: 7,
            label: "a".into(),
            predicted: "b".into(),
            probability: 0.75,
        };
        assert_eq!(lines, [expected]);
        assert!(
            read(b"index,label\n1,a\n")
                .unwrap_err()
                .to_string()
                .contains("missing field")
        );
    }

    #[test]
    fn rows_need_every_column() {
        let columns = Columns {
            path: false,
            label: true,
            classes: vec!["a".into(), "b".into()],
            logits: true,
        };
        let row = |fields: &[&str]| {
            row(&csv::StringRecord::from(fields.to_vec()), &columns).map(|row| row.index)
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
}
