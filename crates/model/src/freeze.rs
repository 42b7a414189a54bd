//! Selections of layers.

use serde::Serialize;

/// Layers named in a recipe: by patterns, or by their number from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Layers {
    /// As many layers from the beginning.
    First(usize),
    /// Layers whose name is one of these, matches one of these with `*` and `?`, or, where no layer
    /// has the name itself, belongs to one of these blocks (`block5` for `block5_conv1`, …). `block4..`
    /// is the first such layer and all after it.
    Named(Vec<String>),
}

impl Layers {
    /// Returns a flag for each of the layers of these names. A pattern that matches nothing is an
    /// error.
    pub fn select(&self, names: &[&str]) -> Result<Vec<bool>, String> {
        match self {
            Self::First(count) if *count > names.len() => Err(format!(
                "there are {} layers, found {count}: use at most as many",
                names.len()
            )),
            Self::First(count) => Ok((0..names.len()).map(|at| at < *count).collect()),
            Self::Named(patterns) => {
                let mut selected = vec![false; names.len()];
                for pattern in patterns {
                    if let Some(first) = pattern.strip_suffix("..") {
                        let only = Self::Named(vec![first.into()]).select(names)?;
                        let at = only.iter().position(|&found| found).unwrap_or(names.len());
                        selected[at..].fill(true);
                        continue;
                    }
                    let parsed = glob::Pattern::new(pattern).map_err(|error| {
                        format!(
                            "`{pattern}` is not a pattern: {error}; use a layer's name, `*` and `?`"
                        )
                    })?;
                    let block = format!("{pattern}_");
                    let by_name = names.iter().any(|name| parsed.matches(name));
                    let matches = |name: &str| {
                        if by_name {
                            parsed.matches(name)
                        } else {
                            name.starts_with(&block)
                        }
                    };
                    if !names.iter().any(|name| matches(name)) {
                        let blocks = names
                            .iter()
                            .filter_map(|name| Some(name.split_once('_')?.0));
                        let near = blocks.chain(names.iter().copied());
                        let near =
                            near.min_by_key(|name| strsim::damerau_levenshtein(name, pattern));
                        return Err(format!(
                            "`{pattern}` matches no layer: did you mean `{}`?",
                            near.unwrap_or_default()
                        ));
                    }
                    for (selected, name) in selected.iter_mut().zip(names) {
                        *selected |= matches(name);
                    }
                }
                Ok(selected)
            }
        }
    }
}

/// Returns the block of a layer by its name: the first part, or the first two where the second is a
/// number, as in `layer4_1` of `layer4_1_conv2`.
pub fn block(name: &str) -> &str {
    let mut ends = name.match_indices('_').map(|(at, _)| at);
    let Some(first) = ends.next() else {
        return name;
    };
    let second = ends.next().unwrap_or(name.len());
    let number = &name[first + 1..second];
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        &name[..second]
    } else {
        &name[..first]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = [
        "block1_conv1",
        "block1_pool",
        "block2_conv1",
        "dense_1",
        "dense",
    ];

    fn named(patterns: &[&str]) -> Result<Vec<bool>, String> {
        Layers::Named(patterns.iter().map(ToString::to_string).collect()).select(&NAMES)
    }

    #[test]
    fn layers_go_by_name_block_pattern_or_number() {
        assert_eq!(
            named(&["dense"]).unwrap(),
            [false, false, false, false, true]
        );
        assert_eq!(
            named(&["block1"]).unwrap(),
            [true, true, false, false, false]
        );
        assert_eq!(
            named(&["block?_conv*", "dense_?"]).unwrap(),
            [true, false, true, true, false]
        );
        assert_eq!(
            named(&["block2.."]).unwrap(),
            [false, false, true, true, true]
        );
        assert_eq!(named(&[]).unwrap(), [false; 5]);
        assert_eq!(
            Layers::First(2).select(&NAMES).unwrap(),
            [true, true, false, false, false]
        );
    }

    #[test]
    fn blocks_go_by_the_beginning_of_names() {
        let names = [
            "layer4_1_conv2",
            "blocks_15_add",
            "block5_conv1",
            "features_3",
            "bn1",
            "dense_1",
        ];
        let blocks = [
            "layer4_1",
            "blocks_15",
            "block5",
            "features_3",
            "bn1",
            "dense_1",
        ];
        assert_eq!(names.map(block), blocks);
    }

    #[test]
    fn what_matches_nothing_is_an_error() {
        assert_eq!(
            named(&["block3"]).unwrap_err(),
            "`block3` matches no layer: did you mean `block1`?"
        );
        assert!(
            named(&["[", "dense"])
                .unwrap_err()
                .contains("is not a pattern")
        );
        assert!(
            Layers::First(6)
                .select(&NAMES)
                .unwrap_err()
                .contains("there are 5 layers, found 6")
        );
    }
}
