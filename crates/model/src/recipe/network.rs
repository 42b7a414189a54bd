//! `[network]`: a network by its name.

use super::data::DataSource;
use super::loss::{Classes, LossFunction};
use crate::document::{Field, MAX_COUNT, RecipeError, Section};
use crate::{Network, NetworkName, Stem};

pub(super) const KEYS: &[&str] = &["name", "stem", "classes"];

/// Reads the network: a name, or a table of one.
pub(super) fn parse(
    root: &Section<'_>,
    dataset: &DataSource,
    classes: &dyn Fn(&DataSource) -> Option<Classes>,
    loss: LossFunction,
) -> Result<Option<Network>, RecipeError> {
    let Some(field) = root.get("network") else {
        return Ok(None);
    };
    let own = root.get("layers");
    let mut network = if field.is_table() {
        table(&field, own.is_some(), loss)?
    } else {
        Network::new(field.choice(&NetworkName::WORDS)?, None)
    };
    if root.get("backbone").is_some() {
        return Err(field.error("`network` and `backbone` exclude each other: keep one of the two"));
    }
    if let Some(layers) = own {
        if layers.array()?.is_empty() {
            return Err(layers.error("`layers` is empty: leave it out, or add a layer"));
        }
        return Ok(Some(network));
    }
    let scores = || classes(dataset).map(|classes| loss.scores(classes));
    network.classes = network.classes.or_else(scores);
    if network.classes.is_none() {
        return Err(field.error(format!(
            "the number of classes of `{dataset}` is not known, since its images are not at hand: give `network.classes`, or \
             name other images in `[data]`"
        )));
    }
    Ok(Some(network))
}

fn table(field: &Field<'_>, has_layers: bool, loss: LossFunction) -> Result<Network, RecipeError> {
    let section = field.section(KEYS)?;
    let name = section.need("name")?.choice(&NetworkName::WORDS)?;
    let stem = section.choice_or("stem", Stem::Default, &Stem::WORDS)?;
    if !name.has_stem(stem) {
        return Err(section.error(format!(
            "`{name}` has no such stem: leave `stem` out, or use larger images"
        )));
    }
    let classes = section.get("classes");
    let classes = classes
        .map(|field| {
            // A single score is the sigmoid of the second of two classes.
            let least = if loss.is_binary() { 1 } else { 2 };
            let classes = field.integer(least..=MAX_COUNT)?;
            if has_layers {
                return Err(field.error(
                    "`classes` is of a network without layers after it: give it to the last of `layers` as `units`",
                ));
            }
            Ok(classes)
        })
        .transpose()?;
    Ok(Network {
        name,
        stem,
        classes,
    })
}
