//! The loss of the logits: cross-entropy of their softmax, or of the sigmoid of each, with what the recipe says of
//! labels and classes.

use burn::tensor::activation::{log_sigmoid, log_softmax, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use kiln_data::{LabelSets, Mixed};
use kiln_model::{ClassWeight, LossFunction, Training};

/// Mean loss over a batch, in nats.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loss {
    function: LossFunction,
    /// Share of each label that is spread over all classes, or over yes and no.
    smoothing: f32,
    /// What each class counts; empty where all count the same.
    weights: Vec<f32>,
    /// What the classes of an image count more than those that it has not, for each score; empty where they do not.
    pos_weights: Vec<f32>,
}

/// What is true of the images of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// The label of each image.
    pub labels: &'a [u32],
    /// What they were mixed with, if they were.
    pub mixed: Option<&'a Mixed>,
    /// The classes of each label.
    pub sets: &'a LabelSets,
}

impl<'a> Truth<'a> {
    /// Returns the parts that images consist of: their labels, and the share.
    fn parts(self) -> impl Iterator<Item = (&'a [u32], f32)> {
        let own = self.mixed.map_or(1.0, |mixed| mixed.share);
        let other = self
            .mixed
            .map(|mixed| (mixed.labels.as_slice(), 1.0 - mixed.share));
        std::iter::once((self.labels, own)).chain(other)
    }

    /// Returns whether a label has the class of a score; a single score is that of the second of two classes.
    fn has(self, label: u32, score: usize, scores: usize) -> bool {
        let class = if scores == 1 { 1 } else { score as u32 };
        self.sets.of(label).contains(&class)
    }
}

impl Loss {
    /// The recipe's, for so many training images of these classes, of which so many are of each.
    pub fn new(training: &Training, classes: &[String], images: usize, counts: &[usize]) -> Self {
        let factors = |weight: &Option<ClassWeight>, balanced: &dyn Fn(usize) -> f32| match weight {
            None => Vec::new(),
            Some(ClassWeight::Factors(factors)) => {
                factors.iter().map(|&factor| factor as f32).collect()
            }
            Some(ClassWeight::Named(factors)) => classes
                .iter()
                .map(|class| factors.get(class).map_or(1.0, |&factor| factor as f32))
                .collect(),
            Some(ClassWeight::Balanced) => counts.iter().map(|&count| balanced(count)).collect(),
        };
        let mean = counts.iter().sum::<usize>() as f32 / counts.len() as f32;
        let weights = factors(&training.class_weight, &|count| mean / count.max(1) as f32);
        let pos_weights = factors(&training.pos_weight, &|count| {
            images.saturating_sub(count).max(1) as f32 / count.max(1) as f32
        });
        Self {
            function: training.loss,
            smoothing: training.label_smoothing as f32,
            weights,
            pos_weights,
        }
    }

    /// The figure by which the same scores are judged, without weights and smoothing: the cross-entropy that an
    /// evaluation gives.
    pub fn plain(&self) -> Self {
        let function = if self.function.is_binary() {
            LossFunction::BinaryCrossentropy
        } else {
            LossFunction::CategoricalCrossentropy
        };
        Self {
            function,
            ..Self::default()
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

    /// What it counts that an image has the class of a score: of a single score, whose factors may be by class, that of
    /// the second class.
    fn pos_weight(&self, score: usize, scores: usize) -> f32 {
        let at = match self.pos_weights.len() {
            2 if scores == 1 => 1,
            _ => score,
        };
        self.pos_weights.get(at).copied().unwrap_or(1.0)
    }

    /// Of logits `[n, scores]` and what is true of their images: the mean over the images, and of a binary loss over
    /// the scores too. As in Keras, it is not the mean over the weights. Of mixed images, it is the sum of the losses
    /// with either label, by their shares.
    ///
    /// - categorical: `-1/n Σ_i w(y_i) Σ_k t_ik log softmax(logits_i)_k`, where `t_i` is the label `y_i`, smoothed;
    /// - binary: `-1/nK Σ_i w(y_i) Σ_k (p_k t_ik log σ(logits_ik) + (1 - t_ik) log σ(-logits_ik))`, where `t_ik` is 1 if
    ///   image `i` has class `k`, smoothed, and `p_k` is its `pos_weight`.
    ///
    /// Focal losses multiply each logarithm by `alpha (1 - probability)^gamma`.
    pub fn forward(&self, logits: Tensor<2>, truth: Truth<'_>, device: &Device) -> Tensor<1> {
        let [images, scores] = logits.dims();
        let tensor = |values: Vec<f32>| {
            Tensor::<2>::from_data(TensorData::new(values, [images, scores]), device)
        };
        match self.function {
            LossFunction::CategoricalCrossentropy => {
                let targets = tensor(self.shares(truth, images, scores));
                -(log_softmax(logits, 1) * targets).sum()
            }
            LossFunction::CategoricalFocalCrossentropy { gamma, alpha } => {
                let targets = tensor(self.shares(truth, images, scores));
                let logarithms = log_softmax(logits, 1);
                let wrong = 1.0 - logarithms.clone().exp();
                -(focused(wrong, gamma) * logarithms * targets).sum() * alpha
            }
            LossFunction::BinaryCrossentropy => {
                let [yes, no] = self.decisions(truth, images, scores).map(tensor);
                -(log_sigmoid(logits.clone()) * yes + log_sigmoid(-logits) * no).sum()
            }
            LossFunction::BinaryFocalCrossentropy { gamma, alpha } => {
                let [yes, no] = self.decisions(truth, images, scores).map(tensor);
                let [of_yes, of_no] = alpha.map_or([1.0, 1.0], |alpha| [alpha, 1.0 - alpha]);
                // The probability of the opposite by a sigmoid of its own: 1 less that of the truth has no digits
                // left where the truth is all but certain.
                let term = |logits: Tensor<2>, targets: Tensor<2>| {
                    focused(sigmoid(-logits.clone()), gamma) * log_sigmoid(logits) * targets
                };
                -(term(logits.clone(), yes) * of_yes + term(-logits, no) * of_no).sum()
            }
        }
    }

    /// The share of each class in the targets of a softmax, weighted, over the number of images: `[images, scores]`.
    fn shares(&self, truth: Truth<'_>, images: usize, scores: usize) -> Vec<f32> {
        let mut targets = vec![0.0; images * scores];
        for (labels, share) in truth.parts() {
            for (row, &label) in targets.chunks_exact_mut(scores).zip(labels) {
                let weight = share * self.weight(label) / images as f32;
                let spread = weight * self.smoothing / scores as f32;
                for target in row.iter_mut() {
                    *target += spread;
                }
                for &class in truth.sets.of(label) {
                    row[class as usize] += weight * (1.0 - self.smoothing);
                }
            }
        }
        targets
    }

    /// What it counts that a class is predicted of an image, and that it is not, over the number of decisions:
    /// `[images, scores]` each.
    fn decisions(&self, truth: Truth<'_>, images: usize, scores: usize) -> [Vec<f32>; 2] {
        let [mut yes, mut no] = [(); 2].map(|()| vec![0.0; images * scores]);
        for (labels, share) in truth.parts() {
            for (image, &label) in labels.iter().enumerate() {
                // The only weights of a binary loss are those of two classes with one score.
                let weight = share * self.weight(label) / (images * scores) as f32;
                for score in 0..scores {
                    let target = if truth.has(label, score, scores) {
                        1.0 - 0.5 * self.smoothing
                    } else {
                        0.5 * self.smoothing
                    };
                    let at = image * scores + score;
                    yes[at] += weight * target * self.pos_weight(score, scores);
                    no[at] += weight * (1.0 - target);
                }
            }
        }
        [yes, no]
    }
}

/// The factor of a focal loss, of the probability that is missing: its power, whose gradient is a number at 0 too.
fn focused(missing: Tensor<2>, gamma: f64) -> Tensor<2> {
    missing.clamp_min(1e-12).powf_scalar(gamma)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use burn::nn::loss::CrossEntropyLossConfig;
    use burn::tensor::Int;
    use kiln_model::Recipe;

    use super::*;
    use crate::network::values;

    const LABELS: [u32; 3] = [1, 0, 3];
    static SETS: LazyLock<LabelSets> = LazyLock::new(|| LabelSets::exclusive(10));

    fn truth<'a>(labels: &'a [u32], mixed: Option<&'a Mixed>, sets: &'a LabelSets) -> Truth<'a> {
        Truth {
            labels,
            mixed,
            sets,
        }
    }

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
        let images = counts.iter().sum();
        let loss = Loss::new(&recipe.unwrap().training, &classes, images, counts);
        values(loss.forward(logits(&device), truth(&LABELS, None, &SETS), &device)).unwrap()[0]
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
            ..Loss::default()
        };
        let others = [2, 2, 0];
        let of = |labels: &[u32], mixed: Option<&Mixed>| {
            values(loss.forward(logits(&device), truth(labels, mixed, &SETS), &device)).unwrap()[0]
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

    /// Three images of three classes with logits from -1 to 1.5; the first has classes 0 and 2, the second none, the
    /// third class 1.
    fn of_several(loss: &Loss) -> (f32, Vec<f32>) {
        let (sets, labels) = LabelSets::several([vec![0, 2], vec![], vec![1]]);
        let device = Device::flex().autodiff();
        let logits: Vec<f32> = (0..9).map(|i| (i * 7 % 11) as f32 / 4.0 - 1.0).collect();
        let logits =
            Tensor::<2>::from_data(TensorData::new(logits, [3, 3]), &device).require_grad();
        let value = loss.forward(logits.clone(), truth(&labels, None, &sets), &device);
        let gradients = value.backward();
        let gradient = logits.grad(&gradients).expect("it depends on them");
        (values(value).unwrap()[0], values(gradient).unwrap())
    }

    fn binary(function: LossFunction) -> Loss {
        Loss {
            function,
            ..Loss::default()
        }
    }

    fn assert_close(found: &(f32, Vec<f32>), loss: f32, gradient: [f32; 9]) {
        assert!((found.0 - loss).abs() < 1e-6, "{found:?}");
        for (found, expected) in found.1.iter().zip(gradient) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    /// The numbers are those of PyTorch's `binary_cross_entropy_with_logits` in f64.
    #[test]
    fn binary_cross_entropy_is_pytorchs() {
        let plain = binary(LossFunction::BinaryCrossentropy);
        assert_close(
            &of_several(&plain),
            0.987_819_9,
            [
                -0.081_228_73,
                0.075_464_3,
                -0.062_464_056,
                0.090_841_61,
                0.069_162_15,
                0.041_948_963,
                0.086_366_65,
                -0.048_647_055,
                0.035_646_81,
            ],
        );
        let weighted = Loss {
            pos_weights: vec![2.0, 1.0, 5.0],
            ..plain.clone()
        };
        assert_close(
            &of_several(&weighted),
            1.500_822,
            [
                -0.162_457_46,
                0.075_464_3,
                -0.312_320_3,
                0.090_841_61,
                0.069_162_15,
                0.041_948_963,
                0.086_366_65,
                -0.048_647_055,
                0.035_646_81,
            ],
        );
        let smooth = Loss {
            smoothing: 0.2,
            ..plain
        };
        assert!((of_several(&smooth).0 - 0.946_153_2).abs() < 1e-6);
    }

    /// The numbers are those of torchvision's `sigmoid_focal_loss` in f64, and of Keras's formula.
    #[test]
    fn focal_losses_are_torchvisions_and_keras_s() {
        let focal = |gamma, alpha| binary(LossFunction::BinaryFocalCrossentropy { gamma, alpha });
        assert_close(
            &of_several(&focal(2.0, None)),
            0.458_584_06,
            [
                -0.085_359_41,
                0.072_198_26,
                -0.045_138_157,
                0.106_824_965,
                0.058_461_314,
                0.015_326_333,
                0.097_091_43,
                -0.023_117_375,
                0.009_678_851,
            ],
        );
        assert!((of_several(&focal(1.5, Some(0.25))).0 - 0.335_609_6).abs() < 1e-6);
        let plain = of_several(&binary(LossFunction::BinaryCrossentropy));
        let flat = of_several(&focal(0.0, None));
        assert!(
            (plain.0 - flat.0).abs() < 1e-6,
            "an exponent of 0 changes nothing"
        );

        let categorical = binary(LossFunction::CategoricalFocalCrossentropy {
            gamma: 2.0,
            alpha: 0.25,
        });
        let (device, sets) = (Device::flex(), LabelSets::exclusive(3));
        let logits: Vec<f32> = (0..9).map(|i| (i * 7 % 11) as f32 / 4.0 - 1.0).collect();
        let logits = Tensor::<2>::from_data(TensorData::new(logits, [3, 3]), &device);
        let loss = categorical.forward(logits, truth(&[2, 0, 1], None, &sets), &device);
        assert!((values(loss).unwrap()[0] - 0.139_936_41).abs() < 1e-6);
    }

    #[test]
    fn certain_scores_have_losses_and_gradients_that_are_numbers() {
        let device = Device::flex().autodiff();
        let sets = LabelSets::exclusive(2);
        for gamma in [0.0, 0.5, 2.0] {
            for function in [
                LossFunction::BinaryCrossentropy,
                LossFunction::BinaryFocalCrossentropy { gamma, alpha: None },
                LossFunction::CategoricalFocalCrossentropy { gamma, alpha: 1.0 },
            ] {
                let scores: Vec<f32> = vec![200.0, -200.0, -200.0, 200.0, 0.0, 0.0];
                let logits =
                    Tensor::<2>::from_data(TensorData::new(scores, [3, 2]), &device).require_grad();
                let loss = binary(function).forward(
                    logits.clone(),
                    truth(&[0, 0, 1], None, &sets),
                    &device,
                );
                let gradients = loss.backward();
                let gradient = values(logits.grad(&gradients).unwrap()).unwrap();
                let loss = values(loss).unwrap()[0];
                assert!(loss.is_finite() && loss > 1.0, "{function:?} {loss}");
                assert!(
                    gradient.iter().all(|value| value.is_finite()),
                    "{function:?} {gradient:?}"
                );
            }
        }
    }

    /// With a single score, PyTorch's `weight` of the images is what `class_weight` gives them.
    #[test]
    fn one_score_is_that_of_the_second_of_two_classes() {
        let (device, sets) = (Device::flex(), LabelSets::exclusive(2));
        let logits =
            || Tensor::<2>::from_data(TensorData::new(vec![0.5_f32, -1.5, 2.0], [3, 1]), &device);
        let of = |loss: &Loss| {
            values(loss.forward(logits(), truth(&[1, 0, 0], None, &sets), &device)).unwrap()[0]
        };
        let plain = binary(LossFunction::BinaryCrossentropy);
        assert!((of(&plain) - 0.934_139_4).abs() < 1e-6);
        let weighted = Loss {
            weights: vec![0.5, 3.0],
            ..plain.clone()
        };
        assert!((of(&weighted) - 0.862_133_87).abs() < 1e-6);
        let recipe = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 1 }]\n\
                      [training]\nloss = \"binary_crossentropy\"\npos_weight = \"balanced\"\n[data]\nfolder = \"x\"";
        let recipe = Recipe::parse(recipe, "t", "t", &[]).unwrap();
        let classes = ["cat", "dog"].map(str::to_owned);
        let balanced = Loss::new(&recipe.training, &classes, 40, &[30, 10]);
        assert_eq!((balanced.pos_weight(0, 1), balanced.weight(1)), (3.0, 1.0));
        assert_eq!(balanced.plain(), plain);
    }
}
