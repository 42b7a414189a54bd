//! Names that a graph does not have yet.

use std::collections::HashSet;

use crate::proto::{GraphProto, NodeProto};

/// The names of a graph's values, those in branches included, and of what is added to it.
#[derive(Debug, Clone)]
pub struct FreeNames {
    taken: HashSet<String>,
}

impl FreeNames {
    /// Collects the names of a graph.
    pub fn of(graph: &GraphProto) -> Self {
        let mut taken = HashSet::new();
        collect(graph, &mut taken);
        Self { taken }
    }

    /// Returns `wanted`, or the first of `wanted_1`, `wanted_2` and so on that nothing has, and takes it.
    pub fn take(&mut self, wanted: &str) -> String {
        let names = (0..).map(|number| match number {
            0 => wanted.to_owned(),
            number => format!("{wanted}_{number}"),
        });
        let free = names.into_iter().find(|name| !self.taken.contains(name));
        let free = free.unwrap_or_default();
        self.taken.insert(free.clone());
        free
    }
}

/// The depth of graphs in graphs is bounded: no deeper message is decoded.
fn collect(graph: &GraphProto, taken: &mut HashSet<String>) {
    taken.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    taken.extend(graph.input.iter().map(|input| input.name.clone()));
    for NodeProto {
        output, attribute, ..
    } in &graph.node
    {
        taken.extend(output.iter().cloned());
        for attribute in attribute {
            for graph in attribute.g.iter().chain(&attribute.graphs) {
                collect(graph, taken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Dim, GraphBuilder};

    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        let mut graph = GraphBuilder::new("g");
        graph.input("x", Dim::batched([1]));
        graph.output("y", Dim::batched([1]));
        graph.initializer("w", &[1], vec![1.0_f32]);
        graph.node("Mul", "node", &["x", "w"], "y");
        let model = graph.finish().unwrap();
        let mut names = FreeNames::of(model.graph.as_ref().unwrap());
        let taken = ["x", "w", "y", "z", "z"].map(|name| names.take(name));
        assert_eq!(taken, ["x_1", "w_1", "y_1", "z", "z_1"]);
    }
}
