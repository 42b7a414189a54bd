//! A graph in a file of its own.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Shape, ShapeError};

/// A pretrained graph up to one of its values. Its operations and tensors stay in the file, which an
/// inference engine runs: it is frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphLayer {
    /// SHA-256 of the file's model, its tensors included.
    pub sha256: String,
    /// Names of its segments in order, by which a recipe refers to them; not empty.
    pub segments: Vec<String>,
    /// Name of the value at its end in the file.
    pub value: String,
    /// Shape of one sample of that value.
    #[serde(serialize_with = "write_dims", deserialize_with = "read_dims")]
    pub output: Shape,
    /// Number of values in its tensors.
    pub parameters: usize,
    /// Multiplications with an addition each for one image, as far as they are known.
    pub multiply_adds: u64,
    /// The terms that one value of each layer sums up, all layers together: what rounding grows
    /// with.
    pub terms: u64,
}

impl GraphLayer {
    /// What layers of this kind are called.
    pub(crate) const TYPE: &str = "graph";

    /// Returns the shape of what comes out, whatever goes in: the image's size was known when the
    /// file was read.
    pub(super) fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        match inputs {
            [_] => Ok(self.output),
            _ => Err(ShapeError::Inputs {
                expected: 1,
                found: inputs.len(),
            }),
        }
    }
}

fn write_dims<S: Serializer>(shape: &Shape, serializer: S) -> Result<S::Ok, S::Error> {
    shape.dims().serialize(serializer)
}

fn read_dims<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shape, D::Error> {
    let dims = Vec::<usize>::deserialize(deserializer)?;
    Shape::from_dims(&dims)
        .ok_or_else(|| serde::de::Error::custom("expected [channels, height, width] or [features]"))
}
