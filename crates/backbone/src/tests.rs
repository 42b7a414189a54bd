use burn::module::{Module, ModuleMapper, Param};
use burn::nn::PaddingConfig2d;
use burn::tensor::activation::relu;
use burn::tensor::{Bool, Device, Distribution, Int, Tensor, TensorData};
use kiln_import::Parameter;
use kiln_model::{Base, LayerKind, LayerSpec};
use kiln_onnx::{Dim, GraphBuilder, ModelProto};
use tract_onnx::prelude::{
    Framework, InferenceModelExt, IntoRunnable, IntoTValue, TractResult, tvec,
};

use crate::imported::vgg16;
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

/// A file of VGG16, as torch writes it, for images of this height and width. Its weights keep the size
/// of the values about the same from layer to layer (He's), so that no layer's mistake is lost on the
/// way.
fn file(size: [usize; 2]) -> ModelProto {
    let mut state = 1_u32;
    let mut uniform = |bound: f32, count: usize| -> Vec<f32> {
        let values = (0..count).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bound * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
        });
        values.collect()
    };
    let mut graph = GraphBuilder::new("vgg16");
    let (mut value, mut channels) = ("input".to_owned(), 3);
    graph.input("input", Dim::batched([3, size[0], size[1]]));
    for (at, LayerSpec { kind, .. }) in Base::vgg16().layers.iter().enumerate() {
        let output = format!("out{at}");
        if let LayerKind::Conv2d(conv) = kind {
            let [weight, bias, sum] = ["weight", "bias", "sum"].map(|name| format!("{name}{at}"));
            let shape = [conv.filters, channels, 3, 3];
            let bound = (6.0 / (channels * 9) as f32).sqrt();
            graph.initializer(&weight, &shape, uniform(bound, shape.iter().product()));
            graph.initializer(&bias, &[conv.filters], uniform(0.1, conv.filters));
            graph
                .node("Conv", &sum, &[&value, &weight, &bias], &sum)
                .ints("pads", [1; 4]);
            graph.node("Relu", &output, &[&sum], &output);
            channels = conv.filters;
        } else {
            graph
                .node("MaxPool", &output, &[&value], &output)
                .ints("kernel_shape", [2, 2])
                .ints("strides", [2, 2]);
        }
        value = output;
    }
    graph.output(&value, [Dim::Unknown]);
    graph.finish().unwrap()
}

/// What the imported layers give one after the other.
fn compose(parameters: &[Parameter], image: Tensor<4>) -> Tensor<4> {
    let mut modules = modules("vgg16", &image.device());
    let mut parameters = parameters.chunks(2);
    bases()[0].layers.iter().fold(image, |value, layer| {
        let name = layer.name.as_deref().unwrap();
        match (modules.remove(name), &layer.kind) {
            (Some(Imported::Conv2d(module)), LayerKind::Conv2d(_)) => {
                relu(load(module, parameters.next().unwrap()).forward(value))
            }
            (Some(Imported::MaxPool2d(module)), LayerKind::MaxPool(_)) => module.forward(value),
            (module, kind) => panic!("{name} is {kind:?}, found {module:?}"),
        }
    })
}

/// What tract makes of a file.
fn features(model: &ModelProto, images: &TensorData) -> TractResult<Vec<f32>> {
    let images =
        tract_onnx::prelude::Tensor::from_shape(images.shape(), images.as_slice::<f32>().unwrap())?;
    let model = tract_onnx::onnx().model_for_read(&mut kiln_onnx::encode(model).as_slice())?;
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
fn the_generated_network_is_its_layers_and_gives_what_tract_makes_of_the_file() {
    // Sides that are no multiple of 32, and different ones.
    let file = file([71, 38]);
    let parameters = kiln_import::weights(&bases()[0], &file).unwrap();
    let device = Device::default();
    let image = Tensor::<4>::random([2, 3, 71, 38], Distribution::Uniform(-1.0, 1.0), &device);
    let model = load(vgg16::Model::new(&device), &parameters);
    let found = model.forward(image.clone());
    assert_eq!(found.dims(), [2, 512, 2, 1]);
    let found = found.into_data();
    assert_eq!(compose(&parameters, image.clone()).into_data(), found);

    let found = found.as_slice::<f32>().unwrap();
    let alive = found.iter().filter(|value| value.abs() > 0.01).count();
    assert!(alive > found.len() / 4, "the features vanished");
    let expected = features(&file, &image.to_data()).unwrap();
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
