//! The values themselves.

use kiln_onnx::{ModelProto, TensorProto};

use super::style::Style;
use super::zoo::initializer;
use crate::weights::{BackboneError, Vgg16Weights};

/// Fills every weight with the number of its tensor in the graph.
fn numbered() -> ModelProto {
    let mut model = Style::TORCHVISION.model();
    let convs = model.graph.as_mut().unwrap().initializer.iter_mut().filter(|tensor| tensor.name.starts_with("block"));
    for (number, tensor) in convs.enumerate() {
        let shape = tensor.shape().unwrap();
        let values = vec![number as f32; tensor.element_count().unwrap()];
        *tensor = TensorProto::from_f32(&tensor.name, &shape, &values);
    }
    model
}

#[test]
fn each_convolution_gets_its_own_and_bad_values_are_refused() {
    let mut model = numbered();
    let weights = Vgg16Weights::from_onnx(&model).unwrap();
    for (number, conv) in weights.convs.iter().enumerate() {
        assert_eq!(conv.weight, vec![(2 * number) as f32; conv.filters * conv.channels * 9]);
        assert_eq!(conv.bias, vec![(2 * number + 1) as f32; conv.filters]);
    }
    let mut bias = vec![0.0; 64];
    bias[63] = f32::NAN;
    *initializer(&mut model, "block1_conv2.bias") = TensorProto::from_f32("block1_conv2.bias", &[64], &bias);
    let error = Vgg16Weights::from_onnx(&model).unwrap_err();
    assert!(matches!(&error, BackboneError::NotFinite { tensor, .. } if tensor == "block1_conv2.bias"), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("node `block1_conv2` (Conv) at block1_conv2: tensor `block1_conv2.bias` has the value NaN"),
        "{message}"
    );
}
