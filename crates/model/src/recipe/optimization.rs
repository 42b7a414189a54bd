//! How gradients become steps: optimizer, schedule, when to stop. Names and defaults are Keras's.

use serde::Serialize;

/// An optimizer with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Optimizer {
    /// Which one.
    #[serde(flatten)]
    pub kind: OptimizerKind,
    /// Size of the steps, before the schedule.
    pub learning_rate: f64,
    /// Each parameter's gradient is scaled down to this Euclidean norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipnorm: Option<f64>,
    /// Each value of the gradient is clipped to plus or minus this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipvalue: Option<f64>,
    /// All gradients together are scaled down to this Euclidean norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global_clipnorm: Option<f64>,
}

/// The rule that makes a step of a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum OptimizerKind {
    /// Kingma and Ba (2015).
    #[serde(rename = "adam")]
    Adam(Betas),
    /// Adam with decoupled weight decay: Loshchilov and Hutter (2019).
    #[serde(rename = "adamw")]
    AdamW {
        /// Adam's settings.
        #[serde(flatten)]
        betas: Betas,
        /// Share of each weight that is taken away at each step, times the learning rate. Biases
        /// and normalisation decay like all others, as in Keras.
        weight_decay: f64,
    },
    /// Stochastic gradient descent.
    #[serde(rename = "sgd")]
    Sgd {
        /// Share of the last step that is added to the next one; 0 is none.
        momentum: f64,
        /// Whether the gradient is taken as if at the end of the momentum's step.
        nesterov: bool,
    },
}

/// Adam's running means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Betas {
    /// Decay of the mean of gradients.
    pub beta_1: f64,
    /// Decay of the mean of squared gradients.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

impl Default for Betas {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
        }
    }
}

impl Default for Optimizer {
    /// Keras's Adam.
    fn default() -> Self {
        let kind = OptimizerKind::Adam(Betas::default());
        Self {
            kind,
            learning_rate: 1e-3,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

/// How the learning rate changes during a phase: a factor for all its rates.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Schedule {
    /// The curve.
    #[serde(flatten)]
    pub kind: ScheduleKind,
    /// Over so many steps the rate rises from nothing; the curve begins after them.
    #[serde(skip_serializing_if = "is_zero")]
    pub warmup_steps: u64,
}

/// The curve of a schedule.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ScheduleKind {
    /// The same all the time.
    #[default]
    Constant,
    /// Times `gamma` after every `step_size` epochs (PyTorch's `StepLR`).
    Step {
        /// Epochs.
        step_size: usize,
        /// Factor.
        gamma: f64,
    },
    /// Times `gamma` after every epoch (PyTorch's `ExponentialLR`).
    Exponential {
        /// Factor.
        gamma: f64,
    },
    /// Half a cosine down to `alpha` times the rate at the end of the phase, step by step (Keras's
    /// `CosineDecay`).
    Cosine {
        /// What is left at the end, as a share.
        alpha: f64,
    },
    /// A rate for each stretch of epochs (Keras's `PiecewiseConstantDecay`, and
    /// `LearningRateScheduler` with a table).
    PiecewiseConstant {
        /// After so many epochs the next value counts; ascending, one less than values.
        boundaries: Vec<usize>,
        /// Learning rates, in place of the optimizer's.
        values: Vec<f64>,
    },
    /// Up and down again (Smith, 2018; PyTorch's `OneCycleLR`): from `1 / div_factor` to 1 over the
    /// first `pct_start` of the phase's steps, then down to `1 / (div_factor * final_div_factor)`,
    /// both as half a cosine.
    OneCycle {
        /// Share of the steps that go up.
        pct_start: f64,
        /// The first rate is one over this of the highest.
        div_factor: f64,
        /// The last rate is one over this of the first.
        final_div_factor: f64,
    },
    /// Times `factor` when the monitored figure has not become better for `patience` epochs
    /// (Keras's `ReduceLROnPlateau`).
    ReduceOnPlateau {
        /// Factor.
        factor: f64,
        /// Epochs.
        patience: usize,
        /// What counts as better.
        min_delta: f64,
        /// Epochs after a reduction that do not count.
        cooldown: usize,
        /// Never below this rate.
        min_lr: f64,
    },
}

impl Schedule {
    /// Whether it is what is meant where nothing is said.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(steps: &u64) -> bool {
    *steps == 0
}

/// Ends a phase early (Keras's `EarlyStopping`). The best weights are always those that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EarlyStopping {
    /// Epochs without improvement after which it ends.
    pub patience: usize,
    /// What counts as an improvement of the monitored figure.
    pub min_delta: f64,
    /// Epochs at the beginning of the phase that do not count.
    #[serde(skip_serializing_if = "is_none")]
    pub start_from_epoch: usize,
    /// A figure that must be beaten too before the waiting begins anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_none(epochs: &usize) -> bool {
    *epochs == 0
}

/// The figure that says which epoch is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// The lowest cross-entropy on the validation images.
    #[default]
    ValLoss,
    /// The highest accuracy on the validation images.
    ValAccuracy,
}

/// What a mistake in an image of each class counts (Keras's `class_weight`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ClassWeight {
    /// `"balanced"`: in inverse proportion to the classes' shares of the training images.
    #[serde(serialize_with = "balanced")]
    Balanced,
    /// Factors in the order of the classes.
    Factors(Vec<f64>),
}

fn balanced<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("balanced")
}
