//! Every way of writing VGG16 gives the same layers.

use kiln_model::Base;
use kiln_onnx::{ModelProto, ValueInfoProto};

use super::style::{Between, End, Padding, Style, Weights};
use super::zoo::{node, open_size};
use crate::graph::find;

#[track_caller]
fn accept(model: &ModelProto) {
    let vgg16 = Base::vgg16();
    let found = find(&vgg16, model).unwrap_or_else(|error| panic!("{error}"));
    let filters = [
        64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512,
    ];
    let channels = [3].into_iter().chain(filters);
    let expected: Vec<Vec<usize>> = channels
        .zip(filters)
        .flat_map(|(channels, filters)| [vec![filters, channels, 3, 3], vec![filters]])
        .collect();
    let shapes: Vec<_> = found.iter().map(|found| found.shape.clone()).collect();
    assert_eq!(shapes, expected);
    for found in &found {
        let count: usize = found.shape.iter().product();
        assert_eq!(found.constant.len(), count, "{}", found.layer);
        let name = format!("{}.{}", found.layer, found.role);
        assert!(found.constant.name.starts_with(&name), "{name}");
    }
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
    graph.input = Style::TORCHVISION.model().graph.unwrap().input;
    let mut back = graph.node[0].clone();
    back.name = "to_nhwc".into();
    back.input = vec!["input".into()];
    back.output = vec!["back".into()];
    back.attribute[0].ints = vec![0, 2, 3, 1];
    graph.node[0].input[0] = "back".into();
    graph.node.insert(0, back);
    accept(&model);
}

#[test]
fn the_images_size_may_be_open() {
    for padding in [
        Padding::Explicit,
        Padding::Auto("SAME_LOWER"),
        Padding::PadAxes,
    ] {
        for style in [Style::TORCHVISION, Style::KERAS] {
            let mut model = Style { padding, ..style }.model();
            open_size(&mut model, style.nhwc);
            accept(&model);
        }
    }
    let mut model = Style::TORCHVISION.model();
    model.graph.as_mut().unwrap().input[0].r#type = None;
    accept(&model);
}

#[test]
fn what_no_output_needs_does_not_matter() {
    let mut model = Style::TORCHVISION.model();
    let graph = model.graph.as_mut().unwrap();
    let mut skip = graph.node[1].clone();
    (skip.name, skip.output) = ("skip".into(), vec!["skip:0".into()]);
    graph.node.push(skip);
    graph.input.push(ValueInfoProto {
        name: "mask".into(),
        ..Default::default()
    });
    accept(&model);
}

#[test]
fn a_graph_may_have_outputs_on_the_way() {
    let mut model = Style::TORCHVISION.model();
    let graph = model.graph.as_mut().unwrap();
    let early = ValueInfoProto {
        name: "block1_relu2:0".into(),
        ..Default::default()
    };
    graph.output.insert(0, early);
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
