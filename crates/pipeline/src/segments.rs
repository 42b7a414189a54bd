//! Where a graph is cut: after a segment, by the names that people give it.

use kiln_model::graph::{Graph, Segment};

/// Finds how many segments lead to an output: a segment, a node or a value, by its name.
pub(crate) fn find(graph: &Graph, output: &str) -> Option<usize> {
    let segments = &graph.segments;
    let ends = |segment: &Segment| segment.name == output || segment.output == output;
    let last_node =
        |segment: &Segment| segment.nodes.last().is_some_and(|node| node.name == output);
    let at = segments.iter().position(ends);
    // A name such as `layer4` stands for all segments that begin with it.
    let stem = format!("{output}_");
    let of_block = || {
        segments
            .iter()
            .rposition(|segment| segment.name.starts_with(&stem))
    };
    at.or_else(|| segments.iter().position(last_node))
        .or_else(of_block)
        .map(|at| at + 1)
}

/// Says why there is no such output.
pub(crate) fn unknown_output(graph: &Graph, output: &str) -> String {
    let inside = graph.segments.iter().find(|segment| {
        segment
            .nodes
            .iter()
            .any(|node| node.name == output || node.value.as_deref() == Some(output))
    });
    if let Some(segment) = inside {
        return format!(
            "`{output}` is inside of `{}`, beside whose other paths it runs: take that one, or one before it",
            segment.name
        );
    }
    let names: Vec<&str> = graph
        .segments
        .iter()
        .map(|segment| segment.name.as_str())
        .collect();
    let near = kiln_util::closest(output, &names)
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("the graph has no value `{output}` that all paths pass{near}")
}
