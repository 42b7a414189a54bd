//! Names and shapes: from what a recipe says to layers that fit.

use std::collections::HashMap;

use super::{Layer, ModelError, params};
use crate::{Activation, LayerKind, LayerSpec, Shape};

/// Most values that one sample or one parameter may have: 2³¹, far beyond any network that a CPU
/// can hold, and small enough that no product of sizes overflows.
const MAX_VALUES: usize = 1 << 31;

/// Most parameters of a model: 2²⁸, 1 GiB, of which training holds four copies. VGG19 with its
/// dense layers has half.
const MAX_PARAMETERS: usize = 1 << 28;

pub(super) fn layers(input: Shape, specs: &[LayerSpec]) -> Result<Vec<Layer>, ModelError> {
    if specs.is_empty() {
        return Err(ModelError {
            index: 0,
            name: "layers".into(),
            problem: "the model has no layers: add at least `flatten` and `dense`".into(),
        });
    }
    let names = names(specs)?;
    let mut shape = input;
    let mut parameters = 0;
    let mut layers = Vec::with_capacity(specs.len());
    for (index, (spec, name)) in specs.iter().zip(names).enumerate() {
        let fail = |problem: String| ModelError {
            index,
            name: name.clone(),
            problem,
        };
        if softmax_before_the_end(&spec.kind, index + 1 == specs.len()) {
            return Err(fail(
                "softmax turns logits into probabilities and can only be the last layer: move it"
                    .into(),
            ));
        }
        let output = output(&spec.kind, shape).map_err(fail)?;
        let params = params::of(&name, &spec.kind, shape);
        if let Some(large) = params.iter().find(|p| !fits(&p.shape)) {
            return Err(fail(format!(
                "`{}` would be {:?}, over 2^31 values: make the layer smaller",
                large.name, large.shape
            )));
        }
        parameters += params.iter().map(super::Param::len).sum::<usize>();
        if parameters > MAX_PARAMETERS {
            return Err(fail(format!(
                "the model has {parameters} parameters up to here, over 2^28: make it smaller"
            )));
        }
        layers.push(Layer {
            name,
            kind: spec.kind.clone(),
            frozen: false,
            backbone: None,
            input: shape,
            output,
            params,
        });
        shape = output;
    }
    match layers.last() {
        Some(last) if !matches!(last.output, Shape::Vector(n) if n >= 2) => Err(ModelError {
            index: layers.len() - 1,
            name: last.name.clone(),
            problem: format!(
                "the last layer must output one score per class, at least 2; this one outputs {}: end with `flatten` and `dense`",
                last.output
            ),
        }),
        _ => Ok(layers),
    }
}

/// Names of all layers; they must be different.
fn names(specs: &[LayerSpec]) -> Result<Vec<String>, ModelError> {
    let given: Vec<_> = specs
        .iter()
        .map(|spec| (spec.kind.type_name(), spec.name.as_deref()))
        .collect();
    let names = layer_names(&given);
    for (index, name) in names.iter().enumerate() {
        if let Some(first) = names[..index].iter().position(|other| other == name) {
            let problem = format!(
                "the name is taken by layer {}: layers need different names",
                first + 1
            );
            return Err(ModelError {
                index,
                name: name.clone(),
                problem,
            });
        }
    }
    Ok(names)
}

/// The given names, and for layers without one Keras's scheme: the type, then the type with `_1`,
/// `_2`, …, passing over names that are given. Takes type and given name of each layer.
pub fn layer_names(layers: &[(&str, Option<&str>)]) -> Vec<String> {
    let given: Vec<&str> = layers.iter().filter_map(|(_, name)| *name).collect();
    let mut next: HashMap<&str, usize> = HashMap::new();
    let mut automatic = |base| loop {
        let n = next.entry(base).or_insert(0);
        let name = if *n == 0 {
            base.to_string()
        } else {
            format!("{base}_{n}")
        };
        *n += 1;
        if !given.contains(&name.as_str()) {
            return name;
        }
    };
    layers
        .iter()
        .map(|(base, name)| name.map_or_else(|| automatic(*base), str::to_string))
        .collect()
}

fn softmax_before_the_end(kind: &LayerKind, last: bool) -> bool {
    let softmax = match kind {
        LayerKind::Softmax {} => true,
        LayerKind::Dense(dense) => dense.activation == Some(Activation::Softmax),
        LayerKind::Activation { activation } => *activation == Activation::Softmax,
        _ => false,
    };
    softmax && !last
}

fn output(kind: &LayerKind, input: Shape) -> Result<Shape, String> {
    let image = |what: &str| match input {
        Shape::Image {
            channels,
            height,
            width,
        } => Ok((channels, height, width)),
        Shape::Vector(_) => Err(format!(
            "{what} needs an image [C, H, W], found {input}: put it before `flatten`"
        )),
    };
    let shape = match kind {
        LayerKind::Conv2d(conv) => {
            if conv.activation == Some(Activation::Softmax) {
                return Err(
                    "softmax needs a vector of logits: use it on the last `dense` layer".into(),
                );
            }
            let (channels, height, width) = image("conv2d")?;
            let groups = conv.groups;
            if !channels.is_multiple_of(groups) || !conv.filters.is_multiple_of(groups) {
                return Err(format!(
                    "groups = {groups} must divide the {channels} channels that reach it and its {} filters: use another number",
                    conv.filters
                ));
            }
            if conv.strides != [1, 1] && conv.dilation_rate != [1, 1] {
                return Err(
                    "strides and dilation_rate above 1 exclude each other, as in Keras: keep one"
                        .into(),
                );
            }
            let padded = conv.pads([height, width]).around([height, width]);
            let [height, width] = windows("kernel", padded, conv.window(), conv.strides)?;
            Shape::Image {
                channels: conv.filters,
                height,
                width,
            }
        }
        LayerKind::MaxPool(pool) | LayerKind::AvgPool(pool) => {
            let (channels, height, width) = image(kind.type_name())?;
            let [height, width] = windows(
                "window",
                pool.pads([height, width]).around([height, width]),
                pool.pool_size,
                pool.strides,
            )?;
            Shape::Image {
                channels,
                height,
                width,
            }
        }
        LayerKind::GlobalMaxPool {} | LayerKind::GlobalAvgPool {} => {
            Shape::Vector(image(kind.type_name())?.0)
        }
        LayerKind::ChannelMax {} => {
            let (_, height, width) = image("channel_max")?;
            Shape::Image {
                channels: 1,
                height,
                width,
            }
        }
        LayerKind::Resize(resize) => {
            let (channels, _, _) = image("resize")?;
            Shape::Image {
                channels,
                height: resize.height,
                width: resize.width,
            }
        }
        LayerKind::Reshape { target_shape } => {
            let shape = match target_shape[..] {
                [channels, height, width] => Shape::Image {
                    channels,
                    height,
                    width,
                },
                [features] => Shape::Vector(features),
                _ => {
                    return Err(
                        "target_shape is [channels, height, width] or [features]: give three numbers or one".into()
                    );
                }
            };
            let product = target_shape
                .iter()
                .try_fold(1_usize, |product, &dim| product.checked_mul(dim));
            if product != Some(input.len()) {
                return Err(format!(
                    "{shape} has another number of values than {input}, which reaches it: they must be as many"
                ));
            }
            shape
        }
        LayerKind::Flatten {} => Shape::Vector(input.len()),
        LayerKind::Dense(dense) => match input {
            Shape::Vector(_) => Shape::Vector(dense.units),
            Shape::Image { .. } => {
                return Err(format!(
                    "dense needs a vector [N], found {input}: put `flatten` before it"
                ));
            }
        },
        LayerKind::Softmax {}
        | LayerKind::Activation {
            activation: Activation::Softmax,
        } => match input {
            Shape::Vector(_) => input,
            Shape::Image { .. } => {
                return Err(format!(
                    "softmax needs a vector [N], found {input}: put `flatten` and `dense` before it"
                ));
            }
        },
        LayerKind::BatchNorm(_)
        | LayerKind::Dropout { .. }
        | LayerKind::Relu {}
        | LayerKind::Activation { .. } => input,
    };
    if fits(&shape.dims()) {
        Ok(shape)
    } else {
        Err(format!(
            "its output {shape} is over 2^31 values: make it smaller"
        ))
    }
}

/// Positions of a window in an image of `size`, per axis: `(size - window) / stride + 1`.
fn windows(
    what: &str,
    size: [usize; 2],
    window: [usize; 2],
    stride: [usize; 2],
) -> Result<[usize; 2], String> {
    if window[0] > size[0] || window[1] > size[1] {
        let ([wh, ww], [h, w]) = (window, size);
        return Err(format!(
            "a {wh}x{ww} {what} does not fit into the {h}x{w} image that reaches it: make it smaller, or shrink the \
             image less in the layers before"
        ));
    }
    Ok([0, 1].map(|axis| (size[axis] - window[axis]) / stride[axis] + 1))
}

fn fits(dims: &[usize]) -> bool {
    dims.iter()
        .try_fold(1_usize, |product, &dim| product.checked_mul(dim))
        .is_some_and(|n| n <= MAX_VALUES)
}
