//! Pretrained convolution bases that a recipe can name.

use serde::{Deserialize, Serialize, Serializer};

use crate::graph::Segment;
use crate::{
    Activation, Conv2d, GraphLayer, LayerKind, LayerSpec, Layout, MaxPool, Padding, Pool,
    Preprocessing, SegmentLayer, Shape,
};

/// `[backbone]`: a pretrained base before the recipe's own layers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backbone {
    /// The network; a recipe has only the name of one that is compiled in.
    #[serde(
        rename = "name",
        serialize_with = "name_only",
        skip_serializing_if = "Base::is_file"
    )]
    pub base: Base,
    /// An asset's name or the path of an ONNX file.
    pub weights: String,
    /// Of a file: the node, value or layer that the recipe's own layers come after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Of a file: by what its batch normalizations normalize where they are trained.
    #[serde(skip_serializing_if = "BatchNormMode::is_default")]
    pub batch_norm: BatchNormMode,
    /// Of a file: whether the convolutions that are trained get batch normalizations, which are folded
    /// back when the model is exported.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unfold: bool,
}

/// By what the batch normalizations of a pretrained network normalize where they are trained. Scale
/// and shift are trained in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchNormMode {
    /// By the stored statistics, as in inference, which stay as they are: those of a few images would
    /// undo what the network has learned.
    #[default]
    Inference,
    /// By those of the batch, which the stored ones follow.
    Live,
}

kiln_util::str_enum!(BatchNormMode: Serialize {
    Inference = "inference",
    Live = "live",
});

impl BatchNormMode {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands over a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A convolutional network without its classifier, whose weights come from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// As written in a recipe.
    pub name: String,
    /// Number of channels of its input images.
    pub channels: usize,
    /// The asset that holds its weights, where there is one: the default in a recipe.
    pub weights: Option<String>,
    /// Its layers, each with a name.
    pub layers: Vec<LayerSpec>,
    /// Of a network that is read from its file and run by an inference engine: what it takes.
    pub file: Option<FileBase>,
}

/// What is known of a base that is read from a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileBase {
    /// Number of channels of its input images.
    pub channels: usize,
    /// The order of the axes of its images.
    pub layout: Layout,
    /// Height and width of its images in pixels, where they are known.
    pub size: Option<[u32; 2]>,
    /// How it expects its images to be prepared, if the file or its sidecar says so.
    pub preprocessing: Option<Preprocessing>,
    /// SHA-256 of the file's model, its tensors included.
    pub sha256: String,
    /// Up to the value that the recipe's own layers come after; at least one.
    pub segments: Vec<FileSegment>,
}

/// A segment of a file's graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileSegment {
    /// Unique in the file.
    pub name: String,
    /// Name of the value at its end in the file.
    pub value: String,
    /// Dimensions of one sample of that value, or what is known of its shape.
    pub output: Result<Vec<usize>, String>,
    /// Number of values in its tensors.
    pub parameters: usize,
    /// Multiplications with an addition each for one image, as far as they are known.
    pub multiply_adds: u64,
    /// The terms that one value of each layer sums up: what rounding grows with.
    pub terms: u64,
    /// The graph that Burn computes and trains, or why it cannot, as a sentence.
    pub trained: Result<Segment, String>,
}

impl FileSegment {
    /// Returns the shape of one sample of the value at its end.
    ///
    /// # Errors
    ///
    /// Why no layer can take it.
    pub fn shape(&self) -> Result<Shape, String> {
        let shape = self.output.as_ref().ok();
        let shape = shape.and_then(|dims| Shape::from_dims(dims));
        shape.ok_or_else(|| match &self.output {
            Ok(dims) => {
                let dims: Vec<_> = dims.iter().map(ToString::to_string).collect();
                format!(
                    "`{}` has the shape [N, {}], expected [N, channels, height, width], [N, tokens, features] or [N, features]",
                    self.name,
                    dims.join(", ")
                )
            }
            Err(problem) => problem.clone(),
        })
    }
}

impl FileBase {
    /// Returns the first segment from which on all can be trained, or their number if none can.
    pub(crate) fn trainable_from(&self) -> usize {
        let layer = |segment: &FileSegment| segment.trained.is_ok() && segment.shape().is_ok();
        let after = self.segments.iter().rposition(|segment| !layer(segment));
        let first = after.map_or(0, |at| at + 1);
        // The value in front of the first one is what is kept as features.
        let cut = |at: usize| at == 0 || self.segments[at - 1].shape().is_ok();
        let end = self.segments.len();
        (first..end).find(|&at| cut(at)).unwrap_or(end)
    }

    /// Returns the layers of the file: one for the segments before the first that is trained, which an
    /// inference engine runs, and one for each of the others, whose convolutions are unfolded where
    /// `unfold` has a flag for the segment.
    ///
    /// # Errors
    ///
    /// The segment, counted from 0, that cannot be computed in training or after which the file
    /// cannot be cut, and why.
    fn layers(
        &self,
        first_trained: usize,
        batch_norm: BatchNormMode,
        unfold: &[bool],
    ) -> Result<Vec<LayerSpec>, (usize, String)> {
        let frozen = &self.segments[..first_trained];
        let mut layers = Vec::new();
        if let Some(last) = frozen.last() {
            let output = last
                .shape()
                .map_err(|problem| (first_trained - 1, problem))?;
            layers.push(LayerSpec {
                name: Some("backbone".into()),
                kind: LayerKind::Graph(GraphLayer {
                    sha256: self.sha256.clone(),
                    segments: frozen.iter().map(|segment| segment.name.clone()).collect(),
                    value: last.value.clone(),
                    output,
                    parameters: frozen.iter().map(|segment| segment.parameters).sum(),
                    multiply_adds: frozen.iter().map(|segment| segment.multiply_adds).sum(),
                    terms: frozen.iter().map(|segment| segment.terms).sum(),
                }),
            });
        }
        for (at, segment) in self.segments.iter().enumerate().skip(first_trained) {
            let graph = segment.trained.clone().map_err(|problem| (at, problem))?;
            segment.shape().map_err(|problem| (at, problem))?;
            let (graph, unfolded) = if unfold.get(at) == Some(&true) {
                graph.unfolded(self.after(at))
            } else {
                (graph, Vec::new())
            };
            layers.push(LayerSpec {
                name: Some(segment.name.clone()),
                kind: LayerKind::Segment(Box::new(SegmentLayer {
                    segment: graph,
                    live_batch_norm: batch_norm == BatchNormMode::Live,
                    unfolded,
                })),
            });
        }
        Ok(layers)
    }

    /// The graph of the segment after this one, where it is known.
    fn after(&self, at: usize) -> Option<&Segment> {
        self.segments.get(at + 1)?.trained.as_ref().ok()
    }

    /// Returns why none of the segments that are trained, each with a flag, has a convolution to unfold;
    /// none if one has.
    pub(crate) fn unfold_problem(&self, trained: &[bool]) -> Option<String> {
        if !trained.contains(&true) {
            return Some("no segment of the file is trained".into());
        }
        let flagged = self.segments.iter().zip(trained).enumerate();
        let trained = flagged.filter_map(|(at, (segment, &trained))| {
            let graph = segment.trained.as_ref().ok().filter(|_| trained)?;
            Some((graph, self.after(at)))
        });
        let trained: Vec<_> = trained.collect();
        let any = trained
            .iter()
            .any(|(graph, next)| !graph.unfolded(*next).1.is_empty());
        if any {
            return None;
        }
        let mut reasons = trained
            .iter()
            .filter_map(|(graph, next)| graph.not_unfolded(*next));
        Some(match reasons.next() {
            Some(reason) => {
                format!("no convolution that is trained can be unfolded: {reason}")
            }
            None => "no segment that is trained has a convolution".into(),
        })
    }
}

impl Base {
    /// The base that a file holds, none of it trained: one layer, called `backbone`.
    ///
    /// # Errors
    ///
    /// Why no layer can come after its last segment.
    pub fn of_file(name: &str, file: FileBase) -> Result<Self, String> {
        let layers = file.layers(file.segments.len(), BatchNormMode::default(), &[]);
        Ok(Self {
            name: name.into(),
            channels: file.channels,
            weights: None,
            layers: layers.map_err(|(_, problem)| problem)?,
            file: Some(file),
        })
    }

    /// Makes layers of the segments of a file from one on, since they are trained; `unfold` has a flag
    /// for each segment whose convolutions are unfolded, or is empty.
    ///
    /// # Errors
    ///
    /// The first segment that cannot be, counted from 0, and why.
    pub(crate) fn train_from(
        &mut self,
        first_trained: usize,
        batch_norm: BatchNormMode,
        unfold: &[bool],
    ) -> Result<(), (usize, String)> {
        if let Some(file) = &self.file {
            self.layers = file.layers(first_trained, batch_norm, unfold)?;
        }
        Ok(())
    }

    /// Whether it is read from a file and run by an inference engine.
    pub fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// VGG16 without its dense layers: 13 convolutions in 5 blocks, called as in Keras:
    /// `block1_conv1`, …, `block5_pool`. Simonyan and Zisserman (2015), configuration D.
    pub fn vgg16() -> Self {
        let mut layers = Vec::new();
        for (block, filters) in (1..).zip(VGG16) {
            layers.extend((1..).zip(filters).map(|(number, &filters)| LayerSpec {
                name: Some(format!("block{block}_conv{number}")),
                kind: LayerKind::Conv2d(Conv2d {
                    padding: Padding::Same,
                    activation: Some(Activation::Relu),
                    ..Conv2d::of_size(filters, [3, 3])
                }),
            }));
            layers.push(LayerSpec {
                name: Some(format!("block{block}_pool")),
                kind: LayerKind::MaxPool(MaxPool(Pool::of_size([2, 2]))),
            });
        }
        Self {
            name: "vgg16".into(),
            channels: 3,
            weights: Some("vgg16".into()),
            layers,
            file: None,
        }
    }
}

/// Filters of the convolutions of each block.
const VGG16: [&[usize]; 5] = [
    &[64, 64],
    &[128, 128],
    &[256, 256, 256],
    &[512, 512, 512],
    &[512, 512, 512],
];

fn name_only<S: Serializer>(base: &Base, serializer: S) -> Result<S::Ok, S::Error> {
    base.name.serialize(serializer)
}
