//! The loss: cross-entropy of the softmax of the logits, with what the recipe says of labels and
//! classes.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use kiln_data::Mixed;
use kiln_model::{ClassWeight, Training};

/// Mean cross-entropy over a batch, in nats.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loss {
    /// Share of each label that is spread over all classes.
    smoothing: f32,
    /// What each class counts; empty where all count the same.
    weights: Vec<f32>,
}

impl Loss {
    /// The recipe's, for training images of these classes with so many of each.
    pub fn new(training: &Training, classes: &[String], counts: &[usize]) -> Self {
        let weights = match &training.class_weight {
            None => Vec::new(),
            Some(ClassWeight::Factors(factors)) => {
                factors.iter().map(|&factor| factor as f32).collect()
            }
            Some(ClassWeight::Named(factors)) => classes
                .iter()
                .map(|class| factors.get(class).map_or(1.0, |&factor| factor as f32))
                .collect(),
            Some(ClassWeight::Balanced) => {
                let mean = counts.iter().sum::<usize>() as f32 / counts.len() as f32;
                counts
                    .iter()
                    .map(|&count| mean / count.max(1) as f32)
                    .collect()
            }
        };
        Self {
            smoothing: training.label_smoothing as f32,
            weights,
        }
    }

    /// Of one image's logits, in f64: its share of `n` times [`forward`](Self::forward). The gradient
    /// with respect to the logits takes their place.
    pub fn row(&self, logits: &mut [f64], label: u32) -> f64 {
        let weight = f64::from(self.weight(label));
        let smoothing = f64::from(self.smoothing);
        let spread = smoothing / logits.len() as f64;
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
        let log_sum = most + sum.ln();
        let mut loss = 0.0;
        for (class, logit) in logits.iter_mut().enumerate() {
            let mut target = spread;
            if class == label as usize {
                target += 1.0 - smoothing;
            }
            let log_probability = *logit - log_sum;
            loss -= weight * target * log_probability;
            *logit = weight * (log_probability.exp() - target);
        }
        loss
    }

    fn weight(&self, label: u32) -> f32 {
        self.weights.get(label as usize).copied().unwrap_or(1.0)
    }

    /// Of logits `[n, classes]` and their labels: `-1/n Σ_i w(y_i) Σ_k t_ik log
    /// softmax(logits_i)_k`, where `t_i` is the label `y_i`, smoothed. As in Keras, the mean is
    /// over the images and not over their weights. Of mixed images, it is the sum of the losses with either label, by
    /// their shares.
    pub fn forward(
        &self,
        logits: Tensor<2>,
        labels: &[u32],
        mixed: Option<&Mixed>,
        device: &Device,
    ) -> Tensor<1> {
        let [images, classes] = logits.dims();
        let mut targets = vec![0.0; images * classes];
        let mut add = |labels: &[u32], share: f32| {
            for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
                let weight = share * self.weight(label) / images as f32;
                let spread = weight * self.smoothing / classes as f32;
                for target in row.iter_mut() {
                    *target += spread;
                }
                row[label as usize] += weight * (1.0 - self.smoothing);
            }
        };
        match mixed {
            None => add(labels, 1.0),
            Some(mixed) => {
                add(labels, mixed.share);
                add(&mixed.labels, 1.0 - mixed.share);
            }
        }
        let targets = Tensor::<2>::from_data(TensorData::new(targets, [images, classes]), device);
        -(log_softmax(logits, 1) * targets).sum()
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::loss::CrossEntropyLossConfig;
    use burn::tensor::Int;
    use kiln_model::Recipe;

    use super::*;
    use crate::network::values;

    const LABELS: [u32; 3] = [1, 0, 3];

    fn loss(set: &[&str], counts: &[usize]) -> f32 {
        let device = Device::flex();
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        let recipe = Recipe::parse(
            "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]",
            "t",
            "t",
            &set,
        );
        let classes: Vec<String> = (0..10).map(|class| class.to_string()).collect();
        let loss = Loss::new(&recipe.unwrap().training, &classes, counts);
        values(loss.forward(logits(&device), &LABELS, None, &device)).unwrap()[0]
    }

    fn logits(device: &Device) -> Tensor<2> {
        let logits = (0..30)
            .map(|i| (i * 7 % 11) as f32 / 4.0 - 1.0)
            .collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(logits, [3, 10]), device)
    }

    #[test]
    fn it_is_burns_cross_entropy_where_nothing_is_said_and_with_smoothing() {
        let device = Device::flex();
        let labels = Tensor::<1, Int>::from_data([1, 0, 3], &device);
        for smoothing in [0.0_f32, 0.2] {
            let burn = CrossEntropyLossConfig::new()
                .with_smoothing(Some(smoothing))
                .init(&device);
            let expected = values(burn.forward(logits(&device), labels.clone())).unwrap()[0];
            let found = loss(&[&format!("training.label_smoothing={smoothing}")], &[]);
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn mixed_images_lose_with_both_labels_by_their_shares() {
        let device = Device::flex();
        let loss = Loss {
            smoothing: 0.1,
            weights: vec![2.0, 1.0, 1.0, 3.0],
        };
        let others = [2, 2, 0];
        let of = |labels: &[u32], mixed: Option<&Mixed>| {
            values(loss.forward(logits(&device), labels, mixed, &device)).unwrap()[0]
        };
        let mixed = Mixed {
            labels: others.to_vec(),
            share: 0.7,
        };
        let expected = 0.7 * of(&LABELS, None) + 0.3 * of(&others, None);
        let found = of(&LABELS, Some(&mixed));
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn classes_count_as_they_are_told_to() {
        let one = |class: usize| {
            let mut factors = ["0.001"; 10];
            factors[class] = "1000";
            loss(
                &[&format!("training.class_weight=[{}]", factors.join(", "))],
                &[],
            ) / 1000.0
        };
        let all = loss(&[], &[]);
        assert!((one(0) + one(1) + one(3) - all).abs() < 1e-4 * all);
        // Class 1 is four times as frequent as the others: it counts a quarter as much.
        let counts = [10, 40, 10, 10, 10, 10, 10, 10, 10, 10];
        let balanced = loss(&["training.class_weight=balanced"], &counts);
        let expected = 1.3 * (one(0) + one(3) + one(1) / 4.0);
        assert!(
            (balanced - expected).abs() < 1e-4 * expected,
            "{balanced} {expected}"
        );
        // Those that are not named count once.
        let named = loss(&["training.class_weight={1 = 3, 9 = 7}"], &[]);
        let expected = one(0) + one(3) + one(1) * 3.0;
        assert!((named - expected).abs() < 1e-4 * expected, "{named}");
    }
}
