//! Getting data sets, pretrained weights and the ONNX Runtime library onto the machine.
