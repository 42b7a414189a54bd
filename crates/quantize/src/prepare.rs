//! A model made ready for 8 bits: batch normalizations folded, channels equalized, and what is to be observed.

use std::collections::HashSet;

use kiln_onnx::{DataType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use kiln_run::BatchNormValues;

use crate::equalize::equalize;
use crate::error::QuantizeError;
use crate::graph::{Links, float, int};
use crate::plan::Plan;
use crate::scale::Activations;

/// The oldest operator set whose `DequantizeLinear` has an axis.
const OPSET: i64 = 13;

/// How a model is put into 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Settings {
    /// The integers of activations.
    pub activations: Activations,
    /// Whether the weights of a layer and of the one behind it are scaled against each other, channel by channel.
    pub equalize: bool,
}

/// A model that is ready to be put into 8 bits, in the arithmetic of the original: its scores differ by rounding.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(crate) model: ModelProto,
    pub(crate) settings: Settings,
    pub(crate) plan: Plan,
}

impl Prepared {
    /// Prepares a model whose nodes are in order and whose weights are in the message.
    ///
    /// # Errors
    ///
    /// [`QuantizeError::Opset`] of an operator set older than 13, [`QuantizeError::Quantized`] of a model that has 8
    /// bits already, [`QuantizeError::Nothing`] where nothing could have, [`QuantizeError::Weights`].
    pub fn new(mut model: ModelProto, settings: Settings) -> Result<Self, QuantizeError> {
        let found = model.opset();
        if found < OPSET {
            return Err(QuantizeError::Opset {
                found,
                needed: OPSET,
            });
        }
        let graph = model.graph.get_or_insert_default();
        if let Some(node) = graph.node.iter().find(|node| is_quantized(node)) {
            let node = node.describe();
            return Err(QuantizeError::Quantized { node });
        }
        fold_batch_norms(graph);
        if settings.equalize {
            equalize(graph);
        }
        let plan = Plan::new(graph, &|_| false);
        if plan.labels.is_empty() {
            return Err(QuantizeError::Nothing);
        }
        let links = Links::of(graph);
        for product in &plan.products {
            let weights = links.floats(&product.weight).unwrap_or_default();
            if weights.iter().any(|weight| !weight.is_finite()) {
                let name = product.weight.clone();
                return Err(QuantizeError::Weights { name });
            }
        }
        Ok(Self {
            model,
            settings,
            plan,
        })
    }

    /// Returns the prepared model, in float.
    pub const fn model(&self) -> &ModelProto {
        &self.model
    }

    /// Returns the labels of the nodes that are put into 8 bits: convolutions, dense layers and matrix products.
    pub fn nodes(&self) -> &[String] {
        &self.plan.labels
    }

    /// Returns the names of the values whose ranges are needed.
    pub fn observed(&self) -> Vec<String> {
        self.plan.observed().map(str::to_owned).collect()
    }

    /// Returns the prepared model with the observed values as further outputs, behind its own, and their names. A
    /// value that is the graph's input or output is not among them.
    pub fn observable(&self) -> (ModelProto, Vec<String>) {
        let mut model = self.model.clone();
        let graph = model.graph.get_or_insert_default();
        let ends: HashSet<String> = graph
            .output
            .iter()
            .chain(&graph.input)
            .map(|info| info.name.clone())
            .collect();
        let mut names = self.observed();
        names.retain(|name| !ends.contains(name));
        let output = |name: &String| ValueInfoProto::of_type(DataType::Float, name, None);
        graph.output.extend(names.iter().map(output));
        (model, names)
    }
}

/// Whether an operator takes or makes integers of 8 bits.
fn is_quantized(node: &NodeProto) -> bool {
    let op = node.op_type.as_str();
    op.contains("QuantizeLinear") || op.contains("QLinear") || op.ends_with("Integer")
}

/// Folds each batch normalization in inference form into the convolution before it, if nothing else takes what the
/// convolution gives or its weights.
fn fold_batch_norms(graph: &mut GraphProto) {
    let folds: Vec<Fold> = {
        let links = Links::of(graph);
        let nodes = graph.node.iter().enumerate();
        nodes
            .filter_map(|(at, node)| Fold::of(at, node, &links))
            .collect()
    };
    let mut removed = HashSet::new();
    for fold in folds {
        let Fold {
            conv,
            norm,
            tensors: [weight, bias],
        } = fold;
        let output = graph.node[norm].output[0].clone();
        let node = &mut graph.node[conv];
        node.output[0] = output;
        node.input.truncate(1);
        node.input.extend([weight.name.clone(), bias.name.clone()]);
        removed.insert(norm);
        put(graph, weight);
        put(graph, bias);
    }
    let mut at = 0;
    graph.node.retain(|_| {
        at += 1;
        !removed.contains(&(at - 1))
    });
}

/// A convolution with the batch normalization behind it.
struct Fold {
    conv: usize,
    norm: usize,
    /// Its weights and bias with the normalization in them.
    tensors: [TensorProto; 2],
}

impl Fold {
    fn of(at: usize, node: &NodeProto, links: &Links<'_>) -> Option<Self> {
        if node.op_type != "Conv" || !node.is_onnx() {
            return None;
        }
        let (norm, next) = links.only_taker(node.output.first()?)?;
        let outputs = next.output.iter().filter(|name| !name.is_empty()).count();
        if next.op_type != "BatchNormalization"
            || !next.is_onnx()
            || outputs != 1
            || int(next, "training_mode", 0) != 0
        {
            return None;
        }
        let weight = node.input.get(1)?;
        if links.takers(weight).len() != 1 {
            return None;
        }
        let weights = links.floats(weight)?;
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => Some(links.floats(name)?),
            None => None,
        };
        let values: Option<Vec<Vec<f32>>> =
            (1..5).map(|at| links.floats(next.input.get(at)?)).collect();
        let values = values?;
        let shape = links.constant(weight)?.shape().ok()?;
        if values.iter().any(|values| values.len() != shape[0]) {
            return None;
        }
        let norm_values = BatchNormValues {
            scale: &values[0],
            shift: &values[1],
            mean: &values[2],
            variance: &values[3],
            epsilon: float(next, "epsilon", 1e-5),
        };
        let (weights, biases) = norm_values.fold(&weights, bias.as_deref());
        let tensors = [
            TensorProto::from_f32(weight, &shape, &weights),
            TensorProto::from_f32(&next.input[2], &[biases.len()], &biases),
        ];
        Some(Self {
            conv: at,
            norm,
            tensors,
        })
    }
}

/// Puts a tensor in place of the initializer or `Constant` of its name.
pub(crate) fn put(graph: &mut GraphProto, tensor: TensorProto) {
    if let Some(found) = graph
        .initializer
        .iter_mut()
        .find(|found| found.name == tensor.name)
    {
        *found = tensor;
        return;
    }
    let makes =
        |node: &NodeProto| node.op_type == "Constant" && node.output.first() == Some(&tensor.name);
    graph.node.retain(|node| !makes(node));
    graph.initializer.push(tensor);
}
