//! Lines that were written, without the probabilities of the classes that were not predicted.

use serde::Deserialize;

use crate::error::predictions::PredictionsError;

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
