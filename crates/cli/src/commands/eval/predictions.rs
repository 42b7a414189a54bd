//! One line per image.

use kiln_data::View;
use kiln_eval::argmax;

use super::Measured;

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
