//! A small fluent builder of graphs.

mod error;
mod node;

pub use error::BuildError;
pub use node::NodeBuilder;

use std::borrow::Cow;
use std::collections::HashSet;

use crate::check::check_structure;
use crate::dim::Dim;
use crate::proto::{
    DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorTypeProto,
    TypeProto, TypeValue, ValueInfoProto,
};

/// Builds a [`ModelProto`]: inputs, initializers and nodes in the order of the calls, checked by
/// [`finish`](Self::finish).
///
/// Opset 18 and IR version 8 unless set otherwise: old enough for every runtime in use.
#[derive(Debug, Clone)]
pub struct GraphBuilder {
    graph: GraphProto,
    opset: i64,
    ir_version: i64,
    /// The first initializer whose data does not fill its shape, reported by `finish`.
    misfit: Option<BuildError>,
}

/// The values of an initializer, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData<'a> {
    /// 32-bit floats.
    F32(Cow<'a, [f32]>),
    /// 64-bit integers.
    I64(Cow<'a, [i64]>),
}

impl From<Vec<f32>> for TensorData<'_> {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values.into())
    }
}

impl<'a> From<&'a [f32]> for TensorData<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::F32(values.into())
    }
}

impl<'a> From<Cow<'a, [f32]>> for TensorData<'a> {
    fn from(values: Cow<'a, [f32]>) -> Self {
        Self::F32(values)
    }
}

impl From<Vec<i64>> for TensorData<'_> {
    fn from(values: Vec<i64>) -> Self {
        Self::I64(values.into())
    }
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self {
            graph: GraphProto {
                name: name.to_owned(),
                ..Default::default()
            },
            opset: 18,
            ir_version: 8,
            misfit: None,
        }
    }

    /// Sets the version of ONNX's operator set.
    pub fn opset(&mut self, version: i64) -> &mut Self {
        self.opset = version;
        self
    }

    /// Sets the version of the file format.
    pub fn ir_version(&mut self, version: i64) -> &mut Self {
        self.ir_version = version;
        self
    }

    /// Adds a graph input of 32-bit floats.
    pub fn input(&mut self, name: &str, shape: impl AsRef<[Dim]>) -> &mut Self {
        self.graph.input.push(float_value(name, shape.as_ref()));
        self
    }

    /// Adds a graph input of another type.
    pub fn input_of(
        &mut self,
        data_type: DataType,
        name: &str,
        shape: impl AsRef<[Dim]>,
    ) -> &mut Self {
        self.graph
            .input
            .push(value_of(data_type, name, shape.as_ref()));
        self
    }

    /// Adds a graph output of 32-bit floats.
    pub fn output(&mut self, name: &str, shape: impl AsRef<[Dim]>) -> &mut Self {
        self.graph.output.push(float_value(name, shape.as_ref()));
        self
    }

    /// Records the shape of a value in between, for people and tools that look at the file.
    pub fn value_info(&mut self, name: &str, shape: impl AsRef<[Dim]>) -> &mut Self {
        self.graph
            .value_info
            .push(float_value(name, shape.as_ref()));
        self
    }

    /// Adds a constant tensor.
    pub fn initializer<'a>(
        &mut self,
        name: &str,
        shape: &[usize],
        data: impl Into<TensorData<'a>>,
    ) -> &mut Self {
        let (tensor, found) = match data.into() {
            TensorData::F32(values) => (TensorProto::from_f32(name, shape, &values), values.len()),
            TensorData::I64(values) => (TensorProto::from_i64(name, shape, &values), values.len()),
        };
        let expected = shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size));
        if expected != Some(found) && self.misfit.is_none() {
            self.misfit = Some(BuildError::Length {
                name: name.to_owned(),
                shape: shape.to_vec(),
                found,
            });
        }
        self.graph.initializer.push(tensor);
        self
    }

    /// Adds a node of ONNX's own operators with one output; an empty input name leaves out an
    /// optional input. Attributes and further outputs are added to what is returned.
    pub fn node(
        &mut self,
        op_type: &str,
        name: &str,
        inputs: &[&str],
        output: &str,
    ) -> NodeBuilder<'_> {
        let node = NodeProto {
            op_type: op_type.to_owned(),
            name: name.to_owned(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            ..Default::default()
        };
        NodeBuilder::new(self.graph.node.push_mut(node))
    }

    /// Checks the graph and wraps it into a model: names unique, values defined before use, outputs
    /// produced, initializers as long as their shape says.
    pub fn finish(self) -> Result<ModelProto, BuildError> {
        if let Some(misfit) = self.misfit {
            return Err(misfit);
        }
        let mut names = HashSet::new();
        for node in &self.graph.node {
            if node.name.is_empty() {
                return Err(BuildError::UnnamedNode {
                    op_type: node.op_type.clone(),
                });
            }
            if !names.insert(node.name.as_str()) {
                return Err(BuildError::DuplicateNode {
                    name: node.name.clone(),
                });
            }
            let mut attributes = HashSet::new();
            if let Some(twice) = node
                .attribute
                .iter()
                .find(|attribute| !attributes.insert(attribute.name.as_str()))
            {
                return Err(BuildError::DuplicateAttribute {
                    node: node.name.clone(),
                    attribute: twice.name.clone(),
                });
            }
        }
        check_structure(&self.graph)?;
        Ok(ModelProto {
            ir_version: self.ir_version,
            producer_name: "kiln".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: self.opset,
            }],
            graph: Some(self.graph),
            ..Default::default()
        })
    }
}

fn float_value(name: &str, shape: &[Dim]) -> ValueInfoProto {
    value_of(DataType::Float, name, shape)
}

fn value_of(data_type: DataType, name: &str, shape: &[Dim]) -> ValueInfoProto {
    let tensor = TensorTypeProto {
        elem_type: data_type as i32,
        shape: Some(Dim::to_shape(shape)),
    };
    let r#type = TypeProto {
        value: Some(TypeValue::TensorType(tensor)),
        ..Default::default()
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(r#type),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
