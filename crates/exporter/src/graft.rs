//! A head on somebody else's graph: the graph up to a value, and a network from that value on, in one
//! file whose first part is the original's, node for node and tensor for tensor.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kiln_onnx::{
    AttributeProto, AttributeType, DataType, Dim, GraphProto, ModelProto, NodeProto,
    StructureError, TensorInfo, TensorProto, ValueInfoProto, check_structure,
};
use kiln_util::Hex;
use prost::Message;
use sha2::{Digest, Sha256};

/// A graph that cannot be cut, or that takes no head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraftError {
    /// No node produces the value.
    #[error("no node of the graph produces `{value}`")]
    NoValue {
        /// The value.
        value: String,
    },
    /// A graph without a graph, or with more than one input.
    #[error("expected a graph with one input, the image, found {found}")]
    Inputs {
        /// Number of inputs.
        found: usize,
    },
    /// A trained tensor that the graph does not have.
    #[error("the graph has no float32 tensor `{name}` of this size")]
    Tensor {
        /// The tensor.
        name: String,
    },
    /// A malformed graph.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// An operator of the head that the file's operator set does not have in this form.
    #[error(
        "the head needs `{operator}` of opset {needed}, and the graph it is to be added to has opset {found}"
    )]
    Opset {
        /// The operator.
        operator: String,
        /// The oldest operator set that has it as kiln writes it.
        needed: i64,
        /// The file's.
        found: i64,
    },
}

/// Returns the part of a model that leads from its image to a value, with one output, `features`:
/// the values of each image as a vector, `[batch, n]` row-major, of the value's `n` per image, as
/// float32 also where the value is float16.
///
/// # Errors
///
/// [`GraftError::NoValue`], [`GraftError::Inputs`] and [`GraftError::Structure`].
pub fn cut(model: &ModelProto, value: &str, n: usize) -> Result<ModelProto, GraftError> {
    let half = is_half(model, value);
    let mut model = prefix(model, value)?;
    let graph = model.graph.get_or_insert_default();
    let names = Names::of(graph, &GraphProto::default());
    let output = names.free("features");
    let value = if half {
        let single = names.free("features.float");
        graph.node.push(to_float(&single, value));
        single
    } else {
        value.to_owned()
    };
    graph.node.push(NodeProto {
        op_type: "Flatten".into(),
        name: output.clone(),
        input: vec![value],
        output: vec![output.clone()],
        attribute: vec![AttributeProto {
            name: "axis".into(),
            i: Some(1),
            r#type: AttributeType::Int as i32,
            ..Default::default()
        }],
        ..Default::default()
    });
    graph.output = vec![ValueInfoProto::of_floats(&output, &Dim::batched([n]))];
    Ok(model)
}

/// Returns a model with a head in place of all that follows a value: the head's input is that value,
/// as float32 where it is float16.
///
/// The nodes and tensors that lead to the value are the original's, and so are its operator sets. The
/// head's names that the original has too get a number. Metadata are left to the caller.
///
/// # Errors
///
/// [`GraftError`], if there is no such value or the operator set is too old for the head.
pub fn graft(
    original: &ModelProto,
    value: &str,
    head: &ModelProto,
) -> Result<ModelProto, GraftError> {
    let mut model = prefix(original, value)?;
    let head = head.graph.clone().unwrap_or_default();
    let opset = model.opset();
    for node in &head.node {
        let needed = oldest_opset(node);
        if opset < needed {
            return Err(GraftError::Opset {
                operator: node.op_type.clone(),
                needed,
                found: opset,
            });
        }
    }
    let graph = model.graph.get_or_insert_default();
    let names = Names::of(graph, &head);
    let [input] = head.input.as_slice() else {
        return Err(GraftError::Inputs {
            found: head.input.len(),
        });
    };
    let taken = if is_half(original, value) {
        let single = names.free(&format!("{}.float", input.name));
        graph.node.push(to_float(&single, value));
        single
    } else {
        value.to_owned()
    };
    let renamed = |name: &str| {
        if name == input.name {
            taken.clone()
        } else if name.is_empty() {
            String::new()
        } else {
            names.free(name)
        }
    };
    let rename_all = |list: &mut Vec<String>| {
        for name in list {
            *name = renamed(name);
        }
    };
    for mut tensor in head.initializer {
        tensor.name = renamed(&tensor.name);
        graph.initializer.push(tensor);
    }
    for mut node in head.node {
        rename_all(&mut node.input);
        rename_all(&mut node.output);
        node.name = names.free(&node.name);
        graph.node.push(node);
    }
    let info = |mut info: ValueInfoProto| {
        info.name = renamed(&info.name);
        info
    };
    graph
        .value_info
        .extend(head.value_info.into_iter().map(info));
    graph.output = head.output.into_iter().map(info).collect();
    check_structure(graph)?;
    Ok(model)
}

/// Replaces the values of tensors by name, row-major: initializers of float32, or those that `Constant`
/// nodes give.
///
/// # Errors
///
/// [`GraftError::Tensor`] for one that the model does not have with this type and number of values.
pub fn replace_tensors<'a>(
    model: &mut ModelProto,
    tensors: impl IntoIterator<Item = (&'a str, &'a [f32])>,
) -> Result<(), GraftError> {
    let graph = model.graph.get_or_insert_default();
    let mut known: HashMap<String, &mut TensorProto> = HashMap::new();
    for node in &mut graph.node {
        if node.op_type == "Constant"
            && let Some(output) = node.output.first()
            && let Some(tensor) = node.attribute.iter_mut().find_map(|it| it.t.as_mut())
        {
            known.insert(output.clone(), tensor);
        }
    }
    for tensor in &mut graph.initializer {
        known.insert(tensor.name.clone(), tensor);
    }
    for (name, values) in tensors {
        let count = |tensor: &TensorProto| tensor.dims.iter().product::<i64>();
        let tensor = known.get_mut(name).filter(|tensor| {
            tensor.data_type == DataType::Float as i32 && count(tensor) == values.len() as i64
        });
        let Some(tensor) = tensor else {
            return Err(GraftError::Tensor { name: name.into() });
        };
        tensor.float_data.clear();
        tensor.raw_data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
    }
    Ok(())
}

/// Returns the SHA-256 of all that leads to a value, by name: `nodes`, of the nodes' messages in
/// order, and of each tensor its message. Equal checksums mean equal bytes of an ONNX file. The values
/// of the tensors in `except` are left out.
///
/// # Errors
///
/// [`GraftError`], if there is no such value.
pub fn prefix_checksums(
    model: &ModelProto,
    value: &str,
    except: &BTreeSet<&str>,
) -> Result<BTreeMap<String, String>, GraftError> {
    let mut graph = prefix(model, value)?.graph.unwrap_or_default();
    graph
        .initializer
        .retain(|tensor| !except.contains(tensor.name.as_str()));
    let mut nodes = Sha256::new();
    for node in &mut graph.node {
        let mut outputs = node.output.iter();
        if node.op_type == "Constant" && outputs.any(|output| except.contains(output.as_str())) {
            node.attribute.clear();
        }
        nodes.update(node.encode_length_delimited_to_vec());
    }
    let tensor = |tensor: &TensorProto| {
        let checksum = Sha256::digest(tensor.encode_to_vec());
        (tensor.name.clone(), Hex(&checksum).to_string())
    };
    let mut checksums: BTreeMap<_, _> = graph.initializer.iter().map(tensor).collect();
    checksums.insert("nodes".into(), Hex(&nodes.finalize()).to_string());
    Ok(checksums)
}

/// The model with what leads to a value and nothing else, that value its output; its metadata are
/// gone.
fn prefix(model: &ModelProto, value: &str) -> Result<ModelProto, GraftError> {
    let inputs = model.inputs().len();
    if inputs != 1 {
        return Err(GraftError::Inputs { found: inputs });
    }
    let mut model = model.clone();
    model.metadata_props.clear();
    let graph = model.graph.get_or_insert_default();
    check_structure(graph)?;
    let mut wanted: HashSet<String> = HashSet::from([value.to_owned()]);
    let mut kept = vec![false; graph.node.len()];
    // Nodes are in topological order: backwards, whoever takes a value comes before its producer.
    for (node, kept) in graph.node.iter().zip(&mut kept).rev() {
        if node.output.iter().any(|output| wanted.contains(output)) {
            *kept = true;
            wanted.extend(taken(node));
        }
    }
    let produces = |node: &NodeProto| node.output.iter().any(|output| output == value);
    if value.is_empty() || !graph.node.iter().any(produces) {
        return Err(GraftError::NoValue {
            value: value.into(),
        });
    }
    let mut kept = kept.into_iter();
    graph.node.retain(|_| kept.next() == Some(true));
    graph
        .initializer
        .retain(|tensor| wanted.contains(&tensor.name));
    let image = |name: &str| model_input(name, &graph.initializer);
    // Before IR version 4 initializers are listed as inputs too.
    graph
        .input
        .retain(|input| wanted.contains(&input.name) || image(&input.name));
    let available: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|node| &node.output)
        .map(String::as_str)
        .collect();
    graph
        .value_info
        .retain(|info| available.contains(info.name.as_str()));
    let described = graph.value_info.iter().find(|info| info.name == value);
    graph.output = vec![described.cloned().unwrap_or_else(|| ValueInfoProto {
        name: value.into(),
        ..Default::default()
    })];
    Ok(model)
}

/// Whether a value is float16: the file says so, or a node takes it beside a tensor that is.
fn is_half(model: &ModelProto, value: &str) -> bool {
    let Some(graph) = &model.graph else {
        return false;
    };
    let mut described = graph.value_info.iter().chain(&graph.output);
    let described = described.find(|info| info.name == value);
    if let Some(data_type) = described.and_then(|info| TensorInfo::from(info).data_type) {
        return data_type == DataType::Float16;
    }
    let takers = graph
        .node
        .iter()
        .filter(|node| node.input.iter().any(|input| input == value));
    let mut beside = takers.flat_map(|node| &node.input);
    let half = |tensor: &TensorProto| tensor.data_type == DataType::Float16 as i32;
    let halves: HashSet<&str> = graph
        .initializer
        .iter()
        .filter(|tensor| half(tensor))
        .map(|tensor| tensor.name.as_str())
        .collect();
    beside.any(|input| halves.contains(input.as_str()))
}

/// A node that makes a value float32.
fn to_float(output: &str, value: &str) -> NodeProto {
    NodeProto {
        op_type: "Cast".into(),
        name: output.into(),
        input: vec![value.into()],
        output: vec![output.into()],
        attribute: vec![AttributeProto {
            name: "to".into(),
            i: Some(DataType::Float as i64),
            r#type: AttributeType::Int as i32,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Whether a graph input of this name is fed, since no initializer has it.
fn model_input(name: &str, initializers: &[TensorProto]) -> bool {
    initializers.iter().all(|tensor| tensor.name != name)
}

/// The values that a node takes, those included that the graphs in its attributes take from outside.
fn taken(node: &NodeProto) -> Vec<String> {
    let mut values = node.input.clone();
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            // What such a graph defines itself is not there outside, and wanting it harms nobody.
            values.extend(graph.node.iter().flat_map(taken));
            values.extend(graph.output.iter().map(|output| output.name.clone()));
        }
    }
    values
}

/// The oldest operator set in which a node of kiln's means what it means in the newest.
fn oldest_opset(node: &NodeProto) -> i64 {
    match node.op_type.as_str() {
        // The axes and sizes are inputs.
        "ReduceMax" | "Resize" => 18,
        "Erf" => 9,
        // The bias may be left out.
        "Gemm" if node.input.len() < 3 => 11,
        // The rest of what kiln writes has kept its form; before 7, Gemm and BatchNormalization had
        // another.
        _ => 7,
    }
}

/// The names of two graphs that become one.
struct Names {
    /// Those of the first, which it keeps.
    kept: HashSet<String>,
    /// Those of both.
    taken: HashSet<String>,
}

impl Names {
    fn of(first: &GraphProto, second: &GraphProto) -> Self {
        let kept: HashSet<String> = names(first).cloned().collect();
        let taken = names(second).cloned().chain(kept.iter().cloned()).collect();
        Self { kept, taken }
    }

    /// The name that one of the second graph gets: its own, or if the first has it too, with `_1`,
    /// `_2`, … what neither has.
    fn free(&self, name: &str) -> String {
        if !self.kept.contains(name) {
            return name.to_owned();
        }
        let mut candidates = (1..).map(|number: usize| format!("{name}_{number}"));
        candidates
            .find(|candidate| !self.taken.contains(candidate))
            .unwrap_or_default()
    }
}

/// The names of a graph's values and nodes.
fn names(graph: &GraphProto) -> impl Iterator<Item = &String> {
    let nodes = graph.node.iter();
    let outputs = nodes.flat_map(|node| node.output.iter().chain([&node.name]));
    let tensors = graph.initializer.iter().map(|tensor| &tensor.name);
    let inputs = graph.input.iter().map(|input| &input.name);
    outputs.chain(tensors).chain(inputs)
}

#[cfg(test)]
mod tests {
    use kiln_onnx::GraphBuilder;

    use super::*;

    /// A classifier of two dense layers with names of its own and of kiln's.
    fn original(opset: i64) -> ModelProto {
        let mut graph = GraphBuilder::new("theirs");
        graph.opset(opset);
        graph
            .input("x", Dim::batched([3]))
            .output("scores", Dim::batched([5]));
        graph.initializer("dense.weight", &[4, 3], vec![0.5_f32; 12]);
        graph.initializer("other", &[5, 4], vec![0.25_f32; 20]);
        graph
            .node("Gemm", "dense", &["x", "dense.weight"], "hidden")
            .int("transB", 1);
        graph.node("Relu", "act", &["hidden"], "logits");
        graph
            .node("Gemm", "last", &["logits", "other"], "scores")
            .int("transB", 1);
        graph.value_info("logits", Dim::batched([4]));
        let mut model = graph.finish().unwrap();
        model
            .metadata_props
            .push(kiln_onnx::StringStringEntryProto {
                key: "author".into(),
                value: "somebody".into(),
            });
        model
    }

    fn head() -> ModelProto {
        let mut graph = GraphBuilder::new("kiln");
        graph
            .input("features", Dim::batched([4]))
            .output("logits", Dim::batched([2]));
        graph.initializer("dense.weight", &[2, 4], vec![1.0_f32; 8]);
        graph.initializer("dense.bias", &[2], vec![0.0_f32; 2]);
        graph
            .node(
                "Gemm",
                "dense",
                &["features", "dense.weight", "dense.bias"],
                "logits",
            )
            .int("transB", 1);
        graph.finish().unwrap()
    }

    #[test]
    fn what_leads_to_the_value_is_kept_as_it_is() {
        let original = original(13);
        let grafted = graft(&original, "logits", &head()).unwrap();
        let (before, after) = (
            original.graph.as_ref().unwrap(),
            grafted.graph.as_ref().unwrap(),
        );
        assert_eq!(after.node[..2], before.node[..2]);
        assert_eq!(after.initializer[0], before.initializer[0]);
        assert_eq!(after.input, before.input);
        assert_eq!(grafted.opset_import, original.opset_import);
        assert_eq!(
            (after.node.len(), after.initializer.len()),
            (3, 3),
            "the rest is gone"
        );
        assert_eq!(
            prefix_checksums(&original, "logits", &BTreeSet::new()).unwrap(),
            prefix_checksums(&grafted, "logits", &BTreeSet::new()).unwrap()
        );
        // Names that were taken have a number; the head takes the value.
        let last = &after.node[2];
        assert_eq!(last.name, "dense_1");
        assert_eq!(last.input, ["logits", "dense.weight_1", "dense.bias"]);
        assert_eq!(last.output, ["logits_1"]);
        assert_eq!(after.output[0].name, "logits_1");
    }

    #[test]
    fn names_that_get_a_number_meet_no_others() {
        let graph = |names: &[&str]| GraphProto {
            initializer: names
                .iter()
                .map(|name| TensorProto::from_f32(name, &[], &[]))
                .collect(),
            ..Default::default()
        };
        let names = Names::of(
            &graph(&["a", "a_1", "b"]),
            &graph(&["a", "a_2", "b", "b_1", "c"]),
        );
        let free = ["a", "a_2", "b", "b_1", "c"].map(|name| names.free(name));
        assert_eq!(free, ["a_3", "a_2", "b_2", "b_1", "c"]);
    }

    #[test]
    fn a_changed_weight_changes_its_checksum_alone() {
        let before = prefix_checksums(&original(13), "logits", &BTreeSet::new()).unwrap();
        let mut changed = original(13);
        let graph = changed.graph.as_mut().unwrap();
        graph.initializer[0] = TensorProto::from_f32("dense.weight", &[4, 3], &[0.75; 12]);
        let after = prefix_checksums(&changed, "logits", &BTreeSet::new()).unwrap();
        let differing = before.iter().filter(|(name, sum)| after[*name] != **sum);
        assert_eq!(
            differing.map(|(name, _)| name).collect::<Vec<_>>(),
            ["dense.weight"]
        );
    }

    #[test]
    fn the_part_before_a_value_gives_vectors() {
        let cut = cut(&original(13), "hidden", 4).unwrap();
        let graph = cut.graph.as_ref().unwrap();
        assert_eq!(graph.node.len(), 2);
        assert_eq!(cut.outputs()[0].name, "features");
        assert_eq!(cut.outputs()[0].shape, Some(Dim::batched([4])));
        check_structure(graph).unwrap();
    }

    #[test]
    fn a_value_of_half_precision_is_taken_as_float32() {
        let mut model = original(13);
        let graph = model.graph.as_mut().unwrap();
        for tensor in &mut graph.initializer {
            tensor.data_type = DataType::Float16 as i32;
        }
        let operators = |model: &ModelProto| -> Vec<String> {
            let nodes = model.graph.iter().flat_map(|graph| &graph.node);
            nodes.map(|node| node.op_type.clone()).collect()
        };
        // What the file says of the value goes before what stands beside it.
        let single = cut(&model, "logits", 4).unwrap();
        assert_eq!(operators(&single), ["Gemm", "Relu", "Flatten"]);
        model.graph.as_mut().unwrap().value_info.clear();
        let half = cut(&model, "logits", 4).unwrap();
        assert_eq!(operators(&half), ["Gemm", "Relu", "Cast", "Flatten"]);
        let grafted = graft(&model, "logits", &head()).unwrap();
        assert_eq!(operators(&grafted), ["Gemm", "Relu", "Cast", "Gemm"]);
        let nodes = &grafted.graph.as_ref().unwrap().node;
        assert_eq!(
            (&nodes[2].input[0], &nodes[3].input[0]),
            (&"logits".into(), &nodes[2].output[0])
        );
        assert_eq!(
            prefix_checksums(&grafted, "logits", &BTreeSet::new()).unwrap(),
            prefix_checksums(&model, "logits", &BTreeSet::new()).unwrap()
        );
    }

    #[test]
    fn graphs_inside_of_nodes_keep_what_they_take_from_outside() {
        let mut model = original(13);
        let graph = model.graph.as_mut().unwrap();
        let branch = GraphProto {
            node: vec![NodeProto {
                op_type: "Identity".into(),
                input: vec!["other".into()],
                output: vec!["inner".into()],
                ..Default::default()
            }],
            ..Default::default()
        };
        graph.node[1].attribute.push(AttributeProto {
            name: "then_branch".into(),
            g: Some(branch),
            ..Default::default()
        });
        let grafted = graft(&model, "logits", &head()).unwrap();
        let graph = grafted.graph.unwrap();
        assert!(
            graph
                .initializer
                .iter()
                .any(|tensor| tensor.name == "other")
        );
    }

    #[test]
    fn what_cannot_be_grafted_is_refused() {
        let error =
            |model: &ModelProto, value: &str| graft(model, value, &head()).unwrap_err().to_string();
        assert_eq!(
            error(&original(13), "nothing"),
            "no node of the graph produces `nothing`"
        );
        assert_eq!(
            error(&original(13), "x"),
            "no node of the graph produces `x`"
        );
        let mut two = original(13);
        let graph = two.graph.as_mut().unwrap();
        graph.input.push(ValueInfoProto {
            name: "mask".into(),
            ..Default::default()
        });
        assert!(error(&two, "logits").ends_with("found 2"));
        let mut old = head();
        old.graph.as_mut().unwrap().node[0].input.pop();
        let message = graft(&original(9), "logits", &old).unwrap_err().to_string();
        assert_eq!(
            message,
            "the head needs `Gemm` of opset 11, and the graph it is to be added to has opset 9"
        );
    }

    #[test]
    fn trained_tensors_are_replaced_and_nothing_else() {
        let mut model = original(13);
        let edited = model.graph.as_mut().unwrap();
        // A tensor that a node gives, kept in the field of floats.
        let mut constant = TensorProto {
            dims: vec![2],
            data_type: DataType::Float as i32,
            float_data: vec![1.0, 2.0],
            ..Default::default()
        };
        constant.name = "unused".into();
        let node = NodeProto {
            op_type: "Constant".into(),
            output: vec!["given".into()],
            attribute: vec![AttributeProto {
                name: "value".into(),
                t: Some(constant),
                r#type: AttributeType::Tensor as i32,
                ..Default::default()
            }],
            ..Default::default()
        };
        edited.node.insert(0, node);
        let before = model.clone();
        let new = [7.0_f32; 12];
        let tensors = [("dense.weight", &new[..]), ("given", &[3.0, 4.0])];
        replace_tensors(&mut model, tensors).unwrap();
        let graph = model.graph.as_ref().unwrap();
        let bytes = |values: &[f32]| {
            values
                .iter()
                .flat_map(|it| it.to_le_bytes())
                .collect::<Vec<_>>()
        };
        assert_eq!(graph.initializer[0].raw_data, bytes(&new));
        let constant = graph.node[0].attribute[0].t.as_ref().unwrap();
        assert_eq!(
            (constant.raw_data.clone(), constant.float_data.len()),
            (bytes(&[3.0, 4.0]), 0)
        );
        assert_eq!(
            graph.initializer[1],
            before.graph.as_ref().unwrap().initializer[1]
        );

        let trained = BTreeSet::from(["dense.weight", "given"]);
        let nothing = BTreeSet::new();
        let checksums = |model, except| prefix_checksums(model, "scores", except).unwrap();
        assert_ne!(checksums(&model, &nothing), checksums(&before, &nothing));
        assert_eq!(checksums(&model, &trained), checksums(&before, &trained));

        for (name, values) in [("nothing", &new[..]), ("dense.weight", &new[..3])] {
            let error = replace_tensors(&mut model, [(name, values)]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
