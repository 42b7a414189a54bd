//! `AttributeProto`: a named constant of a node.

use super::{GraphProto, TensorProto};

/// A named constant of a node. Which field holds the value is said by [`type`](Self::type).
///
/// `f`, `i` and `s` are optional so that a value of zero is written out, as ONNX's own tools do.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttributeProto {
    /// Name, such as `kernel_shape`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// One float.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// One integer.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// One string, UTF-8.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    /// One tensor.
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    /// One graph, such as a branch of `If`.
    #[prost(message, optional, tag = "6")]
    pub g: Option<GraphProto>,
    /// Floats.
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    /// Integers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Strings, UTF-8.
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
    /// Tensors.
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// Graphs.
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    /// Description.
    #[prost(string, tag = "13")]
    pub doc_string: String,
    /// Which field holds the value.
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub r#type: i32,
    /// Inside a function: the name of the function's attribute that gives the value.
    #[prost(string, tag = "21")]
    pub ref_attr_name: String,
}

/// The type of an attribute's value (`AttributeProto.AttributeType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    /// Not set: files of IR version 1 leave it out.
    Undefined = 0,
    /// `f`.
    Float = 1,
    /// `i`.
    Int = 2,
    /// `s`.
    String = 3,
    /// `t`.
    Tensor = 4,
    /// `g`.
    Graph = 5,
    /// `floats`.
    Floats = 6,
    /// `ints`.
    Ints = 7,
    /// `strings`.
    Strings = 8,
    /// `tensors`.
    Tensors = 9,
    /// `graphs`.
    Graphs = 10,
    /// A sparse tensor, not decoded here.
    SparseTensor = 11,
    /// Sparse tensors, not decoded here.
    SparseTensors = 12,
    /// A type, not decoded here.
    TypeProto = 13,
    /// Types, not decoded here.
    TypeProtos = 14,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn lists_are_not_packed() {
        let attribute = AttributeProto {
            ints: vec![1, 2],
            floats: vec![0.0],
            ..AttributeProto::default()
        };
        // Field 7 with a fixed 32-bit value, then field 8 with a varint, twice.
        assert_eq!(
            attribute.encode_to_vec(),
            [0x3D, 0, 0, 0, 0, 0x40, 1, 0x40, 2]
        );
        let packed = [0x42, 2, 1, 2];
        assert_eq!(AttributeProto::decode(&packed[..]).unwrap().ints, [1, 2]);
    }
}
