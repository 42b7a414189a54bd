//! How gradients become steps: optimizer, schedule, early stopping. Names and defaults are Keras's.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::document::{Bound, Field, MAX_COUNT, RecipeError, Section, Tagged};

/// An optimizer with its settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Optimizer {
    /// The rule and its own settings.
    #[serde(flatten)]
    pub kind: OptimizerKind,
    /// Size of the steps before the schedule's factor, above 0; 0 of L-BFGS, which has none.
    #[serde(skip_serializing_if = "is_no_rate")]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum OptimizerKind {
    /// Kingma and Ba (2015).
    #[serde(rename = "adam")]
    Adam(AdamParams),
    /// Adam with decoupled weight decay: Loshchilov and Hutter (2019).
    #[serde(rename = "adamw")]
    AdamW {
        /// Adam's settings.
        #[serde(flatten)]
        adam: AdamParams,
        /// Share of each weight that is subtracted at each step, times the learning rate, 0 or more.
        weight_decay: f64,
        /// Whether biases, and the scales and shifts of normalizations, decay like all others, as in
        /// Keras and PyTorch; timm leaves them out.
        #[serde(skip_serializing_if = "is_true")]
        decay_biases_and_norms: bool,
    },
    /// Stochastic gradient descent.
    #[serde(rename = "sgd")]
    Sgd {
        /// Share of the last step that is added to the next one, 0 (none) to less than 1.
        momentum: f64,
        /// Whether the gradient is computed as if after the momentum's step.
        nesterov: bool,
        /// Share of each weight that is added to its gradient, 0 or more, as in PyTorch.
        #[serde(skip_serializing_if = "is_no_rate")]
        weight_decay: f64,
        /// As for `AdamW`.
        #[serde(skip_serializing_if = "is_true")]
        decay_biases_and_norms: bool,
    },
    /// Steps of the same size for every weight, in the direction of a moving average of the gradients: Lion (Chen and
    /// others, 2023).
    #[serde(rename = "lion")]
    Lion {
        /// Share of the average in what gives the direction, 0 to less than 1.
        beta_1: f64,
        /// Decay of the average, 0 to less than 1.
        beta_2: f64,
        /// As for `AdamW`.
        #[serde(skip_serializing_if = "is_no_rate")]
        weight_decay: f64,
        /// As for `AdamW`.
        #[serde(skip_serializing_if = "is_true")]
        decay_biases_and_norms: bool,
    },
    /// Adam's steps, made as long for each parameter as its norm has it: LAMB (You and others, 2020), for large batches.
    #[serde(rename = "lamb")]
    Lamb {
        /// Adam's settings.
        #[serde(flatten)]
        adam: AdamParams,
        /// Share of each weight that is added to Adam's step before that, 0 or more.
        #[serde(skip_serializing_if = "is_no_rate")]
        weight_decay: f64,
        /// As for `AdamW`.
        #[serde(skip_serializing_if = "is_true")]
        decay_biases_and_norms: bool,
    },
    /// Limited-memory BFGS (Liu and Nocedal, 1989) on all images at once: multinomial logistic
    /// regression, for one dense layer on frozen features.
    #[serde(rename = "lbfgs")]
    Lbfgs(LbfgsParams),
}

impl OptimizerKind {
    /// The same rule for parameters that do not decay, where some do not; none where all are treated alike.
    #[must_use]
    pub fn without_decay(&self) -> Option<Self> {
        let mut rule = self.clone();
        match &mut rule {
            Self::AdamW {
                weight_decay,
                decay_biases_and_norms: decay @ false,
                ..
            }
            | Self::Sgd {
                weight_decay,
                decay_biases_and_norms: decay @ false,
                ..
            }
            | Self::Lion {
                weight_decay,
                decay_biases_and_norms: decay @ false,
                ..
            }
            | Self::Lamb {
                weight_decay,
                decay_biases_and_norms: decay @ false,
                ..
            } => {
                (*weight_decay, *decay) = (0.0, true);
                Some(rule)
            }
            Self::Adam(_)
            | Self::AdamW { .. }
            | Self::Sgd { .. }
            | Self::Lion { .. }
            | Self::Lamb { .. }
            | Self::Lbfgs(_) => None,
        }
    }

    /// The `type` that recipes name it by.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Adam(_) => "adam",
            Self::AdamW { .. } => "adamw",
            Self::Sgd { .. } => "sgd",
            Self::Lion { .. } => "lion",
            Self::Lamb { .. } => "lamb",
            Self::Lbfgs(_) => "lbfgs",
        }
    }
}

/// Settings of L-BFGS. What is minimized is the mean cross-entropy + penalty / 2 * ||W||², where W are
/// the weights, without the bias, on features that are centered and have a mean variance of 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LbfgsParams {
    /// Penalties, 0 or more, each once, from the largest to the smallest: one fit for each, an epoch,
    /// which begins with the weights of the one before.
    pub penalties: Vec<f64>,
    /// Most iterations of a fit, at least 1.
    pub max_iterations: usize,
    /// A fit ends when no component of the gradient is larger, above 0.
    pub tolerance: f64,
}

impl Default for LbfgsParams {
    /// Half decades from 10 to 1e-6. scikit-learn's `C` is `1 / (penalty * images)`.
    fn default() -> Self {
        let half_decades = [
            10.0, 3.0, 1.0, 0.3, 0.1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6,
        ];
        Self {
            penalties: half_decades.into(),
            max_iterations: 500,
            tolerance: 1e-5,
        }
    }
}

/// Settings of Adam.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AdamParams {
    /// Decay of the mean of gradients, 0 to less than 1.
    pub beta_1: f64,
    /// Decay of the mean of squared gradients, 0 to less than 1.
    pub beta_2: f64,
    /// Added to the root of the second moment, above 0.
    pub epsilon: f64,
}

impl Default for AdamParams {
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
        let kind = OptimizerKind::Adam(AdamParams::default());
        Self {
            kind,
            learning_rate: 1e-3,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_no_rate(rate: &f64) -> bool {
    *rate == 0.0
}

/// How the learning rate changes during a phase: a factor for all its rates.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Schedule {
    /// The curve.
    #[serde(flatten)]
    pub kind: ScheduleKind,
    /// Number of steps over which the rate rises from 0; the curve begins after them.
    #[serde(skip_serializing_if = "is_zero")]
    pub warmup_steps: u64,
    /// The same in epochs; one of the two is 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub warmup_epochs: u64,
}

/// The curve of a schedule.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ScheduleKind {
    /// The same rate all the time.
    #[default]
    Constant,
    /// Times `gamma` after every `step_size` epochs (PyTorch's `StepLR`).
    Step {
        /// Number of epochs between two changes, at least 1.
        step_size: usize,
        /// Factor of each change, above 0.
        gamma: f64,
    },
    /// Times `gamma` after every epoch (PyTorch's `ExponentialLR`).
    Exponential {
        /// Factor of each epoch, above 0.
        gamma: f64,
    },
    /// Half a cosine down to `alpha` times the rate at the end of the phase, step by step (Keras's
    /// `CosineDecay`).
    Cosine {
        /// Share of the rate that is left at the end, 0 to less than 1.
        alpha: f64,
    },
    /// A rate for each stretch of epochs (Keras's `PiecewiseConstantDecay`, and
    /// `LearningRateScheduler` with a table).
    PiecewiseConstant {
        /// Numbers of epochs after which the next value counts; ascending, one less than values.
        boundaries: Vec<usize>,
        /// Learning rates, in place of the optimizer's.
        values: Vec<f64>,
    },
    /// Up and down again (Smith, 2018; PyTorch's `OneCycleLR`): from `1 / div_factor` to 1 over the
    /// first `pct_start` of the phase's steps, then down to `1 / (div_factor * final_div_factor)`,
    /// both as half a cosine.
    OneCycle {
        /// Share of the steps with rising rate, between 0 and 1.
        pct_start: f64,
        /// The highest rate divided by the first one.
        div_factor: f64,
        /// The first rate divided by the last one.
        final_div_factor: f64,
    },
    /// Times `factor` when the monitored figure has not improved for `patience` epochs
    /// (Keras's `ReduceLROnPlateau`).
    ReduceOnPlateau {
        /// Factor of each reduction, between 0 and 1.
        factor: f64,
        /// Number of epochs without improvement before a reduction, at least 1.
        patience: usize,
        /// Smallest change of the figure that is an improvement, 0 or more.
        min_delta: f64,
        /// Number of epochs after a reduction that do not count towards the patience.
        cooldown: usize,
        /// Lower bound of the rate, 0 or more.
        min_lr: f64,
    },
}

impl Schedule {
    /// Whether it is the default: a constant rate without warmup.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_true(value: &bool) -> bool {
    *value
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
    /// Number of epochs without improvement after which it ends.
    pub patience: usize,
    /// Smallest change of the monitored figure that is an improvement, 0 or more.
    pub min_delta: f64,
    /// Number of epochs at the beginning of the phase that do not count.
    #[serde(skip_serializing_if = "is_none")]
    pub start_from_epoch: usize,
    /// Value of the monitored figure that must also be beaten before the waiting begins again.
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

/// The figure that decides which epoch is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Monitor {
    /// The lowest cross-entropy on the validation images.
    #[default]
    ValLoss,
    /// The highest accuracy on the validation images.
    ValAccuracy,
    /// The highest mean F1 of the classes on the validation images, for which rare classes count as much as frequent
    /// ones.
    ValMacroF1,
}

kiln_util::str_enum!(Monitor: Serialize { ValLoss = "val_loss", ValAccuracy = "val_accuracy", ValMacroF1 = "val_macro_f1" });

/// Weight of each class's images in the loss (Keras's `class_weight`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ClassWeight {
    /// `"balanced"`: in inverse proportion to the classes' shares of the training images.
    #[serde(serialize_with = "balanced")]
    Balanced,
    /// Factors in the order of the classes.
    Factors(Vec<f64>),
    /// Factors by class, 1 for those that are not named.
    Named(BTreeMap<String, f64>),
}

impl ClassWeight {
    /// Returns a class that is named and not among these.
    pub fn unknown_class(&self, classes: &[String]) -> Option<&str> {
        match self {
            Self::Balanced | Self::Factors(_) => None,
            Self::Named(factors) => factors
                .keys()
                .find(|name| !classes.contains(name))
                .map(String::as_str),
        }
    }
}

fn balanced<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("balanced")
}

/// Every optimizer, with its default learning rate.
const OPTIMIZERS: &[Tagged<(OptimizerKind, f64)>] = &[
    Tagged {
        kind: "adam",
        keys: &[
            "type",
            "learning_rate",
            "clipnorm",
            "clipvalue",
            "global_clipnorm",
            "beta_1",
            "beta_2",
            "epsilon",
        ],
        parse: adam,
    },
    Tagged {
        kind: "adamw",
        keys: &[
            "type",
            "learning_rate",
            "clipnorm",
            "clipvalue",
            "global_clipnorm",
            "beta_1",
            "beta_2",
            "epsilon",
            "weight_decay",
            "decay_biases_and_norms",
        ],
        parse: adamw,
    },
    Tagged {
        kind: "sgd",
        keys: &[
            "type",
            "learning_rate",
            "clipnorm",
            "clipvalue",
            "global_clipnorm",
            "momentum",
            "nesterov",
            "weight_decay",
            "decay_biases_and_norms",
        ],
        parse: sgd,
    },
    Tagged {
        kind: "lion",
        keys: &[
            "type",
            "learning_rate",
            "clipnorm",
            "clipvalue",
            "global_clipnorm",
            "beta_1",
            "beta_2",
            "weight_decay",
            "decay_biases_and_norms",
        ],
        parse: lion,
    },
    Tagged {
        kind: "lamb",
        keys: &[
            "type",
            "learning_rate",
            "clipnorm",
            "clipvalue",
            "global_clipnorm",
            "beta_1",
            "beta_2",
            "epsilon",
            "weight_decay",
            "decay_biases_and_norms",
        ],
        parse: lamb,
    },
    Tagged {
        kind: "lbfgs",
        keys: &["type", "penalties", "max_iterations", "tolerance"],
        parse: lbfgs,
    },
];

/// Keys of every optimizer, to suggest where they belong.
pub(super) const OPTIMIZER_KEYS: &[&str] = &[
    "learning_rate",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "beta_1",
    "beta_2",
    "weight_decay",
    "decay_biases_and_norms",
    "momentum",
    "nesterov",
    "penalties",
    "max_iterations",
    "tolerance",
];

/// Reads an optimizer; `default` is its type where it has none.
pub(super) fn optimizer(
    field: &Field<'_>,
    default: Option<&str>,
) -> Result<Optimizer, RecipeError> {
    let ((kind, learning_rate), section) = field.tagged_or_word(OPTIMIZERS, default)?;
    let clips = ["clipnorm", "clipvalue", "global_clipnorm"].map(|key| section.get(key));
    if let Some(second) = clips.iter().flatten().nth(1) {
        return Err(second
            .error("`clipnorm`, `clipvalue` and `global_clipnorm` exclude one another: keep one"));
    }
    let [clipnorm, clipvalue, global_clipnorm] =
        clips.map(|field| field.map(|field| field.number(Bound::Positive)).transpose());

    let learning_rate = section.number_or("learning_rate", learning_rate, Bound::Positive)?;
    Ok(Optimizer {
        kind,
        learning_rate,
        clipnorm: clipnorm?,
        clipvalue: clipvalue?,
        global_clipnorm: global_clipnorm?,
    })
}

fn adam(section: &Section<'_>) -> Result<(OptimizerKind, f64), RecipeError> {
    Ok((OptimizerKind::Adam(AdamParams::parse(section)?), 1e-3))
}

fn adamw(section: &Section<'_>) -> Result<(OptimizerKind, f64), RecipeError> {
    let weight_decay = section.number_or("weight_decay", 4e-3, Bound::NonNegative)?;
    let adam = AdamParams::parse(section)?;
    let kind = OptimizerKind::AdamW {
        adam,
        weight_decay,
        decay_biases_and_norms: section.boolean_or("decay_biases_and_norms", true)?,
    };
    Ok((kind, 1e-3))
}

fn sgd(section: &Section<'_>) -> Result<(OptimizerKind, f64), RecipeError> {
    let momentum = section.number_or("momentum", 0.0, Bound::Fraction)?;
    let nesterov = section.boolean_or("nesterov", false)?;
    if nesterov && momentum == 0.0 {
        return Err(section
            .error("`nesterov` needs a `momentum` above 0: add one, such as `momentum = 0.9`"));
    }
    let kind = OptimizerKind::Sgd {
        momentum,
        nesterov,
        weight_decay: section.number_or("weight_decay", 0.0, Bound::NonNegative)?,
        decay_biases_and_norms: section.boolean_or("decay_biases_and_norms", true)?,
    };
    Ok((kind, 1e-2))
}

fn lion(section: &Section<'_>) -> Result<(OptimizerKind, f64), RecipeError> {
    let kind = OptimizerKind::Lion {
        beta_1: section.number_or("beta_1", 0.9, Bound::Fraction)?,
        beta_2: section.number_or("beta_2", 0.99, Bound::Fraction)?,
        weight_decay: section.number_or("weight_decay", 0.0, Bound::NonNegative)?,
        decay_biases_and_norms: section.boolean_or("decay_biases_and_norms", true)?,
    };
    Ok((kind, 1e-3))
}

fn lamb(section: &Section<'_>) -> Result<(OptimizerKind, f64), RecipeError> {
    let kind = OptimizerKind::Lamb {
        adam: AdamParams::parse(section)?,
        weight_decay: section.number_or("weight_decay", 0.0, Bound::NonNegative)?,
        decay_biases_and_norms: section.boolean_or("decay_biases_and_norms", true)?,
    };
    Ok((kind, 1e-3))
}

fn lbfgs(section: &Section<'_>) -> Result<(OptimizerKind, f64), RecipeError> {
    let default = LbfgsParams::default();
    let penalties = match section.get("penalties") {
        None => default.penalties,
        Some(field) => {
            let values = field.array()?;
            let values = values.iter().map(|value| value.number(Bound::NonNegative));
            let mut values = values.collect::<Result<Vec<_>, _>>()?;
            // From the largest on, each fit begins near where it ends.
            values.sort_by(|a, b| b.total_cmp(a));
            values.dedup();
            if values.is_empty() {
                return Err(field.error("`penalties` is empty: give at least one, such as 0.01"));
            }
            values
        }
    };
    let params = LbfgsParams {
        penalties,
        max_iterations: section.integer_or(
            "max_iterations",
            default.max_iterations,
            1..=MAX_COUNT,
        )?,
        tolerance: section.number_or("tolerance", default.tolerance, Bound::Positive)?,
    };
    Ok((OptimizerKind::Lbfgs(params), 0.0))
}

impl AdamParams {
    fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let default = Self::default();
        Ok(Self {
            beta_1: section.number_or("beta_1", default.beta_1, Bound::Fraction)?,
            beta_2: section.number_or("beta_2", default.beta_2, Bound::Fraction)?,
            epsilon: section.number_or("epsilon", default.epsilon, Bound::Positive)?,
        })
    }
}

/// Every schedule.
const SCHEDULES: &[Tagged<ScheduleKind>] = &[
    Tagged {
        kind: "constant",
        keys: &["type", "warmup_steps", "warmup_epochs"],
        parse: |_| Ok(ScheduleKind::Constant),
    },
    Tagged {
        kind: "step",
        keys: &[
            "type",
            "warmup_steps",
            "warmup_epochs",
            "step_size",
            "gamma",
        ],
        parse: step,
    },
    Tagged {
        kind: "exponential",
        keys: &["type", "warmup_steps", "warmup_epochs", "gamma"],
        parse: exponential,
    },
    Tagged {
        kind: "cosine",
        keys: &["type", "warmup_steps", "warmup_epochs", "alpha"],
        parse: cosine,
    },
    Tagged {
        kind: "piecewise_constant",
        keys: &["type", "boundaries", "values"],
        parse: piecewise_constant,
    },
    Tagged {
        kind: "one_cycle",
        keys: &["type", "pct_start", "div_factor", "final_div_factor"],
        parse: one_cycle,
    },
    Tagged {
        kind: "reduce_on_plateau",
        keys: &[
            "type",
            "warmup_steps",
            "warmup_epochs",
            "factor",
            "patience",
            "min_delta",
            "cooldown",
            "min_lr",
        ],
        parse: reduce_on_plateau,
    },
];

/// Reads a schedule.
pub(super) fn schedule(field: &Field<'_>) -> Result<Schedule, RecipeError> {
    let (kind, section) = field.tagged_or_word(SCHEDULES, None)?;
    let [warmup_steps, warmup_epochs] = match kind {
        // Their curves have a beginning of their own.
        ScheduleKind::OneCycle { .. } | ScheduleKind::PiecewiseConstant { .. } => [0, 0],
        ScheduleKind::Constant
        | ScheduleKind::Step { .. }
        | ScheduleKind::Exponential { .. }
        | ScheduleKind::Cosine { .. }
        | ScheduleKind::ReduceOnPlateau { .. } => [
            section.integer_or("warmup_steps", 0, 0..=MAX_COUNT)?,
            section.integer_or("warmup_epochs", 0, 0..=MAX_COUNT)?,
        ],
    };
    if warmup_steps > 0 && warmup_epochs > 0 {
        return Err(
            section.error("`warmup_steps` and `warmup_epochs` exclude one another: keep one")
        );
    }
    Ok(Schedule {
        kind,
        warmup_steps,
        warmup_epochs,
    })
}

fn step(section: &Section<'_>) -> Result<ScheduleKind, RecipeError> {
    Ok(ScheduleKind::Step {
        step_size: section.need("step_size")?.integer(1..=MAX_COUNT)?,
        gamma: section.number_or("gamma", 0.1, Bound::Positive)?,
    })
}

fn exponential(section: &Section<'_>) -> Result<ScheduleKind, RecipeError> {
    let gamma = section.need("gamma")?.number(Bound::Positive)?;
    Ok(ScheduleKind::Exponential { gamma })
}

fn cosine(section: &Section<'_>) -> Result<ScheduleKind, RecipeError> {
    let alpha = section.number_or("alpha", 0.0, Bound::Fraction)?;
    Ok(ScheduleKind::Cosine { alpha })
}

fn one_cycle(section: &Section<'_>) -> Result<ScheduleKind, RecipeError> {
    Ok(ScheduleKind::OneCycle {
        pct_start: section.number_or("pct_start", 0.3, Bound::OpenFraction)?,
        div_factor: section.number_or("div_factor", 25.0, Bound::Positive)?,
        final_div_factor: section.number_or("final_div_factor", 1e4, Bound::Positive)?,
    })
}

fn reduce_on_plateau(section: &Section<'_>) -> Result<ScheduleKind, RecipeError> {
    Ok(ScheduleKind::ReduceOnPlateau {
        factor: section.number_or("factor", 0.1, Bound::OpenFraction)?,
        patience: section.integer_or("patience", 10, 1..=MAX_COUNT)?,
        min_delta: section.number_or("min_delta", 1e-4, Bound::NonNegative)?,
        cooldown: section.integer_or("cooldown", 0, 0..=MAX_COUNT)?,
        min_lr: section.number_or("min_lr", 0.0, Bound::NonNegative)?,
    })
}

/// Without boundaries, one value for each epoch.
fn piecewise_constant(section: &Section<'_>) -> Result<ScheduleKind, RecipeError> {
    let field = section.need("values")?;
    let values = field
        .array()?
        .iter()
        .map(|value| value.number(Bound::Positive))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(last) = values.len().checked_sub(1) else {
        return Err(field.error("`values` has no rate: give one for each stretch of epochs"));
    };
    let boundaries = match section.get("boundaries") {
        None => (1..=last).collect(),
        Some(field) => {
            let boundaries = field
                .array()?
                .iter()
                .map(|epoch| epoch.integer(1..=MAX_COUNT))
                .collect::<Result<Vec<usize>, _>>()?;
            if !boundaries.is_sorted_by(|a, b| a < b) {
                return Err(field.error(
                    "`boundaries` must ascend: they are the epochs after which the rate changes",
                ));
            }
            if boundaries.len() != last {
                return Err(field.error(format!(
                    "`boundaries` has {} epochs for {} values: expected one less than values, as in Keras",
                    boundaries.len(),
                    values.len()
                )));
            }
            boundaries
        }
    };
    Ok(ScheduleKind::PiecewiseConstant { boundaries, values })
}

/// Reads early stopping.
pub(super) fn early_stopping(field: &Field<'_>) -> Result<EarlyStopping, RecipeError> {
    let section = field.section(&["patience", "min_delta", "start_from_epoch", "baseline"])?;
    Ok(EarlyStopping {
        patience: section.need("patience")?.integer(0..=MAX_COUNT)?,
        min_delta: section.number_or("min_delta", 0.0, Bound::NonNegative)?,
        start_from_epoch: section.integer_or("start_from_epoch", 0, 0..=MAX_COUNT)?,
        baseline: section
            .get("baseline")
            .map(|field| field.number(Bound::NonNegative))
            .transpose()?,
    })
}
