//! An unfolded segment gives what the segment gives, to rounding, and is folded back to its tensors.

use kiln_data::{Dataset, Samples, View};
use kiln_model::graph::{Binary, Conv, Dims, Unary, Window};
use kiln_model::{Channels, Flatten, LayerKind, LayerSpec, Model, Preprocessing};
use kiln_preprocess::Preprocessor;
use kiln_run::{add_unfolded_norm, fold_conv};
use kiln_util::CancelToken;

use super::*;
use crate::network::{DropoutKey, Network, Plan};
use crate::unfold::{UnfoldTask, unfold, unfolded_convs};

const SIDE: usize = 8;

impl Draft {
    /// A convolution with a bias and an activation.
    fn activated(&mut self, x: Input, [channels, filters]: [usize; 2], groups: usize) -> Input {
        let window = Window {
            kernel: [3; 2],
            strides: [1; 2],
            dilations: [1; 2],
            pads: [[1; 2]; 2],
        };
        let weight = self.parameter(&[filters, channels / groups, 3, 3]);
        let bias = self.parameter(&[filters]);
        let conv = self.node(Op::Conv(Conv { window, groups }), &[x, weight, bias]);
        self.nodes.last_mut().unwrap().shape = Some(Dims::batched([filters, SIDE, SIDE]));
        let relu = self.node(Op::Unary(Unary::Relu), &[conv]);
        self.nodes.last_mut().unwrap().shape = Some(Dims::batched([filters, SIDE, SIDE]));
        relu
    }
}

/// A plain convolution, an expansion with a depthwise convolution, and a sum.
fn segment() -> Segment {
    let mut draft = Draft::new(&[3, SIDE, SIDE]);
    let first = draft.activated(Input::Value(0), [3, 4], 1);
    let depthwise = draft.activated(first, [4, 4], 4);
    let grouped = draft.activated(depthwise, [4, 4], 2);
    draft.node(Op::Binary(Binary::Add), &[first, grouped]);
    draft.nodes.last_mut().unwrap().shape = Some(Dims::batched([4, SIDE, SIDE]));
    draft.segment()
}

fn model(segment: Segment, unfolded: Vec<kiln_model::graph::UnfoldedConv>) -> Model {
    let layer = |name: &str, kind: LayerKind| LayerSpec {
        name: Some(name.into()),
        kind,
    };
    let settings = SegmentLayer {
        segment,
        live_batch_norm: false,
        unfolded,
    };
    let specs = [
        layer("block", LayerKind::Segment(Box::new(settings))),
        layer("flatten", Flatten {}.into()),
    ];
    let side = SIDE as u32;
    Model::new(Preprocessing::tf(side, side, Channels::Rgb), &specs).unwrap()
}

/// Images that look random.
fn samples() -> Samples {
    let pixels = draw(6 * 3 * SIDE * SIDE, 3);
    let pixels = pixels.iter().map(|x| (x * 100.0 + 120.0) as u8);
    let classes = vec!["a".to_string(), "b".to_string()];
    let labels = vec![0, 1, 0, 1, 0, 1];
    let dataset = Dataset::new(
        "noise",
        pixels.collect(),
        [SIDE as u32, SIDE as u32, 3],
        labels,
        classes,
    )
    .unwrap();
    let record = Preprocessing::tf(SIDE as u32, SIDE as u32, Channels::Rgb);
    let preprocessor = Preprocessor::new(record).unwrap();
    Samples::images(View::all(Arc::new(dataset)), Arc::new(preprocessor))
}

/// Weights of the segment as it is; the second filter of the first convolution gives nothing but its
/// negative bias, so that the second channel is 0 after it.
fn folded_weights(model: &Model) -> Weights {
    let mut weights = Weights::default();
    for (at, param) in model.params().enumerate() {
        let mut data = draw(param.shape.iter().product(), at as u64 + 1);
        let channels = param.shape[0];
        let per_channel = data.len() / channels;
        if at == 0 {
            data[per_channel..2 * per_channel].fill(0.0);
        }
        if param.name == "block.p1" {
            data[1] = -0.5;
        }
        // As folding leaves them: of quite different sizes.
        for (channel, row) in data.chunks_mut(per_channel).enumerate() {
            let size = [0.01, 1.0, 0.2, 5.0][channel];
            for value in row {
                *value *= size;
            }
        }
        let shape = param.shape.clone();
        weights.insert(&param.name, Values { shape, data });
    }
    weights
}

/// The unfolded model, its weights before it is measured, and those of the model as it was.
fn unfolded() -> (Model, Weights, Weights) {
    let segment = segment();
    let folded = folded_weights(&model(segment.clone(), Vec::new()));
    let (segment, convs) = segment.unfolded(None);
    let model = model(segment, convs);
    let mut weights = folded.clone();
    for conv in unfolded_convs(&model.layers()[0]) {
        let bias = weights.remove(&format!("block.{}", conv.bias)).unwrap();
        add_unfolded_norm(&mut weights, "block", conv, &bias.data);
    }
    weights.check(&model).unwrap();
    (model, weights, folded)
}

fn measured(model: &Model, weights: &Weights, cancel: &CancelToken) -> Option<Weights> {
    let mut heard = Vec::new();
    let task = UnfoldTask {
        layers: model.layers(),
        weights,
        samples: &samples(),
        device: &Device::cpu(),
        cancel,
    };
    let changed = unfold(&task, &mut |done, total| heard.push((done, total))).unwrap();
    assert_eq!(heard, [(0, 6), (6, 6)]);
    let mut all = weights.clone();
    all.extend(changed?);
    Some(all)
}

fn outputs(model: &Model, weights: &Weights, device: &Device) -> Vec<f64> {
    let network = Network::new(model.layers(), weights, device).unwrap();
    let input = network.input(draw(2 * 3 * SIDE * SIDE, 5), &device.burn);
    let output = network.forward(input, DropoutKey::default()).unwrap();
    output
        .into_values()
        .unwrap()
        .into_iter()
        .map(f64::from)
        .collect()
}

#[test]
fn an_unfolded_segment_gives_what_the_segment_gives() {
    let (model, before, folded) = unfolded();
    let plan = Plan::fused(model.layers()).to_string();
    assert_eq!(plan, "fused    block\ngeneral  flatten\n");
    let as_it_was = self::model(segment(), Vec::new());
    let weights = measured(&model, &before, &CancelToken::new()).unwrap();
    weights.check(&model).unwrap();
    for device in [Device::stock_cpu(), Device::cpu()] {
        let expected = outputs(&as_it_was, &folded, &device);
        for weights in [&before, &weights] {
            let found = outputs(&model, weights, &device);
            let differences = expected.iter().zip(&found).map(|(a, b)| (a - b).abs());
            let largest = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            let difference = differences.fold(0.0, f64::max);
            assert!(difference < 1e-6 * largest, "{difference} of {largest}");
        }
    }
}

#[test]
fn channels_have_one_scale_and_are_folded_back() {
    let (model, before, folded) = unfolded();
    let weights = measured(&model, &before, &CancelToken::new()).unwrap();
    // What is measured the second time are deviations of 1.
    let again = measured(&model, &weights, &CancelToken::new()).unwrap();
    for (at, conv) in unfolded_convs(&model.layers()[0]).iter().enumerate() {
        let [scale, ..] = conv.norm_in("block");
        for found in &again.require(&scale).unwrap().data {
            assert!((found - 1.0).abs() < 1e-4, "{scale}: {found}");
        }
        let scales = &weights.require(&scale).unwrap().data;
        // What is constant keeps its scale.
        let is_constant = [true, true, false][at];
        assert_eq!(
            scales[1].to_bits() == 1_f32.to_bits(),
            is_constant,
            "{scales:?}"
        );
        assert!(scales[3] / scales[0] > 10.0, "{scales:?}");

        let (weight, bias) = fold_conv(&weights, "block", conv).unwrap();
        let original = &folded.require(&conv.weight_in("block")).unwrap().data;
        for (found, expected) in weight.iter().zip(original) {
            assert!((found - expected).abs() <= 2e-7 * expected.abs());
        }
        let original = &folded
            .require(&format!("block.{}", conv.bias))
            .unwrap()
            .data;
        let [_, shift, ..] = conv.norm_in("block");
        let shifts = &weights.require(&shift).unwrap().data;
        for ((found, expected), shift) in bias.iter().zip(original).zip(shifts) {
            let largest = expected.abs().max(shift.abs());
            assert!((found - expected).abs() <= f32::EPSILON * largest);
        }
    }
}

#[test]
fn measuring_can_be_cancelled() {
    let (model, before, _) = unfolded();
    let cancel = CancelToken::new();
    cancel.cancel();
    assert_eq!(measured(&model, &before, &cancel), None);
}
