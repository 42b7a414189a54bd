//! Smaller weights alone: the graph computes in float as before, with weights that it restores first.

use std::collections::HashMap;

use half::f16;
use kiln_onnx::{
    AttributeProto, AttributeType, DataType, FreeNames, GraphProto, ModelProto, NodeProto,
    TensorProto,
};

use crate::error::QuantizeError;
use crate::graph::{Links, int_attribute, node};
use crate::plan::Plan;
use crate::prepare::OPSET;
use crate::scale::{Along, QuantizedWeights};

/// Fewest values of a tensor that is made smaller: restoring a smaller one costs more than it saves.
const LEAST: usize = 256;

/// What weights are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// IEEE 754 half precision: half the size, 11 significant bits.
    Float16,
    /// Integers of 8 bits with a scale for each output channel: a quarter of the size.
    Int8,
}

/// Returns the model with its float32 weights in a smaller type, and the nodes that restore them before they are
/// used. With [`Precision::Int8`] the weights of convolutions, dense layers and matrix products are, with
/// [`Precision::Float16`] all tensors of at least 256 values.
///
/// # Errors
///
/// [`QuantizeError::TooLarge`] of weights beyond half precision, [`QuantizeError::Opset`] of 8 bits in an operator set
/// older than 13, [`QuantizeError::Nothing`] where no tensor is made smaller, [`QuantizeError::Weights`].
pub fn shrink_weights(
    mut model: ModelProto,
    precision: Precision,
) -> Result<ModelProto, QuantizeError> {
    let (found, needed) = (model.opset(), OPSET);
    if precision == Precision::Int8 && found < needed {
        return Err(QuantizeError::Opset { found, needed });
    }
    let graph = model.graph.get_or_insert_default();
    let chosen = axes(graph, precision);
    let mut names = FreeNames::of(graph);
    let (mut added, mut nodes): (Vec<TensorProto>, Vec<NodeProto>) = (Vec::new(), Vec::new());
    let shrunk: HashMap<String, String> = chosen
        .into_iter()
        .map(|(name, axis)| {
            let tensor = Links::of(graph)
                .constant(&name)
                .cloned()
                .unwrap_or_default();
            let values = tensor.to_f32()?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(QuantizeError::Weights { name });
            }
            let restored = names.take(&format!("{name}_restored"));
            match axis {
                None => {
                    let small = names.take(&format!("{name}_float16"));
                    added.push(halves(&small, &name, &tensor, &values)?);
                    nodes.push(cast_to_float(&small, &restored));
                }
                Some(axis) => {
                    let shape = tensor.shape()?;
                    let quantized =
                        QuantizedWeights::of(&values, Along::axis(&shape, axis), |_| 0.0);
                    let small = names.take(&format!("{name}_quantized"));
                    let scale = names.take(&format!("{name}_scale"));
                    added.push(TensorProto::from_i8(&small, &shape, &quantized.values));
                    added.push(TensorProto::from_f32(
                        &scale,
                        &[quantized.scales.len()],
                        &quantized.scales,
                    ));
                    let mut restore =
                        node("DequantizeLinear", &restored, &[&small, &scale], &restored);
                    restore.attribute.push(int_attribute("axis", axis as i64));
                    nodes.push(restore);
                }
            }
            Ok((name, restored))
        })
        .collect::<Result<_, QuantizeError>>()?;
    if shrunk.is_empty() {
        return Err(QuantizeError::Nothing);
    }
    for node in &mut graph.node {
        rename(node, &shrunk);
    }
    graph
        .initializer
        .retain(|tensor| !shrunk.contains_key(&tensor.name));
    graph.node.retain(|node| {
        node.op_type != "Constant" || !node.output.iter().any(|it| shrunk.contains_key(it))
    });
    graph.initializer.append(&mut added);
    graph.node.splice(0..0, nodes);
    Ok(model)
}

/// The tensors that are made smaller, with the axis of their scales if they have any.
fn axes(graph: &GraphProto, precision: Precision) -> Vec<(String, Option<usize>)> {
    let links = Links::of(graph);
    match precision {
        Precision::Int8 => {
            let mut axes: Vec<(String, Option<usize>)> = Vec::new();
            for product in Plan::new(graph, &|_| false).products {
                let large = links
                    .floats(&product.weight)
                    .is_some_and(|it| it.len() >= LEAST);
                if large && axes.iter().all(|(name, _)| *name != product.weight) {
                    axes.push((product.weight, Some(product.axis)));
                }
            }
            axes
        }
        Precision::Float16 => {
            let initializers = graph.initializer.iter().map(|tensor| &tensor.name);
            let nodes = graph.node.iter().filter(|node| node.op_type == "Constant");
            let names = initializers.chain(nodes.filter_map(|node| node.output.first()));
            let large = |name: &&String| {
                let tensor = links.constant(name);
                let is_float = |it: &TensorProto| it.data_type == DataType::Float as i32;
                tensor
                    .is_some_and(|it| is_float(it) && it.element_count().is_ok_and(|n| n >= LEAST))
                    && !links.is_output(name)
            };
            names
                .filter(large)
                .map(|name| (name.clone(), None))
                .collect()
        }
    }
}

/// A tensor in half precision.
fn halves(
    small: &str,
    name: &str,
    tensor: &TensorProto,
    values: &[f32],
) -> Result<TensorProto, QuantizeError> {
    let largest = values
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    if !f16::from_f32(largest).is_finite() {
        return Err(QuantizeError::TooLarge {
            name: name.into(),
            largest: largest.to_string(),
        });
    }
    let raw_data = values
        .iter()
        .flat_map(|&value| f16::from_f32(value).to_le_bytes());
    Ok(TensorProto {
        name: small.into(),
        dims: tensor.dims.clone(),
        data_type: DataType::Float16 as i32,
        raw_data: raw_data.collect(),
        ..TensorProto::default()
    })
}

fn cast_to_float(from: &str, to: &str) -> NodeProto {
    let mut cast = node("Cast", to, &[from], to);
    cast.attribute
        .push(int_attribute("to", DataType::Float as i64));
    cast
}

/// Renames what a node takes, in its branches too.
fn rename(node: &mut NodeProto, names: &HashMap<String, String>) {
    for input in &mut node.input {
        if let Some(name) = names.get(input) {
            input.clone_from(name);
        }
    }
    for AttributeProto {
        g, graphs, r#type, ..
    } in &mut node.attribute
    {
        debug_assert!(g.is_none() || *r#type == AttributeType::Graph as i32);
        for graph in g.iter_mut().chain(graphs) {
            for node in &mut graph.node {
                rename(node, names);
            }
            for output in &mut graph.output {
                if let Some(name) = names.get(&output.name) {
                    output.name.clone_from(name);
                }
            }
        }
    }
}
