//! What the convolutions of unfolded segments give for the training images: mean and deviation of each
//! channel, by which their batch normalizations begin.

use kiln_data::{Loader, Order, Samples};
use kiln_model::graph::UnfoldedConv;
use kiln_model::{Layer, LayerKind};
use kiln_run::{ChannelStatistics, Weights, unfold_conv};
use kiln_util::CancelToken;

use crate::network::Network;
use crate::{Device, TrainError};

/// Images that go through the layers together.
const CHUNK: usize = 32;

/// Layers whose unfolded convolutions are measured, and on what.
pub struct UnfoldTask<'a> {
    /// Consecutive layers of a model.
    pub layers: &'a [Layer],
    /// Weights of these layers, the normalizations of unfolded convolutions such that they do nothing
    /// but add a bias ([`kiln_run::add_unfolded_norm`]).
    pub weights: &'a Weights,
    /// Samples as the first of the layers takes them: images, or features of the layers before.
    pub samples: &'a Samples,
    /// Device that computes.
    pub device: &'a Device,
    /// Stops the work after the current batch.
    pub cancel: &'a CancelToken,
}

/// Returns the unfolded convolutions of a layer.
pub fn unfolded_convs(layer: &Layer) -> &[UnfoldedConv] {
    if let LayerKind::Segment(segment) = &layer.kind {
        &segment.unfolded
    } else {
        &[]
    }
}

/// Measures the outputs of unfolded convolutions and returns the weights that change by it, so that each
/// channel has a deviation of 1 before its normalization, and the layers compute what they did. `progress`
/// hears of samples done and in all. Returns nothing if it was cancelled.
///
/// # Errors
///
/// [`TrainError`]: weights or samples that do not fit.
pub fn unfold(
    task: &UnfoldTask<'_>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Option<Weights>, TrainError> {
    // Inside the pool, as training.
    rayon::scope(|_| measure(task, progress))
}

fn measure(
    task: &UnfoldTask<'_>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Option<Weights>, TrainError> {
    let last = task
        .layers
        .iter()
        .rposition(|layer| !unfolded_convs(layer).is_empty());
    let layers = &task.layers[..last.map_or(0, |at| at + 1)];
    let mut statistics = Vec::new();
    for layer in layers {
        for conv in unfolded_convs(layer) {
            let [scale, ..] = conv.norm_in(&layer.name);
            let channels = task.weights.require(&scale)?.data.len();
            statistics.push((layer.name.as_str(), conv, ChannelStatistics::new(channels)));
        }
    }
    if layers.is_empty() {
        return Ok(Some(Weights::default()));
    }
    let network = Network::new(layers, task.weights, task.device)?;
    let (mut done, total) = (0, task.samples.view().len());
    progress(done, total);
    for batch in &Loader::new(task.samples.clone(), CHUNK, Order::Sequential)? {
        let batch = batch?;
        let images = batch.labels.len();
        let input = network.input(batch.values, &task.device.burn);
        network.unfolded_outputs(input, &mut |layer, conv, values| {
            let found = statistics
                .iter_mut()
                .find(|(of, it, _)| *of == layer && *it == conv);
            if let Some((_, _, channels)) = found {
                channels.add(&values, images);
            }
        })?;
        done += images;
        progress(done, total);
        if task.cancel.is_cancelled() {
            return Ok(None);
        }
    }
    let mut weights = Weights::default();
    for (layer, conv, channels) in &statistics {
        let [scale, shift, mean, variance] = conv.norm_in(layer);
        for name in [conv.weight_in(layer), scale, shift, mean, variance] {
            let tensor = task.weights.require(&name)?.clone();
            weights.insert(name, tensor);
        }
        unfold_conv(&mut weights, layer, conv, channels)?;
    }
    Ok(Some(weights))
}
