//! The messages of `onnx.proto`, as far as image classifiers need them.
//!
//! Field numbers are those of `onnx/onnx-ml.proto` of ONNX 1.22 (IR version 13); numbers never
//! change between versions. A field that is not listed is skipped when reading, as protobuf
//! prescribes, and so is lost when the message is written again. Lists of numbers are packed where
//! `onnx.proto` says so and nowhere else: some readers, such as rten's, take no other form. Written
//! by hand: the handful of messages needs no `protoc` and no build script.

/// A model: the message that an `.onnx` file is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelProto {
    /// Version of the file format (IR), 3 or later in practice.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Name of the tool that wrote the model.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Version of that tool.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// Reverse-DNS name of the model's namespace.
    #[prost(string, tag = "4")]
    pub domain: String,
    /// Version of the model itself.
    #[prost(int64, tag = "5")]
    pub model_version: i64,
    /// Description in Markdown.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The graph that is run.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Operator sets that the nodes are written against, one per domain.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Free key-value pairs; kiln's keys are in [`Metadata`](crate::Metadata).
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// How the model is trained.
    #[prost(message, repeated, tag = "20")]
    pub training_info: Vec<TrainingInfoProto>,
    /// Functions local to the model.
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<FunctionProto>,
}

/// A step of training; no engine of kiln's runs it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TrainingInfoProto {
    /// The graph that computes initial weights.
    #[prost(message, optional, tag = "1")]
    pub initialization: Option<GraphProto>,
    /// The graph that computes one step.
    #[prost(message, optional, tag = "2")]
    pub algorithm: Option<GraphProto>,
    /// Which initializer takes which output of `initialization`.
    #[prost(message, repeated, tag = "3")]
    pub initialization_binding: Vec<StringStringEntryProto>,
    /// Which initializer takes which output of `algorithm`.
    #[prost(message, repeated, tag = "4")]
    pub update_binding: Vec<StringStringEntryProto>,
}

/// An operator that the model defines by a graph of others.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FunctionProto {
    /// Name: the operator that calls it.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Names of the inputs.
    #[prost(string, repeated, tag = "4")]
    pub input: Vec<String>,
    /// Names of the outputs.
    #[prost(string, repeated, tag = "5")]
    pub output: Vec<String>,
    /// Names of the attributes without a default.
    #[prost(string, repeated, tag = "6")]
    pub attribute: Vec<String>,
    /// Operators.
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<NodeProto>,
    /// Description.
    #[prost(string, tag = "8")]
    pub doc_string: String,
    /// Operator sets that the nodes are written against.
    #[prost(message, repeated, tag = "9")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Domain of the operator that calls it.
    #[prost(string, tag = "10")]
    pub domain: String,
    /// Attributes with their defaults.
    #[prost(message, repeated, tag = "11")]
    pub attribute_proto: Vec<AttributeProto>,
    /// Types and shapes of values in between.
    #[prost(message, repeated, tag = "12")]
    pub value_info: Vec<ValueInfoProto>,
    /// Which of the functions of one name it is.
    #[prost(string, tag = "13")]
    pub overload: String,
    /// Free key-value pairs.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// An operator set: domain and version.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OperatorSetIdProto {
    /// Domain; empty or `ai.onnx` for ONNX's own operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Version of the operator set ("opset").
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A key and a value.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StringStringEntryProto {
    /// Key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A graph: nodes in topological order and the values that flow between them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GraphProto {
    /// Operators, each after those that produce its inputs.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constant tensors, among them the weights.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Description.
    #[prost(string, tag = "10")]
    pub doc_string: String,
    /// Inputs. Before IR version 4 the initializers are listed here too.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// Outputs.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types and shapes of values in between.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
    /// Sparse constant tensors.
    #[prost(message, repeated, tag = "15")]
    pub sparse_initializer: Vec<SparseTensorProto>,
    /// Free key-value pairs.
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// One operator applied to named values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeProto {
    /// Names of the inputs; an empty name leaves out an optional input.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the outputs; an empty name leaves out an optional output.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Name of the node; may be empty.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Operator, such as `Conv`.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Attributes.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// Description.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// Domain of the operator; empty for ONNX's own.
    #[prost(string, tag = "7")]
    pub domain: String,
    /// Which overload of a function of the model is meant (IR version 10 and later).
    #[prost(string, tag = "8")]
    pub overload: String,
    /// Free key-value pairs.
    #[prost(message, repeated, tag = "9")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

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
    /// One sparse tensor.
    #[prost(message, optional, tag = "22")]
    pub sparse_tensor: Option<SparseTensorProto>,
    /// Sparse tensors.
    #[prost(message, repeated, tag = "23")]
    pub sparse_tensors: Vec<SparseTensorProto>,
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
    /// `sparse_tensor`.
    SparseTensor = 11,
    /// `sparse_tensors`.
    SparseTensors = 12,
    /// A type, not decoded here.
    TypeProto = 13,
    /// Types, not decoded here.
    TypeProtos = 14,
}

/// A constant tensor. The values are in `raw_data`, or in the typed field that belongs to
/// `data_type`, or in another file (`external_data`). [`to_f32`](Self::to_f32) and
/// [`to_i64`](Self::to_i64) read the first two.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    /// Shape; empty for a scalar.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// Element type: a [`DataType`].
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Values of `Float` and, as pairs, `Complex64`.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Values of `Int32` and of every narrower type.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Values of `String`.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub string_data: Vec<Vec<u8>>,
    /// Values of `Int64`.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// Name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Values as little-endian bytes, in row-major order.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    /// Values of `Double` and, as pairs, `Complex128`.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Values of `Uint64` and `Uint32`.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Description.
    #[prost(string, tag = "12")]
    pub doc_string: String,
    /// Where the values are if `data_location` is external: `location`, `offset`, `length`.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// Whether the values are in this message or in another file.
    #[prost(enumeration = "DataLocation", tag = "14")]
    pub data_location: i32,
    /// Free key-value pairs.
    #[prost(message, repeated, tag = "16")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// A tensor whose elements are zero but for a few.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SparseTensorProto {
    /// The elements that are not zero; its name is that of the whole.
    #[prost(message, optional, tag = "1")]
    pub values: Option<TensorProto>,
    /// Where they are.
    #[prost(message, optional, tag = "2")]
    pub indices: Option<TensorProto>,
    /// Sizes of the axes.
    #[prost(int64, repeated, packed = "false", tag = "3")]
    pub dims: Vec<i64>,
}

/// The element type of a tensor (`TensorProto.DataType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum DataType {
    Undefined = 0,
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    Bfloat16 = 16,
    Float8e4m3fn = 17,
    Float8e4m3fnuz = 18,
    Float8e5m2 = 19,
    Float8e5m2fnuz = 20,
    Uint4 = 21,
    Int4 = 22,
    Float4e2m1 = 23,
    Float8e8m0 = 24,
    Uint2 = 25,
    Int2 = 26,
}

impl DataType {
    /// Returns the bits that an element takes in `raw_data`; none of strings and of no type.
    pub const fn bits(self) -> Option<u64> {
        Some(match self {
            Self::Undefined | Self::String => return None,
            Self::Uint2 | Self::Int2 => 2,
            Self::Uint4 | Self::Int4 | Self::Float4e2m1 => 4,
            Self::Uint8
            | Self::Int8
            | Self::Bool
            | Self::Float8e4m3fn
            | Self::Float8e4m3fnuz
            | Self::Float8e5m2
            | Self::Float8e5m2fnuz
            | Self::Float8e8m0 => 8,
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::Bfloat16 => 16,
            Self::Float | Self::Int32 | Self::Uint32 => 32,
            Self::Int64 | Self::Uint64 | Self::Double | Self::Complex64 => 64,
            Self::Complex128 => 128,
        })
    }
}

/// Where a tensor's values are (`TensorProto.DataLocation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DataLocation {
    /// In the message.
    Default = 0,
    /// In another file, named by `external_data`.
    External = 1,
}

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
    /// Element type: a [`DataType`](DataType).
    #[prost(enumeration = "DataType", tag = "1")]
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

impl OperatorSetIdProto {
    /// Returns whether this is ONNX's own operator set.
    pub fn is_onnx(&self) -> bool {
        is_onnx(&self.domain)
    }
}

impl NodeProto {
    /// Returns whether the operator is one of ONNX's own.
    pub fn is_onnx(&self) -> bool {
        is_onnx(&self.domain)
    }

    /// Returns the operator, as `domain::Operator` where it is not ONNX's own.
    pub fn operator(&self) -> String {
        if self.is_onnx() {
            self.op_type.clone()
        } else {
            format!("{}::{}", self.domain, self.op_type)
        }
    }

    /// Returns the node's name, or that of its first output; empty if neither has one.
    pub fn label(&self) -> &str {
        if self.name.is_empty() {
            self.output.first().map_or("", String::as_str)
        } else {
            &self.name
        }
    }

    /// Returns what messages call the node, such as ``node `conv1` (Conv)``.
    pub fn describe(&self) -> String {
        match self.label() {
            "" => format!("a node of type {}", self.operator()),
            label => format!("node `{label}` ({})", self.operator()),
        }
    }
}

fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
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

    #[test]
    fn nodes_are_called_by_their_names_or_outputs() {
        let mut node = NodeProto {
            op_type: "Conv".into(),
            ..NodeProto::default()
        };
        assert_eq!(node.describe(), "a node of type Conv");
        node.output = vec!["y".into()];
        assert_eq!(
            (node.describe(), node.is_onnx()),
            ("node `y` (Conv)".into(), true)
        );
        (node.name, node.domain) = ("c".into(), "com.example".into());
        assert_eq!(node.describe(), "node `c` (com.example::Conv)");
        assert!(!node.is_onnx());
        node.domain = "ai.onnx".into();
        assert_eq!(node.operator(), "Conv");
    }
}
