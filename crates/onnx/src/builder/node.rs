//! The attributes of a node under construction.

use crate::proto::{AttributeProto, AttributeType, NodeProto, TensorProto};

/// A node that was just added to a [`GraphBuilder`](crate::GraphBuilder): takes its attributes.
#[derive(Debug)]
pub struct NodeBuilder<'a> {
    node: &'a mut NodeProto,
}

impl<'a> NodeBuilder<'a> {
    pub(super) const fn new(node: &'a mut NodeProto) -> Self {
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
