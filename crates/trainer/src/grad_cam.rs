//! Where feature maps speak for a class: gradient-weighted class activation maps.
//!
//! Grad-CAM, Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
//! Localization", 2017.

use burn::tensor::{Tensor, TensorData};
use kiln_model::{Layer, LayerKind, Model, Shape};
use kiln_run::Weights;

use crate::network::{Activations, DropoutKey, Network, values};
use crate::{Device, TrainError};

/// Returns after how many of the layers the feature maps are that are explained: those of the last layer with
/// parameters whose output has more than one place, with the activation or dropout right behind it. None where no
/// layer has such maps, or a sequence of vectors comes after them, as in a transformer: there the maps are
/// hardly more than the image cut into patches.
fn cut(layers: &[Layer]) -> Option<usize> {
    let learned =
        |layer: &Layer| matches!(layer.kind, LayerKind::Graph(_)) || !layer.params.is_empty();
    let last = layers
        .iter()
        .rposition(|layer| learned(layer) && places(layer.output).is_some())?;
    let is_tokens = |layer: &Layer| matches!(layer.output, Shape::Tokens { .. });
    if layers[last..].iter().any(is_tokens) {
        return None;
    }
    let same = |layer: &&Layer| !learned(layer) && layer.output == layers[last].output;
    Some(last + 1 + layers[last + 1..].iter().take_while(same).count())
}

/// Height and width of feature maps of more than one place.
fn places(shape: Shape) -> Option<[usize; 2]> {
    match shape {
        Shape::Image { height, width, .. } if height * width > 1 => Some([height, width]),
        Shape::Image { .. } | Shape::Vector(_) | Shape::Tokens { .. } => None,
    }
}

/// A model whose class activation maps can be computed.
pub struct GradCam {
    /// The layers before the feature maps; none if the maps are what goes in.
    before: Option<Network>,
    /// The layers after them, which gradients go back through.
    after: Network,
    /// Values that go in for an image.
    size: usize,
    layer: String,
    places: [usize; 2],
    device: Device,
    with_gradients: Device,
}

impl GradCam {
    /// Builds the layers after the first `count` of a model: in place of images it takes what those give. Returns
    /// nothing where the model has no feature maps of more than one place, or a sequence of vectors behind them.
    ///
    /// # Errors
    ///
    /// [`TrainError::Weights`] if they are not the model's.
    pub fn new(
        count: usize,
        model: &Model,
        weights: &Weights,
        device: &Device,
    ) -> Result<Option<Self>, TrainError> {
        weights.check(model)?;
        let Some(at) = cut(model.layers()).filter(|&at| at >= count && at < model.layers().len())
        else {
            return Ok(None);
        };
        let layers = &model.layers()[count..at];
        let last = &model.layers()[at - 1];
        let Some(places) = places(last.output) else {
            return Ok(None);
        };
        // Nothing behaves as in training.
        let frozen = |layer: &Layer| Layer {
            frozen: true,
            ..layer.clone()
        };
        let after: Vec<_> = model.layers()[at..].iter().map(frozen).collect();
        let with_gradients = device.clone().stock().autodiff();
        let before = match layers {
            [] => None,
            layers => Some(Network::new(layers, weights, device)?),
        };
        let layer = match &last.kind {
            LayerKind::Graph(graph) => graph.segments.last().unwrap_or(&last.name),
            _ => &last.name,
        };
        Ok(Some(Self {
            before,
            after: Network::new(&after, weights, &with_gradients)?,
            size: layers
                .first()
                .map_or(last.output, |first| first.input)
                .len(),
            layer: layer.clone(),
            places,
            device: device.clone(),
            with_gradients,
        }))
    }

    /// Returns the name of the layer whose feature maps are explained.
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// Returns the height and width of its feature maps.
    pub const fn places(&self) -> [usize; 2] {
        self.places
    }

    /// Computes the feature maps and logits of one prepared image, or of what the layers before give for it,
    /// row-major.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the kernels or the device refuse the image.
    ///
    /// # Panics
    ///
    /// If `image` is not of the size of one.
    pub fn forward(&self, image: Vec<f32>) -> Result<ExplainedPass, TrainError> {
        assert_eq!(image.len(), self.size, "one image");
        let maps = match &self.before {
            Some(before) => before
                .forward(
                    before.input(image, &self.device.burn),
                    DropoutKey::default(),
                )?
                .into_values()?,
            None => image,
        };
        let channels = maps.len() / (self.places[0] * self.places[1]);
        let shape = [1, channels, self.places[0], self.places[1]];
        let data = TensorData::new(maps.clone(), shape);
        let tracked = Tensor::<4>::from_data(data, &self.with_gradients.burn).require_grad();
        let scores = self
            .after
            .forward(Activations::Image(tracked.clone()), DropoutKey::default())?
            .into_vector()?;
        Ok(ExplainedPass {
            logits: values(scores.clone())?,
            maps,
            channels,
            tracked,
            scores,
        })
    }
}

/// The feature maps and logits of an image, which know where they come from.
pub struct ExplainedPass {
    /// `[channels, places]`, row-major.
    maps: Vec<f32>,
    channels: usize,
    tracked: Tensor<4>,
    scores: Tensor<2>,
    logits: Vec<f32>,
}

impl ExplainedPass {
    /// Returns the logits.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Returns how much each place of the feature maps speaks for a large logit, or, where `against`, for a small
    /// one: the sum of its channels, each weighted with the mean gradient of the logit by it, and 0 where that is
    /// negative. `[height, width]`, in units of the logit: behind global average pooling and one dense layer, the
    /// sums add up to the logit without its bias.
    ///
    /// # Errors
    ///
    /// [`TrainError::Device`] if the device fails.
    ///
    /// # Panics
    ///
    /// If there is no such logit.
    pub fn map(self, logit: usize, against: bool) -> Result<Vec<f32>, TrainError> {
        let score = self.scores.slice([0..1, logit..logit + 1]).sum();
        let gradients = score.backward();
        let area = self.maps.len() / self.channels;
        // A logit that no feature reaches has no gradient.
        let gradient = match self.tracked.grad(&gradients) {
            Some(gradient) => values(gradient)?,
            None => vec![0.0; self.maps.len()],
        };
        let sign = if against { -1.0 } else { 1.0 };
        let mut sums = vec![0.0_f64; area];
        for (map, gradient) in self
            .maps
            .chunks_exact(area)
            .zip(gradient.chunks_exact(area))
        {
            let total: f64 = gradient.iter().copied().map(f64::from).sum();
            let weight = sign * total / area as f64;
            for (sum, &value) in sums.iter_mut().zip(map) {
                *sum += weight * f64::from(value);
            }
        }
        Ok(sums.into_iter().map(|sum| sum.max(0.0) as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;
    use crate::{Predictor, initial_weights};

    const CONVOLUTIONS: &str = "{ type = \"conv2d\", filters = 4, kernel_size = 3, activation = \"relu\" }, { type = \"max_pool\" }, \
        { type = \"conv2d\", filters = 5, kernel_size = 3, name = \"last\" }, { type = \"batch_norm\" }, \
        { type = \"activation\", activation = \"relu\" }, ";

    fn model(layers: &str) -> Model {
        let set = ["input.height=20", "input.width=14"].map(String::from);
        let text = format!("layers = [{layers}]");
        let recipe = Recipe::parse(&text, "t.toml", "t", &set).unwrap();
        recipe.model().clone()
    }

    fn image(model: &Model) -> Vec<f32> {
        let count = model.preprocessing().len();
        (0..count)
            .map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0)
            .collect()
    }

    fn grad_cam(model: &Model, weights: &Weights) -> GradCam {
        GradCam::new(0, model, weights, &Device::cpu())
            .unwrap()
            .expect("feature maps")
    }

    #[test]
    fn behind_global_average_pooling_it_is_the_class_activation_map() {
        let head = "{ type = \"global_avg_pool\" }, { type = \"dense\", units = 10 }";
        let model = model(&format!("{CONVOLUTIONS}{head}"));
        let weights = initial_weights(&model, 1);
        let cam = grad_cam(&model, &weights);
        // The activation after the normalization is part of what is explained.
        assert_eq!((cam.layer(), cam.places()), ("activation", [7, 4]));
        let pixels = image(&model);
        let predictor = Predictor::new(&model, &weights, &Device::cpu()).unwrap();
        let maps = &predictor.layer_outputs(&pixels).unwrap()[4].data;
        let dense = &weights.get("dense.weight").unwrap().data;
        for class in 0..10 {
            let pass = cam.forward(pixels.clone()).unwrap();
            assert_eq!(pass.logits().len(), 10);
            let found = pass.map(class, false).unwrap();
            let expected: Vec<f32> = (0..28)
                .map(|place| {
                    // Weights are [inputs, units] or its transpose; five inputs.
                    let sum = |of: &dyn Fn(usize) -> f32| -> f32 {
                        (0..5).map(|c| of(c) * maps[c * 28 + place] / 28.0).sum()
                    };
                    sum(&|c| dense[weight_at(&weights, c, class)]).max(0.0)
                })
                .collect();
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-6, "{class}: {a} {b}");
            }
        }
    }

    /// Where a dense layer's weight of an input and a unit is.
    fn weight_at(weights: &Weights, input: usize, unit: usize) -> usize {
        let shape = &weights.get("dense.weight").unwrap().shape;
        if shape[0] == 5 {
            input * shape[1] + unit
        } else {
            unit * shape[1] + input
        }
    }

    /// The gradient of each channel's mean, found by moving the whole channel by a little.
    #[test]
    fn channels_are_weighted_by_what_moving_them_does_to_the_logit() {
        let head = "{ type = \"max_pool\" }, { type = \"flatten\" }, { type = \"dense\", units = 9, activation = \"silu\" }, \
            { type = \"dense\", units = 10 }";
        let model = model(&format!("{CONVOLUTIONS}{head}"));
        let weights = initial_weights(&model, 2);
        let cam = grad_cam(&model, &weights);
        let pixels = image(&model);
        let predictor = Predictor::new(&model, &weights, &Device::cpu()).unwrap();
        let maps = predictor.layer_outputs(&pixels).unwrap()[4].data.clone();
        let after = Predictor::after(5, &model, &weights, &Device::stock_cpu()).unwrap();
        let logit = |maps: &[f32]| f64::from(after.logits(maps).unwrap()[3]);
        let step = 1e-2;
        let slopes: Vec<f64> = (0..5)
            .map(|channel| {
                let moved = |by: f32| {
                    let mut maps = maps.clone();
                    maps[channel * 28..][..28]
                        .iter_mut()
                        .for_each(|it| *it += by);
                    logit(&maps)
                };
                // Moving all of a channel's 28 places sums up their gradients.
                (moved(step) - moved(-step)) / f64::from(2.0 * step) / 28.0
            })
            .collect();
        for against in [false, true] {
            let found = cam
                .forward(pixels.clone())
                .unwrap()
                .map(3, against)
                .unwrap();
            let sign = if against { -1.0 } else { 1.0 };
            let mut positive = 0;
            for (place, found) in found.into_iter().enumerate() {
                let sum = |(channel, slope): (usize, &f64)| {
                    sign * slope * f64::from(maps[channel * 28 + place])
                };
                let expected: f64 = slopes.iter().enumerate().map(sum).sum::<f64>().max(0.0);
                positive += usize::from(expected > 0.0);
                assert!(
                    (f64::from(found) - expected).abs() < 1e-4,
                    "{found} {expected}"
                );
            }
            assert!(positive > 0, "{against}");
        }
    }

    #[test]
    fn a_logit_that_no_feature_reaches_is_spoken_for_by_none() {
        let head = "{ type = \"global_avg_pool\" }, { type = \"dense\", units = 10 }";
        let model = model(&format!("{CONVOLUTIONS}{head}"));
        let mut weights = initial_weights(&model, 1);
        weights.get_mut("dense.weight").unwrap().data.fill(0.0);
        let cam = grad_cam(&model, &weights);
        let map = cam.forward(image(&model)).unwrap().map(0, false).unwrap();
        assert_eq!(map, [0.0; 28]);
    }

    #[test]
    fn only_feature_maps_of_several_places_are_explained() {
        let cut_of = |layers: &str| cut(model(layers).layers());
        let dense = "{ type = \"flatten\" }, { type = \"dense\", units = 10 }";
        assert_eq!(cut_of(dense), None);
        assert_eq!(cut_of(&format!("{CONVOLUTIONS}{dense}")), Some(5));
        let pooled =
            "{ type = \"conv2d\", filters = 4, kernel_size = 3 }, { type = \"max_pool\" }, ";
        assert_eq!(cut_of(&format!("{pooled}{dense}")), Some(1));
        // A kernel as large as the image leaves one place.
        let whole = "{ type = \"conv2d\", filters = 4, kernel_size = [20, 14] }, ";
        assert_eq!(cut_of(&format!("{whole}{dense}")), None);
    }
}
