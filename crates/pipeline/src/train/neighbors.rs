//! Whether features tell the classes apart, before an epoch is trained.

use kiln_data::{Loader, Order, Samples};
use kiln_metrics::argmax;
use rayon::prelude::*;

use crate::error::Result;

/// Most images whose neighbors are looked for, and most among which.
const LOOKED_FOR: usize = 500;
const AMONG: usize = 5_000;

/// Most values of a row: rows of feature maps are not compared.
const WIDEST: usize = 1 << 14;

/// Returns the share of validation images whose nearest training image, by the cosine of their
/// features, is of their class: of up to 500 among up to 5,000, drawn with the seed. `None` for
/// features that are too wide to compare.
///
/// Wrong preprocessing, a wrong order of the channels above all, shows here at once: no training of a
/// head repairs it.
pub fn accuracy(
    train: &Samples,
    validation: &Samples,
    width: usize,
    seed: u64,
) -> Result<Option<f64>> {
    if width > WIDEST {
        return Ok(None);
    }
    let rows = |samples: &Samples, most| -> Result<(Vec<f32>, Vec<u32>)> {
        let samples = samples.select(samples.view().take(most, seed));
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for batch in &Loader::new(samples, 256, Order::Sequential)? {
            let batch = batch?;
            values.extend(batch.values);
            labels.extend(batch.labels);
        }
        values.par_chunks_mut(width).for_each(normalize);
        Ok((values, labels))
    };
    let (known, classes) = rows(train, AMONG)?;
    let (unknown, labels) = rows(validation, LOOKED_FOR)?;
    let nearest = |row: &[f32]| {
        let cosines: Vec<f32> = known
            .chunks_exact(width)
            .map(|known| row.iter().zip(known).map(|(a, b)| a * b).sum())
            .collect();
        argmax(&cosines).map(|at| classes[at])
    };
    let rows = unknown.par_chunks_exact(width).zip(&labels);
    let right = rows
        .filter(|(row, label)| nearest(row) == Some(**label))
        .count();
    Ok((!labels.is_empty()).then(|| right as f64 / labels.len() as f64))
}

/// Makes a row a unit vector, unless it is zero.
fn normalize(row: &mut [f32]) {
    let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        for x in row {
            *x /= length;
        }
    }
}
