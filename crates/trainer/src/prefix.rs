//! Layers that only compute: frozen ones on the processor, by kiln's own kernels.
//!
//! Nothing here keeps what a gradient would need, activations stay in two buffers with channels last from layer to
//! layer, and the weights are packed once. Burn's general operations do the same at a fraction of the speed.

use kiln_kernels::{
    Activation as Fused, Conv2d, Conv2dShape, NormPool, NormPoolState, PackedFilters, Pool2d, ShapeError,
    conv2d_forward_packed, nchw_to_nhwc, nhwc_to_nchw, norm_pool_forward,
};
use kiln_run::{Weights, WeightsError};
use kiln_spec::{Activation, Layer, LayerKind, Shape};

/// The layers, ready to run.
pub struct Prefix {
    steps: Vec<Step>,
    input: Shape,
}

enum Step {
    /// A convolution, or a dense layer as one of 1x1 images, with its activation. The batch of the sizes is 1.
    Conv {
        sizes: Conv2d,
        weights: PackedFilters,
        bias: Option<Vec<f32>>,
        activation: Fused,
    },
    MaxPool {
        sizes: NormPool,
    },
    Relu,
    /// To channels first, as the dense layers' weights expect; the image's height, width and channels.
    Flatten([usize; 3]),
}

impl Prefix {
    /// Takes the layers, if all are of kinds that the kernels know; there is nothing where one is not.
    pub fn new(layers: &[Layer], weights: &Weights) -> Result<Option<Self>, WeightsError> {
        let Some(first) = layers.first() else { return Ok(None) };
        let mut steps = Vec::new();
        for layer in layers {
            match step(layer, weights)? {
                Some(step) => steps.extend(step),
                None => return Ok(None),
            }
        }
        Ok(Some(Self { steps, input: first.input }))
    }

    /// Runs a batch: `values` are samples as the first layer takes them, channels first, and so is what is given.
    pub fn run(&self, values: &[f32]) -> Result<Vec<f32>, ShapeError> {
        let samples = values.len() / self.input.len();
        let mut layout = self.input;
        let mut current = values.to_vec();
        if let Shape::Image { channels, height, width } = self.input {
            nchw_to_nhwc(samples, height * width, channels, values, &mut current);
        }
        let mut next = Vec::new();
        let mut state = NormPoolState::default();
        for step in &self.steps {
            match step {
                Step::Conv { sizes, weights, bias, activation } => {
                    let shape = Conv2d { batch: samples, ..*sizes }.checked()?;
                    next.resize(shape.output_len(), 0.0);
                    conv2d_forward_packed(&shape, &current, weights, bias.as_deref(), *activation, &mut next);
                    layout = channels_last(&shape);
                }
                Step::MaxPool { sizes } => {
                    let shape = NormPool { batch: samples, ..*sizes }.checked()?;
                    next.resize(shape.output_len(), 0.0);
                    norm_pool_forward(&shape, None, None, &current, &mut next, &mut state);
                    let [height, width] = shape.output();
                    layout = Shape::Image { channels: sizes.channels, height, width };
                }
                Step::Relu => {
                    for x in &mut current {
                        *x = x.max(0.0);
                    }
                    continue;
                }
                Step::Flatten([height, width, channels]) => {
                    next.resize(current.len(), 0.0);
                    nhwc_to_nchw(samples, height * width, *channels, &current, &mut next);
                    layout = Shape::Vector(height * width * channels);
                }
            }
            std::mem::swap(&mut current, &mut next);
        }
        if let Shape::Image { channels, height, width } = layout {
            next.resize(current.len(), 0.0);
            nhwc_to_nchw(samples, height * width, channels, &current, &mut next);
            std::mem::swap(&mut current, &mut next);
        }
        Ok(current)
    }
}

fn channels_last(shape: &Conv2dShape) -> Shape {
    let [height, width] = shape.output();
    Shape::Image { channels: shape.filters, height, width }
}

/// At most one step: dropout, say, does nothing here. Nothing at all for a kind that the kernels do not know.
fn step(layer: &Layer, weights: &Weights) -> Result<Option<Vec<Step>>, WeightsError> {
    let fused = |activation: Option<Activation>| match activation {
        Some(Activation::Relu) => Some(Fused::Relu),
        None => Some(Fused::Linear),
        Some(Activation::Softmax) => None,
    };
    let conv = |sizes: Conv2d, use_bias: bool, activation: Option<Fused>| {
        let (Ok(shape), Some(activation)) = (sizes.checked(), activation) else { return Ok(None) };
        let weight = weights.get(&format!("{}.weight", layer.name))?;
        let bias = use_bias.then(|| weights.get(&format!("{}.bias", layer.name))).transpose()?;
        let (weights, bias) = (PackedFilters::new(&shape, &weight.data), bias.map(|bias| bias.data.clone()));
        Ok(Some(vec![Step::Conv { sizes, weights, bias, activation }]))
    };
    let one = |step| Some(vec![step]);
    Ok(match (&layer.kind, layer.input) {
        (LayerKind::Conv2d(spec), Shape::Image { channels, height, width }) => {
            let pads = spec.padding.pads([height, width], spec.kernel_size, spec.strides);
            let sizes = Conv2d {
                stride: spec.strides,
                padding: [pads.top, pads.left, pads.bottom, pads.right],
                ..Conv2d::new([1, height, width, channels], spec.filters, spec.kernel_size)
            };
            conv(sizes, spec.use_bias, fused(spec.activation))?
        }
        (LayerKind::Dense(spec), Shape::Vector(inputs)) => {
            conv(Conv2d::dense(1, inputs, spec.units), spec.use_bias, fused(spec.activation))?
        }
        (LayerKind::MaxPool(spec), Shape::Image { channels, height, width }) => {
            let pool = Pool2d { window: spec.pool_size, stride: spec.strides };
            one(Step::MaxPool { sizes: NormPool { batch: 1, height, width, channels, pool } })
        }
        (LayerKind::Relu {}, _) => one(Step::Relu),
        (LayerKind::Flatten {}, Shape::Image { channels, height, width }) => {
            one(Step::Flatten([height, width, channels]))
        }
        (LayerKind::Flatten {} | LayerKind::Dropout { .. }, _) => Some(Vec::new()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use kiln_spec::{Model, Recipe};

    use super::*;
    use crate::{Device, Predictor, initial_weights};

    const LAYERS: &str = r#"layers = [
        { type = "conv2d", filters = 6, kernel_size = 3, padding = "same", activation = "relu" },
        { type = "max_pool" },
        { type = "dropout", rate = 0.5 },
        { type = "conv2d", filters = 5, kernel_size = [3, 2], strides = 2, padding = "same", use_bias = false },
        { type = "relu" },
        { type = "flatten" },
        { type = "dense", units = 12, activation = "relu" },
        { type = "dense", units = 10 },
    ]"#;

    fn model(layers: &str, channels: &str) -> Model {
        let set = ["input.height=11", "input.width=9", channels].map(String::from);
        Recipe::parse(layers, "t.toml", "t", &set).unwrap().model().unwrap()
    }

    #[test]
    fn every_length_of_prefix_gives_what_burn_gives() {
        for channels in ["input.channels=gray", "input.channels=rgb"] {
            let model = model(LAYERS, channels);
            let weights = initial_weights(&model, 3);
            let pixels: Vec<f32> = (0..5 * model.preprocessing().len()).map(|i| (i * 37 % 101) as f32 / 50.0).collect();
            let burn = Predictor::new(&model, &weights, &Device::cpu()).unwrap().layer_outputs(&pixels).unwrap();
            for (at, expected) in burn.iter().enumerate() {
                let prefix = Prefix::new(&model.layers()[..=at], &weights).unwrap().expect("all kinds are known");
                let found = prefix.run(&pixels).unwrap();
                let largest = expected.data.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
                assert_eq!(found.len(), expected.data.len(), "{}", expected.name);
                for (a, b) in found.iter().zip(&expected.data) {
                    assert!((a - b).abs() <= 1e-5 * largest, "{}: {a} {b}", expected.name);
                }
            }
        }
    }

    #[test]
    fn other_kinds_are_left_to_burn() {
        let layers = "layers = [{ type = \"batch_norm\" }, { type = \"flatten\" }, { type = \"dense\", units = 10 }]";
        let model = model(layers, "input.channels=gray");
        assert!(Prefix::new(model.layers(), &initial_weights(&model, 0)).unwrap().is_none());
    }
}
