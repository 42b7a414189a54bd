//! Names of layers that are given none.

use std::collections::HashMap;

/// The given names, and for layers without one Keras's scheme: the type, then the type with `_1`,
/// `_2`, …, without names that are given. Takes type and given name of each layer.
pub fn layer_names(layers: &[(&str, Option<&str>)]) -> Vec<String> {
    let given: Vec<&str> = layers.iter().filter_map(|(_, name)| *name).collect();
    let mut next: HashMap<&str, usize> = HashMap::new();
    let mut automatic = |base| loop {
        let n = next.entry(base).or_insert(0);
        let name = if *n == 0 {
            base.to_string()
        } else {
            format!("{base}_{n}")
        };
        *n += 1;
        if !given.contains(&name.as_str()) {
            return name;
        }
    };
    layers
        .iter()
        .map(|(base, name)| name.map_or_else(|| automatic(*base), str::to_string))
        .collect()
}
