//! ONNX files: the protobuf messages, a small graph builder, kiln's metadata keys, and questions to
//! ask of a model.
//!
//! ```
//! use kiln_onnx::{Dim, GraphBuilder, decode, encode};
//!
//! let mut graph = GraphBuilder::new("classifier");
//! graph.input("input", Dim::batched([4])).output("logits", Dim::batched([2]));
//! graph.initializer("dense.weight", &[2, 4], vec![0.5_f32; 8]);
//! graph.initializer("dense.bias", &[2], vec![0.0_f32; 2]);
//! graph.node("Gemm", "dense", &["input", "dense.weight", "dense.bias"], "logits").int("transB", 1);
//! let model = graph.finish()?;
//! assert_eq!(decode(&encode(&model))?, model);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod builder;
mod check;
mod embed;
mod external;
mod file;
mod gate;
mod hint;
mod inline;
mod metadata;
mod names;
mod numbers;
mod order;
mod proto;
mod query;
mod repair;
mod tensor;
mod wire;

pub use builder::{BuildError, GraphBuilder, NodeBuilder, TensorData};
pub use check::{StructureError, check_structure};
pub use embed::{EmbedError, WeightFile};
pub use file::{
    DecodeError, LoadError, MAX_FILE_BYTES, ModelFile, ReadError, decode, encode, load,
    load_with_external_data, read,
};
pub use gate::{Budget, GateError, check_limits, check_sizes};
pub use hint::Hint;
pub use kiln_model::OutputKind;
pub use metadata::{Golden, GoldenVector, KEY_PREFIX, Metadata, MetadataError, replace_metadata};
pub use names::FreeNames;
pub use proto::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, DimensionValue,
    FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TrainingInfoProto,
    TypeProto, TypeValue, ValueInfoProto,
};
pub use query::{Dim, TensorInfo};
pub use repair::Repair;
pub use tensor::TensorError;
