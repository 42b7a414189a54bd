//! The Open Inference Protocol, version 2, apart from its transports: tensors to images, answers to tensors.

mod infer;
mod metadata;
mod tensor;

pub use infer::{InferRequest, InferResponse, RequestedOutput, infer};
pub use metadata::{TensorMetadata, model_input, model_metadata, server_metadata};
pub use tensor::{InputTensor, OutputData, OutputTensor, TensorData};
