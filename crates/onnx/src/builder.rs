//! A small fluent builder of graphs.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::check::{StructureError, check_structure};
use crate::proto::{
    AttributeProto, AttributeType, DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
};
use crate::query::Dim;

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
        self.graph
            .input
            .push(ValueInfoProto::of_floats(name, shape.as_ref()));
        self
    }

    /// Adds a graph input of another type.
    pub fn input_of(
        &mut self,
        data_type: DataType,
        name: &str,
        shape: impl AsRef<[Dim]>,
    ) -> &mut Self {
        self.graph.input.push(ValueInfoProto::of_type(
            data_type,
            name,
            Some(shape.as_ref()),
        ));
        self
    }

    /// Adds a graph output of 32-bit floats.
    pub fn output(&mut self, name: &str, shape: impl AsRef<[Dim]>) -> &mut Self {
        self.graph
            .output
            .push(ValueInfoProto::of_floats(name, shape.as_ref()));
        self
    }

    /// Records the shape of a value in between, for people and tools that look at the file.
    pub fn value_info(&mut self, name: &str, shape: impl AsRef<[Dim]>) -> &mut Self {
        self.graph
            .value_info
            .push(ValueInfoProto::of_floats(name, shape.as_ref()));
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

impl ValueInfoProto {
    /// Describes a value of float32.
    pub fn of_floats(name: &str, shape: &[Dim]) -> Self {
        Self::of_type(DataType::Float, name, Some(shape))
    }

    /// Makes it one of float32 if it is of one of these types.
    pub(crate) fn widen(&mut self, types: &[DataType]) {
        let value = self.r#type.as_mut().and_then(|found| found.value.as_mut());
        if let Some(TypeValue::TensorType(tensor)) = value
            && types.iter().any(|&found| found as i32 == tensor.elem_type)
        {
            tensor.elem_type = DataType::Float as i32;
        }
    }

    /// Describes a value of this type, whose rank is unknown without a shape.
    pub fn of_type(data_type: DataType, name: &str, shape: Option<&[Dim]>) -> Self {
        let tensor = TensorTypeProto {
            elem_type: data_type as i32,
            shape: shape.map(Dim::to_shape),
        };
        let r#type = TypeProto {
            value: Some(TypeValue::TensorType(tensor)),
            ..Default::default()
        };
        Self {
            name: name.to_owned(),
            r#type: Some(r#type),
            ..Default::default()
        }
    }
}

/// A node that was just added to a [`GraphBuilder`](crate::GraphBuilder): takes its attributes.
#[derive(Debug)]
pub struct NodeBuilder<'a> {
    node: &'a mut NodeProto,
}

impl<'a> NodeBuilder<'a> {
    const fn new(node: &'a mut NodeProto) -> Self {
        Self { node }
    }

    /// Adds an integer.
    pub fn int(&mut self, name: &str, value: i64) -> &mut Self {
        self.attribute(name, AttributeType::Int, |attribute| {
            attribute.i = Some(value);
        })
    }

    /// Adds a list of integers.
    pub fn ints(&mut self, name: &str, values: impl Into<Vec<i64>>) -> &mut Self {
        self.attribute(name, AttributeType::Ints, |attribute| {
            attribute.ints = values.into();
        })
    }

    /// Adds a float.
    pub fn float(&mut self, name: &str, value: f32) -> &mut Self {
        self.attribute(name, AttributeType::Float, |attribute| {
            attribute.f = Some(value);
        })
    }

    /// Adds a list of floats.
    pub fn floats(&mut self, name: &str, values: impl Into<Vec<f32>>) -> &mut Self {
        self.attribute(name, AttributeType::Floats, |attribute| {
            attribute.floats = values.into();
        })
    }

    /// Adds a string.
    pub fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.attribute(name, AttributeType::String, |attribute| {
            attribute.s = Some(value.as_bytes().to_vec());
        })
    }

    /// Adds a tensor.
    pub fn tensor(&mut self, name: &str, value: TensorProto) -> &mut Self {
        self.attribute(name, AttributeType::Tensor, |attribute| {
            attribute.t = Some(value);
        })
    }

    /// Adds a further output.
    pub fn output(&mut self, name: &str) -> &mut Self {
        self.node.output.push(name.to_owned());
        self
    }

    fn attribute(
        &mut self,
        name: &str,
        r#type: AttributeType,
        set: impl FnOnce(&mut AttributeProto),
    ) -> &mut Self {
        let mut attribute = AttributeProto {
            name: name.to_owned(),
            r#type: r#type as i32,
            ..Default::default()
        };
        set(&mut attribute);
        self.node.attribute.push(attribute);
        self
    }
}

/// A graph that cannot be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// An initializer's data does not fill its shape.
    #[error("initializer `{name}` of shape {shape:?} was given {found} values")]
    Length {
        /// The initializer's name.
        name: String,
        /// The shape given.
        shape: Vec<usize>,
        /// Number of values given.
        found: usize,
    },
    /// A node without a name.
    #[error("a node of type {op_type} has no name")]
    UnnamedNode {
        /// The operator.
        op_type: String,
    },
    /// Two nodes with one name.
    #[error("two nodes are called `{name}`")]
    DuplicateNode {
        /// The name.
        name: String,
    },
    /// Two attributes of a node with one name.
    #[error("node `{node}` has the attribute `{attribute}` twice")]
    DuplicateAttribute {
        /// The node's name.
        node: String,
        /// The attribute's name.
        attribute: String,
    },
    /// The graph is malformed.
    #[error(transparent)]
    Structure(#[from] StructureError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    fn classifier() -> GraphBuilder {
        let mut graph = GraphBuilder::new("classifier");
        graph
            .input("input", Dim::batched([1, 4, 4]))
            .output("logits", Dim::batched([2]));
        graph.initializer("conv.weight", &[3, 1, 3, 3], vec![0.5_f32; 27]);
        graph
            .node("Conv", "conv", &["input", "conv.weight"], "conv.out")
            .ints("kernel_shape", [3, 3]);
        graph
            .node("Flatten", "flatten", &["conv.out"], "flatten.out")
            .int("axis", 0);
        graph
    }

    #[test]
    fn a_finished_model_says_who_made_it_and_for_which_opset() {
        let mut graph = classifier();
        graph.node("Identity", "head", &["flatten.out"], "logits");
        let model = graph.finish().unwrap();
        assert_eq!((model.ir_version, model.opset()), (8, 18));
        assert_eq!(
            (
                model.producer_name.as_str(),
                model.producer_version.as_str()
            ),
            ("kiln", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(decode(&encode(&model)).unwrap(), model);
    }

    #[test]
    fn a_zero_attribute_is_written_out() {
        let graph = classifier();
        let attribute = &graph.graph.node[1].attribute[0];
        assert_eq!(
            (attribute.r#type(), attribute.i),
            (AttributeType::Int, Some(0))
        );
        let bytes = prost::Message::encode_to_vec(attribute);
        assert!(
            bytes.windows(2).any(|pair| pair == [3 << 3, 0]),
            "field 3 is missing: {bytes:?}"
        );
    }

    #[test]
    fn data_must_fill_the_shape() {
        let mut graph = classifier();
        graph
            .initializer("bias", &[3], vec![0.0_f32; 2])
            .initializer("other", &[3], vec![0_i64]);
        assert_eq!(
            graph.finish().unwrap_err().to_string(),
            "initializer `bias` of shape [3] was given 2 values"
        );
        let mut overflow = classifier();
        overflow.initializer("huge", &[usize::MAX, 2], vec![0.0_f32; 2]);
        assert!(matches!(overflow.finish(), Err(BuildError::Length { .. })));
    }

    #[test]
    fn nodes_need_names_of_their_own() {
        let mut graph = classifier();
        graph.node("Identity", "conv", &["flatten.out"], "logits");
        assert_eq!(
            graph.finish(),
            Err(BuildError::DuplicateNode {
                name: "conv".into()
            })
        );
        let mut graph = classifier();
        graph.node("Identity", "", &["flatten.out"], "logits");
        assert_eq!(
            graph.finish(),
            Err(BuildError::UnnamedNode {
                op_type: "Identity".into()
            })
        );
        let mut graph = classifier();
        graph
            .node("Softmax", "head", &["flatten.out"], "logits")
            .int("axis", 1)
            .int("axis", -1);
        assert!(matches!(
            graph.finish(),
            Err(BuildError::DuplicateAttribute { .. })
        ));
    }

    #[test]
    fn the_structure_is_checked() {
        let graph = classifier();
        assert_eq!(
            graph.finish(),
            Err(StructureError::NoProducer("logits".into()).into())
        );
        let mut graph = classifier();
        graph.node("Identity", "head", &["flaten.out"], "logits");
        assert!(matches!(
            graph.finish(),
            Err(BuildError::Structure(StructureError::Undefined { .. }))
        ));
    }
}
