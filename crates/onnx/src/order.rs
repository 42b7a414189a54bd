//! The order in which nodes can be looked at: files need not be sorted, and runtimes sort.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::gate::parts::graphs;
use crate::proto::{GraphProto, NodeProto};

/// Places of nodes.
pub struct Order {
    /// Those of nodes that can be computed, each after those that produce what it takes, in branches
    /// too, and else in the file's order.
    pub sorted: Vec<usize>,
    /// Those of a circle and behind one, in the file's order.
    pub circle: Vec<usize>,
}

/// Orders nodes by what they take of each other.
pub fn order(nodes: &[NodeProto]) -> Order {
    let outputs = nodes.iter().enumerate();
    let producers: HashMap<&str, usize> = outputs
        .flat_map(|(at, node)| node.output.iter().map(move |name| (name.as_str(), at)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let mut waiting = vec![0_usize; nodes.len()];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let taken: HashSet<usize> = taken(node)
            .iter()
            .filter_map(|name| producers.get(name).copied())
            .collect();
        waiting[at] = taken.len();
        for producer in taken {
            users[producer].push(at);
        }
    }
    let first = (0..nodes.len()).filter(|&at| waiting[at] == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = first.map(Reverse).collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    while let Some(Reverse(at)) = ready.pop() {
        sorted.push(at);
        for &user in &users[at] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    // A node is placed once nothing of what it takes is missing.
    let circle = (0..nodes.len()).filter(|&at| waiting[at] > 0).collect();
    Order { sorted, circle }
}

/// The values that a node takes, with those that its graphs take from outside.
pub fn taken(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for graph in node.attribute.iter().flat_map(graphs) {
        captured(graph, &mut names);
    }
    names
}

/// Names of a graph's own values are among them, which only delays a node.
fn captured<'a>(graph: &'a GraphProto, names: &mut Vec<&'a str>) {
    names.extend(graph.output.iter().map(|output| output.name.as_str()));
    for node in &graph.node {
        names.extend(node.input.iter().map(String::as_str));
        for inner in node.attribute.iter().flat_map(graphs) {
            captured(inner, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttributeProto;

    fn node(input: &str, output: &str) -> NodeProto {
        NodeProto {
            input: vec![input.into()],
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    #[test]
    fn producers_come_first_and_circles_last() {
        let mut branch = node("c", "d");
        branch.attribute.push(AttributeProto {
            g: Some(GraphProto {
                node: vec![node("b", "inner")],
                ..GraphProto::default()
            }),
            ..AttributeProto::default()
        });
        let nodes = vec![
            node("q", "p"),
            node("p", "q"),
            branch,
            node("a", "b"),
            node("x", "a"),
        ];
        let Order { sorted, circle } = order(&nodes);
        let order = sorted.iter().chain(&circle);
        let order: Vec<_> = order.map(|&at| &nodes[at].output[0]).collect();
        assert_eq!(order, ["a", "b", "d", "p", "q"]);
    }
}
