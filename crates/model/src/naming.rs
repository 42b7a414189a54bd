//! Names of layers that are given none.

use std::collections::HashMap;

/// Most repetitions of a layer.
pub const MAX_REPEAT: i64 = 1000;

/// Names of a layer that is repeated: `block1`, `block2`, … of `block`, as in Keras's VGG; `layer1_0`, `layer1_1`, … of
/// a name that ends in a digit, as torchvision's `layer1.0`, `layer1.1`.
pub fn repeated_names(name: &str, count: usize) -> impl Iterator<Item = String> {
    let (gap, first) = if name.ends_with(|c: char| c.is_ascii_digit()) {
        ("_", 0)
    } else {
        ("", 1)
    };
    (first..first + count).map(move |number| format!("{name}{gap}{number}"))
}

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
