//! Backbones that are read from their files: what a recipe needs to know of one, its frozen graph on
//! an inference engine, and the trained head grafted onto it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_assets::Asset;
use kiln_data::View;
use kiln_exporter::{cut, graft, prefix_checksums};
use kiln_inference::{EngineId, Model, NamedTensor, StreamOptions};
use kiln_model::graph::{Graph, Segment};
use kiln_model::{
    Base, Channels, FileBase, FileProblem, FileRequest, GraphLayer, Hint, Layout, Preprocessing,
    Recipe, Shape,
};
use kiln_onnx::{Metadata, ModelProto, OutputKind};
use kiln_util::Hex;
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::engines;
use crate::error::Result;
use crate::error::training::BackboneError;
use crate::evaluate::run_through;
use crate::inputs::Inputs;
use crate::overrides::{OverridesRequest, Resolved};

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
        None => sidecar(&path, size, channels).map_err(|error| whole(error.to_string()))?,
    };
    let count = match request.output {
        Some(output) => {
            find(&graph, output).ok_or_else(|| at_output(unknown_output(&graph, output)))?
        }
        None => graph.classifier.unwrap_or(graph.segments.len()),
    };
    let segments = &graph.segments[..count];
    let Some(last) = segments.last() else {
        return Err(refused(&"no operation comes before its classifier"));
    };
    let output = sample(last).map_err(at_output)?;
    let file = FileBase {
        channels,
        layout: graph.image.layout,
        size,
        preprocessing,
        graph: GraphLayer {
            sha256,
            value: last.output.clone(),
            output,
            parameters: segments.iter().map(Segment::parameter_count).sum(),
            multiply_adds: segments.iter().map(Segment::multiply_adds).sum(),
            terms: segments.iter().map(terms).sum(),
        },
    };
    Ok(Base::of_file(request.weights, file))
}

/// Reads a model with its SHA-256: that of the message as kiln writes it, wherever the file keeps its
/// tensors.
fn read(path: &Path) -> Result<(ModelProto, String)> {
    let proto = kiln_onnx::load_with_external_data(path).map_err(BackboneError::Load)?;
    let sha256 = Sha256::digest(kiln_onnx::encode(&proto));
    Ok((proto, Hex(&sha256).to_string()))
}

/// How the sidecar beside a file says that images are to be prepared.
fn sidecar(path: &Path, size: Option<[u32; 2]>, channels: usize) -> Result<Option<Preprocessing>> {
    let specified = Resolved::new(path, &OverridesRequest::default())?.all();
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

/// Finds how many segments lead to an output: a segment, a node or a value, by its name.
fn find(graph: &Graph, output: &str) -> Option<usize> {
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

fn unknown_output(graph: &Graph, output: &str) -> String {
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

/// The shape of a sample of the value at a segment's end.
fn sample(segment: &Segment) -> Result<Shape, String> {
    let name = &segment.name;
    let Some(shape) = segment.shape() else {
        return Err(format!(
            "the shape of `{name}` is not known: give `input.height` and `input.width`, or take another `output`"
        ));
    };
    let dims = shape.sample().filter(|dims| !dims.contains(&0));
    dims.as_deref().and_then(Shape::from_dims).ok_or_else(|| {
        format!(
            "`{name}` has the shape {shape}, expected [N, channels, height, width] or [N, features]: take another `output`"
        )
    })
}

/// The terms that one value of each layer sums up.
fn terms(segment: &Segment) -> u64 {
    let weights = segment
        .parameters
        .iter()
        .filter(|parameter| parameter.shape.len() > 1);
    weights
        .map(|weight| weight.shape[1..].iter().product::<usize>() as u64)
        .sum()
}

/// A backbone's frozen graph, ready to run.
pub struct FrozenGraph {
    /// From images to features, on the engine that computes them.
    model: Model,
    /// The whole file.
    proto: ModelProto,
    layout: Layout,
    /// The value that the head takes.
    value: String,
}

impl FrozenGraph {
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
        let Some(FileBase { graph, layout, .. }) = &backbone.base.file else {
            return Ok(None);
        };
        let path = file(&backbone.weights, context)?;
        let (proto, sha256) = read(&path)?;
        if sha256 != graph.sha256 {
            return Err(BackboneError::Changed { path }.into());
        }
        let layout = *layout;
        let mut prefix =
            cut(&proto, &graph.value, graph.output.len()).map_err(BackboneError::Graft)?;
        prefix.set_metadata(&Metadata {
            preprocessing: Some(recipe.model().preprocessing().clone()),
            labels: None,
            layout: Some(layout),
            output: Some(OutputKind::Logits),
            provenance: BTreeMap::new(),
            golden: None,
        });
        Ok(Some(Self {
            model: load(&kiln_onnx::encode(&prefix), context)?,
            proto,
            layout,
            value: graph.value.clone(),
        }))
    }

    /// Returns the model that gives the features.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the order of the axes of the graph's images.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the engine that computes the features, with its version: another one rounds
    /// differently.
    pub fn engine(&self) -> String {
        let runtime = self.model.runtime();
        let version = runtime.version.as_deref().unwrap_or_default();
        format!("{} {version}", runtime.engine.name())
    }

    /// Returns the engine that alone computes what the features were computed by: that of a quantized
    /// graph, in which a value that two engines round differently moves by a whole step.
    pub fn only_engine(&self) -> Option<EngineId> {
        let graph = self.proto.graph.as_ref();
        let mut nodes = graph.into_iter().flat_map(|graph| &graph.node);
        let quantized = nodes.any(|node| {
            let operator = node.op_type.as_str();
            operator.contains("Quantize")
                || operator.starts_with("QLinear")
                || operator.ends_with("Integer")
        });
        quantized.then(|| self.model.runtime().engine)
    }

    /// Computes the features of prepared images, row-major.
    pub fn features(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        let images = pixels.len() / self.model.preprocessing().len();
        let NamedTensor { data, .. } = self.model.run_named(pixels, images)?.swap_remove(0);
        Ok(data)
    }

    /// Computes the features of images in their order, batches on all cores; `each` gets those of one
    /// image. Returns whether it got to the end.
    pub(crate) fn stream(
        &self,
        images: &View,
        context: &Context<'_>,
        mut each: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<bool> {
        let inputs = Inputs::of_view(images);
        let options = StreamOptions::default();
        let computed = run_through(&self.model, inputs, &options, context, |_, classified| {
            classified.map_or(Ok(()), |classified| each(classified.scores))
        })?;
        Ok(computed.is_some())
    }

    /// Grafts a head onto the file's graph.
    pub fn graft(&self, head: &ModelProto) -> Result<ModelProto> {
        Ok(graft(&self.proto, &self.value, head).map_err(BackboneError::Graft)?)
    }

    /// Returns the SHA-256 of the nodes and of each tensor that lead to the features.
    pub fn checksums(&self) -> Result<BTreeMap<String, String>> {
        Ok(prefix_checksums(&self.proto, &self.value).map_err(BackboneError::Graft)?)
    }

    /// Returns whether a file has the nodes and tensors that lead to the features, bit for bit.
    pub fn is_in(&self, file: &ModelProto) -> Result<bool> {
        let found = prefix_checksums(file, &self.value).map_err(BackboneError::Graft)?;
        Ok(found == self.checksums()?)
    }
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
