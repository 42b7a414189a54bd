//! A model made ready for 8 bits: batch normalizations folded, channels equalized, and what is to be observed.

use std::collections::HashSet;

use kiln_onnx::{DataType, ModelProto, NodeProto, ValueInfoProto};

use crate::equalize::equalize;
use crate::error::QuantizeError;
use crate::fold::fold_batch_norms;
use crate::graph::Links;
use crate::plan::Plan;
use crate::scale::Activations;

/// The oldest operator set whose `DequantizeLinear` has an axis.
pub const OPSET: i64 = 13;

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

    /// Returns the names of the values whose ranges are needed, whichever layers stay in float.
    pub fn observed(&self) -> Vec<String> {
        self.plan.values.keys().cloned().collect()
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
