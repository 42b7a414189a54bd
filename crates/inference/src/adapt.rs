//! The graph as engines get it: one float32 or uint8 input with four axes, and the scores first, in
//! float32 and with the batch as their first axis, whatever the file has.

use kiln_onnx::{
    AttributeProto, AttributeType, DataType, Dim, FreeNames, GraphProto, ModelFile, ModelProto,
    NodeProto, TensorInfo, TensorProto, ValueInfoProto, load_with_external_data,
};

use crate::error::LoadErrorKind;
use crate::input::InputKind;
use crate::spec::{Axes, ModelSpec};

/// Returns the graph for an engine that computes these types of floats besides float32, where it is
/// not the file's.
///
/// # Errors
///
/// Returns that weights which are to become float32 cannot be read.
pub fn adapt(
    file: &ModelFile,
    spec: &ModelSpec,
    floats: &[DataType],
) -> Result<Option<ModelProto>, LoadErrorKind> {
    let model = file.proto()?;
    let widened = narrow(model, floats);
    let mut adapted = None;
    if !widened.is_empty() {
        let mut model = match file.path() {
            // Their values are needed here.
            Some(path) if !file.weight_files()?.is_empty() => load_with_external_data(path)?,
            _ => model.clone(),
        };
        model.widen(&widened)?;
        adapted = Some(model);
    }
    let reshaped = reshape(adapted.as_ref().unwrap_or(model), spec);
    Ok(reshaped.or(adapted))
}

/// The types of floats in a graph that are to become float32. Of a graph in double precision all is;
/// a constant or two of it among others is left to the engine.
fn narrow(model: &ModelProto, floats: &[DataType]) -> Vec<DataType> {
    let ends = model.inputs().into_iter().chain(model.outputs());
    let is_double = ends
        .into_iter()
        .any(|info| info.data_type == Some(DataType::Double));
    let mut found = model.other_floats();
    found.retain(|found| match found {
        DataType::Double => is_double,
        other => !floats.contains(other),
    });
    found
}

/// Gives the graph the inputs and outputs that engines take, where it has others.
fn reshape(model: &ModelProto, spec: &ModelSpec) -> Option<ModelProto> {
    let inputs = model.inputs();
    let [input] = inputs.as_slice() else {
        return None;
    };
    let outputs = model.outputs();
    let output = outputs.get(spec.output_at)?;
    let converts = |info: &TensorInfo| {
        info.data_type
            .filter(|found| !matches!(found, DataType::Float | DataType::Uint8))
    };
    let from = converts(input);
    // Some converters to half precision leave the output declared as it was.
    let is_half = |from: &DataType| *from != DataType::Int8;
    let to = converts(output).or_else(|| from.filter(is_half));
    let adds_batch =
        spec.axes == Axes::Unbatched && output.shape.as_ref().is_some_and(|shape| shape.len() == 1);
    if from.is_none() && to.is_none() && spec.axes == Axes::Batched && spec.output_at == 0 {
        return None;
    }
    let mut adapted = model.clone();
    let opset = model.opset();
    let graph = adapted.graph.as_mut()?;
    let mut editor = Editor::new(graph, opset);
    if from.is_some() || spec.axes != Axes::Batched {
        editor.input(&input.name, from, spec);
    }
    editor.output(spec.output_at, to, adds_batch);
    Some(adapted)
}

/// Adds nodes to a graph under names that are free.
struct Editor<'a> {
    graph: &'a mut GraphProto,
    opset: i64,
    names: FreeNames,
}

impl<'a> Editor<'a> {
    fn new(graph: &'a mut GraphProto, opset: i64) -> Self {
        let names = FreeNames::of(graph);
        Self {
            graph,
            opset,
            names,
        }
    }

    fn free(&mut self, name: &str) -> String {
        self.names.take(name)
    }

    /// Puts an input of four axes before the graph's own.
    fn input(&mut self, name: &str, data_type: Option<DataType>, spec: &ModelSpec) {
        let [a, b, c] = spec.layout.image_shape(spec.preprocessing.shape());
        let batch = spec
            .batch
            .map_or_else(|| Dim::Symbol(Dim::BATCH.to_owned()), Dim::Fixed);
        let shape = [batch, Dim::Fixed(a), Dim::Fixed(b), Dim::Fixed(c)];
        let element = match spec.input {
            InputKind::Values => DataType::Float,
            InputKind::Pixels => DataType::Uint8,
        };
        let image = self.free("image");
        let mut nodes = Vec::new();
        let mut value = image.clone();
        let axis = match spec.axes {
            Axes::Batched => None,
            Axes::Unbatched => Some(0),
            Axes::WithoutChannels => Some(1),
        };
        let last = |is_last: bool, editor: &mut Self| {
            if is_last {
                name.to_owned()
            } else {
                editor.free("image_value")
            }
        };
        if let Some(axis) = axis {
            let output = last(data_type.is_none(), self);
            nodes.push(self.on_axis("Squeeze", axis, &value, &output));
            value = output;
        }
        if let Some(data_type) = data_type {
            // Rounding came with opset 11.
            if data_type == DataType::Int8 && self.opset >= 11 {
                // A cast alone would truncate, and leave what is out of range to the engine.
                let rounded = self.free("image_rounded");
                nodes.push(node("Round", &[&value], &rounded));
                let clipped = self.free("image_clipped");
                let [low, high] = [i8::MIN, i8::MAX].map(f32::from);
                nodes.push(self.clip(&rounded, &clipped, low, high));
                value = clipped;
            }
            nodes.push(cast(&value, name, data_type));
        }
        // In place of the graph's input among those that have initializers.
        for input in self
            .graph
            .input
            .iter_mut()
            .filter(|input| input.name == name)
        {
            *input = ValueInfoProto::of_type(element, &image, Some(&shape));
        }
        self.graph.node.splice(0..0, nodes);
    }

    /// Puts an output first, in float32, with a batch.
    fn output(&mut self, at: usize, data_type: Option<DataType>, adds_batch: bool) {
        let mut output = self.graph.output.remove(at);
        let mut value = output.name.clone();
        if adds_batch {
            let batched = self.free("scores_batched");
            let node = self.on_axis("Unsqueeze", 0, &value, &batched);
            self.graph.node.push(node);
            value = batched;
        }
        if data_type.is_some() {
            let float = self.free("scores");
            self.graph.node.push(cast(&value, &float, DataType::Float));
            value = float;
        }
        if value != output.name {
            // Its shape is what the engine finds.
            output = ValueInfoProto::of_type(DataType::Float, &value, None);
        }
        self.graph.output.insert(0, output);
    }

    /// A `Squeeze` or `Unsqueeze`, whose axes are an input from opset 13 on.
    fn on_axis(&mut self, op_type: &str, axis: i64, input: &str, output: &str) -> NodeProto {
        if self.opset < 13 {
            let mut node = node(op_type, &[input], output);
            node.attribute.push(AttributeProto {
                name: "axes".to_owned(),
                r#type: AttributeType::Ints as i32,
                ints: vec![axis],
                ..AttributeProto::default()
            });
            return node;
        }
        let name = self.free("axes");
        let values = TensorProto::from_i64(&name, &[1], &[axis]);
        self.graph.initializer.push(values);
        node(op_type, &[input, &name], output)
    }

    fn clip(&mut self, input: &str, output: &str, low: f32, high: f32) -> NodeProto {
        let [low, high] = [low, high].map(|bound| {
            let name = self.free("bound");
            let bound = TensorProto::from_f32(&name, &[], &[bound]);
            self.graph.initializer.push(bound);
            name
        });
        node("Clip", &[input, &low, &high], output)
    }
}

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: output.to_owned(),
        op_type: op_type.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn cast(input: &str, output: &str, to: DataType) -> NodeProto {
    let mut cast = node("Cast", &[input], output);
    cast.name = format!("{output}_cast");
    cast.attribute.push(AttributeProto {
        name: "to".to_owned(),
        r#type: AttributeType::Int as i32,
        i: Some(to as i64),
        ..AttributeProto::default()
    });
    cast
}
