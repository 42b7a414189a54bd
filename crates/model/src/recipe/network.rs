//! `[network]`: a network by its name.

use super::data::DataSource;
use crate::document::{Field, MAX_COUNT, RecipeError, Section};
use crate::{Network, NetworkName, Stem};

pub(super) const KEYS: &[&str] = &["name", "stem", "classes"];

/// Reads the network: a name, or a table of one.
pub(super) fn parse(
    root: &Section<'_>,
    dataset: &DataSource,
    classes: &dyn Fn(&DataSource) -> Option<usize>,
) -> Result<Option<Network>, RecipeError> {
    let Some(field) = root.get("network") else {
        return Ok(None);
    };
    let own = root.get("layers");
    let mut network = if field.is_table() {
        table(&field, own.is_some())?
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
    network.classes = network.classes.or_else(|| classes(dataset));
    if network.classes.is_none() {
        return Err(field.error(format!(
            "the number of classes of `{dataset}` is not known, since its images are not at hand: give `network.classes`, or \
             name other images in `[data]`"
        )));
    }
    Ok(Some(network))
}

fn table(field: &Field<'_>, has_layers: bool) -> Result<Network, RecipeError> {
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
            let classes = field.integer(2..=MAX_COUNT)?;
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
