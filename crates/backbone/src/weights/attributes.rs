//! A node's attributes against what VGG16 has.

use std::fmt::{self, Debug};

use kiln_onnx::{AttributeProto, NodeProto, TensorError};

use crate::layout::Layer;

use super::error::{BackboneError, describe};

/// A node at a layer: what errors name.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// VGG16's layer.
    pub layer: Layer,
    /// The node.
    pub node: &'a NodeProto,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", describe(self.node), self.layer.name())
    }
}

impl<'a> Place<'a> {
    /// An integer attribute; a default where the node has none.
    pub fn int(self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i.unwrap_or(0))
    }

    /// A list of integers, where the node has it.
    pub fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
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
        self.attribute(name).map_or(default, |attribute| attribute.f.unwrap_or(0.0))
    }

    /// Refuses the node unless a setting is what VGG16 has.
    pub fn require<T: PartialEq + Debug + ?Sized>(
        self,
        setting: &'static str,
        expected: &T,
        found: &T,
    ) -> Result<(), BackboneError> {
        if expected == found { Ok(()) } else { self.mismatch(setting, &format!("{expected:?}"), found) }
    }

    /// Refuses the node for a setting.
    pub fn mismatch<T>(self, setting: &'static str, expected: &str, found: impl Debug) -> Result<T, BackboneError> {
        Err(BackboneError::Setting {
            node: self.to_string(),
            setting,
            expected: expected.into(),
            found: format!("{found:?}").into(),
        })
    }

    /// The error about an input that the node lacks.
    pub fn left_out(self, what: &'static str) -> BackboneError {
        BackboneError::NotConstant { node: self.to_string(), what, found: "none".to_owned() }
    }

    /// The error about a tensor of the node that cannot be read.
    pub fn tensor(self, source: TensorError) -> BackboneError {
        BackboneError::Tensor { node: self.to_string(), source: source.into() }
    }

    fn attribute(self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }
}
