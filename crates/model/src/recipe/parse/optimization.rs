//! Optimizer, schedule and early stopping.

use super::MANY;
use crate::document::{Bound, Field, RecipeError, Section};
use crate::recipe::{Betas, EarlyStopping, Optimizer, OptimizerKind, Schedule, ScheduleKind};

/// Each optimizer with its keys.
const OPTIMIZERS: &[(&str, &[&str])] = &[
    (
        "adam",
        &[
            "type",
            "learning_rate",
            "clipnorm",
            "clipvalue",
            "global_clipnorm",
            "beta_1",
            "beta_2",
            "epsilon",
        ],
    ),
    (
        "adamw",
        &[
            "type",
            "learning_rate",
            "clipnorm",
            "clipvalue",
            "global_clipnorm",
            "beta_1",
            "beta_2",
            "epsilon",
            "weight_decay",
        ],
    ),
    (
        "sgd",
        &[
            "type",
            "learning_rate",
            "clipnorm",
            "clipvalue",
            "global_clipnorm",
            "momentum",
            "nesterov",
        ],
    ),
];

/// Each schedule with its keys.
const SCHEDULES: &[(&str, &[&str])] = &[
    ("constant", &["type", "warmup_steps"]),
    ("step", &["type", "warmup_steps", "step_size", "gamma"]),
    ("exponential", &["type", "warmup_steps", "gamma"]),
    ("cosine", &["type", "warmup_steps", "alpha"]),
    ("piecewise_constant", &["type", "boundaries", "values"]),
    (
        "one_cycle",
        &["type", "pct_start", "div_factor", "final_div_factor"],
    ),
    (
        "reduce_on_plateau",
        &[
            "type",
            "warmup_steps",
            "factor",
            "patience",
            "min_delta",
            "cooldown",
            "min_lr",
        ],
    ),
];

/// A table whose `type` is one of these, or that type alone; `default` is it where it is left out.
fn tagged<'a>(
    field: &Field<'a>,
    known: &'static [(&'static str, &'static [&'static str])],
    default: Option<&str>,
) -> Result<(String, Section<'a>), RecipeError> {
    let types: Vec<&str> = known.iter().map(|(kind, _)| *kind).collect();
    field.tagged_or_word(
        |kind| {
            known
                .iter()
                .find(|(name, _)| *name == kind)
                .map(|(_, keys)| *keys)
        },
        &types,
        default,
    )
}

/// `default` is its type where it has none.
pub fn optimizer(field: &Field<'_>, default: Option<&str>) -> Result<Optimizer, RecipeError> {
    let (kind, section) = tagged(field, OPTIMIZERS, default)?;
    let betas = || -> Result<Betas, RecipeError> {
        let default = Betas::default();
        Ok(Betas {
            beta_1: section.number_or("beta_1", default.beta_1, Bound::Fraction)?,
            beta_2: section.number_or("beta_2", default.beta_2, Bound::Fraction)?,
            epsilon: section.number_or("epsilon", default.epsilon, Bound::Positive)?,
        })
    };
    let (kind, learning_rate) = match kind.as_str() {
        "adam" => (OptimizerKind::Adam(betas()?), 1e-3),
        "adamw" => {
            let weight_decay = section.number_or("weight_decay", 4e-3, Bound::NonNegative)?;
            (
                OptimizerKind::AdamW {
                    betas: betas()?,
                    weight_decay,
                },
                1e-3,
            )
        }
        "sgd" => {
            let momentum = section.number_or("momentum", 0.0, Bound::Fraction)?;
            (
                OptimizerKind::Sgd {
                    momentum,
                    nesterov: section.boolean_or("nesterov", false)?,
                },
                1e-2,
            )
        }
        other => unreachable!("{other} is in OPTIMIZERS"),
    };
    if let OptimizerKind::Sgd {
        momentum: 0.0,
        nesterov: true,
    } = kind
    {
        return Err(section
            .error("`nesterov` needs a `momentum` above 0: add one, such as `momentum = 0.9`"));
    }
    let clips = ["clipnorm", "clipvalue", "global_clipnorm"].map(|key| section.get(key));
    if let Some(second) = clips.iter().flatten().nth(1) {
        return Err(second
            .error("`clipnorm`, `clipvalue` and `global_clipnorm` exclude one another: keep one"));
    }
    let [clipnorm, clipvalue, global_clipnorm] =
        clips.map(|field| field.map(|field| field.number(Bound::Positive)).transpose());
    let (clipnorm, clipvalue, global_clipnorm) = (clipnorm?, clipvalue?, global_clipnorm?);
    let learning_rate = section.number_or("learning_rate", learning_rate, Bound::Positive)?;
    Ok(Optimizer {
        kind,
        learning_rate,
        clipnorm,
        clipvalue,
        global_clipnorm,
    })
}

pub fn schedule(field: &Field<'_>) -> Result<Schedule, RecipeError> {
    let (kind, section) = tagged(field, SCHEDULES, None)?;
    let kind = match kind.as_str() {
        "constant" => ScheduleKind::Constant,
        "step" => ScheduleKind::Step {
            step_size: section.need("step_size")?.integer(1..=MANY)?,
            gamma: section.number_or("gamma", 0.1, Bound::Positive)?,
        },
        "exponential" => ScheduleKind::Exponential {
            gamma: section.need("gamma")?.number(Bound::Positive)?,
        },
        "cosine" => ScheduleKind::Cosine {
            alpha: section.number_or("alpha", 0.0, Bound::Fraction)?,
        },
        "piecewise_constant" => piecewise_constant(&section)?,
        "one_cycle" => ScheduleKind::OneCycle {
            pct_start: section.number_or("pct_start", 0.3, Bound::OpenFraction)?,
            div_factor: section.number_or("div_factor", 25.0, Bound::Positive)?,
            final_div_factor: section.number_or("final_div_factor", 1e4, Bound::Positive)?,
        },
        "reduce_on_plateau" => ScheduleKind::ReduceOnPlateau {
            factor: section.number_or("factor", 0.1, Bound::OpenFraction)?,
            patience: section.integer_or("patience", 10, 1..=MANY)?,
            min_delta: section.number_or("min_delta", 1e-4, Bound::NonNegative)?,
            cooldown: section.integer_or("cooldown", 0, 0..=MANY)?,
            min_lr: section.number_or("min_lr", 0.0, Bound::NonNegative)?,
        },
        other => unreachable!("{other} is in SCHEDULES"),
    };
    let warmup_steps = match kind {
        ScheduleKind::OneCycle { .. } | ScheduleKind::PiecewiseConstant { .. } => 0,
        _ => section.integer_or("warmup_steps", 0, 0..=MANY)?,
    };
    Ok(Schedule { kind, warmup_steps })
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
                .map(|epoch| epoch.integer(1..=MANY))
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

pub fn early_stopping(field: &Field<'_>) -> Result<EarlyStopping, RecipeError> {
    let section = field.section(&["patience", "min_delta", "start_from_epoch", "baseline"])?;
    Ok(EarlyStopping {
        patience: section.need("patience")?.integer(0..=MANY)?,
        min_delta: section.number_or("min_delta", 0.0, Bound::NonNegative)?,
        start_from_epoch: section.integer_or("start_from_epoch", 0, 0..=MANY)?,
        baseline: section
            .get("baseline")
            .map(|field| field.number(Bound::NonNegative))
            .transpose()?,
    })
}
