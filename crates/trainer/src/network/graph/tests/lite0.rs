//! The last block of `EfficientNet-Lite0`, whose numbers `make_lite0.py` computes with `PyTorch`.

use std::collections::HashMap;

use kiln_model::graph::{Conv, Unary, Window};

use super::*;

const CHANNELS: usize = 192;
const WIDE: usize = 1152;
const FILTERS: usize = 320;

/// Three convolutions with batch normalization, the second one depthwise.
fn draft() -> Draft {
    let mut draft = Draft::new(&[CHANNELS, 4, 4]);
    let mut x = Input::Value(0);
    let layers = [[WIDE, CHANNELS, 1], [WIDE, 1, 3], [FILTERS, WIDE, 1]];
    for (at, [filters, depth, kernel]) in layers.into_iter().enumerate() {
        let window = Window {
            kernel: [kernel; 2],
            strides: [1; 2],
            dilations: [1; 2],
            pads: [[kernel / 2; 2]; 2],
        };
        let groups = if depth == 1 { WIDE } else { 1 };
        let weight = draft.parameter(&[filters, depth, kernel, kernel]);
        let conv = draft.node(Op::Conv(Conv { window, groups }), &[x, weight]);
        let parameters = [(); 4].map(|()| draft.parameter(&[filters]));
        let inputs: Vec<Input> = std::iter::once(conv).chain(parameters).collect();
        let norm = Op::BatchNormalization {
            epsilon: 1e-3,
            momentum: 0.99,
        };
        x = draft.node(norm, &inputs);
        if at < 2 {
            x = draft.node(
                Op::Unary(Unary::Clip {
                    min: Some(0.0),
                    max: Some(6.0),
                }),
                &[x],
            );
        }
    }
    draft
}

/// The numbers as a few: their length, their product with a pattern, and the first.
fn summary(numbers: &[f64]) -> Vec<f64> {
    let length = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
    let pattern = draw(numbers.len(), 5);
    let product = numbers
        .iter()
        .zip(pattern)
        .map(|(a, b)| a * f64::from(b))
        .sum();
    [&[length, product], &numbers[..4]].concat()
}

#[test]
fn gradients_are_pytorchs() {
    let golden: HashMap<String, Vec<Vec<f64>>> =
        serde_json::from_str(include_str!("lite0.json")).unwrap();
    for (live, expected) in [(false, &golden["stored"]), (true, &golden["live"])] {
        let draft = draft();
        let (graph, _) = draft.build(live);
        let found = run(&graph, &draft.sample, 2, live);
        assert_eq!(expected.len(), found.len());
        for (which, (expected, found)) in expected.iter().zip(&found).enumerate() {
            // Of the length: the single numbers are differences of larger ones.
            let tolerance = 1e-4 * expected[0];
            for (expected, found) in expected.iter().zip(summary(found)) {
                assert!(
                    (expected - found).abs() <= tolerance,
                    "{which}, live {live}: expected {expected}, found {found}"
                );
            }
        }
    }
}
