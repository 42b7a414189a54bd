//! Every way of writing VGG16 gives the same layers.

use kiln_model::{Base, LayerKind};
use kiln_onnx::ModelProto;

use super::style::{Between, End, Padding, Style, Weights};
use super::zoo::node;
use crate::weights::find;

#[track_caller]
fn accept(model: &ModelProto) {
    let vgg16 = Base::vgg16();
    let layers = find(&vgg16, model).unwrap_or_else(|error| panic!("{error}"));
    let convs: Vec<_> = layers
        .iter()
        .filter(|(_, found)| matches!(found.kind, LayerKind::Conv2d(_)))
        .collect();
    let channels: Vec<_> = convs
        .iter()
        .map(|(_, conv)| conv.channels.unwrap())
        .collect();
    let (c, d, e) = ([256, 256], [512, 512], [256, 512]);
    assert_eq!(
        channels,
        [
            [3, 64],
            [64, 64],
            [64, 128],
            [128, 128],
            [128, 256],
            c,
            c,
            e,
            d,
            d,
            d,
            d,
            d
        ]
    );
    for (name, conv) in convs {
        let [channels, filters] = conv.channels.unwrap();
        let shapes: Vec<_> = conv
            .values
            .iter()
            .map(|values| values.shape.clone())
            .collect();
        assert_eq!(
            shapes,
            [vec![filters, channels, 3, 3], vec![filters]],
            "{name}"
        );
    }
    let base = crate::base("vgg16", model).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(base.channels, 3);
    // All but the last pooling, which a graph may lack.
    let kinds = |base: Base| -> Vec<LayerKind> {
        base.layers
            .into_iter()
            .map(|layer| layer.kind)
            .take(17)
            .collect()
    };
    assert_eq!(kinds(base), kinds(vgg16));
}

#[test]
fn exporters_layouts() {
    accept(&Style::TORCHVISION.model());
    accept(&Style::KERAS.model());
    accept(
        &Style {
            between: Between::Identity,
            ..Style::KERAS
        }
        .model(),
    );
}

#[test]
fn the_ways_to_pad() {
    for padding in [
        Padding::Auto("SAME_UPPER"),
        Padding::Auto("SAME_LOWER"),
        Padding::PadInputs,
        Padding::PadAxes,
        Padding::PadAttributes,
    ] {
        accept(
            &Style {
                padding,
                ..Style::TORCHVISION
            }
            .model(),
        );
    }
}

#[test]
fn the_places_of_weights() {
    accept(
        &Style {
            weights: Weights::Constant,
            ..Style::TORCHVISION
        }
        .model(),
    );
    accept(
        &Style {
            weights: Weights::Identity,
            ..Style::TORCHVISION
        }
        .model(),
    );
}

#[test]
fn biases_of_their_own() {
    let mut model = Style {
        add: true,
        ..Style::TORCHVISION
    }
    .model();
    accept(&model);
    node(&mut model, "block1_conv1_add").input.reverse();
    accept(&model);
    accept(
        &Style {
            add: true,
            weights: Weights::Constant,
            ..Style::KERAS
        }
        .model(),
    );
}

#[test]
fn what_comes_after_the_last_pooling_does_not_matter() {
    for end in [End::Base, End::NoPool, End::Dense, End::TwoHeads] {
        accept(
            &Style {
                end,
                ..Style::TORCHVISION
            }
            .model(),
        );
    }
}

#[test]
fn attributes_left_out_are_their_defaults() {
    let mut model = Style::TORCHVISION.model();
    for node in &mut model.graph.as_mut().unwrap().node {
        let keep: &[&str] = match node.op_type.as_str() {
            "Conv" => &["pads"],
            "MaxPool" => &["kernel_shape", "strides"],
            _ => continue,
        };
        node.attribute
            .retain(|attribute| keep.contains(&attribute.name.as_str()));
    }
    accept(&model);
}

#[test]
fn transposes_may_cancel_each_other() {
    let mut model = Style {
        nhwc: true,
        ..Style::TORCHVISION
    }
    .model();
    let graph = model.graph.as_mut().unwrap();
    let mut back = graph.node[0].clone();
    back.name = "to_nhwc".into();
    back.input = vec!["to_nchw:0".into()];
    back.output = vec!["back".into()];
    back.attribute[0].ints = vec![0, 2, 3, 1];
    graph.node[1].input[0] = "back".into();
    graph.node.insert(1, back);
    accept(&model);
}

#[test]
fn initializers_may_be_listed_as_inputs() {
    let mut model = Style::TORCHVISION.model();
    let graph = model.graph.as_mut().unwrap();
    let listed = graph
        .initializer
        .iter()
        .map(|tensor| kiln_onnx::ValueInfoProto {
            name: tensor.name.clone(),
            ..Default::default()
        });
    graph.input.extend(listed);
    accept(&model);
}
