//! The fused plan gives what Burn's own operations give: outputs, every gradient, running
//! statistics.

use burn::module::{ModuleVisitor, Param};
use burn::optim::GradientsParams;
use kiln_kernels::Products;
use kiln_model::{Model, Precision, Recipe};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::initial_weights;

/// The largest difference, relative to the largest value, that is taken for rounding.
const TOLERANCE: f64 = 1e-5;
/// Some results are differences of nearly equal numbers (the gradient of a weight whose scale a
/// batch normalization takes out again is even zero). Where Burn's own result moves when every
/// number that goes in moves by one unit in its last place, a difference of so many times that is
/// taken for rounding, too.
const UNITS: f64 = 8.0;

/// Everything that a training step gives, named, in an order that does not depend on the plan.
fn step(
    model: &Model,
    weights: &Weights,
    device: &Device,
    pixels: &[f32],
) -> Vec<(String, Vec<f32>)> {
    let device = device.autodiff();
    let network = Network::new(model.layers(), weights, &device).unwrap();
    let input = network.input(pixels.to_vec(), &device.burn);
    let logits = network
        .forward(input, DropoutKey::default())
        .unwrap()
        .into_vector()
        .unwrap();
    let factors: Vec<f32> = (0..logits.shape().num_elements())
        .map(|i| (i * 29 % 17) as f32 / 8.0 - 1.0)
        .collect();
    let factors = Tensor::from_data(TensorData::new(factors, logits.shape()), &device.burn);
    let gradients =
        GradientsParams::from_grads((logits.clone() * factors).sum().backward(), &network);
    let mut all = Gradients {
        gradients,
        found: vec![("logits".into(), values(logits).unwrap())],
    };
    network.visit(&mut all);
    all.found.extend(
        network
            .weights()
            .into_iter()
            .filter(|(name, _)| name.contains("running"))
            .map(|(n, t)| (n, t.data)),
    );
    all.found
}

struct Gradients {
    gradients: GradientsParams,
    found: Vec<(String, Vec<f32>)>,
}

impl ModuleVisitor for Gradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let number = self.found.len();
        let gradient = self
            .gradients
            .get::<D>(param.id)
            .map(|gradient| values(gradient).unwrap());
        self.found.push((
            format!("gradient {number} {:?}", param.val().dims()),
            gradient.unwrap_or_default(),
        ));
    }
}

fn assert_same(model: &Model, seed: u64, images: usize) {
    let mut weights = initial_weights(model, seed);
    // Nothing at a special value: biases and shifts off zero, scales off one, some of them
    // negative.
    for (i, value) in weights
        .iter_mut()
        .map(|(_, tensor)| tensor)
        .filter(|t| t.shape.len() == 1)
        .flat_map(|t| &mut t.data)
        .enumerate()
    {
        *value += (i * 37 % 23) as f32 / 20.0 - 0.4;
        *value += if value.abs() < 0.05 { 0.1 } else { 0.0 };
    }
    for (name, tensor) in &mut weights {
        if name.ends_with("running_var") {
            tensor
                .data
                .iter_mut()
                .for_each(|value| *value = value.abs());
        }
    }
    let count = images * model.preprocessing().len();
    let pixels: Vec<f32> = (0..count)
        .map(|i| ((i as u64 * 7919 + seed * 31) % 1009) as f32 / 504.0 - 1.0)
        .collect();
    let stock = Device::stock_cpu();
    let expected = step(model, &weights, &stock, &pixels);
    let moved: Vec<_> = (1..4)
        .map(|draw| {
            let mut weights = weights.clone();
            weights
                .iter_mut()
                .for_each(|(_, tensor)| move_by_a_unit(&mut tensor.data, draw));
            let mut pixels = pixels.clone();
            move_by_a_unit(&mut pixels, draw);
            step(model, &weights, &stock, &pixels)
        })
        .collect();
    let found = step(model, &weights, &Device::cpu(), &pixels);
    assert_eq!(expected.len(), found.len());
    for (at, ((name, expected), (_, found))) in expected.iter().zip(&found).enumerate() {
        let units = moved
            .iter()
            .map(|moved| largest(&moved[at].1, expected))
            .fold(0.0, f64::max);
        assert_close(name, found, expected, UNITS * units);
    }
    let evaluate = |device: &Device| {
        let network = Network::new(model.layers(), &weights, device).unwrap();
        network
            .forward(
                network.input(pixels.clone(), &device.burn),
                DropoutKey::default(),
            )
            .unwrap()
            .into_values()
            .unwrap()
    };
    assert_close(
        "logits in evaluation",
        &evaluate(&Device::cpu()),
        &evaluate(&stock),
        0.0,
    );
}

/// Moves each value up or down by one unit in its last place, or not at all.
fn move_by_a_unit(values: &mut [f32], draw: usize) {
    for (i, value) in values.iter_mut().enumerate() {
        *value = match (i * 7 + i / 5 + draw * 11) % 3 {
            0 => value.next_up(),
            1 => value.next_down(),
            _ => *value,
        };
    }
}

/// The largest difference.
fn largest(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).fold(0.0, |most, (&a, &b)| {
        most.max((f64::from(a) - f64::from(b)).abs())
    })
}

fn assert_close(name: &str, found: &[f32], expected: &[f32], rounding: f64) {
    assert_eq!(expected.len(), found.len(), "{name}");
    let tolerance = TOLERANCE * largest(expected, &vec![0.0; expected.len()]) + rounding;
    let difference = largest(found, expected);
    assert!(
        difference <= tolerance,
        "{name}: differ by {difference:e}, more than {tolerance:e}"
    );
}

fn model(layers: &str, set: &[String]) -> Option<Model> {
    let recipe = Recipe::parse(&format!("layers = [{layers}]"), "t.toml", "t", set).ok()?;
    Some(recipe.model().clone())
}

/// A convolution, or nothing; then any of what may follow, in any order.
fn body() -> impl Strategy<Value = String> {
    let activation = prop_oneof![3 => Just("relu"), 2 => Just("linear"), 1 => Just("silu")];
    let sizes = (1_usize..20, 1_usize..5, 1_usize..5, 1_usize..3, 1_usize..3);
    let conv = (sizes, any::<[bool; 3]>(), activation).prop_map(
        |((filters, rows, columns, stride, groups), [same, bias, dilated], activation)| {
            let padding = if same { "same" } else { "valid" };
            let steps = if dilated { "dilation_rate" } else { "strides" };
            format!(
                "{{ type = \"conv2d\", filters = {filters}, kernel_size = [{rows}, {columns}], {steps} = {stride}, \
                 padding = \"{padding}\", groups = {groups}, use_bias = {bias}, activation = \"{activation}\" }},"
            )
        },
    );
    let other = prop_oneof![
        4 => conv,
        2 => Just("{ type = \"batch_norm\", momentum = 0.8 },".to_string()),
        2 => (1_usize..4, 1_usize..3, any::<bool>()).prop_map(|(size, stride, same)| {
            let padding = if same { "same" } else { "valid" };
            format!("{{ type = \"max_pool\", pool_size = {size}, strides = {stride}, padding = \"{padding}\" }},")
        }),
        1 => Just("{ type = \"relu\" },".to_string()),
        1 => Just("{ type = \"avg_pool\" },".to_string()),
        1 => Just("{ type = \"avg_pool\", pool_size = 3, strides = 2, padding = \"same\" },".to_string()),
        1 => Just("{ type = \"dropout\", rate = 0 },".to_string()),
    ];
    proptest::collection::vec(other, 0..6).prop_map(|layers| layers.concat())
}

/// Rounding of what is multiplied shows in all gradients, as one part in some hundred, and not in evaluation.
#[test]
fn products_of_bfloat16_are_of_training_alone() {
    if !Products::bf16_is_available() {
        eprintln!("skipped: this CPU does not multiply bfloat16 numbers");
        return;
    }
    let layers = "{ type = \"conv2d\", filters = 16, kernel_size = 3, use_bias = false }, { type = \"batch_norm\" }, { type = \"relu\" }, \
        { type = \"conv2d\", filters = 32, kernel_size = 3 }, { type = \"global_avg_pool\" }, { type = \"dense\", units = 10 }";
    let model = model(layers, &[]).expect("a valid recipe");
    let weights = initial_weights(&model, 3);
    let pixels: Vec<f32> = (0..8 * model.preprocessing().len())
        .map(|i| (i as u64 * 7919 % 1009) as f32 / 504.0 - 1.0)
        .collect();
    let exact = Device::cpu();
    let rounded = exact.clone().with_precision(Precision::Bf16).unwrap();
    let expected = step(&model, &weights, &exact, &pixels);
    let found = step(&model, &weights, &rounded, &pixels);
    for ((name, expected), (_, found)) in expected.iter().zip(&found) {
        let size = largest(expected, &vec![0.0; expected.len()]);
        let difference = largest(found, expected);
        assert!(difference <= 0.05 * size, "{name}: {difference} of {size}");
    }
    let differ = |name: &str| {
        let mut pairs = expected.iter().zip(&found);
        pairs.any(|((found_name, a), (_, b))| found_name.starts_with(name) && a != b)
    };
    assert!(differ("gradient"), "no gradient was rounded");

    let evaluate = |device: &Device| {
        let network = Network::new(model.layers(), &weights, device).unwrap();
        let input = network.input(pixels.clone(), &device.burn);
        let output = network.forward(input, DropoutKey::default()).unwrap();
        output.into_values().unwrap()
    };
    assert_eq!(evaluate(&exact), evaluate(&rounded));
}

proptest! {
    // The same cases every time: two f32 implementations may see the larger of two nearly equal
    // numbers elsewhere, which no tolerance covers, and which happens to one case in some thousand.
    #![proptest_config(ProptestConfig { cases: 96, max_global_rejects: 10_000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fused_plan_gives_what_burn_gives(
        body in body(), rgb: bool, size in [1_usize..14, 1_usize..14], images in 1_usize..9, seed in 0_u64..1000,
    ) {
        let head = "{ type = \"flatten\" }, { type = \"dense\", units = 9, activation = \"relu\" }, { type = \"batch_norm\" }, \
            { type = \"dense\", units = 10 }";
        let channels = if rgb { "rgb" } else { "gray" };
        let set = [
            format!("input.height={}", size[0]), format!("input.width={}", size[1]), format!("input.channels={channels}"),
        ];
        // One image makes the vectors' variance nothing, and gradients that are differences of
        // equal numbers.
        let images = images.max(4);
        let Some(model) = model(&format!("{body} {head}"), &set) else { return Err(TestCaseError::reject("does not fit")) };
        assert_same(&model, seed, images);
    }
}

#[test]
fn frozen_layers_of_a_fused_sequence_do_not_move() {
    let layers = "{ type = \"conv2d\", filters = 5, kernel_size = 3, activation = \"relu\" }, { type = \"batch_norm\" }, \
        { type = \"max_pool\" }, { type = \"dropout\", rate = 0.5 }, { type = \"flatten\" }, { type = \"dense\", units = 10 }";
    let set = ["training.freeze=4", "input.height=9", "input.width=9"].map(String::from);
    let model = model(layers, &set).unwrap();
    assert_same(&model, 3, 4);
    let weights = initial_weights(&model, 3);
    let given = step(&model, &weights, &Device::cpu(), &vec![0.5; 4 * 81]);
    for (name, values) in &given {
        match name.as_str() {
            name if name.contains("running_mean") => assert_eq!(values, &[0.0; 5]),
            name if name.starts_with("gradient") && !name.contains("10]") => {
                assert!(values.is_empty(), "{name}");
            }
            _ => assert!(!values.is_empty(), "{name}"),
        }
    }
}

#[test]
fn dropout_of_the_kernels_follows_seed_and_step_and_keeps_the_mean() {
    let layers = "{ type = \"dropout\", rate = 0.5 }, { type = \"flatten\" }, { type = \"dense\", units = 10 }";
    let model = model(layers, &[]).unwrap();
    let device = Device::cpu().autodiff();
    let mut weights = initial_weights(&model, 0);
    // Each output is the sum of all inputs.
    weights.get_mut("dense.weight").unwrap().data.fill(1.0);
    let network = Network::new(model.layers(), &weights, &device).unwrap();
    let sums = |seed, step| {
        let input = network.input(vec![1.0; 64 * 784], &device.burn);
        network
            .forward(input, DropoutKey { seed, step })
            .unwrap()
            .into_values()
            .unwrap()
    };
    assert_eq!(sums(1, 2), sums(1, 2));
    assert_ne!(sums(1, 2), sums(1, 3));
    assert_ne!(sums(1, 2), sums(2, 2));
    // 64 sums of 784 values that are 0 or 2: their mean's standard deviation is 28 / 8.
    let sums = sums(1, 2);
    let mean = sums.iter().step_by(10).map(|&x| f64::from(x)).sum::<f64>() / 64.0;
    assert!((mean - 784.0).abs() < 14.0, "{mean}");
}
