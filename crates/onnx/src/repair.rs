//! What is put right in a graph before anybody sees it: things that the ONNX specification gives one
//! meaning, or that an exporter forgot, and that engines take differently or refuse.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::check::StructureError;
use crate::inline::inline;
use crate::order::{Order, order, taken};
use crate::proto::{AttributeProto, DataType, GraphProto, ModelProto, NodeProto, TensorProto};

/// Something that was changed in a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// Nodes of the model's functions are put in place of their calls.
    Inlined,
    /// Nodes are put into topological order, which the file lacks.
    Sorted,
    /// `value` is written out where a `ConstantOfShape` leaves it to the default, a float 0.
    DefaultValue,
    /// `pads` is left out beside an `auto_pad` that says what it is.
    AutoPad,
    /// Batch normalizations in training mode, by name, use their running statistics: an image's
    /// scores would depend on those it is run with.
    BatchNorm(Vec<String>),
    /// Dropouts in training mode, by name, let everything through.
    Dropout(Vec<String>),
}

impl Repair {
    /// Returns whether the scores are other ones than those that the file as it is gives.
    pub const fn changes_scores(&self) -> bool {
        match self {
            Self::BatchNorm(_) | Self::Dropout(_) => true,
            Self::Inlined | Self::Sorted | Self::DefaultValue | Self::AutoPad => false,
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = |f: &mut fmt::Formatter<'_>, nodes: &[String], kind: &str, instead: &str| {
            let [first, rest @ ..] = nodes else {
                return Ok(());
            };
            write!(f, "{kind} `{first}`")?;
            let (is, its) = match rest.len() {
                0 => ("is", "its"),
                1 => {
                    write!(f, " and 1 more")?;
                    ("are", "their")
                }
                more => {
                    write!(f, " and {more} more")?;
                    ("are", "their")
                }
            };
            write!(f, " {is} in training mode in the file: ")?;
            f.write_str(&instead.replace("{its}", its))
        };
        match self {
            Self::Inlined => {
                f.write_str("nodes of the model's functions are put in place of their calls")
            }
            Self::Sorted => f.write_str("the nodes are put into topological order"),
            Self::DefaultValue => {
                f.write_str("the default value of `ConstantOfShape` is written out")
            }
            Self::AutoPad => f.write_str("`pads` is left out beside `auto_pad`"),
            Self::BatchNorm(nodes) => layers(
                f,
                nodes,
                "batch normalization",
                "run with {its} running statistics, as trained models are; export after `model.eval()`",
            ),
            Self::Dropout(nodes) => layers(
                f,
                nodes,
                "dropout",
                "run without dropping anything; export after `model.eval()`",
            ),
        }
    }
}

/// Repairs a model's graph. Graphs of control flow are left as they are but for the model's functions,
/// which must have been found to be of bounded size.
///
/// # Errors
///
/// [`StructureError::Cycle`] if there is no order in which the nodes could be computed.
pub fn repair(model: &mut ModelProto) -> Result<Vec<Repair>, StructureError> {
    let opset = model.opset();
    let mut repairs = Vec::new();
    if inline(model) {
        repairs.push(Repair::Inlined);
    }
    let Some(graph) = &mut model.graph else {
        return Ok(repairs);
    };
    if sort(graph)? {
        repairs.push(Repair::Sorted);
    }
    let own = |graph: &mut GraphProto, mut change: Box<dyn FnMut(&mut NodeProto) -> bool + '_>| {
        let nodes = graph.node.iter_mut().filter(|node| node.is_onnx());
        let changed = nodes.filter_map(|node| change(node).then(|| node.label().to_owned()));
        changed.collect::<Vec<_>>()
    };
    if !own(graph, Box::new(write_default)).is_empty() {
        repairs.push(Repair::DefaultValue);
    }
    if !own(graph, Box::new(drop_pads)).is_empty() {
        repairs.push(Repair::AutoPad);
    }
    let used = used(graph);
    let norms = own(
        graph,
        Box::new(|node| infer_norm(node, |value| used.contains(value))),
    );
    if !norms.is_empty() {
        repairs.push(Repair::BatchNorm(norms));
    }
    let constants = constants(graph);
    let dropouts = own(
        graph,
        Box::new(|node| infer_dropout(node, opset, |value| constants.get(value) == Some(&false))),
    );
    if !dropouts.is_empty() {
        repairs.push(Repair::Dropout(dropouts));
    }
    Ok(repairs)
}

/// The names of all values that nodes take or the graph gives.
fn used(graph: &GraphProto) -> HashSet<String> {
    let taken = graph.node.iter().flat_map(taken);
    let given = graph.output.iter().map(|output| output.name.as_str());
    taken.chain(given).map(str::to_owned).collect()
}

/// The scalar booleans among the graph's constants.
fn constants(graph: &GraphProto) -> HashMap<String, bool> {
    let of = |tensor: &TensorProto| {
        let is_bool = tensor.data_type == DataType::Bool as i32;
        let first = tensor
            .raw_data
            .first()
            .map(|&byte| i32::from(byte))
            .or(tensor.int32_data.first().copied());
        first.filter(|_| is_bool).map(|value| value != 0)
    };
    let initializers = graph
        .initializer
        .iter()
        .filter_map(|tensor| Some((tensor.name.clone(), of(tensor)?)));
    let nodes = graph
        .node
        .iter()
        .filter(|node| node.is_onnx() && node.op_type == "Constant");
    let nodes = nodes.filter_map(|node| {
        let value = node.attribute.iter().find_map(|found| found.t.as_ref())?;
        Some((node.output.first()?.clone(), of(value)?))
    });
    initializers.chain(nodes).collect()
}

/// `ConstantOfShape` without a value is a float 0; tract takes it for a double.
fn write_default(node: &mut NodeProto) -> bool {
    let lacks = node.op_type == "ConstantOfShape" && node.attribute.is_empty();
    if lacks {
        let mut zero = TensorProto::from_f32("", &[1], &[0.0]);
        zero.name.clear();
        node.attribute.push(AttributeProto {
            name: "value".to_owned(),
            r#type: crate::proto::AttributeType::Tensor as i32,
            t: Some(zero),
            ..AttributeProto::default()
        });
    }
    lacks
}

/// `auto_pad` other than `NOTSET` says what `pads` is: "it cannot be used simultaneously with
/// `auto_pad` attribute". ONNX Runtime then ignores `pads`, tract `auto_pad`.
fn drop_pads(node: &mut NodeProto) -> bool {
    let automatic = node.attribute.iter().any(|attribute| {
        attribute.name == "auto_pad"
            && attribute
                .s
                .as_deref()
                .is_some_and(|value| !matches!(value, b"NOTSET" | b""))
    });
    let before = node.attribute.len();
    if automatic {
        node.attribute.retain(|attribute| attribute.name != "pads");
    }
    node.attribute.len() < before
}

/// Puts a batch normalization into inference mode. In training mode it gives further outputs (up to
/// opset 13 that is the only sign of it), which must not be in use.
fn infer_norm(node: &mut NodeProto, is_used: impl Fn(&str) -> bool) -> bool {
    if node.op_type != "BatchNormalization" {
        return false;
    }
    let mode = node
        .attribute
        .iter()
        .position(|attribute| attribute.name == "training_mode");
    let is_training = mode.is_some_and(|at| node.attribute[at].i.is_some_and(|value| value != 0));
    let further = node.output.iter().skip(1);
    let further: Vec<_> = further.filter(|name| !name.is_empty()).collect();
    if !is_training && further.is_empty() || further.iter().any(|name| is_used(name)) {
        return false;
    }
    node.output.truncate(1);
    node.attribute
        .retain(|attribute| attribute.name != "training_mode");
    true
}

/// Takes a dropout out of training mode: its third input from opset 12 on.
fn infer_dropout(node: &mut NodeProto, opset: i64, is_false: impl Fn(&str) -> bool) -> bool {
    let mode = node.input.get(2).filter(|name| !name.is_empty());
    let training =
        node.op_type == "Dropout" && opset >= 12 && mode.is_some_and(|mode| !is_false(mode));
    if training {
        node.input.truncate(2);
    }
    training
}

/// Puts the nodes into topological order, as few as possible elsewhere than they were, and returns
/// whether they were not.
fn sort(graph: &mut GraphProto) -> Result<bool, StructureError> {
    let Order { sorted, circle } = order(&graph.node);
    if let Some(&at) = circle.first() {
        return Err(StructureError::Cycle(graph.node[at].describe()));
    }
    if sorted.is_sorted() {
        return Ok(false);
    }
    let nodes = std::mem::take(&mut graph.node).into_iter();
    let mut nodes: Vec<_> = nodes.map(Some).collect();
    graph.node = sorted.iter().filter_map(|&at| nodes[at].take()).collect();
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Dim, GraphBuilder, check_structure, decode, encode};

    fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        NodeProto {
            name: outputs[0].to_owned(),
            op_type: op_type.to_owned(),
            input: names(inputs),
            output: names(outputs),
            ..NodeProto::default()
        }
    }

    /// A model of these nodes from `x` to `y`, with an initializer `w`.
    fn model(nodes: Vec<NodeProto>, opset: i64) -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        graph
            .input("x", Dim::batched([2]))
            .output("y", Dim::batched([2]));
        graph.initializer("w", &[2], vec![1.0_f32; 2]);
        graph.node("Relu", "y", &["x"], "y");
        let mut model = graph.finish().unwrap();
        model.opset_import[0].version = opset;
        model.graph.as_mut().unwrap().node = nodes;
        model
    }

    fn repaired(nodes: Vec<NodeProto>, opset: i64) -> (Vec<NodeProto>, Vec<Repair>) {
        let mut model = model(nodes, opset);
        let repairs = repair(&mut model).unwrap();
        (model.graph.unwrap().node, repairs)
    }

    fn int(name: &str, value: i64) -> AttributeProto {
        AttributeProto {
            name: name.into(),
            i: Some(value),
            r#type: crate::AttributeType::Int as i32,
            ..AttributeProto::default()
        }
    }

    #[test]
    fn nodes_are_sorted_and_a_loop_is_named() {
        let sorted = vec![
            node("Relu", &["x"], &["a"]),
            node("Relu", &["a"], &["b"]),
            node("Add", &["a", "b"], &["y"]),
        ];
        assert_eq!(repaired(sorted.clone(), 17), (sorted.clone(), Vec::new()));
        let mut turned = sorted.clone();
        turned.reverse();
        let bytes = encode(&model(turned.clone(), 17));
        assert_eq!(repaired(turned, 17), (sorted.clone(), vec![Repair::Sorted]));
        assert_eq!(decode(&bytes).unwrap().graph.unwrap().node, sorted);
        let mut circle = sorted;
        circle[0].input[0] = "b".into();
        let error = decode(&encode(&model(circle, 17))).unwrap_err().to_string();
        assert_eq!(
            error,
            "node `a` (Relu) takes a value that is computed from its own output"
        );
    }

    #[test]
    fn a_branch_is_computed_after_what_it_captures() {
        let branch = GraphProto {
            node: vec![node("Relu", &["a"], &["inner"])],
            ..GraphProto::default()
        };
        let mut choice = node("If", &["x"], &["y"]);
        choice.attribute.push(AttributeProto {
            name: "then_branch".into(),
            g: Some(branch),
            ..AttributeProto::default()
        });
        let (nodes, _) = repaired(vec![choice, node("Relu", &["x"], &["a"])], 17);
        assert_eq!(nodes[0].name, "a");
    }

    #[test]
    fn batch_normalization_uses_its_running_statistics() {
        let norm = |outputs: &[&str], attributes: Vec<AttributeProto>| NodeProto {
            attribute: attributes,
            ..node("BatchNormalization", &["x", "w", "w", "w", "w"], outputs)
        };
        let training = norm(&["y", "mean", "variance"], vec![int("training_mode", 1)]);
        let (nodes, repairs) = repaired(vec![training.clone()], 17);
        assert_eq!(nodes, [norm(&["y"], Vec::new())]);
        assert_eq!(
            repairs[0].to_string(),
            "batch normalization `y` is in training mode in the file: run with its running statistics, \
             as trained models are; export after `model.eval()`"
        );
        assert!(repairs[0].changes_scores());
        // Up to opset 13 there is no attribute.
        let old = norm(
            &["y", "mean", "variance", "saved_mean", "saved_variance"],
            Vec::new(),
        );
        assert_eq!(
            repaired(vec![old], 9).1,
            [Repair::BatchNorm(vec!["y".into()])]
        );
        // Whoever uses the statistics of the batch means them.
        let used = vec![training, node("Relu", &["mean"], &["z"])];
        assert_eq!(repaired(used, 17).1, []);
        let trained = vec![norm(&["y"], vec![int("training_mode", 0)])];
        assert_eq!(repaired(trained, 17).1, []);
    }

    #[test]
    fn dropout_lets_everything_through() {
        let mut mode = node("Constant", &[], &["on"]);
        let value = |value| TensorProto {
            data_type: DataType::Bool as i32,
            raw_data: vec![value],
            ..TensorProto::default()
        };
        let with = |mode: &mut NodeProto, on| {
            mode.attribute = vec![AttributeProto {
                name: "value".into(),
                t: Some(value(on)),
                ..AttributeProto::default()
            }];
            vec![mode.clone(), node("Dropout", &["x", "", "on"], &["y"])]
        };
        let (nodes, repairs) = repaired(with(&mut mode, 1), 17);
        assert_eq!((nodes[1].input.len(), repairs.len()), (2, 1));
        assert_eq!(repaired(with(&mut mode, 0), 17).1, []);
    }

    #[test]
    fn what_engines_take_differently_is_written_out() {
        let zeros = vec![node("ConstantOfShape", &["x"], &["y"])];
        let (nodes, repairs) = repaired(zeros, 17);
        let value = nodes[0].attribute[0].t.as_ref().unwrap();
        assert_eq!(
            (value.to_f32().unwrap(), value.dims.clone()),
            (vec![0.0], vec![1])
        );
        assert_eq!(repairs, [Repair::DefaultValue]);
        let mut pool = node("MaxPool", &["x"], &["y"]);
        pool.attribute = vec![
            AttributeProto {
                name: "auto_pad".into(),
                s: Some(b"SAME_UPPER".to_vec()),
                ..AttributeProto::default()
            },
            AttributeProto {
                name: "pads".into(),
                ints: vec![0; 4],
                ..AttributeProto::default()
            },
        ];
        let (nodes, repairs) = repaired(vec![pool.clone()], 17);
        assert_eq!(
            (nodes[0].attribute.len(), repairs),
            (1, vec![Repair::AutoPad])
        );
        pool.attribute[0].s = Some(b"NOTSET".to_vec());
        assert_eq!(repaired(vec![pool], 17).1, []);
    }

    proptest! {
        #[test]
        fn any_order_of_a_graph_is_sorted(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let value = |at: usize| if at == 11 { "y".to_owned() } else { format!("v{at}") };
            let nodes = order.iter().map(|&at| {
                let first = if at == 0 { "x".to_owned() } else { value(at - 1) };
                let second = if at < 3 { "x".to_owned() } else { value(at - 3) };
                node("Add", &[&first, &second], &[&value(at)])
            });
            let mut model = model(nodes.collect(), 17);
            repair(&mut model).unwrap();
            prop_assert_eq!(check_structure(model.graph.as_ref().unwrap()), Ok(()));
        }
    }
}
