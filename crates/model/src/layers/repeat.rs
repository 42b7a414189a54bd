//! `repeat`: one table of a recipe that stands for several layers, one after another.

use crate::document::{Field, RecipeError};
use crate::layers::LayerSpec;
use crate::naming::{MAX_REPEAT, repeated_names};

/// Most layers of a list, those inside of others included: repetitions in repetitions multiply.
const MAX_LAYERS: usize = 10_000;

/// Reads the tables of a list of layers. Each stands for one layer or, with `repeat`, for several; every layer comes
/// with the place of its table in the list.
pub fn parse_list(
    fields: &[Field<'_>],
    check: impl Fn(&Field<'_>, &LayerSpec) -> Result<(), RecipeError>,
) -> Result<Vec<(usize, LayerSpec)>, RecipeError> {
    let mut layers = Vec::with_capacity(fields.len());
    let mut size = 0_usize;
    for (at, field) in fields.iter().enumerate() {
        let (spec, repeat) = LayerSpec::parse(field)?;
        check(field, &spec)?;
        let Some(repeat) = repeat else {
            size = size.saturating_add(spec.kind.size());
            layers.push((at, spec));
            continue;
        };
        let count: usize = repeat.integer(1..=MAX_REPEAT)?;
        size = size.saturating_add(spec.kind.size().saturating_mul(count));
        if size > MAX_LAYERS {
            return Err(repeat.error(format!(
                "`{}` makes {size} layers, those inside of others included, over {MAX_LAYERS}: repeat fewer",
                repeat.path()
            )));
        }
        let names: Vec<Option<String>> = match &spec.name {
            Some(name) => repeated_names(name, count).map(Some).collect(),
            None => vec![None; count],
        };
        layers.extend(names.into_iter().map(|name| {
            let spec = LayerSpec {
                name,
                ..spec.clone()
            };
            (at, spec)
        }));
    }
    Ok(layers)
}
