use crate::Channels;
use crate::{
    Activation, BatchNorm, Conv2d, Counts, Dense, Dropout, Flatten, Init, LayerKind, LayerSpec,
    Layers, MaxPool, Model, Padding, Pool, Preprocessing, Shape,
};

fn layer(kind: LayerKind) -> LayerSpec {
    LayerSpec { name: None, kind }
}

fn conv(filters: usize, kernel: usize) -> LayerSpec {
    layer(LayerKind::Conv2d(Conv2d {
        activation: Some(Activation::Relu),
        ..Conv2d::of_size(filters, [kernel; 2])
    }))
}

fn batch_norm() -> LayerSpec {
    layer(LayerKind::BatchNorm(BatchNorm {
        momentum: 0.99,
        epsilon: 1e-3,
    }))
}

fn max_pool() -> LayerSpec {
    layer(LayerKind::MaxPool(MaxPool(Pool::of_size([2; 2]))))
}

fn dense(units: usize, activation: Option<Activation>) -> LayerSpec {
    layer(LayerKind::Dense(Dense {
        activation,
        ..Dense::of_size(units)
    }))
}

fn flatten() -> LayerSpec {
    layer(LayerKind::Flatten(Flatten {}))
}

/// The report's CNN; `filters` and `kernel` are those of the second convolution.
fn report(filters: usize, kernel: usize) -> Vec<LayerSpec> {
    let dropout = || layer(LayerKind::Dropout(Dropout { rate: 0.5 }));
    vec![
        conv(32, 3),
        batch_norm(),
        max_pool(),
        dropout(),
        conv(filters, kernel),
        batch_norm(),
        max_pool(),
        dropout(),
        flatten(),
        dense(128, Some(Activation::Relu)),
        dense(10, None),
    ]
}

fn mnist(layers: &[LayerSpec]) -> Result<Model, crate::ModelError> {
    Model::new(Preprocessing::unit(28, 28, Channels::Gray), layers)
}

#[test]
fn the_reports_networks_have_the_reports_parameter_counts() {
    for (kernel, filters, total, trainable) in [
        (3, 32, 113_642, 113_514),
        (3, 64, 225_418, 225_226),
        (5, 32, 93_162, 93_034),
        (5, 64, 184_458, 184_266),
    ] {
        let counts = mnist(&report(filters, kernel)).unwrap().counts();
        assert_eq!(
            counts,
            Counts {
                trainable,
                non_trainable: total - trainable
            },
            "{kernel}x{kernel}x{filters}"
        );
    }
}

#[test]
fn layers_are_named_and_shaped_as_keras_does() {
    let model = mnist(&report(64, 5)).unwrap();
    let rows: Vec<_> = model
        .layers()
        .iter()
        .map(|l| (l.name.as_str(), l.output.to_string(), l.count()))
        .collect();
    let expected = [
        ("conv2d", "[32, 26, 26]", 320),
        ("batch_norm", "[32, 26, 26]", 128),
        ("max_pool", "[32, 13, 13]", 0),
        ("dropout", "[32, 13, 13]", 0),
        ("conv2d_1", "[64, 9, 9]", 51_264),
        ("batch_norm_1", "[64, 9, 9]", 256),
        ("max_pool_1", "[64, 4, 4]", 0),
        ("dropout_1", "[64, 4, 4]", 0),
        ("flatten", "[1024]", 0),
        ("dense", "[128]", 131_200),
        ("dense_1", "[10]", 1_290),
    ];
    assert_eq!(
        rows,
        expected.map(|(name, shape, count)| (name, shape.to_string(), count))
    );
    assert_eq!(model.classes(), 10);
}

#[test]
fn glorot_fans_count_the_kernel_window() {
    let model = mnist(&report(64, 5)).unwrap();
    let init = |name: &str| model.params().find(|p| p.name == name).unwrap().init;
    assert_eq!(
        init("conv2d_1.weight"),
        Init::GlorotUniform {
            fan_in: 32 * 25,
            fan_out: 64 * 25
        }
    );
    assert_eq!(
        init("dense.weight"),
        Init::GlorotUniform {
            fan_in: 1024,
            fan_out: 128
        }
    );
    assert_eq!(init("batch_norm.running_var"), Init::Ones);
}

#[test]
fn a_kernel_larger_than_its_image_names_the_layer() {
    let error = mnist(&[
        conv(8, 3),
        max_pool(),
        conv(8, 14),
        flatten(),
        dense(10, None),
    ])
    .unwrap_err();
    assert_eq!(error.index, 2);
    assert_eq!(error.name, "conv2d_1");
    assert!(
        error
            .to_string()
            .contains("layer 3 (`conv2d_1`): a 14x14 kernel does not fit into the 13x13 image"),
        "{error}"
    );
}

#[test]
fn layers_that_do_not_follow_each_other_are_refused() {
    for (layers, expected) in [
        (
            vec![dense(10, None)],
            "layer 1 (`dense`): dense needs a vector [N], found [1, 28, 28]",
        ),
        (
            vec![flatten(), conv(8, 3), dense(10, None)],
            "layer 2 (`conv2d`): conv2d needs an image",
        ),
        (
            vec![flatten(), max_pool()],
            "layer 2 (`max_pool`): max_pool needs an image",
        ),
        (
            vec![conv(8, 3)],
            "layer 1 (`conv2d`): the last layer must output one score per class",
        ),
        (
            vec![
                flatten(),
                dense(10, Some(Activation::Softmax)),
                dense(10, None),
            ],
            "softmax turns logits",
        ),
        (vec![], "the model has no layers"),
    ] {
        let error = mnist(&layers).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_name_may_be_used_once() {
    let named = |name: &str| LayerSpec {
        name: Some(name.into()),
        ..flatten()
    };
    let error = mnist(&[named("a"), named("a"), dense(10, None)]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("layer 2 (`a`): the name is taken by layer 1"),
        "{error}"
    );
    // An automatic name steps aside for a given one, wherever that stands.
    let model = mnist(&[flatten(), named("flatten"), dense(10, None)]).unwrap();
    assert_eq!(model.layers()[0].name, "flatten_1");
}

#[test]
fn sizes_beyond_memory_are_refused_and_do_not_overflow() {
    let wide = dense(1 << 31, None);
    let error = mnist(&[flatten(), wide.clone(), wide]).unwrap_err();
    assert!(error.to_string().contains("over 2^31 values"), "{error}");
}

#[test]
fn same_padding_keeps_the_size_at_stride_one() {
    let LayerKind::Conv2d(conv) = conv(4, 6).kind else {
        unreachable!()
    };
    let same = layer(LayerKind::Conv2d(Conv2d {
        padding: Padding::Same,
        ..conv
    }));
    let model = mnist(&[same, flatten(), dense(10, None)]).unwrap();
    assert_eq!(
        model.layers()[0].output,
        Shape::Image {
            channels: 4,
            height: 28,
            width: 28
        }
    );
}

#[test]
fn blocks_are_counted_from_the_end() {
    let called = |name: &str, kind: LayerSpec| LayerSpec {
        name: Some(name.into()),
        ..kind
    };
    let specs = [
        called("block1_conv1", conv(4, 3)),
        called("block1_conv2", conv(4, 3)),
        called("block1_pool", max_pool()),
        called("block2_conv1", conv(4, 3)),
        flatten(),
        dense(10, None),
    ];
    let model = mnist(&specs).unwrap();
    assert_eq!(model.blocks_to_end(), [2, 2, 1, 1, 0, 0]);
    // After a backbone, the recipe's own layers count as one.
    let after = model.with_backbone("b", 4);
    assert_eq!(after.blocks_to_end(), [2, 2, 1, 1, 0, 0]);
    let (flags, names) = (
        after.select(&Layers::Named(vec!["backbone".into()])),
        after.names(),
    );
    assert_eq!(flags.unwrap(), [true, true, true, true, false, false]);
    assert_eq!(names[3], "block2_conv1");
    let selected = after.selected("block2_conv1..").unwrap();
    assert_eq!(selected.len(), 3);
}
