//! Spec and trained weights to an ONNX model.
