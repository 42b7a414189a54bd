//! `[training]` and its phases.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::loss::{self, LossFunction};
use super::optimization::{
    self, ClassWeight, EarlyStopping, Monitor, Optimizer, OptimizerKind, Schedule,
};
use crate::document::{Bound, Field, MAX_COUNT, Node, RecipeError, Section, Value};
use crate::{Layers, Model};

pub(super) const KEYS: &[&str] = &[
    "epochs",
    "batch_size",
    "gradient_accumulation_steps",
    "ema_decay",
    "precision",
    "seed",
    "init",
    "optimizer",
    "schedule",
    "early_stopping",
    "monitor",
    "loss",
    "label_smoothing",
    "class_weight",
    "pos_weight",
    "freeze",
    "unfreeze",
    "learning_rates",
    "layer_decay",
    "phases",
];
/// Keys of a phase; without phases, they are in `[training]`.
const PHASE: &[&str] = &[
    "epochs",
    "optimizer",
    "schedule",
    "early_stopping",
    "unfreeze",
    "learning_rates",
    "layer_decay",
];

/// Keys that select layers, of `[training]` and of its phases.
const OF_LAYERS: [&str; 4] = ["freeze", "unfreeze", "learning_rates", "layer_decay"];

/// Takes all that selects layers out of `[training]`.
pub(super) fn forget_layers(training: &mut Node) {
    for key in OF_LAYERS {
        training.take(key);
    }
    let Value::Table(entries) = &mut training.value else {
        return;
    };
    for (_, node) in entries.iter_mut().filter(|(name, _)| name == "phases") {
        if let Value::Array(phases) = &mut node.value {
            for phase in phases {
                for key in OF_LAYERS {
                    phase.take(key);
                }
            }
        }
    }
}

/// The type of an optimizer without one. A phase's must have one: else it could as well be that of
/// `[training]`.
const ADAM: &str = "adam";

/// `[training]`: how it is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Images that are computed at once.
    pub batch_size: usize,
    /// Batches whose gradients make one step of the optimizer, at least 1: it is the step of a batch of so
    /// many times the size, but for what a layer computes over a batch, such as batch normalization.
    pub gradient_accumulation_steps: usize,
    /// Decay of the moving average of the weights, 0 to less than 1, which is then validated, kept and exported
    /// in place of the weights; without it, there is none. After `n` steps of a phase it is at most
    /// `(1 + n) / (10 + n)`, as TensorFlow's `ExponentialMovingAverage` has it, so that the average forgets where
    /// it began.
    pub ema_decay: Option<f64>,
    /// What is multiplied with what in a training step.
    pub precision: Precision,
    /// Seed of initial weights, split, order and dropout.
    pub seed: u64,
    /// Run directory, or file of safetensors, whose weights the training begins with, by their names; those that are
    /// not there or have another shape are drawn.
    pub init: Option<String>,
    /// The layers that are not trained; without it, those of the backbone.
    pub freeze: Option<Layers>,
    /// The figure that decides which epoch is best.
    pub monitor: Monitor,
    /// What is minimized.
    pub loss: LossFunction,
    /// Label smoothing factor (Szegedy et al., 2016): share of each label that is spread over all
    /// classes, or of a binary loss over yes and no, 0 (none) to less than 1.
    pub label_smoothing: f64,
    /// Weight of each class's images in the loss; without it, the same for all.
    pub class_weight: Option<ClassWeight>,
    /// Of a binary loss, what it counts that an image has a class, against 1 that it has not (PyTorch's `pos_weight`):
    /// a factor for each score, by class, or the number of images without the class by that with it.
    pub pos_weight: Option<ClassWeight>,
    /// One after the other, at least one; each continues with the best weights of the one before.
    pub phases: Vec<Phase>,
}

/// What convolutions and dense layers multiply in a training step. Weights, activations, gradients, sums and the
/// optimizer's state are of float32 in any case, and so is all of validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Numbers of float32.
    #[default]
    Float32,
    /// Numbers rounded to bfloat16, which has float32's range and 8 significant bits.
    Bf16,
}

kiln_util::str_enum!(Precision: Serialize { Float32 = "float32", Bf16 = "bf16" });

impl Precision {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `[[training.phases]]`: epochs with the same layers frozen. A recipe without phases has one, of
/// the keys in `[training]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Number of passes over the training images, at least 1.
    pub epochs: usize,
    /// The rule that makes a step of a gradient.
    pub optimizer: Optimizer,
    /// The learning rate's change over the phase.
    #[serde(skip_serializing_if = "Schedule::is_default")]
    pub schedule: Schedule,
    /// When it ends before the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Layers that are trained although `freeze` or the backbone freezes them.
    pub unfreeze: Layers,
    /// Learning rates of layers, in place of the optimizer's. Of several that name a layer the last
    /// one counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub learning_rates: BTreeMap<String, f64>,
    /// Factor of the optimizer's learning rate from each block of layers to the one before it, above 0
    /// to 1 (timm's `--layer-decay`). The recipe's own layers after a backbone have the optimizer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,
}

impl Training {
    /// Epochs of all phases.
    pub fn epochs(&self) -> usize {
        self.phases.iter().map(|phase| phase.epochs).sum()
    }

    /// Images whose gradients make one step: those of several batches where gradients are accumulated.
    pub const fn step_images(&self) -> usize {
        self.batch_size * self.gradient_accumulation_steps
    }

    /// Batches of an epoch over so many images.
    pub const fn epoch_batches(&self, images: usize) -> usize {
        images.div_ceil(self.batch_size)
    }

    /// Steps of the optimizer in an epoch over so many images: the last one may have fewer batches.
    pub const fn epoch_steps(&self, images: usize) -> usize {
        images.div_ceil(self.step_images())
    }
}

/// A single phase is written in `[training]` itself, as it was most likely read.
#[derive(Serialize)]
struct Written<'a> {
    batch_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_accumulation_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ema_decay: Option<f64>,
    #[serde(skip_serializing_if = "Precision::is_default")]
    precision: Precision,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze: Option<&'a Layers>,
    monitor: Monitor,
    #[serde(skip_serializing_if = "LossFunction::is_default")]
    loss: LossFunction,
    #[serde(skip_serializing_if = "Option::is_none")]
    label_smoothing: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_weight: Option<&'a ClassWeight>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pos_weight: Option<&'a ClassWeight>,
    #[serde(flatten)]
    phase: Option<&'a Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phases: Option<&'a [Phase]>,
}

impl Serialize for Training {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (phase, phases) = match self.phases.as_slice() {
            [only] => (Some(only), None),
            several => (None, Some(several)),
        };
        let written = Written {
            batch_size: self.batch_size,
            gradient_accumulation_steps: Some(self.gradient_accumulation_steps)
                .filter(|&batches| batches > 1),
            ema_decay: self.ema_decay,
            precision: self.precision,
            seed: self.seed,
            init: self.init.as_deref(),
            freeze: self.freeze.as_ref(),
            monitor: self.monitor,
            loss: self.loss,
            label_smoothing: (self.label_smoothing > 0.0).then_some(self.label_smoothing),
            class_weight: self.class_weight.as_ref(),
            pos_weight: self.pos_weight.as_ref(),
            phase,
            phases,
        };
        written.serialize(serializer)
    }
}

/// Reads `[training]`.
pub(super) fn parse(root: &Section<'_>) -> Result<Training, RecipeError> {
    let section = root.sub("training", KEYS)?;
    let optimizer = match section.get("optimizer") {
        Some(field) => optimization::optimizer(&field, Some(ADAM))?,
        None => Optimizer::default(),
    };
    let phases = match section.get("phases") {
        None => vec![phase(&section, &optimizer, Some(ADAM))?],
        Some(phases) => {
            for key in [
                "epochs",
                "schedule",
                "early_stopping",
                "unfreeze",
                "learning_rates",
                "layer_decay",
            ] {
                if let Some(field) = section.get(key) {
                    return Err(field.error(format!(
                        "`{key}` belongs to a phase where there are phases: move it there"
                    )));
                }
            }
            let read = |field: &Field<'_>| phase(&field.section(PHASE)?, &optimizer, None);
            let read = phases
                .array()?
                .iter()
                .map(read)
                .collect::<Result<Vec<_>, _>>()?;
            if read.is_empty() {
                return Err(phases.error(
                    "`training.phases` is empty: leave it out, or give at least one phase",
                ));
            }
            read
        }
    };
    if phases
        .iter()
        .any(|phase| matches!(phase.optimizer.kind, OptimizerKind::Lbfgs(_)))
    {
        for key in ["gradient_accumulation_steps", "ema_decay", "precision"] {
            if let Some(field) = section.get(key) {
                return Err(field.error(format!(
                    "`{key}` is of steps with batches, and L-BFGS takes all images at once: leave it out"
                )));
            }
        }
    }
    let loss = loss(&section, &phases)?;
    Ok(Training {
        batch_size: section.integer_or("batch_size", 128, 1..=1 << 20)?,
        gradient_accumulation_steps: section.integer_or(
            "gradient_accumulation_steps",
            1,
            1..=1 << 20,
        )?,
        ema_decay: section
            .get("ema_decay")
            .map(|field| field.number(Bound::Fraction))
            .transpose()?,
        precision: section.choice_or("precision", Precision::default(), &Precision::WORDS)?,
        seed: section.integer_or("seed", 0, 0..=i64::MAX)?,
        init: section
            .get("init")
            .map(|field| field.string().map(str::to_owned))
            .transpose()?,
        freeze: section
            .get("freeze")
            .map(|field| layers(&field))
            .transpose()?,
        monitor: section.choice_or("monitor", Monitor::default(), &Monitor::WORDS)?,
        loss,
        label_smoothing: section.number_or("label_smoothing", 0.0, Bound::Fraction)?,
        class_weight: section
            .get("class_weight")
            .map(|field| class_weight(&field))
            .transpose()?,
        pos_weight: section
            .get("pos_weight")
            .map(|field| pos_weight(&field, loss))
            .transpose()?,
        phases,
    })
}

/// Reads what is minimized, which is given for L-BFGS.
fn loss(section: &Section<'_>, phases: &[Phase]) -> Result<LossFunction, RecipeError> {
    let Some(field) = section.get("loss") else {
        return Ok(LossFunction::default());
    };
    let loss = loss::parse(&field)?;
    let lbfgs = |phase: &Phase| matches!(phase.optimizer.kind, OptimizerKind::Lbfgs(_));
    if !loss.is_default() && phases.iter().any(lbfgs) {
        return Err(field.error(format!(
            "L-BFGS minimizes the categorical cross-entropy, found `{}`: leave `loss` out, or use another optimizer",
            loss.name()
        )));
    }
    Ok(loss)
}

/// `kind` is the type of an optimizer that has none.
fn phase(
    section: &Section<'_>,
    default: &Optimizer,
    kind: Option<&str>,
) -> Result<Phase, RecipeError> {
    let rates = |field: Field<'_>| -> Result<BTreeMap<String, f64>, RecipeError> {
        field
            .entries()?
            .iter()
            .map(|(key, rate)| Ok(((*key).to_string(), rate.number(Bound::Positive)?)))
            .collect()
    };
    let optimizer = match section.get("optimizer") {
        Some(field) => optimization::optimizer(&field, kind)?,
        None => default.clone(),
    };
    Ok(Phase {
        epochs: epochs(section, &optimizer)?,
        optimizer,
        schedule: section
            .get("schedule")
            .map_or(Ok(Schedule::default()), |field| {
                optimization::schedule(&field)
            })?,
        early_stopping: section
            .get("early_stopping")
            .map(|field| optimization::early_stopping(&field))
            .transpose()?,
        unfreeze: section
            .get("unfreeze")
            .map_or(Ok(Layers::Named(Vec::new())), |field| layers(&field))?,
        learning_rates: section
            .get("learning_rates")
            .map_or(Ok(BTreeMap::new()), rates)?,
        layer_decay: section
            .get("layer_decay")
            .map(|field| field.number(Bound::Positive).and_then(|factor| {
                if factor <= 1.0 {
                    return Ok(factor);
                }
                Err(field.error(format!(
                    "`layer_decay` is above 0 and at most 1, found {factor}: 1 is the same rate for all"
                )))
            }))
            .transpose()?,
    })
}

/// Reads the number of epochs: of L-BFGS there is one for each penalty, and no learning rate.
fn epochs(section: &Section<'_>, optimizer: &Optimizer) -> Result<usize, RecipeError> {
    let OptimizerKind::Lbfgs(params) = &optimizer.kind else {
        return section.integer_or("epochs", 10, 1..=MAX_COUNT);
    };
    for key in ["schedule", "learning_rates"] {
        if let Some(field) = section.get(key) {
            return Err(field.error(format!(
                "`{key}` is of learning rates, and L-BFGS has none: leave it out"
            )));
        }
    }
    let fits = params.penalties.len();
    if let Some(field) = section.get("epochs")
        && field.integer::<usize>(1..=MAX_COUNT)? != fits
    {
        return Err(field.error(format!(
            "`epochs` must be {fits} or left out: L-BFGS has one epoch for each of `penalties`"
        )));
    }
    Ok(fits)
}

/// An array of names and patterns, one of them, or a number of layers.
fn layers(field: &Field<'_>) -> Result<Layers, RecipeError> {
    if let Ok(count) = field.integer(0..=MAX_COUNT) {
        return Ok(Layers::First(count));
    }
    if let Ok(name) = field.string() {
        return Ok(Layers::Named(vec![name.to_string()]));
    }
    let names = field.array()?;
    let names = names.iter().map(|name| name.string().map(str::to_string));
    names.collect::<Result<_, _>>().map(Layers::Named)
}

/// Checks that every name or pattern of layers matches some.
pub(super) fn check_selections(root: &Section<'_>, model: &Model) -> Result<(), RecipeError> {
    let section = root.sub("training", KEYS)?;
    let check = |field: Field<'_>| {
        model
            .select(&layers(&field)?)
            .map(drop)
            .map_err(|problem| field.error(problem))
    };
    let rates = |field: Field<'_>| {
        field.entries()?.iter().try_for_each(|(pattern, field)| {
            model
                .selected(pattern)
                .map(drop)
                .map_err(|problem| field.error(problem))
        })
    };
    let phase = |section: &Section<'_>| {
        section.get("unfreeze").map_or(Ok(()), check)?;
        section.get("learning_rates").map_or(Ok(()), rates)
    };
    section.get("freeze").map_or(Ok(()), check)?;
    match section.get("phases") {
        None => phase(&section),
        Some(phases) => phases
            .array()?
            .iter()
            .try_for_each(|field| phase(&field.section(PHASE)?)),
    }
}

/// An error about what is trained, at `unfreeze` or `freeze` where the recipe has one.
pub(super) fn error(root: &Section<'_>, problem: String) -> RecipeError {
    let Ok(section) = root.sub("training", KEYS) else {
        return root.error(problem);
    };
    let phases = section.get("phases").and_then(|phases| phases.array().ok());
    let of_phase = phases.into_iter().flatten().find_map(|phase| {
        let phase = phase.section(PHASE).ok()?;
        phase
            .get("unfreeze")
            .map(|field| field.error(problem.clone()))
    });
    let own = || section.get("unfreeze").or_else(|| section.get("freeze"));
    of_phase
        .or_else(|| own().map(|field| field.error(problem.clone())))
        .unwrap_or_else(|| root.error(problem))
}

/// `"balanced"`, a factor for each class, or factors by class.
fn class_weight(field: &Field<'_>) -> Result<ClassWeight, RecipeError> {
    if field.string().is_ok() {
        return field
            .choice(&[("balanced", ())])
            .map(|()| ClassWeight::Balanced);
    }
    if field.is_table() {
        let factors = field.entries()?;
        let factors = factors
            .iter()
            .map(|(class, factor)| Ok(((*class).to_string(), factor.number(Bound::Positive)?)));
        return Ok(ClassWeight::Named(factors.collect::<Result<_, _>>()?));
    }
    let factors = field
        .array()?
        .iter()
        .map(|factor| factor.number(Bound::Positive))
        .collect::<Result<_, _>>()?;
    Ok(ClassWeight::Factors(factors))
}

/// As `class_weight`, or one factor.
fn pos_weight(field: &Field<'_>, loss: LossFunction) -> Result<ClassWeight, RecipeError> {
    if !loss.is_binary() {
        return Err(field.error(format!(
            "`pos_weight` is of a binary loss, found `{}`: give `class_weight`, or another `loss`",
            loss.name()
        )));
    }
    match field.number(Bound::Positive) {
        Ok(factor) => Ok(ClassWeight::Factors(vec![factor])),
        Err(_) => class_weight(field),
    }
}

/// Checks that there is a factor for each class, or each of so many scores.
pub(super) fn check_weights(root: &Section<'_>, scores: usize) -> Result<(), RecipeError> {
    let section = root.sub("training", KEYS)?;
    let loss = section.get("loss");
    let loss = loss.map_or(Ok(LossFunction::default()), |field| loss::parse(&field))?;
    let count = |key: &'static str, expected: usize, of: &str| {
        let Some(field) = section.get(key) else {
            return Ok(());
        };
        match class_weight(&field) {
            Ok(ClassWeight::Factors(factors)) if factors.len() != expected => {
                Err(field.error(format!(
                    "`training.{key}` has {} factors, but there are {expected} {of}: give one for each, or \"balanced\"",
                    factors.len()
                )))
            }
            _ => Ok(()),
        }
    };
    if let Some(field) = section.get("class_weight") {
        match (loss.is_binary(), scores) {
            (false, classes) => count("class_weight", classes, "classes")?,
            (true, 1) => count("class_weight", 2, "classes")?,
            (true, _) => {
                return Err(field.error(format!(
                    "`class_weight` is of images with one class each, and `{}` is of each class by itself: give `pos_weight`",
                    loss.name()
                )));
            }
        }
    }
    count("pos_weight", scores, "scores")
}
