//! `ValueInfoProto`: name, type and shape of a value.

use super::StringStringEntryProto;

/// Name, type and shape of a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfoProto {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
    /// Description.
    #[prost(string, tag = "3")]
    pub doc_string: String,
    /// Free key-value pairs.
    #[prost(message, repeated, tag = "4")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// The type of a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TypeProto {
    /// The type; none where it is no tensor (sequence, map, optional), which is not decoded here.
    #[prost(oneof = "TypeValue", tags = "1")]
    pub value: Option<TypeValue>,
    /// What the value means, such as `IMAGE`.
    #[prost(string, tag = "6")]
    pub denotation: String,
}

/// The kinds of type that are decoded (`TypeProto.value`).
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TypeValue {
    /// A dense tensor.
    #[prost(message, tag = "1")]
    TensorType(TensorTypeProto),
}

/// The type of a dense tensor (`TypeProto.Tensor`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorTypeProto {
    /// Element type: a [`DataType`](super::DataType).
    #[prost(enumeration = "super::DataType", tag = "1")]
    pub elem_type: i32,
    /// Shape; none where the rank is unknown.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// The shape of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShapeProto {
    /// One entry per axis.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// The size of one axis (`TensorShapeProto.Dimension`).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Dimension {
    /// The size; none where it is unknown.
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    pub value: Option<DimensionValue>,
    /// What the axis means, such as `DATA_BATCH`.
    #[prost(string, tag = "3")]
    pub denotation: String,
}

/// A size as a number or as a symbol (`TensorShapeProto.Dimension.value`).
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum DimensionValue {
    /// The size.
    #[prost(int64, tag = "1")]
    DimValue(i64),
    /// A symbol; equal symbols are equal sizes.
    #[prost(string, tag = "2")]
    DimParam(String),
}
