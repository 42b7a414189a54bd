use burn::module::{Module, ModuleMapper, Param};
use burn::nn::PaddingConfig2d;
use burn::tensor::activation::relu;
use burn::tensor::{Bool, Device, Distribution, Int, Tensor, TensorData};
use kiln_import::Parameter;
use kiln_model::{Activation, Base, LayerKind};
use kiln_onnx::{Dim, ModelProto, ValueInfoProto};
use tract_onnx::prelude::{
    Framework, InferenceModelExt, IntoRunnable, IntoTValue, TractResult, tvec,
};

use crate::generated::{Compiled, backbones, fixture};
use crate::imported::base;
use crate::{Imported, bases, modules};

/// Sets a generated model's parameters, in the order of its layers.
struct Load<'a>(std::slice::Iter<'a, Parameter>);

impl ModuleMapper for Load<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Parameter {
            name,
            shape,
            values,
        } = self.0.next().expect("as many parameters as the model has");
        assert_eq!(tensor.dims(), shape.as_slice(), "{name}");
        let data = TensorData::new(values.clone(), shape.clone());
        Param::from_mapped_value(id, Tensor::from_data(data, &tensor.device()), mapper)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        param
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        param
    }
}

fn load<M: Module>(model: M, parameters: &[Parameter]) -> M {
    let mut load = Load(parameters.iter());
    let model = model.map(&mut load);
    assert_eq!(load.0.len(), 0, "the model has fewer parameters");
    model
}

/// Weights that keep the size of the values about the same from layer to layer (He's), so that no
/// layer's mistake is lost on the way.
fn vgg16_parameters() -> Vec<Parameter> {
    let mut state = 1_u32;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let mut channels = 3;
    let mut parameters = Vec::new();
    for layer in Base::vgg16().layers {
        let (Some(name), LayerKind::Conv2d(conv)) = (layer.name, layer.kind) else {
            continue;
        };
        let bound = (6.0 / (channels * 9) as f32).sqrt();
        for (parameter, shape, bound) in [
            ("weight", vec![conv.filters, channels, 3, 3], bound),
            ("bias", vec![conv.filters], 0.1),
        ] {
            let values = (0..shape.iter().product())
                .map(|_| bound * uniform())
                .collect();
            parameters.push(Parameter {
                name: format!("{name}.{parameter}"),
                shape,
                values,
            });
        }
        channels = conv.filters;
    }
    parameters
}

fn small() -> ModelProto {
    kiln_onnx::load(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/small/small.onnx"
    ))
    .unwrap()
}

/// What the imported layers give one after the other.
fn compose(compiled: &Compiled, parameters: &[Parameter], image: Tensor<4>) -> Tensor<4> {
    let base = base(compiled);
    let mut modules = (compiled.modules)(&image.device()).into_iter();
    let mut parameters = parameters;
    let mut next = |count| {
        let (own, rest) = parameters.split_at(count);
        parameters = rest;
        own
    };
    base.layers.into_iter().fold(image, |value, layer| {
        if let LayerKind::Relu(_) = layer.kind {
            return relu(value);
        }
        let (name, module) = modules.next().unwrap();
        assert_eq!(layer.name.as_deref(), Some(name));
        match (module, layer.kind) {
            (Imported::Conv2d(module), LayerKind::Conv2d(conv)) => {
                let value = load(module, next(1 + usize::from(conv.use_bias))).forward(value);
                if conv.activation == Some(Activation::Relu) {
                    relu(value)
                } else {
                    value
                }
            }
            (Imported::BatchNorm(module), LayerKind::BatchNorm(_)) => {
                load(module, next(4)).forward(value)
            }
            (Imported::MaxPool2d(module), LayerKind::MaxPool(_)) => module.forward(value),
            (module, kind) => panic!("{name} is {kind:?}, found {module:?}"),
        }
    })
}

/// Several values of a map that is not all zeros.
fn assert_alive(features: &TensorData) {
    let values = features.as_slice::<f32>().unwrap();
    assert!(
        values.iter().filter(|value| value.abs() > 0.01).count() > values.len() / 4,
        "the features vanished"
    );
}

#[test]
fn vgg16s_layers_compose_to_the_generated_network() {
    let (parameters, device) = (vgg16_parameters(), Device::default());
    // Sides that are no multiple of 32, and different ones.
    let image = Tensor::<4>::random([2, 3, 71, 38], Distribution::Uniform(-1.0, 1.0), &device);
    let model = load(backbones::base0::Model::new(&device), &parameters);
    let expected = model.forward(image.clone());
    assert_eq!(expected.dims(), [2, 512, 2, 1]);
    let expected = expected.into_data();
    assert_eq!(
        compose(&backbones::COMPILED[0], &parameters, image).into_data(),
        expected
    );
    assert_alive(&expected);
}

#[test]
fn a_small_networks_layers_compose_to_the_generated_network() {
    let compiled = &fixture::COMPILED[0];
    let parameters = kiln_import::weights(&base(compiled), &small()).unwrap();
    let device = Device::default();
    let image = Tensor::<4>::random([3, 1, 33, 28], Distribution::Uniform(0.0, 1.0), &device);
    let expected = load(fixture::base0::Model::new(&device), &parameters)
        .forward(image.clone())
        .into_data();
    assert_eq!(compose(compiled, &parameters, image).into_data(), expected);
    assert_alive(&expected);
}

/// The features of the file that the network was generated from, by tract.
fn features(mut model: ModelProto, images: &TensorData) -> TractResult<Vec<f32>> {
    // The file itself, cut before its classifier.
    let graph = model.graph.as_mut().unwrap();
    let head = graph
        .node
        .iter()
        .position(|node| node.op_type == "Flatten")
        .unwrap();
    graph.output = vec![ValueInfoProto {
        name: graph.node[head].input[0].clone(),
        ..Default::default()
    }];
    graph.node.truncate(head);
    let images =
        tract_onnx::prelude::Tensor::from_shape(images.shape(), images.as_slice::<f32>().unwrap())?;
    let model = tract_onnx::onnx().model_for_read(&mut kiln_onnx::encode(&model).as_slice())?;
    let features = model
        .into_optimized()?
        .into_runnable()?
        .run(tvec!(images.into_tvalue()))?;
    Ok(features[0]
        .to_plain_array_view::<f32>()?
        .iter()
        .copied()
        .collect())
}

#[test]
fn a_small_network_gives_what_tract_makes_of_its_file() {
    let compiled = &fixture::COMPILED[0];
    let base = base(compiled);
    let kinds: Vec<_> = base
        .layers
        .iter()
        .map(|layer| layer.kind.type_name())
        .collect();
    assert_eq!(
        kinds,
        [
            "conv2d",
            "batch_norm",
            "max_pool",
            "conv2d",
            "max_pool",
            "relu",
            "conv2d"
        ]
    );
    assert_eq!(small().inputs()[0].shape, Some(Dim::batched([1, 28, 28])));
    let parameters = kiln_import::weights(&base, &small()).unwrap();
    let device = Device::default();
    let image = Tensor::<4>::random([4, 1, 28, 28], Distribution::Uniform(0.0, 1.0), &device);
    let expected = features(small(), &image.to_data()).unwrap();
    let found = load(fixture::base0::Model::new(&device), &parameters)
        .forward(image)
        .into_data();
    let found = found.as_slice::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 1e-5 * expected.abs().max(1.0),
            "{found} is not {expected}"
        );
    }
}

#[test]
fn the_layers_have_vgg16s_settings() {
    let device = Device::default();
    let mut layers = modules("vgg16", &device);
    for layer in &bases()[0].layers {
        match layers.remove(layer.name.as_deref().unwrap()) {
            Some(Imported::Conv2d(conv)) => {
                assert_eq!(
                    (conv.kernel_size, conv.stride, conv.dilation, conv.groups),
                    ([3; 2], [1; 2], [1; 2], 1)
                );
                assert_eq!(conv.padding, PaddingConfig2d::Same);
            }
            Some(Imported::MaxPool2d(pool)) => {
                assert_eq!(
                    (pool.kernel_size, pool.stride, pool.ceil_mode),
                    ([2, 2], [2, 2], false)
                );
                assert_eq!(pool.padding, PaddingConfig2d::Valid);
            }
            other => panic!("{:?} is {other:?}", layer.name),
        }
    }
    assert!(layers.is_empty() && modules("vgg19", &device).is_empty());
}
