//! A node with what is known about its inputs.

use std::collections::HashMap;

use super::value::{Dim, Value};
use crate::proto::{AttributeProto, DataType, NodeProto, TensorProto};

/// Attributes by name.
pub type Attributes<'a> = HashMap<&'a str, &'a AttributeProto>;

/// A node with its attributes, those of a function's call in place, and its inputs.
pub struct Call<'a> {
    pub node: &'a NodeProto,
    pub attributes: Attributes<'a>,
    /// None where an input is left out or nothing is known about it.
    pub inputs: Vec<Option<Value>>,
}

impl<'a> Call<'a> {
    pub fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.attributes.get(name).copied()
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.i
    }

    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name).map_or(default, |int| int != 0)
    }

    pub fn ints(&self, name: &str) -> Option<&'a [i64]> {
        let ints = &self.attribute(name)?.ints;
        (!ints.is_empty()).then_some(ints.as_slice())
    }

    pub fn float(&self, name: &str) -> Option<f64> {
        self.attribute(name)?.f.map(f64::from)
    }

    pub fn text(&self, name: &str) -> Option<&'a [u8]> {
        self.attribute(name)?.s.as_deref()
    }

    pub fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.attribute(name)?.t.as_ref()
    }

    /// The element type that an attribute names.
    pub fn type_of(&self, name: &str) -> Option<DataType> {
        DataType::try_from(i32::try_from(self.int(name)?).ok()?).ok()
    }

    pub fn input(&self, index: usize) -> Option<&Value> {
        self.inputs.get(index)?.as_ref()
    }

    pub fn dims(&self, index: usize) -> Option<&[Dim]> {
        self.input(index)?.dims.as_deref()
    }

    /// Whole numbers that are an attribute in old operator sets and an input since.
    pub fn ints_of(&self, attribute: &str, input: usize) -> Option<Vec<i64>> {
        let ints = self.ints(attribute).map(<[i64]>::to_vec);
        ints.or_else(|| self.input(input)?.ints())
    }

    /// An axis counted from the end where it is negative.
    pub fn axis(&self, name: &str, default: i64, rank: usize) -> Option<usize> {
        axis(self.int(name).unwrap_or(default), rank)
    }
}

/// An axis counted from the end where it is negative; none where there is no such axis.
pub fn axis(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 {
        axis.checked_add(rank as i64)?
    } else {
        axis
    };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}
