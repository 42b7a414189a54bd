//! Names of segments.

use std::collections::{HashMap, HashSet};

use kiln_model::LayerSpec;
use kiln_model::graph::Segment;
use kiln_onnx::GraphProto;

use super::path;
use super::reader::Flat;

/// Names segments after the modules that their nodes are in: the path of the one node, or what the
/// paths of all nodes have in common, else the path of the last. Where other segments with parameters
/// have the same path or a longer one, what the segment is follows, so that the path is left as the
/// name of the block that they are parts of. Segments without a path are called as Keras does: by what
/// they are, then with `_1`, `_2`, ….
pub fn give(segments: &mut [(Segment, Vec<&Flat<'_>>)], graph: &GraphProto) {
    let shared = shared_prefix(graph);
    let paths: Vec<Vec<Vec<String>>> = segments
        .iter()
        .map(|(_, nodes)| {
            let path = |node: &&Flat<'_>| {
                let path = path::of(node.node);
                path.get(shared..).unwrap_or_default().to_vec()
            };
            nodes.iter().map(path).collect()
        })
        .collect();
    let own: Vec<Vec<String>> = paths.iter().map(|paths| of_paths(paths)).collect();
    // How many segments with parameters each block has.
    let mut weighted: HashMap<&[String], usize> = HashMap::new();
    for ((segment, _), path) in segments.iter().zip(&own) {
        if !segment.parameters.is_empty() {
            for end in 1..=path.len() {
                *weighted.entry(&path[..end]).or_default() += 1;
            }
        }
    }
    let mut names = Names::default();
    for ((segment, _), path) in segments.iter_mut().zip(&own) {
        let itself = usize::from(!segment.parameters.is_empty());
        let others = weighted.get(path.as_slice()).copied().unwrap_or(0) > itself;
        let mut parts = path.clone();
        if path.is_empty() || others {
            parts.push(snake(segment.kind()));
        }
        segment.name = names.unique(&valid(&parts.join("_")));
    }
}

/// What paths have in common, else the last of them.
fn of_paths(paths: &[Vec<String>]) -> Vec<String> {
    let Some((first, others)) = paths.split_first() else {
        return Vec::new();
    };
    let mut common = first.as_slice();
    for path in others {
        let same = common.iter().zip(path).take_while(|(a, b)| a == b).count();
        common = &common[..same];
    }
    if common.is_empty() {
        paths.last().cloned().unwrap_or_default()
    } else {
        common.to_vec()
    }
}

/// How many names at the beginning of every path are the same, as the model's is in Keras's
/// graphs: `model/conv1/Conv2D`. Torch's paths begin with a slash and at the model's parts.
fn shared_prefix(graph: &GraphProto) -> usize {
    let paths: Vec<Vec<String>> = graph
        .node
        .iter()
        .filter(|node| node.name.contains('/') && !node.name.starts_with('/'))
        .map(path::of)
        .filter(|path| path.len() > 1)
        .collect();
    let Some((first, others)) = paths.split_first().filter(|(_, others)| !others.is_empty()) else {
        return 0;
    };
    let same = |path: &Vec<String>| first.iter().zip(path).take_while(|(a, b)| a == b).count();
    others.iter().map(same).min().unwrap_or(0)
}

/// A valid name of a layer: `_` for what it cannot have.
fn valid(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let parts: Vec<&str> = name
        .split(|c| !plain(c))
        .filter(|part| !part.is_empty())
        .collect();
    let name = parts.join("_");
    if LayerSpec::is_name(&name) {
        name
    } else {
        format!("layer_{name}").trim_end_matches('_').to_owned()
    }
}

/// Names that are taken.
#[derive(Debug, Default)]
struct Names {
    taken: HashSet<String>,
    /// The next number for each name.
    next: HashMap<String, usize>,
}

impl Names {
    /// Takes the name, with a number where it is taken already.
    fn unique(&mut self, name: &str) -> String {
        let next = self.next.entry(name.to_owned()).or_insert(0);
        loop {
            let free = match *next {
                0 => name.to_owned(),
                number => format!("{name}_{number}"),
            };
            *next += 1;
            if self.taken.insert(free.clone()) {
                return free;
            }
        }
    }
}

/// An operator in lower case: `global_average_pool`, `conv`.
fn snake(operator: &str) -> String {
    let mut snake = String::new();
    let mut lower = false;
    for c in operator.chars() {
        if c.is_ascii_uppercase() && lower {
            snake.push('_');
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_unique() {
        let mut taken = Names::default();
        let names = ["layer4_1", "layer4_1", "0", "features", "ä/b", "//"];
        let names = names.map(|name| taken.unique(&valid(name)));
        assert_eq!(
            names,
            [
                "layer4_1",
                "layer4_1_1",
                "layer_0",
                "layer_features",
                "b",
                "layer"
            ]
        );
        assert!(names.iter().all(|name| LayerSpec::is_name(name)));
        assert_eq!(snake("GlobalAveragePool"), "global_average_pool");
        assert_eq!(snake("LRN"), "lrn");
        assert_eq!(snake("squeeze_excite"), "squeeze_excite");
    }

    #[test]
    fn several_nodes_share_a_path() {
        let path = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let paths = [
            path("layer4 1 conv1"),
            path("layer4 1 conv2"),
            path("layer4 1"),
        ];
        assert_eq!(of_paths(&paths), path("layer4 1"));
        assert_eq!(of_paths(&[path("a"), path("b c")]), path("b c"));
    }
}
