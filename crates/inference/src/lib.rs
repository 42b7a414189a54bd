//! Run ONNX image classifiers with tract or ONNX Runtime.
