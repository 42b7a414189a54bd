//! Reading the description of a base.

use super::parse::file_name;
use crate::backbone::Base;
use crate::document::{self, Field, MAX_COUNT, RecipeError, Section, Source};
use crate::layers::LayerSpec;

impl Base {
    /// Reads what [`to_toml`](Self::to_toml) wrote, its layers checked as a recipe's are; `origin`
    /// names the text in messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, RecipeError> {
        let document = document::read(text, origin, &[])?;
        let source = Source {
            origin,
            sections: &[],
        };
        let root = Section::root(
            source,
            &document,
            &["name", "channels", "weights", "layers"],
        )?;
        let layer = |field: &Field<'_>| match LayerSpec::parse(field)? {
            layer if layer.name.is_none() => {
                Err(field.error("a base's layers have names: add `name`"))
            }
            layer => Ok(layer),
        };
        Ok(Self {
            name: file_name(&root.need("name")?)?,
            channels: root.need("channels")?.integer(1..=MAX_COUNT)?,
            weights: root
                .get("weights")
                .map(|field| field.string().map(str::to_string))
                .transpose()?,
            layers: root
                .need("layers")?
                .array()?
                .iter()
                .map(layer)
                .collect::<Result<_, _>>()?,
        })
    }
}
