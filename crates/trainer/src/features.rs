//! Features: outputs of the frozen prefix for all images, computed once.

use std::path::Path;

use kiln_data::{FeatureKey, FeatureWriter, Features, Loader, Order, Samples, View};
use kiln_model::{Layer, Model};
use kiln_run::Weights;
use kiln_util::CancelToken;
use sha2::{Digest, Sha256};

use crate::network::{DropoutKey, Network};
use crate::{Device, TrainError, frozen};

/// Images that go through the layers together: few enough that the largest activations take some
/// hundred MiB.
const CHUNK: usize = 64;
/// Chunks that are written together: an interruption loses at most these.
const CHUNKS_PER_WRITE: usize = 8;

/// Changes when the same layers and weights give other features, in rounding or otherwise.
const IMPLEMENTATION: u64 = 1;

/// Returns the key of the features after the first `layers` layers: a checksum of all that they
/// depend on, which is the layers and their weights, the preprocessing and the images. `engine` is
/// what computes a graph in a file, with its version, since another one rounds differently; `changes`
/// are those of the images, where they do not stay as they are.
pub fn feature_key(
    model: &Model,
    layers: usize,
    weights: &Weights,
    images: &View,
    engine: Option<&str>,
    changes: Option<&str>,
) -> FeatureKey {
    let mut hash = Sha256::new();
    hash.update(IMPLEMENTATION.to_le_bytes());
    for more in [engine, changes].into_iter().flatten() {
        hash.update(more);
    }
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

/// Layers to run samples through once, and the file that keeps the results.
pub struct FeatureTask<'a> {
    /// Consecutive layers of a model.
    pub layers: &'a [Layer],
    /// Weights of these layers.
    pub weights: &'a Weights,
    /// Samples in ascending order, as the first of the layers takes them: images, or features of the
    /// layers before.
    pub samples: &'a Samples,
    /// Key of the results, from [`feature_key`].
    pub key: FeatureKey,
    /// File of the results.
    pub path: &'a Path,
    /// Device that computes.
    pub device: &'a Device,
    /// Stops the work after the current batch.
    pub cancel: &'a CancelToken,
}

/// Runs samples through layers and keeps the results in a file; what the file has already is not
/// computed again. `progress` hears of rows done and in all. Returns nothing if it was cancelled,
/// which loses little.
///
/// # Errors
///
/// [`TrainError`]: weights or samples that do not fit, a file that cannot be written.
pub fn compute_features(
    task: &FeatureTask<'_>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Option<Features>, TrainError> {
    // Inside the pool, as training.
    rayon::scope(|_| compute(task, progress))
}

fn compute(
    task: &FeatureTask<'_>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Option<Features>, TrainError> {
    let &FeatureTask {
        layers,
        weights,
        samples,
        key,
        path,
        device,
        cancel,
    } = task;
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
        progress(done, rows);
        if cancel.is_cancelled() {
            return Ok(None);
        }
    }
    drop(writer);
    Ok(Features::open(path, key, rows, width)?)
}
