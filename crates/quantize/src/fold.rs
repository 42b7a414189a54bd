//! Batch normalizations folded into the products before or behind them, so that nothing between two products is left
//! in float.

use std::collections::HashSet;

use kiln_onnx::{FreeNames, GraphProto, NodeProto, TensorProto};
use kiln_run::BatchNormValues;

use crate::graph::{Links, float, int, ints, put, remove_unused};
use crate::scale::Along;

/// Folds each batch normalization in inference form into the convolution before it, or else, as where `ReLU` is
/// between, what it adds into the product behind it, and what it multiplies with into the one before if that can be.
pub fn fold_batch_norms(graph: &mut GraphProto) {
    fold_back(graph);
    while let Some(fold) = (0..graph.node.len()).find_map(|at| Forward::of(at, graph)) {
        fold.apply(graph);
    }
    remove_unused(graph);
}

/// A batch normalization in inference form, with its constants.
struct Norm {
    values: Vec<Vec<f32>>,
    epsilon: f32,
}

impl Norm {
    fn of(node: &NodeProto, links: &Links<'_>) -> Option<Self> {
        let outputs = node.output.iter().filter(|name| !name.is_empty()).count();
        let is_plain = node.op_type == "BatchNormalization"
            && node.is_onnx()
            && outputs == 1
            && int(node, "training_mode", 0) == 0;
        let values: Option<Vec<Vec<f32>>> =
            (1..5).map(|at| links.floats(node.input.get(at)?)).collect();
        let values = values
            .filter(|values| is_plain && values.iter().all(|it| it.len() == values[0].len()))?;
        Some(Self {
            values,
            epsilon: float(node, "epsilon", 1e-5),
        })
    }

    fn channels(&self) -> usize {
        self.values[0].len()
    }

    fn values(&self) -> BatchNormValues<'_> {
        let [scale, shift, mean, variance] = [0, 1, 2, 3].map(|at| self.values[at].as_slice());
        BatchNormValues {
            scale,
            shift,
            mean,
            variance,
            epsilon: self.epsilon,
        }
    }

    /// What each channel is multiplied with, and what is then added.
    fn affine(&self) -> Vec<[f64; 2]> {
        let [scale, shift, mean, variance] = [0, 1, 2, 3].map(|at| &self.values[at]);
        let channels = 0..self.channels();
        channels
            .map(|at| {
                let deviation = (f64::from(variance[at]) + f64::from(self.epsilon)).sqrt();
                let factor = f64::from(scale[at]) / deviation;
                [factor, f64::from(shift[at]) - f64::from(mean[at]) * factor]
            })
            .collect()
    }
}

/// Folds normalizations into the convolutions before them, if nothing else takes what the convolution gives or its
/// weights.
fn fold_back(graph: &mut GraphProto) {
    let folds: Vec<Back> = {
        let links = Links::of(graph);
        let nodes = graph.node.iter().enumerate();
        nodes
            .filter_map(|(at, node)| Back::of(at, node, &links))
            .collect()
    };
    let (mut removed, mut folded) = (HashSet::new(), Vec::new());
    for Back {
        conv,
        norm,
        tensors: [weight, bias],
    } in folds
    {
        let output = graph.node[norm].output[0].clone();
        let node = &mut graph.node[conv];
        node.output[0] = output;
        node.input.truncate(1);
        node.input.extend([weight.name.clone(), bias.name.clone()]);
        removed.insert(norm);
        folded.extend([weight, bias]);
    }
    let mut at = 0;
    graph.node.retain(|_| {
        at += 1;
        !removed.contains(&(at - 1))
    });
    // Last: nodes of constants that are replaced make room too.
    for tensor in folded {
        put(graph, tensor);
    }
}

/// A convolution with the normalization behind it.
struct Back {
    conv: usize,
    norm: usize,
    /// Its weights and bias with the normalization in them.
    tensors: [TensorProto; 2],
}

impl Back {
    fn of(at: usize, node: &NodeProto, links: &Links<'_>) -> Option<Self> {
        if node.op_type != "Conv" || !node.is_onnx() {
            return None;
        }
        let (norm_at, next) = links.only_taker(node.output.first()?)?;
        let norm = Norm::of(next, links)?;
        let weight = node.input.get(1)?;
        let weights = links
            .floats(weight)
            .filter(|_| links.takers(weight).len() == 1)?;
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => Some(links.floats(name)?),
            None => None,
        };
        let shape = links.constant(weight)?.shape().ok()?;
        if norm.channels() != shape[0] {
            return None;
        }
        let (weights, biases) = norm.values().fold(&weights, bias.as_deref());
        let tensors = [
            TensorProto::from_f32(weight, &shape, &weights),
            TensorProto::from_f32(&next.input[2], &[biases.len()], &biases),
        ];
        Some(Self {
            conv: at,
            norm: norm_at,
            tensors,
        })
    }
}

/// A normalization with the product behind it, and what only moves numbers between.
struct Forward {
    norm: usize,
    product: usize,
    /// The product's weights and bias with the normalization in them.
    weight: TensorProto,
    bias: Vec<f32>,
    /// Weights and bias of the product before it, where that takes the size of the factors.
    scaled: Vec<TensorProto>,
}

/// Weights and bias of the product before a normalization, with the absolute factors in them: behind `ReLU` a channel
/// may be scaled by any positive number before it as well. So the channels are of like size where they are rounded, and
/// the weights behind keep theirs. None where something else is between, or takes the same.
fn scaled_before(
    value: &str,
    factors: &[f64],
    graph: &GraphProto,
    links: &Links<'_>,
) -> Option<Vec<TensorProto>> {
    let maker = |value: &str| {
        let mut nodes = graph.node.iter();
        nodes.find(|node| node.output.first().is_some_and(|it| it == value) && node.is_onnx())
    };
    links.only_taker(value)?;
    let mut node = maker(value)?;
    if node.op_type == "Relu" {
        let before = node.input.first()?;
        links.only_taker(before)?;
        node = maker(before)?;
    }
    let weight = node.input.get(1)?;
    let weights = links
        .floats(weight)
        .filter(|_| links.takers(weight).len() == 1)?;
    let shape = links.constant(weight)?.shape().ok()?;
    let axis = match node.op_type.as_str() {
        "Conv" => 0,
        "Gemm" if is_dense(node) => usize::from(int(node, "transB", 0) == 0),
        _ => return None,
    };
    let along = Along::axis(&shape, axis);
    if along.channels != factors.len() {
        return None;
    }
    let scaled = weights.iter().enumerate();
    let scaled: Vec<f32> = scaled
        .map(|(at, &weight)| (f64::from(weight) * factors[along.channel(at)]) as f32)
        .collect();
    let mut tensors = vec![TensorProto::from_f32(weight, &shape, &scaled)];
    if let Some(bias) = node.input.get(2).filter(|name| !name.is_empty()) {
        let biases = links
            .floats(bias)
            .filter(|it| links.takers(bias).len() == 1 && it.len() == factors.len())?;
        let biases = biases.iter().zip(factors);
        let biases: Vec<f32> = biases
            .map(|(&bias, by)| (f64::from(bias) * by) as f32)
            .collect();
        tensors.push(TensorProto::from_f32(bias, &[biases.len()], &biases));
    }
    Some(tensors)
}

impl Forward {
    fn of(at: usize, graph: &GraphProto) -> Option<Self> {
        let links = Links::of(graph);
        let node = &graph.node[at];
        let norm = Norm::of(node, &links)?;
        let affine = norm.affine();
        let (mut product, mut next) = links.only_taker(node.output.first()?)?;
        loop {
            // The greatest of numbers times a positive one is the greatest times it.
            let passes = match next.op_type.as_str() {
                "MaxPool" => affine.iter().all(|[factor, _]| *factor > 0.0),
                "Dropout" | "Identity" => true,
                "Flatten" => int(next, "axis", 1) == 1,
                "Reshape" => {
                    let shape = next.input.get(1).and_then(|shape| links.constant(shape));
                    shape.is_some_and(|shape| shape.element_count() == Ok(2))
                }
                _ => break,
            };
            let outputs = next
                .output
                .iter()
                .filter(|name| !links.takers(name).is_empty());
            if !passes || !next.is_onnx() || outputs.count() != 1 {
                return None;
            }
            (product, next) = links.only_taker(&next.output[0])?;
        }
        let weight = next.input.get(1)?;
        let weights = links
            .floats(weight)
            .filter(|_| links.takers(weight).len() == 1)?;
        let shape = links.constant(weight)?.shape().ok()?;
        let channels = norm.channels();
        // The channel of the input and the output of each weight.
        let place: Box<dyn Fn(usize) -> [usize; 2]> =
            match (next.op_type.as_str(), shape.as_slice()) {
                // Beside the image the normalized value is 0, which is none of what is added.
                ("Conv", [filters, taken, window @ ..]) if is_unpadded(next) => {
                    let (groups, inner) = (channels / taken, window.iter().product::<usize>());
                    if groups == 0 || groups * taken != channels || !filters.is_multiple_of(groups)
                    {
                        return None;
                    }
                    let (taken, per_group) = (*taken, filters / groups);
                    Box::new(move |at| {
                        let filter = at / (inner * taken);
                        [at / inner % taken + filter / per_group * taken, filter]
                    })
                }
                ("Gemm", &[a, b]) if is_dense(next) => {
                    let transposed = int(next, "transB", 0) != 0;
                    let inputs = if transposed { b } else { a };
                    let each = inputs
                        .checked_div(channels)
                        .filter(|each| each * channels == inputs)?;
                    Box::new(move |at| {
                        let [input, output] = if transposed {
                            [at % b, at / b]
                        } else {
                            [at / b, at % b]
                        };
                        [input / each, output]
                    })
                }
                _ => return None,
            };
        let outputs = if next.op_type == "Conv" || int(next, "transB", 0) != 0 {
            shape[0]
        } else {
            shape[1]
        };
        let mut bias = match next.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => links.floats(name)?.into_iter().map(f64::from).collect(),
            None => vec![0.0; outputs],
        };
        if bias.len() != outputs {
            return None;
        }
        let sizes: Vec<f64> = affine
            .iter()
            .map(|[factor, _]| if *factor == 0.0 { 1.0 } else { factor.abs() })
            .collect();
        let before = scaled_before(node.input.first()?, &sizes, graph, &links);
        let scaled = weights.iter().enumerate().map(|(at, &weight)| {
            let [channel, output] = place(at);
            let [factor, added] = affine[channel];
            bias[output] += f64::from(weight) * added;
            let size = if before.is_some() {
                sizes[channel]
            } else {
                1.0
            };
            (f64::from(weight) * (factor / size)) as f32
        });
        let scaled: Vec<f32> = scaled.collect();
        Some(Self {
            norm: at,
            product,
            weight: TensorProto::from_f32(weight, &shape, &scaled),
            bias: bias.into_iter().map(|bias| bias as f32).collect(),
            scaled: before.unwrap_or_default(),
        })
    }

    fn apply(self, graph: &mut GraphProto) {
        let Self {
            norm,
            product,
            weight,
            bias,
            scaled,
        } = self;
        // The bias may be another node's too.
        let name = FreeNames::of(graph).take(&format!("{}_folded_bias", weight.name));
        let node = &mut graph.node[product];
        node.input.truncate(2);
        node.input.push(name.clone());
        let normalized = graph.node[norm].output[0].clone();
        let plain = graph.node[norm].input[0].clone();
        for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
            if *input == normalized {
                input.clone_from(&plain);
            }
        }
        put(graph, TensorProto::from_f32(&name, &[bias.len()], &bias));
        put(graph, weight);
        for tensor in scaled {
            put(graph, tensor);
        }
        // Of other places than before if a constant's node was replaced.
        graph
            .node
            .retain(|node| node.output.first() != Some(&normalized));
    }
}

/// Whether a convolution has no padding.
fn is_unpadded(node: &NodeProto) -> bool {
    let auto = node.attribute.iter().find(|it| it.name == "auto_pad");
    let auto = auto.and_then(|it| it.s.as_deref()).unwrap_or_default();
    match auto {
        b"" | b"NOTSET" => ints(node, "pads").iter().all(|&pad| pad == 0),
        b"VALID" => true,
        _ => false,
    }
}

/// Whether a `Gemm` is `x · w + b`.
pub fn is_dense(node: &NodeProto) -> bool {
    let one = |name| (float(node, name, 1.0) - 1.0).abs() < f32::EPSILON;
    int(node, "transA", 0) == 0 && one("alpha") && one("beta")
}
