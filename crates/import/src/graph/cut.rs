//! Cutting a list of typed nodes into segments.

use std::collections::HashMap;

use kiln_model::graph::{Input, Node, Parameter, Segment};

use super::names;
use super::producers::Producers;
use super::reader::{Flat, Source};

/// Cuts nodes into segments at each value that every path from the image to value `end` passes.
/// `output` is the file's name of that value, perhaps under another name than the node gives it.
pub fn segments(
    nodes: &[Flat<'_>],
    end: usize,
    output: &str,
    producers: &Producers<'_>,
) -> Vec<Segment> {
    let needed = needed(nodes, end);
    let nodes: Vec<(usize, &Flat<'_>)> = (1..).zip(nodes).filter(|(at, _)| needed[*at]).collect();
    let mut seen = vec![false; producers.graph.node.len()];
    let mut segments: Vec<(Segment, Vec<&Flat<'_>>)> = Vec::new();
    let (mut start, mut input) = (0, 0);
    for stop in cuts(&nodes) {
        let within = &nodes[start..stop];
        let mut segment = segment(within, input);
        let last = within.last().map_or(0, |(at, _)| *at);
        let value = within.last().and_then(|(_, node)| node.value);
        segment.output = match value {
            Some(value) if last != end => value.to_owned(),
            _ => output.to_owned(),
        };
        segment.covers = producers.beyond(&mut seen, &segment.output);
        segments.push((segment, within.iter().map(|(_, node)| *node).collect()));
        (start, input) = (stop, last);
    }
    names::give(&mut segments, producers.graph);
    segments.into_iter().map(|(segment, _)| segment).collect()
}

/// Whether each value is needed for value `end`: index 0 is the image.
fn needed(nodes: &[Flat<'_>], end: usize) -> Vec<bool> {
    let mut needed = vec![false; nodes.len() + 1];
    needed[end] = true;
    for (before, node) in nodes.iter().enumerate().rev() {
        if needed[before + 1] {
            for input in &node.inputs {
                if let Source::Live(value) = input {
                    needed[*value] = true;
                }
            }
        }
    }
    needed
}

/// After which numbers of nodes just one value is open, and so is passed by every path. Nodes are
/// in an order in which each comes after those whose outputs it takes; the cuts are the same in
/// every such order, since a node neither before nor after such a value would be on a path around
/// it.
fn cuts(nodes: &[(usize, &Flat<'_>)]) -> Vec<usize> {
    let values = nodes.last().map_or(0, |(at, _)| *at) + 1;
    // The node that takes each value last.
    let mut last = vec![0; values];
    for (number, (_, node)) in nodes.iter().enumerate() {
        for input in &node.inputs {
            if let Source::Live(value) = input {
                last[*value] = number;
            }
        }
    }
    let mut closing = vec![0_usize; nodes.len()];
    let produced = std::iter::once(0).chain(nodes.iter().map(|(at, _)| *at));
    let end = nodes.last().map_or(0, |(at, _)| *at);
    for value in produced {
        if value != end
            && let Some(count) = closing.get_mut(last[value])
        {
            *count += 1;
        }
    }
    let mut cuts = Vec::new();
    // The image.
    let mut open = 1_usize;
    for (number, (_, node)) in nodes.iter().enumerate() {
        open = open + 1 - closing[number];
        // A value within a node of the file has no name at which to cut.
        if open == 1 && node.value.is_some() {
            cuts.push(number + 1);
        }
    }
    if cuts.last() != Some(&nodes.len()) && !nodes.is_empty() {
        cuts.push(nodes.len());
    }
    cuts
}

/// The segment of these nodes, whose input is value `input`; name, output and covers are open.
fn segment(nodes: &[(usize, &Flat<'_>)], input: usize) -> Segment {
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut typed = Vec::with_capacity(nodes.len());
    for (_, node) in nodes {
        let inputs = node.inputs.iter().map(|source| match source {
            Source::Live(value) if *value == input => Input::Value(0),
            Source::Live(value) => {
                // Of this segment, since it is not the one value that is open before it.
                let at = nodes.binary_search_by_key(value, |(at, _)| *at);
                Input::Value(at.map_or(0, |at| at + 1))
            }
            Source::Constant(constant) => {
                let number = known.entry(constant.name).or_insert_with(|| {
                    parameters.push(constant.parameter());
                    parameters.len() - 1
                });
                Input::Parameter(*number)
            }
        });
        typed.push(Node {
            name: node.node.label().to_owned(),
            op: node.op.clone(),
            inputs: inputs.collect(),
            shape: node.shape.clone(),
            value: node.value.map(str::to_owned),
        });
    }
    Segment {
        name: String::new(),
        nodes: typed,
        parameters,
        output: String::new(),
        covers: Vec::new(),
    }
}
