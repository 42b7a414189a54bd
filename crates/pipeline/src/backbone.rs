//! Backbones that are read from their files: what a recipe needs to know of one, its frozen part on an
//! inference engine, its other layers' weights, and all that was trained written into its graph.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use kiln_assets::Asset;
use kiln_data::View;
use kiln_exporter::{cut, graft, prefix_checksums, replace_tensors};
use kiln_inference::{EngineId, Model, NamedTensor, StreamOptions};
use kiln_model::graph::{Graph, Input, Node, Op, Parameter, Segment, UnfoldedConv, Values};
use kiln_model::{
    Base, Channels, FileBase, FileProblem, FileRequest, FileSegment, GraphLayer, Hint, LayerKind,
    Layout, Param, ParamRole, Preprocessing, Recipe,
};
use kiln_onnx::{DataType, Metadata, ModelProto, NodeProto, OutputKind, TensorProto};
use kiln_run::{Tensor, Weights, WeightsError, add_unfolded_norm, fold_conv};
use kiln_trainer::TrainError;
use kiln_util::Hex;
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::engines;
use crate::error::Result;
use crate::error::training::BackboneError;
use crate::evaluate::run_through;
use crate::event::Event;
use crate::inputs::Inputs;
use crate::overrides::{OverridesRequest, Resolved};
use crate::segments::{find, unknown_output};

/// Returns the file of a backbone, getting it first if it is an asset.
pub(crate) fn file(weights: &str, context: &Context<'_>) -> Result<PathBuf> {
    let path = PathBuf::from(weights);
    if path.exists() || !Asset::NAMES.contains(&weights) {
        return Ok(path);
    }
    let asset = Asset::named(weights)?;
    let fetched = context
        .assets
        .require(&asset, context.observer, &context.cancel)?;
    let mut files = fetched.files.into_iter().map(|file| file.path);
    Ok(files.next().unwrap_or(path))
}

/// Reads what a recipe needs to know of a backbone.
pub(crate) fn base(request: &FileRequest<'_>, context: &Context<'_>) -> Result<Base, FileProblem> {
    let whole = |problem: String| FileProblem {
        is_output: false,
        problem,
        hint: None,
    };
    let at_output = |problem: String| FileProblem {
        is_output: true,
        problem,
        hint: Some(Hint::ListSegments {
            file: request.weights.into(),
        }),
    };
    let path = file(request.weights, context).map_err(|error| FileProblem {
        hint: Some(Hint::FetchWeights {
            asset: request.weights.into(),
        }),
        ..whole(error.to_string())
    })?;
    let refused = |problem: &dyn std::fmt::Display| {
        whole(format!("`{}` is no backbone: {problem}", path.display()))
    };
    let (proto, sha256) = read(&path).map_err(|error| whole(error.to_string()))?;
    let metadata = proto.metadata().ok();
    let record = metadata.and_then(|metadata| metadata.preprocessing);
    let recorded = record.as_ref().map(|record| [record.height, record.width]);
    let wanted = request.size.or(recorded);
    let pixels = |size: [u32; 2]| size.map(|side| side as usize);
    let graph = kiln_import::graph(&proto, wanted.map(pixels)).map_err(|error| refused(&error))?;
    let channels = graph
        .image
        .channels
        .ok_or_else(|| refused(&"the graph does not say how many channels its images have"))?;
    let size = wanted.or_else(|| {
        let [height, width] = graph.image.size?;
        Some([u32::try_from(height).ok()?, u32::try_from(width).ok()?])
    });
    let preprocessing = match record {
        Some(record) => Some(record),
        None => beside(&path, &proto, size, channels, context)
            .map_err(|error| whole(error.to_string()))?,
    };
    let count = match request.output {
        Some(output) => {
            find(&graph, output).ok_or_else(|| at_output(unknown_output(&graph, output)))?
        }
        None => graph.classifier.unwrap_or(graph.segments.len()),
    };
    if count == 0 {
        return Err(refused(&"no operation comes before its classifier"));
    }
    let file = FileBase {
        channels,
        layout: graph.image.layout,
        size,
        preprocessing,
        sha256,
        segments: segments(&graph, count, &proto),
    };
    Base::of_file(request.weights, file)
        .map_err(|problem| at_output(format!("{problem}: take another `output`")))
}

/// Describes the first segments of a graph.
fn segments(graph: &Graph, count: usize, proto: &ModelProto) -> Vec<FileSegment> {
    let segments = &graph.segments[..count];
    let floats = float_tensors(proto);
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for segment in segments {
        for parameter in &segment.parameters {
            *owners.entry(parameter.name.as_str()).or_default() += 1;
        }
    }
    let trained = |at: usize, segment: &Segment| {
        segment.check_trainable().map_err(|error| error.reason)?;
        let mut parameters = segment.parameters.iter().zip(segment.roles());
        let refused = parameters.find_map(|(Parameter { name, .. }, role)| {
            if role == ParamRole::Constant {
                None
            } else if !floats.contains(name.as_str()) {
                Some(format!("its tensor `{name}` is not float32"))
            } else if owners.get(name.as_str()) > Some(&1) {
                Some(format!("its tensor `{name}` is also another segment's"))
            } else {
                None
            }
        });
        match refused {
            Some(reason) => Err(reason),
            None if at == 0 && graph.image.layout == Layout::Nhwc => Ok(from_nchw(segment, graph)),
            None => Ok(segment.clone()),
        }
    };
    let described = segments
        .iter()
        .enumerate()
        .map(|(at, segment)| FileSegment {
            name: segment.name.clone(),
            value: segment.output.clone(),
            output: sample(segment),
            parameters: segment.parameter_count(),
            multiply_adds: segment.multiply_adds(),
            terms: segment.terms(),
            trained: trained(at, segment),
        });
    described.collect()
}

/// The names of a file's float32 tensors.
fn float_tensors(proto: &ModelProto) -> HashSet<&str> {
    let float = |tensor: &TensorProto| tensor.data_type == DataType::Float as i32;
    let graph = proto.graph.as_ref();
    let initializers = graph.into_iter().flat_map(|graph| &graph.initializer);
    let initializers = initializers.filter(|tensor| float(tensor));
    let nodes = graph.into_iter().flat_map(|graph| &graph.node);
    let constants = nodes.filter_map(|node| {
        let mut values = node.attribute.iter().filter_map(|it| it.t.as_ref());
        let is_float = node.op_type == "Constant" && values.any(float);
        is_float.then(|| node.output.first()).flatten()
    });
    initializers
        .map(|tensor| tensor.name.as_str())
        .chain(constants.map(String::as_str))
        .collect()
}

/// The first segment of a graph whose images are NHWC, as one that takes NCHW, as all layers do.
fn from_nchw(segment: &Segment, graph: &Graph) -> Segment {
    let mut segment = segment.clone();
    for input in segment.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
        if let Input::Value(at) = input {
            *at += 1;
        }
    }
    let transpose = Node {
        name: "nchw_to_nhwc".into(),
        op: Op::Transpose {
            perm: vec![0, 2, 3, 1],
        },
        inputs: vec![Input::Value(0)],
        shape: graph.image.shape.clone(),
        value: None,
    };
    segment.nodes.insert(0, transpose);
    segment
}

/// Reads a model with its SHA-256: that of the message as kiln writes it, wherever the file keeps its
/// tensors.
fn read(path: &Path) -> Result<(ModelProto, String)> {
    let proto = kiln_onnx::load_with_external_data(path).map_err(BackboneError::Load)?;
    let sha256 = Sha256::digest(kiln_onnx::encode(&proto));
    Ok((proto, Hex(&sha256).to_string()))
}

/// How the sidecar beside a file, or else another tool, says that images are to be prepared.
fn beside(
    path: &Path,
    proto: &ModelProto,
    size: Option<[u32; 2]>,
    channels: usize,
    context: &Context<'_>,
) -> Result<Option<Preprocessing>> {
    let mut resolved = Resolved::new(path, &OverridesRequest::default())?;
    if !resolved.all().specifies_normalization()
        && let Some(found) = resolved.find_config(path, proto)?
    {
        context.emit(&Event::ConfigFound { found });
    }
    let specified = resolved.all();
    if !specified.specifies_normalization() {
        return Ok(None);
    }
    let channels = if channels == 1 {
        Channels::Gray
    } else {
        Channels::Rgb
    };
    let record = specified.preprocessing(size, channels);
    Ok(Some(record.map_err(BackboneError::Preprocessing)?))
}

/// The dimensions of a sample of the value at a segment's end.
fn sample(segment: &Segment) -> Result<Vec<usize>, String> {
    let name = &segment.name;
    let Some(shape) = segment.shape() else {
        return Err(format!(
            "the shape of `{name}` is not known without `input.height` and `input.width`"
        ));
    };
    let dims = shape.sample().filter(|dims| !dims.contains(&0));
    dims.ok_or_else(|| {
        format!(
            "`{name}` has the shape {shape}, expected [N, channels, height, width], [N, tokens, features] or [N, features]"
        )
    })
}

/// A backbone's file: the part of its graph that an inference engine runs, and what is trained of it.
pub struct BackboneFile {
    /// The whole file.
    proto: ModelProto,
    layout: Layout,
    /// The value that the recipe's own layers take.
    value: String,
    /// From images to what the first trained layer takes; none where no layer is before it.
    frozen: Option<Model>,
    /// The tensors that some phase changes, by their names in the file, and the names of their weights.
    trained: BTreeMap<String, String>,
    /// Convolutions that some phase changes and that have a normalization, with the names of their
    /// layers.
    unfolded: Vec<(String, UnfoldedConv)>,
}

impl BackboneFile {
    /// Loads the backbone of a recipe, if it is one that is read from its file.
    ///
    /// # Errors
    ///
    /// [`BackboneError::Changed`] if the file is another one than the recipe was read with, or why no
    /// engine loads it.
    pub fn open(recipe: &Recipe, context: &Context<'_>) -> Result<Option<Self>> {
        let Some(backbone) = &recipe.backbone else {
            return Ok(None);
        };
        let Some(FileBase {
            sha256: expected,
            layout,
            segments,
            ..
        }) = &backbone.base.file
        else {
            return Ok(None);
        };
        let path = file(&backbone.weights, context)?;
        let (proto, sha256) = read(&path)?;
        if sha256 != *expected {
            return Err(BackboneError::Changed { path }.into());
        }
        let frozen = match recipe.model().layers().first().map(|layer| &layer.kind) {
            Some(LayerKind::Graph(graph)) => {
                let record = recipe.model().preprocessing();
                let prefix = frozen_part(&proto, graph, record, *layout)?;
                Some(load(&kiln_onnx::encode(&prefix), context)?)
            }
            _ => None,
        };
        Ok(Some(Self {
            proto,
            layout: *layout,
            value: segments
                .last()
                .map(|segment| segment.value.clone())
                .unwrap_or_default(),
            frozen,
            trained: trained_tensors(recipe),
            unfolded: unfolded_convs(recipe),
        }))
    }

    /// Returns the model that gives what the first trained layer takes, if there is a layer before it.
    pub fn frozen(&self) -> Option<&Model> {
        self.frozen.as_ref()
    }

    /// Returns the order of the axes of the graph's images.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the engine that runs the frozen part, with its version: another one rounds differently.
    pub fn engine(&self) -> Option<String> {
        let runtime = self.frozen.as_ref()?.runtime();
        let version = runtime.version.as_deref().unwrap_or_default();
        Some(format!("{} {version}", runtime.engine.name()))
    }

    /// Returns the engine that alone computes what the features were computed by: that of a graph that
    /// computes in integers or in half precision, in which a value that two engines round differently
    /// moves by a whole step.
    pub fn only_engine(&self) -> Option<EngineId> {
        let graph = self.proto.graph.as_ref();
        let mut nodes = graph.into_iter().flat_map(|graph| &graph.node);
        let coarse = nodes.any(|node| {
            let operator = node.op_type.as_str();
            operator.contains("Quantize")
                || operator.starts_with("QLinear")
                || operator.ends_with("Integer")
                || is_cast_to_half(node)
        });
        let frozen = self.frozen.as_ref().filter(|_| coarse);
        frozen.map(|model| model.runtime().engine)
    }

    /// Reads the weights of the layers that are segments of the file. The normalizations of unfolded
    /// convolutions do nothing but add the bias.
    pub fn weights(&self, model: &kiln_model::Model) -> Result<Weights> {
        let mut weights = Weights::default();
        for layer in model.layers() {
            let LayerKind::Segment(segment) = &layer.kind else {
                continue;
            };
            let in_file = |parameter: &&Parameter| parameter.values != Values::Measured;
            for parameter in segment.segment.parameters.iter().filter(in_file) {
                let data = kiln_import::parameter_values(&self.proto, parameter)
                    .map_err(BackboneError::Values)?;
                let tensor = Tensor {
                    shape: parameter.shape.clone(),
                    data,
                };
                weights.insert(format!("{}.{}", layer.name, parameter.name), tensor);
            }
            for conv in &segment.unfolded {
                let bias = self.bias(conv, &segment.segment)?;
                add_unfolded_norm(&mut weights, &layer.name, conv, &bias);
            }
        }
        Ok(weights)
    }

    /// Reads the bias of an unfolded convolution of a segment.
    fn bias(&self, conv: &UnfoldedConv, segment: &Segment) -> Result<Vec<f32>> {
        let mut parameters = segment.parameters.iter();
        let scale = parameters.find(|parameter| conv.norm.contains(&parameter.name));
        let bias = Parameter {
            name: conv.bias.clone(),
            shape: scale.map(|scale| scale.shape.clone()).unwrap_or_default(),
            values: Values::File,
        };
        let values = kiln_import::parameter_values(&self.proto, &bias);
        Ok(values.map_err(BackboneError::Values)?)
    }

    /// Computes what the first trained layer takes of prepared images, row-major: the images themselves
    /// where no layer is before it.
    pub fn features(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        let Some(model) = &self.frozen else {
            return Ok(pixels.to_vec());
        };
        let images = pixels.len() / model.preprocessing().len();
        let NamedTensor { data, .. } = model.run_named(pixels, images)?.swap_remove(0);
        Ok(data)
    }

    /// Writes the trained tensors into the file's graph, normalizations of unfolded convolutions folded
    /// back into them, and grafts the recipe's own layers onto it.
    pub fn graft(&self, head: &ModelProto, weights: &Weights) -> Result<ModelProto> {
        let mut model = graft(&self.proto, &self.value, head).map_err(BackboneError::Graft)?;
        let tensors = self.trained.iter().map(|(tensor, name)| {
            let values = weights.require(name)?;
            Ok((tensor.as_str(), values.data.as_slice()))
        });
        let tensors: Vec<_> = tensors
            .collect::<Result<_, WeightsError>>()
            .map_err(TrainError::from)?;
        replace_tensors(&mut model, tensors).map_err(BackboneError::Graft)?;
        for (layer, conv) in &self.unfolded {
            let (weight, bias) = fold_conv(weights, layer, conv).map_err(TrainError::from)?;
            let tensors = [
                (conv.weight.as_str(), weight.as_slice()),
                (conv.bias.as_str(), bias.as_slice()),
            ];
            replace_tensors(&mut model, tensors).map_err(BackboneError::Graft)?;
        }
        Ok(model)
    }

    /// Returns the SHA-256 of the nodes and of each tensor that is not trained, up to where the recipe's
    /// own layers begin.
    pub fn checksums(&self) -> Result<BTreeMap<String, String>> {
        self.checksums_in(&self.proto)
    }

    fn checksums_in(&self, model: &ModelProto) -> Result<BTreeMap<String, String>> {
        let unfolded = self.unfolded.iter();
        let trained = unfolded
            .flat_map(|(_, conv)| [conv.weight.as_str(), conv.bias.as_str()])
            .chain(self.trained.keys().map(String::as_str));
        let trained = trained.collect();
        Ok(prefix_checksums(model, &self.value, &trained).map_err(BackboneError::Graft)?)
    }

    /// Returns whether a file has these nodes and tensors, bit for bit.
    pub fn is_in(&self, file: &ModelProto) -> Result<bool> {
        Ok(self.checksums_in(file)? == self.checksums()?)
    }
}

/// Computes the outputs of a model for images in their order, batches on all cores; `each` gets those
/// of one image. Returns whether it got to the end.
pub(crate) fn stream(
    model: &Model,
    images: &View,
    context: &Context<'_>,
    mut each: impl FnMut(&[f32]) -> Result<()>,
) -> Result<bool> {
    let inputs = Inputs::of_view(images);
    let options = StreamOptions::default();
    let computed = run_through(model, inputs, &options, context, |_, classified| {
        classified.map_or(Ok(()), |classified| each(classified.scores))
    })?;
    Ok(computed.is_some())
}

/// The part of a file's graph before the first trained layer, with the metadata that a model needs to
/// run.
fn frozen_part(
    proto: &ModelProto,
    graph: &GraphLayer,
    preprocessing: &Preprocessing,
    layout: Layout,
) -> Result<ModelProto> {
    let mut part = cut(proto, &graph.value, graph.output.len()).map_err(BackboneError::Graft)?;
    part.set_metadata(&Metadata {
        preprocessing: Some(preprocessing.clone()),
        labels: None,
        layout: Some(layout),
        output: Some(OutputKind::Logits),
        output_name: None,
        threshold: None,
        provenance: BTreeMap::new(),
        golden: None,
    });
    Ok(part)
}

/// The unfolded convolutions of a recipe, all of which some phase changes, with the names of their
/// layers.
fn unfolded_convs(recipe: &Recipe) -> Vec<(String, UnfoldedConv)> {
    let layers = recipe.model().layers().iter();
    let of_layer = |layer: &kiln_model::Layer| {
        let convs = kiln_trainer::unfolded_convs(layer).iter();
        convs
            .map(|conv| (layer.name.clone(), conv.clone()))
            .collect::<Vec<_>>()
    };
    layers.flat_map(of_layer).collect()
}

/// Whether a node turns its input into numbers of 16 bits, as a graph does that computes with them; one
/// that only stores its weights so turns these into 32 bits.
fn is_cast_to_half(node: &NodeProto) -> bool {
    const HALF: [i64; 2] = [DataType::Float16 as i64, DataType::Bfloat16 as i64];
    let mut attributes = node.attribute.iter();
    node.op_type == "Cast"
        && attributes.any(|attribute| {
            attribute.name == "to" && attribute.i.is_some_and(|to| HALF.contains(&to))
        })
}

/// The tensors of a file that some phase of a recipe changes, by their names in the file, and the names
/// of their weights; those of unfolded convolutions are not among them.
fn trained_tensors(recipe: &Recipe) -> BTreeMap<String, String> {
    let layers = recipe.models().iter().flat_map(kiln_model::Model::layers);
    let trained = layers.filter_map(|layer| match &layer.kind {
        LayerKind::Segment(segment) if !layer.frozen => Some((layer, segment)),
        _ => None,
    });
    let tensors = trained.flat_map(|(layer, segment)| {
        let live = segment.live_batch_norm;
        let of_unfolded = |tensor: &str| {
            let mut convs = segment.unfolded.iter();
            convs.any(|conv| conv.weight == tensor || conv.norm.iter().any(|name| name == tensor))
        };
        let changes = move |param: &&Param| match param.role {
            ParamRole::Weight | ParamRole::Bias => true,
            ParamRole::RunningMean | ParamRole::RunningVar => live,
            ParamRole::Constant => false,
        };
        layer
            .params
            .iter()
            .filter(changes)
            .filter_map(move |param| {
                let tensor = &param.name[layer.name.len() + 1..];
                (!of_unfolded(tensor)).then(|| (tensor.to_owned(), param.name.clone()))
            })
    });
    tensors.collect()
}

/// Loads a model on the first engine that can, one with a library of its own first, which is the
/// faster.
fn load(bytes: &[u8], context: &Context<'_>) -> Result<Model> {
    let present: Vec<EngineId> = engines::present(context)?;
    let mut refused = None;
    for &engine in present.iter().rev() {
        let options = engines::options(context).with_engine(engine);
        match Model::from_bytes(bytes, &options) {
            Ok(model) => return Ok(model),
            Err(error) => refused = refused.or(Some(Box::new(error))),
        }
    }
    // Some engine is always present.
    Err(BackboneError::NoEngine(refused).into())
}

#[cfg(test)]
mod tests {
    use kiln_onnx::{Dim, GraphBuilder};

    use super::*;

    #[test]
    fn a_graph_computes_in_half_precision_if_it_casts_to_it() {
        let casts_to = |element: i64| {
            let mut graph = GraphBuilder::new("cast");
            graph
                .input("x", Dim::batched([2]))
                .output("y", Dim::batched([2]));
            graph.node("Cast", "cast", &["x"], "y").int("to", element);
            let proto = graph.finish().unwrap();
            is_cast_to_half(&proto.graph.unwrap().node[0])
        };
        assert_eq!([1, 10, 11, 16].map(casts_to), [false, true, false, true]);
    }
}
