//! One line per image.

use kiln_data::View;
use kiln_eval::argmax;
use serde::Deserialize;

use super::Measured;

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

/// Reads what [`csv`] wrote.
pub fn read(bytes: &[u8]) -> Result<Vec<Prediction>, csv::Error> {
    csv::Reader::from_reader(bytes).deserialize().collect()
}

/// `index,label,predicted,probability` and the probability of each class, named after it; for images of files, the
/// file's `path` behind the index.
pub fn csv(measured: &Measured, view: &View, classes: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let path = |index| view.dataset().path(index).map(|path| path.display().to_string());
    let has_path = view.indices().first().is_some_and(|&first| path(first as usize).is_some());
    let header = ["index"].into_iter().chain(has_path.then_some("path")).chain(["label", "predicted", "probability"]);
    writer.write_record(header.map(String::from).chain(classes.iter().map(|class| format!("p_{class}"))))?;
    let rows = measured.probabilities.chunks_exact(classes.len()).zip(measured.scores.chunks_exact(classes.len()));
    for ((&index, label), (probabilities, scores)) in view.indices().iter().zip(view.labels()).zip(rows) {
        // By score, as the metrics are: rounding can make two probabilities equal.
        let predicted = argmax(scores).expect("the model gives finite scores");
        let image = std::iter::once(index.to_string()).chain(path(index as usize));
        let fixed = [classes[label as usize].clone(), classes[predicted].clone(), probabilities[predicted].to_string()];
        writer.write_record(image.chain(fixed).chain(probabilities.iter().map(ToString::to_string)))?;
    }
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_by_the_names_of_their_columns() {
        let lines = read(b"index,label,predicted,probability,p_a,p_b\n7,a,b,0.75,0.25,0.75\n").unwrap();
        let expected = Prediction { index: 7, label: "a".into(), predicted: "b".into(), probability: 0.75 };
        assert_eq!(lines, [expected]);
        assert!(read(b"index,label\n1,a\n").unwrap_err().to_string().contains("missing field"));
    }
}
