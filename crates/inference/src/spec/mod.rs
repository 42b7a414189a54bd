//! Inputs, outputs, labels and preprocessing of a model, resolved from what the caller, the file's
//! metadata and the graph specify.

mod input;
mod output;

pub(crate) use input::Axes;
use output::Output;

use kiln_model::{
    Channels, Layout, ModelOverrides, OutputKind, OverridesError, Preprocess, Preprocessing,
};
use kiln_onnx::{Dim, Metadata, ModelProto, TensorInfo};

use crate::error::LoadErrorKind;
use crate::hint::Unspecified;
use crate::input::InputKind;

/// Inputs, outputs, labels and preprocessing of a model, and where each is specified.
///
/// The first that specifies something counts: the caller, the file's metadata (`kiln.` keys), the
/// graph.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// How an image becomes the model's input.
    pub preprocessing: Preprocessing,
    /// The names of the classes, in the order of the output; their numbers from 0 where none are
    /// specified.
    pub labels: Vec<String>,
    /// What the elements of the graph's input are.
    pub input: InputKind,
    /// The order of the axes of the graph's input.
    pub layout: Layout,
    /// What the scores are.
    pub output: OutputKind,
    /// The graph's output that has them.
    pub output_name: String,
    /// What the probability of a class has to exceed where each has one by itself, as of a sigmoid: one for each
    /// class, or for two classes with one score that of the second. Empty where classes exclude each other.
    pub thresholds: Vec<f32>,
    /// What else is known of the scores.
    pub scores: ScoresInfo,
    /// Whether the graph quantizes values by the range that they have in a batch, so that an image's
    /// scores depend on those it is run with.
    pub is_batch_dependent: bool,
    /// Which axes the graph's input has.
    pub(crate) axes: Axes,
    /// Place of the output among the graph's.
    pub(crate) output_at: usize,
    /// The graph's batch size, where it is fixed.
    pub batch: Option<usize>,
    /// Where each of these is specified.
    pub origins: Origins,
}

/// What a graph says of its scores besides their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoresInfo {
    /// Whether there is one score for each image: of the second class, of two.
    pub is_binary: bool,
    /// Whether they were rounded to 8 bits, so that probabilities need not sum to 1.
    pub is_quantized: bool,
    /// Whether they come from an operator that usually gives features rather than scores.
    pub is_features: bool,
}

/// Where something about a model is specified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The caller: [`Options::declared`](crate::Options::declared).
    Declared,
    /// The file's metadata.
    Metadata,
    /// The graph: its shapes or its last operator.
    Graph,
    /// The scores of test images.
    Values,
    /// Nowhere: the usual default.
    Default,
}

impl Origin {
    /// Returns the first that specifies something.
    const fn first(declared: bool, metadata: bool, graph: bool) -> Self {
        match (declared, metadata, graph) {
            (true, _, _) => Self::Declared,
            (_, true, _) => Self::Metadata,
            (_, _, true) => Self::Graph,
            _ => Self::Default,
        }
    }
}

/// Where each part of a [`ModelSpec`](crate::ModelSpec) is specified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origins {
    /// Height and width.
    pub size: Origin,
    /// Channels and their order; `Default` is RGB. That the graph has three channels does not say
    /// in which order: RGB then too.
    pub channels: Origin,
    /// Scale, mean and standard deviation, or some of them; the others are neutral.
    pub normalization: Origin,
    /// Whether photographs are turned upright.
    pub orientation: Origin,
    /// What transparent pixels are put on.
    pub background: Origin,
    /// How images are resized, cropped and padded, or part of it.
    pub resize: Origin,
    /// Names of the classes; `Default` are their numbers.
    pub labels: Origin,
    /// Order of the input's axes.
    pub layout: Origin,
    /// What the scores are.
    pub output: Origin,
    /// Which output has them; `Default` is the first.
    pub output_name: Origin,
    /// What probabilities have to exceed; `Default` is a half.
    pub threshold: Origin,
}

impl ModelSpec {
    /// Resolves what is specified and checks that the graph fits it. For `kiln describe`: a loaded
    /// model has its spec ready.
    ///
    /// # Errors
    ///
    /// Returns what is not specified, or what of the graph does not fit.
    #[doc(hidden)]
    pub fn new(model: &ModelProto, declared: &ModelOverrides) -> Result<Self, LoadErrorKind> {
        let file = in_file(model)?;
        let mut said = declared.clone().or(file.clone());
        if let Some(node) = random_node(model) {
            return Err(LoadErrorKind::Random { node });
        }
        let inputs = model.inputs();
        let input = InputKind::of(&inputs);
        if input == InputKind::Pixels && !said.specifies_normalization() {
            said.preprocess = Some(Preprocess::Raw);
        }
        let (shape, axes) = input::shape(&inputs)?;
        let (layout, layout_by_graph) = match (said.layout, &shape) {
            (Some(layout), _) => (layout, false),
            (None, Some(shape)) => {
                input::detect(shape, said.specified_channels().map(Channels::count))
            }
            (None, None) => (Layout::Nchw, false),
        };
        let graph = shape.as_ref().map_or_else(input::Image::default, |shape| {
            input::Image::new(shape, layout)
        });
        let preprocessing =
            said.preprocessing(graph.size(), graph.channels().unwrap_or(Channels::Rgb));
        let preprocessing = preprocessing.map_err(unspecified)?;
        if input == InputKind::Pixels && !preprocessing.keeps_pixels() {
            return Err(LoadErrorKind::Pixels);
        }
        let batch = input::check(&inputs, layout, &preprocessing)?;
        let output = Output::find(
            model,
            said.output_name.as_deref(),
            said.labels
                .as_ref()
                .map(Vec::len)
                .filter(|&count| count > 0),
            axes != Axes::Unbatched,
        )?;
        let labels = match said.labels.filter(|labels| !labels.is_empty()) {
            Some(labels) => labels,
            None => output.numbers()?,
        };
        output.check(labels.len())?;
        if axes != Axes::Unbatched
            && let Some(node) = &output.softmax_over_batch
        {
            return Err(LoadErrorKind::SoftmaxOverBatch { node: node.clone() });
        }
        let origins = Origins {
            size: Origin::first(declared.size.is_some(), file.size.is_some(), true),
            channels: Origin::first(
                declared.specified_channels().is_some(),
                file.channels.is_some(),
                graph.channels().is_some(),
            ),
            normalization: Origin::first(
                declared.specifies_normalization(),
                file.specifies_normalization(),
                true,
            ),
            orientation: Origin::first(
                declared.specified_steps().orientation.is_some(),
                file.steps.orientation.is_some(),
                false,
            ),
            background: Origin::first(
                declared.steps.background.is_some(),
                file.steps.background.is_some(),
                false,
            ),
            resize: Origin::first(
                declared.specified_steps().specifies_resize(),
                file.steps.specifies_resize(),
                false,
            ),
            labels: Origin::first(declared.labels.is_some(), file.labels.is_some(), false),
            layout: Origin::first(
                declared.layout.is_some(),
                file.layout.is_some(),
                layout_by_graph,
            ),
            output: Origin::first(
                declared.output.is_some(),
                file.output.is_some(),
                output.end.kind.is_some(),
            ),
            output_name: Origin::first(
                declared.output_name.is_some(),
                file.output_name.is_some(),
                output.chosen,
            ),
            threshold: Origin::first(
                declared.threshold.is_some(),
                file.threshold.is_some(),
                false,
            ),
        };
        let kind = match (said.output, output.end.kind) {
            // Those of a sigmoid are probabilities, but not of a distribution.
            (Some(OutputKind::Probabilities), Some(OutputKind::Sigmoid)) => OutputKind::Sigmoid,
            (Some(said), _) => said,
            (None, by_graph) => by_graph.unwrap_or(OutputKind::Logits),
        };
        let thresholds = thresholds(
            said.threshold,
            match (output.is_binary(), kind) {
                (true, _) => 1,
                (false, kind) if kind.is_independent() => labels.len(),
                (false, _) => 0,
            },
        )?;
        Ok(Self {
            preprocessing,
            labels,
            thresholds,
            input,
            layout,
            output: kind,
            scores: ScoresInfo {
                is_binary: output.is_binary(),
                is_quantized: output.end.is_quantized,
                is_features: output.end.is_features,
            },
            is_batch_dependent: model.operators().contains_key("DynamicQuantizeLinear"),
            output_name: output.info.name,
            axes,
            output_at: output.at,
            batch,
            origins,
        })
    }

    /// What the scores of all labels are: a sigmoid's one score becomes the probabilities of two
    /// classes.
    pub(crate) const fn kind_of_scores(&self) -> OutputKind {
        match self.output {
            OutputKind::Sigmoid if self.scores.is_binary => OutputKind::Probabilities,
            OutputKind::SigmoidLogits if self.scores.is_binary => OutputKind::Logits,
            kind => kind,
        }
    }

    /// Whether each class has a probability by itself, so that an image can have any number of them.
    pub const fn has_several(&self) -> bool {
        self.output.is_independent() && !self.scores.is_binary
    }

    /// The same as metadata, with the provenance that the file has: a file with it needs no
    /// declaration. The file's golden vectors are images with scores and names, and hold only as
    /// long as images are prepared and classes called as they were.
    #[doc(hidden)]
    pub fn to_metadata(&self, file: &Metadata) -> Metadata {
        let holds = file.preprocessing.as_ref() == Some(&self.preprocessing)
            && file.labels.as_ref() == Some(&self.labels);
        Metadata {
            preprocessing: Some(self.preprocessing.clone()),
            labels: (self.origins.labels != Origin::Default).then(|| self.labels.clone()),
            layout: Some(self.layout),
            output: Some(self.output),
            output_name: (self.output_at > 0).then(|| self.output_name.clone()),
            threshold: (self.origins.threshold != Origin::Default).then(|| self.thresholds.clone()),
            provenance: file.provenance.clone(),
            golden: file.golden.clone().filter(|_| holds),
        }
    }
}

/// A threshold for each of so many scores that are probabilities by themselves.
fn thresholds(said: Option<Vec<f32>>, scores: usize) -> Result<Vec<f32>, LoadErrorKind> {
    let said = said.unwrap_or_else(|| vec![HALF; usize::from(scores > 0)]);
    match said.len() {
        found if found == scores => Ok(said),
        1 if scores > 0 => Ok(vec![said[0]; scores]),
        found => Err(LoadErrorKind::Thresholds { found, scores }),
    }
}

/// The threshold of a class by default.
const HALF: f32 = 0.5;

/// The first node that draws random numbers.
fn random_node(model: &ModelProto) -> Option<String> {
    const OPERATORS: [&str; 6] = [
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    ];
    let nodes = &model.graph.as_ref()?.node;
    let random =
        |node: &&kiln_onnx::NodeProto| node.is_onnx() && OPERATORS.contains(&node.op_type.as_str());
    nodes
        .iter()
        .find(random)
        .map(kiln_onnx::NodeProto::describe)
}

/// What the file's metadata declares.
fn in_file(model: &ModelProto) -> Result<ModelOverrides, LoadErrorKind> {
    let Metadata {
        preprocessing,
        labels,
        layout,
        output,
        output_name,
        threshold,
        ..
    } = model.metadata()?;
    let record = preprocessing.map(ModelOverrides::from).unwrap_or_default();
    Ok(ModelOverrides {
        labels,
        layout,
        output,
        output_name,
        threshold,
        ..record
    })
}

fn unspecified(error: OverridesError) -> LoadErrorKind {
    match error {
        OverridesError::NoNormalization => LoadErrorKind::Unspecified(Unspecified::Preprocessing),
        OverridesError::NoSize => LoadErrorKind::Unspecified(Unspecified::Size),
        OverridesError::Channels { .. } | OverridesError::Record(_) => {
            LoadErrorKind::Preprocessing(error)
        }
    }
}

fn describe(info: &TensorInfo) -> String {
    let data_type = info
        .data_type
        .map_or_else(|| "unknown type".to_owned(), |found| format!("{found:?}"));
    let shape = info
        .shape
        .as_deref()
        .map_or_else(|| "of unknown rank".to_owned(), describe_shape);
    format!("`{}` {} {shape}", info.name, data_type.to_lowercase())
}

fn describe_shape(shape: &[Dim]) -> String {
    format!("[{}]", join(shape.iter().map(Dim::to_string)))
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
