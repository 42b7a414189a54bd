//! What the frozen layers at the beginning make of the images, computed once.

use std::path::Path;

use kiln_data::{FeatureKey, FeatureWriter, Features, Loader, Order, Samples, View};
use kiln_model::{Layer, Model};
use kiln_run::Weights;
use sha2::{Digest, Sha256};

use crate::network::{DropoutKey, Network};
use crate::{Control, Device, TrainError, frozen};

/// Images that go through the layers together: few enough that the largest activations take some
/// hundred MiB.
const CHUNK: usize = 64;
/// Chunks that are written together: an interruption loses at most these.
const CHUNKS_PER_WRITE: usize = 8;

/// Changes when the same layers and weights give other features, in rounding or otherwise.
const IMPLEMENTATION: u64 = 1;

/// What the features of images behind the first `layers` layers depend on: the layers and their
/// weights, the preprocessing, the images.
pub fn feature_key(model: &Model, layers: usize, weights: &Weights, images: &View) -> FeatureKey {
    let mut hash = Sha256::new();
    hash.update(IMPLEMENTATION.to_le_bytes());
    hash.update(format!("{:?}", model.preprocessing()));
    for layer in &model.layers()[..layers] {
        hash.update(format!(
            "{:?} {:?} {:?}",
            layer.kind, layer.input, layer.output
        ));
        for param in &layer.params {
            if let Some(tensor) = weights.get(&param.name) {
                hash.update(frozen::checksum(tensor));
            }
        }
    }
    for &index in images.indices() {
        hash.update(images.dataset().identity(index as usize));
    }
    FeatureKey(hash.finalize().into())
}

/// Runs samples through some layers and keeps the results in a file of that key; what the file has
/// already is not computed again. The samples, in ascending order, are what the first of the layers
/// takes: images, or features of the layers before. `progress` hears of rows done and in all, and
/// may stop it, which gives nothing and loses little.
pub fn compute_features(
    layers: &[Layer],
    weights: &Weights,
    samples: &Samples,
    key: FeatureKey,
    path: &Path,
    device: &Device,
    progress: &mut (dyn FnMut(usize, usize) -> Control + Send),
) -> Result<Option<Features>, TrainError> {
    // Inside the pool, as training.
    rayon::scope(|_| compute(layers, weights, samples, key, path, device, progress))
}

fn compute(
    layers: &[Layer],
    weights: &Weights,
    samples: &Samples,
    key: FeatureKey,
    path: &Path,
    device: &Device,
    progress: &mut (dyn FnMut(usize, usize) -> Control + Send),
) -> Result<Option<Features>, TrainError> {
    let rows = samples.view().len();
    let width = layers.last().map_or(0, |layer| layer.output.len());
    if let Some(features) = Features::open(path, key, rows, width)? {
        return Ok(Some(features));
    }
    let mut writer = FeatureWriter::open(path, key, rows, width)?;
    let network = Network::new(layers, weights, device)?;
    let rest = samples.skip(writer.done());
    let mut waiting = Vec::with_capacity(CHUNK * CHUNKS_PER_WRITE * width);
    let mut done = writer.done();
    for batch in &Loader::new(rest, CHUNK, Order::Sequential)? {
        let batch = batch?;
        done += batch.labels.len();
        let input = network.input(batch.values, &device.burn);
        waiting.extend(
            network
                .forward(input, DropoutKey::default())?
                .into_values()?,
        );
        if waiting.len() >= CHUNK * CHUNKS_PER_WRITE * width || done == rows {
            writer.append(&waiting)?;
            waiting.clear();
        }
        if progress(done, rows) == Control::Stop {
            return Ok(None);
        }
    }
    drop(writer);
    Ok(Features::open(path, key, rows, width)?)
}
