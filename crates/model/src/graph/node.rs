//! Nodes of a segment and their inputs.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::op::Op;
use super::size::Dims;

/// One operator of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What messages call the node of the file: its name, or that of its output.
    pub name: String,
    /// The operator with its settings.
    pub op: Op,
    /// Its inputs, in the operator's order.
    pub inputs: Vec<Input>,
    /// The shape of its output; none where an operator before it has no shape rule, or where the
    /// image's size is open.
    pub shape: Option<Dims>,
    /// The file's name of its output. Where a node of the file is read as several, only the last
    /// has it, and the others have none.
    pub value: Option<String>,
}

/// An input of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// The segment's input, 0, or the output of one of its nodes, counted from 1.
    Value(usize),
    /// One of the segment's parameters, counted from 0.
    Parameter(usize),
}

/// A constant tensor of floats that a node takes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The file's name of the tensor: of an initializer, or of the output of the node that gives it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where its values are.
    pub values: Values,
}

/// Where the values of a parameter are.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Values {
    /// In the file, as an initializer or a `Constant` of this parameter's name.
    File,
    /// Computed from others of the file: as many as the shape asks for, row-major.
    Computed(
        #[serde(serialize_with = "write_values", deserialize_with = "read_values")] Arc<[f32]>,
    ),
    /// The same number everywhere.
    Filled(f32),
    /// Measured before training: of a normalization that the file does not have.
    Measured,
    /// Not to be had; why not, as a sentence.
    Missing(String),
}

fn write_values<S: Serializer>(values: &Arc<[f32]>, serializer: S) -> Result<S::Ok, S::Error> {
    values.as_ref().serialize(serializer)
}

fn read_values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[f32]>, D::Error> {
    Vec::deserialize(deserializer).map(Into::into)
}

impl Parameter {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Without the values, which are millions.
impl std::fmt::Debug for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameter")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "File",
            Self::Computed(_) => "Computed",
            Self::Filled(_) => "Filled",
            Self::Measured => "Measured",
            Self::Missing(_) => "Missing",
        })
    }
}
