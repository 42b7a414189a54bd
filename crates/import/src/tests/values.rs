//! The values themselves.

use kiln_model::Base;
use kiln_onnx::{ModelProto, TensorProto};

use super::style::Style;
use super::zoo::initializer;
use crate::weights;

/// Fills every weight with the number of its tensor in the graph.
fn numbered() -> ModelProto {
    let mut model = Style::TORCHVISION.model();
    let convs = model
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .iter_mut()
        .filter(|tensor| tensor.name.starts_with("block"));
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
    let vgg16 = Base::vgg16();
    let parameters = weights(&vgg16, &model).unwrap();
    assert_eq!(parameters.len(), 26);
    for (number, parameter) in parameters.iter().enumerate() {
        let count = parameter.shape.iter().product();
        assert_eq!(
            parameter.values,
            vec![number as f32; count],
            "{}",
            parameter.name
        );
    }
    assert_eq!(
        (parameters[25].name.as_str(), &parameters[25].shape[..]),
        ("block5_conv3.bias", &[512][..])
    );
    let mut bias = vec![0.0; 64];
    bias[63] = f32::NAN;
    *initializer(&mut model, "block1_conv2.bias") =
        TensorProto::from_f32("block1_conv2.bias", &[64], &bias);
    let error = weights(&vgg16, &model).unwrap_err();
    assert_eq!(
        error.to_string(),
        "at block1_conv2: node `block1_conv2` (Conv): tensor `block1_conv2.bias` has the value NaN, expected finite weights"
    );
}
