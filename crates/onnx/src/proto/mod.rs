//! The messages of `onnx.proto`, as far as image classifiers need them.
//!
//! Field numbers are those of `onnx/onnx-ml.proto` of ONNX 1.22 (IR version 13); numbers never
//! change between versions. A field that is not listed is skipped when reading, as protobuf
//! prescribes, and so is lost when the message is written again. Lists of numbers are packed where
//! `onnx.proto` says so and nowhere else: some readers, such as rten's, take no other form. Written
//! by hand: the handful of messages needs no `protoc` and no build script.

mod attribute;
mod graph;
mod model;
mod node;
mod tensor;
mod value;

pub use attribute::{AttributeProto, AttributeType};
pub use graph::GraphProto;
pub use model::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
pub use node::NodeProto;
pub use tensor::{DataLocation, DataType, TensorProto};
pub use value::{
    Dimension, DimensionValue, TensorShapeProto, TensorTypeProto, TypeProto, TypeValue,
    ValueInfoProto,
};
