//! Questions to ask of a model: its inputs and outputs with the sizes of their axes, its parameters and
//! operators.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::proto::{
    DataType, Dimension, DimensionValue, ModelProto, TensorProto, TensorShapeProto, TypeValue,
    ValueInfoProto,
};

/// Name, element type and shape of a graph's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name.
    pub name: String,
    /// Element type; none where the value is no dense tensor or the type is not known.
    pub data_type: Option<DataType>,
    /// One entry per axis; none where the rank is unknown.
    pub shape: Option<Vec<Dim>>,
}

impl From<&ValueInfoProto> for TensorInfo {
    fn from(info: &ValueInfoProto) -> Self {
        let tensor = info
            .r#type
            .as_ref()
            .and_then(|r#type| r#type.value.as_ref());
        let tensor = tensor.map(|TypeValue::TensorType(tensor)| tensor);
        Self {
            name: info.name.clone(),
            data_type: tensor.and_then(|tensor| DataType::try_from(tensor.elem_type).ok()),
            shape: tensor
                .and_then(|tensor| tensor.shape.as_ref())
                .map(Dim::from_shape),
        }
    }
}

impl ModelProto {
    /// The graph's inputs that must be fed: those that are not initializers.
    pub fn inputs(&self) -> Vec<TensorInfo> {
        let Some(graph) = &self.graph else {
            return Vec::new();
        };
        let initializers: HashSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        let fed = graph
            .input
            .iter()
            .filter(|input| !initializers.contains(input.name.as_str()));
        fed.map(TensorInfo::from).collect()
    }

    /// The graph's outputs.
    pub fn outputs(&self) -> Vec<TensorInfo> {
        self.graph
            .iter()
            .flat_map(|graph| &graph.output)
            .map(TensorInfo::from)
            .collect()
    }

    /// Version of ONNX's own operator set; 0 if the model does not say.
    pub fn opset(&self) -> i64 {
        let own = self.opset_import.iter().find(|set| set.is_onnx());
        own.map_or(0, |set| set.version)
    }

    /// Number of floating-point values among the constants, in initializers and in `Constant`
    /// nodes: weights, running statistics, and whatever else the exporter folded.
    pub fn parameters(&self) -> usize {
        let Some(graph) = &self.graph else { return 0 };
        let constants = graph
            .node
            .iter()
            .filter(|node| node.op_type == "Constant")
            .flat_map(|node| &node.attribute);
        let tensors = graph
            .initializer
            .iter()
            .chain(constants.filter_map(|attribute| attribute.t.as_ref()));
        let float = |tensor: &&TensorProto| {
            use DataType::{Bfloat16, Double, Float, Float16};
            DataType::try_from(tensor.data_type)
                .is_ok_and(|found| matches!(found, Float | Float16 | Bfloat16 | Double))
        };
        tensors
            .filter(float)
            .filter_map(|tensor| tensor.element_count().ok())
            .fold(0, usize::saturating_add)
    }

    /// Whether initializers keep their values in other files.
    pub fn has_external_data(&self) -> bool {
        let mut initializers = self.graph.iter().flat_map(|graph| &graph.initializer);
        initializers.any(|tensor| tensor.external_location().is_some())
    }

    /// How often each operator is used; those of other domains as `domain::Operator`. Subgraphs are
    /// not counted.
    pub fn operators(&self) -> BTreeMap<String, usize> {
        let mut histogram = BTreeMap::new();
        for node in self.graph.iter().flat_map(|graph| &graph.node) {
            *histogram.entry(node.operator()).or_insert(0) += 1;
        }
        histogram
    }
}

/// The size of one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A fixed size.
    Fixed(usize),
    /// A size known only when the model is run; equal symbols are equal sizes.
    Symbol(String),
    /// Nothing is said about the size.
    Unknown,
}

impl Dim {
    /// The symbol of the batch axis.
    pub const BATCH: &str = "batch";

    /// The symbolic batch axis followed by fixed ones: `[batch, shape...]`.
    pub fn batched(shape: impl IntoIterator<Item = usize>) -> Vec<Self> {
        std::iter::once(Self::Symbol(Self::BATCH.to_owned()))
            .chain(shape.into_iter().map(Self::Fixed))
            .collect()
    }

    /// The size, where it is fixed.
    pub const fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(*size),
            Self::Symbol(_) | Self::Unknown => None,
        }
    }

    pub(crate) fn to_shape(dims: &[Self]) -> TensorShapeProto {
        let dimension = |dim: &Self| Dimension {
            value: match dim {
                Self::Fixed(size) => Some(DimensionValue::DimValue(*size as i64)),
                Self::Symbol(name) => Some(DimensionValue::DimParam(name.clone())),
                Self::Unknown => None,
            },
            denotation: String::new(),
        };
        TensorShapeProto {
            dim: dims.iter().map(dimension).collect(),
        }
    }

    pub(crate) fn from_shape(shape: &TensorShapeProto) -> Vec<Self> {
        let dim = |dimension: &Dimension| match &dimension.value {
            // Some exporters write -1 for a dynamic axis.
            Some(DimensionValue::DimValue(size)) => {
                usize::try_from(*size).map_or(Self::Unknown, Self::Fixed)
            }
            Some(DimensionValue::DimParam(name)) if !name.is_empty() => Self::Symbol(name.clone()),
            Some(DimensionValue::DimParam(_)) | None => Self::Unknown,
        };
        shape.dim.iter().map(dim).collect()
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Symbol(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dimension, DimensionValue, GraphBuilder};

    fn model() -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        graph
            .input("x", Dim::batched([2]))
            .output("y", Dim::batched([2]));
        graph.node("Relu", "a", &["x"], "h").output("");
        graph.node("Relu", "b", &["h"], "y");
        graph.finish().unwrap()
    }

    #[test]
    fn inputs_leave_out_initializers() {
        let mut model = model();
        let graph = model.graph.as_mut().unwrap();
        graph
            .initializer
            .push(TensorProto::from_f32("w", &[1], &[1.0]));
        graph.input.push(ValueInfoProto {
            name: "w".into(),
            ..Default::default()
        });
        let expected = TensorInfo {
            name: "x".into(),
            data_type: Some(DataType::Float),
            shape: Some(vec![Dim::Symbol("batch".into()), Dim::Fixed(2)]),
        };
        assert_eq!(model.inputs(), [expected]);
        assert_eq!(model.outputs()[0].name, "y");
    }

    #[test]
    fn operators_are_counted_by_domain() {
        let mut model = model();
        model.graph.as_mut().unwrap().node[1].domain = "com.example".into();
        assert_eq!(
            model.operators(),
            [("Relu".into(), 1), ("com.example::Relu".into(), 1)].into()
        );
    }

    #[test]
    fn parameters_are_floats_wherever_they_stand() {
        let mut model = model();
        let graph = model.graph.as_mut().unwrap();
        graph
            .initializer
            .push(TensorProto::from_f32("w", &[2, 3], &[0.0; 6]));
        graph
            .initializer
            .push(TensorProto::from_i64("shape", &[2], &[1, 2]));
        let scalar = crate::AttributeProto {
            t: Some(TensorProto::from_f32("", &[], &[1.0])),
            ..Default::default()
        };
        graph.node[0].op_type = "Constant".into();
        graph.node[0].attribute.push(scalar);
        assert_eq!(model.parameters(), 7);
    }

    #[test]
    fn unusual_dimensions_are_unknown() {
        let mut model = model();
        let Some(TypeValue::TensorType(tensor)) = model.graph.as_mut().unwrap().input[0]
            .r#type
            .as_mut()
            .unwrap()
            .value
            .as_mut()
        else {
            panic!("the builder writes tensors")
        };
        let dim = |value| Dimension {
            value,
            ..Default::default()
        };
        let dims = [
            None,
            Some(DimensionValue::DimValue(-1)),
            Some(DimensionValue::DimParam(String::new())),
        ];
        tensor.shape.as_mut().unwrap().dim = dims.into_iter().map(dim).collect();
        assert_eq!(model.inputs()[0].shape, Some(vec![Dim::Unknown; 3]));
        assert_eq!(ModelProto::default().inputs(), []);
        assert_eq!(ModelProto::default().opset(), 0);
    }
}
