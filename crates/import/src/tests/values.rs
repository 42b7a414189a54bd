//! The values themselves.

use kiln_model::{Activation, Base, Conv2d, LayerKind, LayerSpec};
use kiln_onnx::{ModelProto, TensorProto, decode};

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

/// The seed of the fuzz target, and its layers there.
#[test]
fn a_file_that_kiln_exported_is_read() {
    let bytes = include_bytes!("../../../inference/examples/digits.onnx");
    let conv = |name: &str, filters| LayerSpec {
        name: Some(name.into()),
        kind: LayerKind::Conv2d(Conv2d {
            strides: [2, 2],
            activation: Some(Activation::Relu),
            ..Conv2d::of_size(filters, [3, 3])
        }),
    };
    let base = Base {
        name: "digits".into(),
        channels: 1,
        weights: None,
        layers: vec![conv("conv2d", 8), conv("conv2d_1", 16)],
        file: None,
    };
    let model = decode(bytes).unwrap();
    let parameters = weights(&base, &model).unwrap();
    let graph = model.graph.unwrap();
    for parameter in &parameters {
        let mut tensors = graph.initializer.iter();
        let tensor = tensors
            .find(|tensor| tensor.name == parameter.name)
            .unwrap();
        assert_eq!(tensor.shape().unwrap(), parameter.shape);
        assert_eq!(tensor.to_f32().unwrap(), parameter.values);
    }
    assert_eq!(parameters.len(), 4);
}
