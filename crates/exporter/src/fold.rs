//! Batch normalisation folded into the layer before it.

use kiln_model::{Layer, LayerKind};
use kiln_run::{Tensor, Weights, WeightsError};

/// Weight and bias of a layer, with the normalisation that follows folded in where there is one.
///
/// Normalisation computes `(y - mean) / sqrt(var + epsilon) * weight + bias` of each output channel
/// `y`. With `factor = weight / sqrt(var + epsilon)`, the layer's weights become `w * factor` and
/// its bias `(b - mean) * factor + bias`. Computed in f64, rounded once.
pub fn weight_and_bias(
    weights: &Weights,
    layer: &Layer,
    use_bias: bool,
    norm: Option<&Layer>,
) -> Result<(Tensor, Option<Tensor>), WeightsError> {
    let weight = weights.require(&format!("{}.weight", layer.name))?.clone();
    let bias = if use_bias {
        Some(weights.require(&format!("{}.bias", layer.name))?.clone())
    } else {
        None
    };
    let Some(norm) = norm else {
        return Ok((weight, bias));
    };
    let LayerKind::BatchNorm(settings) = &norm.kind else {
        unreachable!("only batch normalisation is folded")
    };
    let values = |parameter: &str| {
        weights
            .require(&format!("{}.{parameter}", norm.name))
            .map(|tensor| &tensor.data)
    };
    let (gamma, beta, mean, variance) = (
        values("weight")?,
        values("bias")?,
        values("running_mean")?,
        values("running_var")?,
    );
    let factor: Vec<f64> = gamma
        .iter()
        .zip(variance)
        .map(|(&gamma, &variance)| {
            f64::from(gamma) / (f64::from(variance) + settings.epsilon).sqrt()
        })
        .collect();
    let per_channel = weight.data.len() / factor.len();
    let scaled = weight.data.chunks_exact(per_channel).zip(&factor);
    let data = scaled
        .flat_map(|(row, factor)| row.iter().map(move |&w| (f64::from(w) * factor) as f32))
        .collect();
    let shifted = (0..factor.len()).map(|channel| {
        let old = bias
            .as_ref()
            .map_or(0.0, |bias| f64::from(bias.data[channel]));
        ((old - f64::from(mean[channel])) * factor[channel] + f64::from(beta[channel])) as f32
    });
    let bias = Tensor {
        shape: vec![factor.len()],
        data: shifted.collect(),
    };
    Ok((
        Tensor {
            shape: weight.shape,
            data,
        },
        Some(bias),
    ))
}
