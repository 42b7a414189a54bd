//! Small graphs for tests.

use kiln_model::graph::{Graph, Node, Op};
use kiln_onnx::{Dim, GraphBuilder, ModelProto};

/// A builder of graphs of an image `x` and an output `y`.
pub struct Small {
    pub graph: GraphBuilder,
}

impl Small {
    /// A graph of this opset with an image `[batch, shape…]`.
    pub fn new(opset: i64, shape: &[usize]) -> Self {
        let mut graph = GraphBuilder::new("small");
        graph.opset(opset);
        graph.input("x", Dim::batched(shape.iter().copied()));
        graph.output("y", [Dim::Unknown]);
        Self { graph }
    }

    /// Adds a list of integers.
    pub fn list(&mut self, name: &str, values: &[i64]) -> &mut Self {
        self.graph
            .initializer(name, &[values.len()], values.to_vec());
        self
    }

    /// Adds an integer.
    pub fn scalar(&mut self, name: &str, value: i64) -> &mut Self {
        self.graph.initializer(name, &[], vec![value]);
        self
    }

    /// Adds a tensor of zeros.
    pub fn zeros(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        self.graph
            .initializer(name, shape, vec![0.0_f32; shape.iter().product()]);
        self
    }

    /// Adds a node, called as its output.
    pub fn node(&mut self, op_type: &str, inputs: &[&str], output: &str) -> &mut Self {
        self.graph.node(op_type, output, inputs, output);
        self
    }

    /// The model.
    pub fn model(self) -> ModelProto {
        self.graph.finish().unwrap()
    }

    /// The segments.
    pub fn read(self) -> Graph {
        crate::graph(&self.model(), None).unwrap()
    }
}

/// The nodes of all segments.
pub fn nodes(graph: &Graph) -> impl Iterator<Item = &Node> {
    graph.segments.iter().flat_map(|segment| &segment.nodes)
}

/// The operators of all segments.
pub fn ops(graph: &Graph) -> Vec<Op> {
    nodes(graph).map(|node| node.op.clone()).collect()
}

/// The shapes of all nodes as text; `?` where one is not known.
pub fn shapes(graph: &Graph) -> Vec<String> {
    let shape = |node: &Node| node.shape.as_ref().map_or("?".into(), ToString::to_string);
    nodes(graph).map(shape).collect()
}

/// The reason why the only node is not computed.
pub fn reason(graph: &Graph) -> String {
    match &ops(graph)[..] {
        [Op::Other(other)] => other.reason.clone(),
        ops => panic!("{ops:?}"),
    }
}

/// The names and kinds of the segments.
pub fn table(graph: &Graph) -> Vec<(&str, &str)> {
    let row = |segment| -> (&str, &str) {
        let segment: &kiln_model::graph::Segment = segment;
        (segment.name.as_str(), segment.kind())
    };
    graph.segments.iter().map(row).collect()
}
