//! Batch normalization by stored and by live statistics.

use super::*;

fn draft(momentum: f32) -> Draft {
    let mut draft = Draft::new(&[3, 2, 2]);
    let inputs: Vec<Input> = std::iter::once(Input::Value(0))
        .chain((0..4).map(|_| draft.parameter(&[3])))
        .collect();
    let norm = Op::BatchNormalization {
        epsilon: 1e-3,
        momentum,
    };
    draft.node(norm, &inputs);
    draft
}

#[test]
fn stored_statistics_have_gradients_through_scale_and_bias_alone() {
    check(&draft(0.9), 3, false);
}

#[test]
fn live_statistics_have_gradients_through_mean_and_variance() {
    check(&draft(0.9), 3, true);
}

#[test]
fn live_statistics_follow_the_batch() {
    let draft = draft(0.9);
    let (graph, parameters) = draft.build(true);
    for live in [false, true] {
        run(&graph, &draft.sample, 3, live);
        let tensors = graph.tensors("layer");
        let numbers = draw(36, 0);
        for channel in 0..3 {
            let of_channel: Vec<f64> = (0..36)
                .filter(|at| at / 4 % 3 == channel)
                .map(|at| f64::from(numbers[at]))
                .collect();
            let mean = of_channel.iter().sum::<f64>() / 12.0;
            let variance = of_channel.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 12.0;
            for (which, batch) in [(2, mean), (3, variance)] {
                let stored = parameters[which].data[channel];
                let expected = if live {
                    0.9 * stored + 0.1 * batch
                } else {
                    stored
                };
                let found = f64::from(tensors[which].1.data[channel]);
                assert!(
                    (expected - found).abs() < 1e-6,
                    "expected {expected}, found {found}"
                );
            }
        }
    }
}
