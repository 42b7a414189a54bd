//! A recipe's values one by one, to be listed and compared.

use super::Recipe;
use crate::document::{self, Node, Value, layer_keys};

impl Recipe {
    /// Returns every value of the resolved recipe but name and description, in its order: the key as for `--set`,
    /// such as `training.optimizer.learning_rate`, and the value as a person would write it, strings without
    /// quotes. Numbers of layers and phases count from 1, and layers have their names.
    pub fn settings(&self) -> Vec<(String, String)> {
        let document = document::read(&self.to_toml(), "", &[])
            .expect("what was written of a recipe can be read");
        let mut settings = Vec::new();
        collect(&document, String::new(), &mut settings);
        settings.retain(|(key, _)| !["name", "description"].contains(&key.as_str()));
        settings
    }
}

fn collect(node: &Node, path: String, settings: &mut Vec<(String, String)>) {
    let inner = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match &node.value {
        Value::Table(entries) => {
            for (key, node) in entries {
                collect(node, inner(key), settings);
            }
        }
        Value::Array(items) if items.iter().any(is_table) => {
            let are_layers = items.iter().all(|item| item.text("type").is_some());
            let numbers = (1..=items.len()).map(|number| number.to_string());
            let keys = if are_layers {
                layer_keys(items)
            } else {
                numbers.collect()
            };
            for (key, node) in keys.iter().zip(items) {
                collect(node, inner(key), settings);
            }
        }
        value => settings.push((path, value.plain())),
    }
}

const fn is_table(node: &Node) -> bool {
    matches!(node.value, Value::Table(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "
layers = [
    { type = \"conv2d\", filters = 4, kernel_size = 3 },
    { type = \"flatten\" },
    { type = \"dense\", units = 10 },
]
[[training.phases]]
epochs = 1
[[training.phases]]
epochs = 2
optimizer = { type = \"sgd\", learning_rate = 0.5 }
";

    #[test]
    fn keys_are_those_of_set_and_values_have_no_quotes() {
        let recipe = Recipe::parse(RECIPE, "r.toml", "r", &[]).unwrap();
        let settings = recipe.settings();
        let value = |key: &str| {
            let mut found = settings.iter().filter(|(name, _)| name == key);
            let value = found.next().map(|(_, value)| value.as_str());
            assert!(found.next().is_none(), "{key} is there twice");
            value
        };
        assert_eq!(value("data.dataset"), Some("mnist"));
        assert_eq!(value("layers.conv2d.kernel_size"), Some("[3, 3]"));
        assert_eq!(value("layers.dense.units"), Some("10"));
        assert_eq!(value("training.phases.2.optimizer.type"), Some("sgd"));
        assert_eq!(
            value("training.phases.2.optimizer.learning_rate"),
            Some("0.5")
        );
        assert_eq!((value("name"), value("description")), (None, None));
    }

    #[test]
    fn each_key_changes_its_value() {
        let recipe = Recipe::parse(RECIPE, "r.toml", "r", &[]).unwrap();
        for (key, value) in recipe.settings() {
            let overrides = [format!("{key}={value}")];
            let text = recipe.to_toml();
            let same = Recipe::parse(&text, "r.toml", "r", &overrides);
            assert_eq!(same.as_ref(), Ok(&recipe), "{key}={value}");
        }
    }
}
