//! Everything that stands in a model, wherever it can stand.

use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
    ValueInfoProto,
};

/// A part of a model.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// A node, before its attributes.
    Node(&'a NodeProto),
    /// An attribute of a node, or a default of a function, before what is in it.
    Attribute(&'a AttributeProto),
    /// A tensor, among them those of a sparse one.
    Tensor(&'a TensorProto),
    /// A sparse tensor, before its parts.
    Sparse(&'a SparseTensorProto),
    /// The declared type of a value.
    Value(&'a ValueInfoProto),
}

/// Calls `visit` for each part of a model until one fails: of its graph, the graphs of control flow
/// in it, its functions, and the graphs of its training.
///
/// The depth of graphs in graphs is bounded, since no deeper message is decoded.
pub fn each_part<'a, E>(
    model: &'a ModelProto,
    mut visit: impl FnMut(Part<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let visit: &mut dyn FnMut(Part<'a>) -> Result<(), E> = &mut visit;
    for function in &model.functions {
        each_node(&function.node, visit)?;
        each_attribute(&function.attribute_proto, visit)?;
        each_value(&function.value_info, visit)?;
    }
    for training in &model.training_info {
        for graph in training.initialization.iter().chain(&training.algorithm) {
            in_graph(graph, visit)?;
        }
    }
    model
        .graph
        .iter()
        .try_for_each(|graph| in_graph(graph, visit))
}

type Visit<'v, 'a, E> = dyn FnMut(Part<'a>) -> Result<(), E> + 'v;

fn in_graph<'a, E>(graph: &'a GraphProto, visit: &mut Visit<'_, 'a, E>) -> Result<(), E> {
    for tensor in &graph.initializer {
        visit(Part::Tensor(tensor))?;
    }
    for sparse in &graph.sparse_initializer {
        in_sparse(sparse, visit)?;
    }
    each_value(&graph.input, visit)?;
    each_value(&graph.output, visit)?;
    each_value(&graph.value_info, visit)?;
    each_node(&graph.node, visit)
}

fn each_node<'a, E>(nodes: &'a [NodeProto], visit: &mut Visit<'_, 'a, E>) -> Result<(), E> {
    for node in nodes {
        visit(Part::Node(node))?;
        each_attribute(&node.attribute, visit)?;
    }
    Ok(())
}

fn each_value<'a, E>(values: &'a [ValueInfoProto], visit: &mut Visit<'_, 'a, E>) -> Result<(), E> {
    values
        .iter()
        .try_for_each(|value| visit(Part::Value(value)))
}

fn each_attribute<'a, E>(
    attributes: &'a [AttributeProto],
    visit: &mut Visit<'_, 'a, E>,
) -> Result<(), E> {
    for attribute in attributes {
        visit(Part::Attribute(attribute))?;
        for tensor in attribute.t.iter().chain(&attribute.tensors) {
            visit(Part::Tensor(tensor))?;
        }
        let sparse = attribute.sparse_tensor.iter();
        for sparse in sparse.chain(&attribute.sparse_tensors) {
            in_sparse(sparse, visit)?;
        }
        for graph in graphs(attribute) {
            in_graph(graph, visit)?;
        }
    }
    Ok(())
}

fn in_sparse<'a, E>(sparse: &'a SparseTensorProto, visit: &mut Visit<'_, 'a, E>) -> Result<(), E> {
    visit(Part::Sparse(sparse))?;
    for tensor in sparse.values.iter().chain(&sparse.indices) {
        visit(Part::Tensor(tensor))?;
    }
    Ok(())
}

/// The graphs of control flow in an attribute.
pub fn graphs(attribute: &AttributeProto) -> impl Iterator<Item = &GraphProto> {
    attribute.g.iter().chain(&attribute.graphs)
}
