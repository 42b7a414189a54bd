//! One line per image.

use kiln_data::View;
use kiln_eval::argmax;

use super::Measured;

/// `index,label,predicted,probability` and the probability of each class, named after it.
pub fn csv(measured: &Measured, view: &View, classes: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["index", "label", "predicted", "probability"].map(String::from).into_iter();
    writer.write_record(header.chain(classes.iter().map(|class| format!("p_{class}"))))?;
    let rows = measured.probabilities.chunks_exact(classes.len()).zip(measured.scores.chunks_exact(classes.len()));
    for ((index, label), (probabilities, scores)) in view.indices().iter().zip(view.labels()).zip(rows) {
        // By score, as the metrics are: rounding can make two probabilities equal.
        let predicted = argmax(scores).expect("the model gives finite scores");
        let fixed = [
            index.to_string(),
            classes[label as usize].clone(),
            classes[predicted].clone(),
            probabilities[predicted].to_string(),
        ];
        writer.write_record(fixed.into_iter().chain(probabilities.iter().map(ToString::to_string)))?;
    }
    Ok(writer.into_inner()?)
}
