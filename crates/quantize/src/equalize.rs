//! Cross-layer equalization: Nagel and others, "Data-Free Quantization Through Weight Equalization and Bias
//! Correction", 2019.
//!
//! Behind a convolution and `ReLU`, a channel may be scaled by any positive number if the next convolution's weights
//! of that channel are divided by it. Depthwise networks trained with batch normalization have channels of very
//! different sizes, of which the smallest have few of an activation's 256 steps.

use kiln_onnx::{GraphProto, NodeProto, TensorProto};

use crate::graph::{Links, int, put};
use crate::scale::Along;

/// Passes over the graph: what one pair is given changes what the next has.
const PASSES: usize = 20;

/// Scales the weights of convolutions that follow each other so that each channel is as large in one as in the
/// other. The graph computes the same but for rounding.
pub fn equalize(graph: &mut GraphProto) {
    let pairs: Vec<Pair> = {
        let links = Links::of(graph);
        let nodes = graph.node.iter();
        nodes.filter_map(|node| Pair::of(node, &links)).collect()
    };
    for _ in 0..PASSES {
        for pair in &pairs {
            pair.balance(graph);
        }
    }
}

/// A convolution and the one that alone takes its output.
struct Pair {
    first: String,
    bias: Option<String>,
    second: String,
    /// Whether the second has a filter for each channel.
    depthwise: bool,
}

impl Pair {
    fn of(node: &NodeProto, links: &Links<'_>) -> Option<Self> {
        let [first, bias] = own_tensors(node, links)?;
        let (_, mut next) = links.only_taker(node.output.first()?)?;
        if next.op_type == "Relu" && next.is_onnx() {
            next = links.only_taker(next.output.first()?)?.1;
        }
        let [second, _] = own_tensors(next, links)?;
        let (a, b) = (links.constant(&first)?, links.constant(&second)?);
        let groups = int(next, "group", 1);
        let depthwise = groups > 1 && groups == a.dims[0] && b.dims[0] == groups && b.dims[1] == 1;
        (depthwise || groups == 1 && b.dims[1] == a.dims[0]).then(|| Self {
            first,
            bias: Some(bias).filter(|name| !name.is_empty()),
            second,
            depthwise,
        })
    }

    fn balance(&self, graph: &mut GraphProto) {
        let tensors = {
            let links = Links::of(graph);
            let read = |name: &str| {
                let tensor = links.constant(name)?;
                Some((tensor.shape().ok()?, tensor.to_f32().ok()?))
            };
            let (Some(first), Some(second)) = (read(&self.first), read(&self.second)) else {
                return;
            };
            (first, second, self.bias.as_deref().and_then(read))
        };
        let ((shape, mut first), (second_shape, mut second), bias) = tensors;
        let rows = Along::axis(&shape, 0);
        let columns = Along::axis(&second_shape, usize::from(!self.depthwise));
        let largest = |values: &[f32], along: Along| {
            let mut largest = vec![0.0_f32; along.channels];
            for (at, value) in values.iter().enumerate() {
                let largest = &mut largest[along.channel(at)];
                *largest = largest.max(value.abs());
            }
            largest
        };
        let (a, b) = (largest(&first, rows), largest(&second, columns));
        let factors: Vec<f32> = a
            .iter()
            .zip(&b)
            .map(|(a, b)| {
                let factor = (b / a).sqrt();
                if factor.is_normal() { factor } else { 1.0 }
            })
            .collect();
        for (at, value) in first.iter_mut().enumerate() {
            *value *= factors[rows.channel(at)];
        }
        for (at, value) in second.iter_mut().enumerate() {
            *value /= factors[columns.channel(at)];
        }
        put(graph, TensorProto::from_f32(&self.first, &shape, &first));
        put(
            graph,
            TensorProto::from_f32(&self.second, &second_shape, &second),
        );
        if let (Some(name), Some((shape, mut bias))) = (&self.bias, bias) {
            bias.iter_mut()
                .zip(&factors)
                .for_each(|(bias, factor)| *bias *= factor);
            put(graph, TensorProto::from_f32(name, &shape, &bias));
        }
    }
}

/// The weights and bias of a convolution that no other node has; the bias may be left out.
fn own_tensors(node: &NodeProto, links: &Links<'_>) -> Option<[String; 2]> {
    if node.op_type != "Conv" || !node.is_onnx() {
        return None;
    }
    let weight = node.input.get(1)?;
    let bias = node.input.get(2).cloned().unwrap_or_default();
    let own = |name: &String| links.takers(name).len() == 1 && links.floats(name).is_some();
    (own(weight) && (bias.is_empty() || own(&bias))).then(|| [weight.clone(), bias])
}
