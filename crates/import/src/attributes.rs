//! A node's attributes against what kiln's layers can say.

use std::fmt::Debug;

use kiln_onnx::{AttributeProto, NodeProto, TensorError};

use crate::error::GraphError;

/// A node whose settings are read.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a>(pub &'a NodeProto);

impl<'a> Place<'a> {
    /// An integer attribute; a default where the node has none.
    pub fn int(self, name: &str, default: i64) -> i64 {
        self.attribute(name)
            .map_or(default, |attribute| attribute.i.unwrap_or(0))
    }

    /// A list of integers, where the node has it.
    pub fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name)
            .map(|attribute| attribute.ints.as_slice())
    }

    /// Two sizes of at least 1, for rows and columns; a default where the node has none.
    pub fn pair(
        self,
        name: &'static str,
        default: Option<[usize; 2]>,
    ) -> Result<[usize; 2], GraphError> {
        let found = self.ints(name);
        let pair = found.map_or(default, |sizes| {
            <[usize; 2]>::try_from(sizes_of(sizes)?).ok()
        });
        pair.map_or_else(
            || self.mismatch(name, "two sizes of at least 1", found.unwrap_or_default()),
            Ok,
        )
    }

    /// A string; a default where the node has none.
    pub fn string(self, name: &str, default: &str) -> String {
        self.attribute(name).map_or_else(
            || default.to_owned(),
            |attribute| String::from_utf8_lossy(attribute.s.as_deref().unwrap_or(&[])).into_owned(),
        )
    }

    /// A float; a default where the node has none.
    pub fn float(self, name: &str, default: f32) -> f32 {
        self.attribute(name)
            .map_or(default, |attribute| attribute.f.unwrap_or(0.0))
    }

    /// Refuses the node unless a setting is what kiln's layers have.
    pub fn require<T: PartialEq + Debug + ?Sized>(
        self,
        setting: &'static str,
        expected: &T,
        found: &T,
    ) -> Result<(), GraphError> {
        if expected == found {
            Ok(())
        } else {
            self.mismatch(setting, &format!("{expected:?}"), found)
        }
    }

    /// Refuses the node for a setting.
    pub fn mismatch<T>(
        self,
        setting: &'static str,
        expected: &str,
        found: impl Debug,
    ) -> Result<T, GraphError> {
        Err(GraphError::Setting {
            node: self.0.describe(),
            setting,
            expected: expected.into(),
            found: format!("{found:?}").into(),
        })
    }

    /// The error about an input that the node lacks.
    pub fn left_out(self, what: &'static str) -> GraphError {
        GraphError::NotConstant {
            node: self.0.describe(),
            what,
            found: "none".to_owned(),
        }
    }

    /// The error about a tensor of the node that cannot be read.
    pub fn tensor(self, source: TensorError) -> GraphError {
        GraphError::Tensor {
            node: self.0.describe(),
            source: source.into(),
        }
    }

    fn attribute(self, name: &str) -> Option<&'a AttributeProto> {
        self.0
            .attribute
            .iter()
            .find(|attribute| attribute.name == name)
    }
}

/// Dimensions as sizes; none if one of them is below 1.
pub fn sizes_of(dims: &[i64]) -> Option<Vec<usize>> {
    dims.iter()
        .map(|&size| usize::try_from(size).ok().filter(|&size| size > 0))
        .collect()
}
