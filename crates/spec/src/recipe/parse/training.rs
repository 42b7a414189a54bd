//! `[training]` and its phases.

use std::collections::BTreeMap;

use super::MANY;
use crate::Layers;
use crate::recipe::error::RecipeError;
use crate::recipe::section::{Bound, Field, Section};
use crate::recipe::{Optimizer, Phase, Training};

const KEYS: &[&str] = &["epochs", "batch_size", "seed", "optimizer", "freeze", "unfreeze", "learning_rates", "phases"];
/// What a phase says; without phases, `[training]` says it.
const PHASE: &[&str] = &["epochs", "optimizer", "unfreeze", "learning_rates"];

pub fn read(root: &Section<'_>) -> Result<Training, RecipeError> {
    let section = root.sub("training", KEYS)?;
    let optimizer = match section.get("optimizer") {
        Some(field) => optimizer(&field)?,
        None => Optimizer::default(),
    };
    let phases = match section.get("phases") {
        None => vec![phase(&section, optimizer)?],
        Some(phases) => {
            for key in ["epochs", "unfreeze", "learning_rates"] {
                if let Some(field) = section.get(key) {
                    return Err(
                        field.error(format!("`{key}` belongs to a phase where there are phases: move it there"))
                    );
                }
            }
            let read = |field: &Field<'_>| phase(&field.section(PHASE)?, optimizer);
            let read = phases.array()?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            if read.is_empty() {
                return Err(phases.error("`training.phases` is empty: leave it out, or give at least one phase"));
            }
            read
        }
    };
    Ok(Training {
        batch_size: section.integer_or("batch_size", 128, 1..=1 << 20)?,
        seed: section.integer_or("seed", 0, 0..=i64::MAX)?,
        freeze: section.get("freeze").map(|field| layers(&field)).transpose()?,
        phases,
    })
}

fn phase(section: &Section<'_>, default: Optimizer) -> Result<Phase, RecipeError> {
    let rates = |field: Field<'_>| -> Result<BTreeMap<String, f64>, RecipeError> {
        field.entries()?.iter().map(|(key, rate)| Ok(((*key).to_string(), rate.number(Bound::Positive)?))).collect()
    };
    Ok(Phase {
        epochs: section.integer_or("epochs", 10, 1..=MANY)?,
        optimizer: section.get("optimizer").map_or(Ok(default), |field| optimizer(&field))?,
        unfreeze: section.get("unfreeze").map_or(Ok(Layers::Named(Vec::new())), |field| layers(&field))?,
        learning_rates: section.get("learning_rates").map_or(Ok(BTreeMap::new()), rates)?,
    })
}

/// An array of names and patterns, one of them, or a number of layers.
fn layers(field: &Field<'_>) -> Result<Layers, RecipeError> {
    if let Ok(count) = field.integer(0..=MANY) {
        return Ok(Layers::First(count));
    }
    if let Ok(name) = field.string() {
        return Ok(Layers::Named(vec![name.to_string()]));
    }
    let names = field.array()?;
    let names = names.iter().map(|name| name.string().map(str::to_string));
    names.collect::<Result<_, _>>().map(Layers::Named)
}

/// Checks that whatever names layers names some.
pub fn check_selections(root: &Section<'_>, names: &[&str]) -> Result<(), RecipeError> {
    let section = root.sub("training", KEYS)?;
    let check = |field: Field<'_>| layers(&field)?.select(names).map(drop).map_err(|problem| field.error(problem));
    let rates = |field: Field<'_>| {
        field.entries()?.iter().try_for_each(|(pattern, field)| {
            Layers::Named(vec![(*pattern).to_string()]).select(names).map(drop).map_err(|problem| field.error(problem))
        })
    };
    let phase = |section: &Section<'_>| {
        section.get("unfreeze").map_or(Ok(()), check)?;
        section.get("learning_rates").map_or(Ok(()), rates)
    };
    section.get("freeze").map_or(Ok(()), check)?;
    match section.get("phases") {
        None => phase(&section),
        Some(phases) => phases.array()?.iter().try_for_each(|field| phase(&field.section(PHASE)?)),
    }
}

impl Default for Optimizer {
    /// Keras's Adam.
    fn default() -> Self {
        Self::Adam { learning_rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 }
    }
}

fn optimizer(field: &Field<'_>) -> Result<Optimizer, RecipeError> {
    let keys = |kind: &str| match kind {
        "adam" => Some(["type", "learning_rate", "beta_1", "beta_2", "epsilon"].as_slice()),
        _ => None,
    };
    let (_, section) = field.tagged(keys, &["adam"])?;
    let Optimizer::Adam { learning_rate, beta_1, beta_2, epsilon } = Optimizer::default();
    Ok(Optimizer::Adam {
        learning_rate: section.number_or("learning_rate", learning_rate, Bound::Positive)?,
        beta_1: section.number_or("beta_1", beta_1, Bound::Fraction)?,
        beta_2: section.number_or("beta_2", beta_2, Bound::Fraction)?,
        epsilon: section.number_or("epsilon", epsilon, Bound::Positive)?,
    })
}
