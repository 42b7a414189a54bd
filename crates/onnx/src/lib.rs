//! ONNX protobuf messages, a graph builder and kiln's metadata keys.
