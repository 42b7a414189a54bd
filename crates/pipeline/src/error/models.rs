//! Models that cannot be loaded, described, timed or compared as asked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use kiln_inference::{SidecarError, Unspecified};
use kiln_quantize::QuantizeError;

use crate::hint::Hint;

/// A model cannot be loaded as it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnginesError {
    /// A folder that is no run directory.
    #[error("expected a model's file or a run directory, found the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The name of a file to write is that of another format.
    #[error("`{}` does not end in .onnx, and would be an ONNX file", path.display())]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// A run whose model was not exported.
    #[error("the run {} has no exported model", run.display())]
    NotExported {
        /// The run directory.
        run: PathBuf,
    },
    /// A file of some layers alone.
    #[error(
        "{model} holds only the layers after `{layer}` and takes the output of that layer, not images"
    )]
    HeadOnly {
        /// The file, as messages call it.
        model: String,
        /// The last of the layers that are not in it.
        layer: String,
    },
    /// Something that nobody specifies.
    #[error("{model} does not specify the {what}")]
    NotSpecified {
        /// The file, as messages call it.
        model: String,
        /// What is missing.
        what: Unspecified,
        /// Where a sidecar is looked for.
        sidecar: PathBuf,
    },
    /// Golden vectors are asked for of a file that has none.
    #[error("{} has no golden vectors (metadata key `kiln.golden`)", path.display())]
    NoGolden {
        /// The file.
        path: PathBuf,
    },
    /// Golden vectors cannot be replayed.
    #[error("cannot verify {}: {source}", path.display())]
    Verify {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: kiln_inference::VerifyError,
    },
}

impl EnginesError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Folder { .. } => Hint::CheckPath,
            Self::NotExported { run } => Hint::ExportFirst { run: run.clone() },
            Self::HeadOnly { .. } => Hint::WholeModel,
            Self::NotSpecified { what, sidecar, .. } => Hint::Specify {
                key: match what {
                    Unspecified::Labels => "labels",
                    Unspecified::Size => "size",
                    Unspecified::Preprocessing => "preprocess",
                },
                sidecar: sidecar.clone(),
            },
            Self::NoGolden { .. } => Hint::ExportWithGolden,
            Self::Ending { .. } => Hint::OtherFile,
            Self::Verify { .. } => return None,
        })
    }
}

/// What is specified about a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverridesError {
    /// A sidecar, settings, or a file of labels cannot be used.
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
    /// A file of another tool beside the model cannot be followed.
    #[error("cannot use the preprocessing of {}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        problem: String,
    },
}

impl OverridesError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Sidecar(error) => match error {
                SidecarError::Parse(_) => None,
                SidecarError::Labels { .. } => Some(Hint::CheckFile),
                SidecarError::ReadLabels { .. }
                | SidecarError::Read { .. }
                | SidecarError::Kind { .. } => Some(Hint::CheckPath),
            },
            Self::Config { .. } => Some(Hint::CheckFile),
        }
    }
}

/// A tool that has its own form of a model's preprocessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tool {
    /// Hugging Face's transformers.
    HuggingFace,
    /// timm.
    Timm,
}

impl Tool {
    /// The form, as hints call it.
    const fn format(self) -> &'static str {
        match self {
            Self::HuggingFace => "Hugging Face",
            Self::Timm => "timm",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HuggingFace => "Hugging Face's image processor",
            Self::Timm => "timm's pipeline",
        })
    }
}

/// A model cannot be written in another form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// A graph that prepares images itself.
    #[error(
        "this model takes uint8 pixels and prepares them itself, {tool} returns prepared values"
    )]
    Pixels {
        /// The tool.
        tool: Tool,
    },
    /// A model that takes channels in the other order.
    #[error("{tool} returns channels in the order rgb, this model takes bgr")]
    Bgr {
        /// The tool.
        tool: Tool,
    },
    /// A step that the other tool does not have.
    #[error("{tool} cannot {step}, as this model does")]
    Step {
        /// The tool.
        tool: Tool,
        /// The step.
        step: &'static str,
    },
    /// A copy with all weights inside that is larger than an ONNX file can be.
    #[error(
        "a copy with the weights inside would have {bytes} bytes, an ONNX file has at most {}",
        kiln_onnx::MAX_FILE_BYTES
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] kiln_onnx::MetadataError),
    /// The file cannot be copied.
    #[error(transparent)]
    Decode(#[from] kiln_onnx::DecodeError),
    /// The graph cannot be read as a chain of segments.
    #[error("the graph has no segments: {source}")]
    Segments {
        /// Why not.
        source: Box<kiln_import::GraphError>,
    },
    /// The configuration cannot be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl DescribeError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::TooLarge { .. } => Some(Hint::Sidecar),
            Self::Pixels { tool } | Self::Step { tool, .. } => Some(Hint::LeaveOutFormat {
                format: tool.format(),
                or: None,
            }),
            Self::Bgr { tool } => Some(Hint::LeaveOutFormat {
                format: tool.format(),
                or: Some("export the model with its channels in the order rgb"),
            }),
            Self::Metadata(_) | Self::Decode(_) | Self::Json(_) | Self::Segments { .. } => None,
        }
    }
}

/// The model of a network cannot be made of its weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not one of the network's weights.
    #[error("cannot convert {}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: kiln_zoo::ConvertError,
    },
    /// A file has no labels.
    #[error("cannot take labels from {}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: kiln_zoo::LabelsError,
    },
    /// The asset does not consist of weights, and of labels where there are classes.
    #[error("expected weights, or weights and labels, found {found} files")]
    Files {
        /// Number of files.
        found: usize,
    },
}

impl NetworkError {
    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn weights(path: &Path) -> impl FnOnce(kiln_zoo::ConvertError) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Weights { path, source }
    }

    pub(crate) fn labels(path: &Path) -> impl FnOnce(kiln_zoo::LabelsError) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Labels { path, source }
    }

    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Read { .. } => Some(Hint::CheckPath),
            Self::Weights { .. } | Self::Labels { .. } | Self::Files { .. } => None,
        }
    }
}

/// Models cannot be timed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A batch that takes too much memory.
    #[error(
        "a batch of {images} images of {} x {} x {} takes more than {} GiB",
        shape[0], shape[1], shape[2], limit >> 30
    )]
    TooLarge {
        /// Images of the batch.
        images: usize,
        /// Channels, height and width of an image.
        shape: [usize; 3],
        /// Most bytes of a batch.
        limit: usize,
    },
}

impl BenchError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::TooLarge { .. } => Some(Hint::SmallerBatches),
        }
    }
}

/// Vectors cannot be computed or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The graph cannot be read as a chain of segments.
    #[error("the graph of `{}` has no segments: {source}", file.display())]
    Graph {
        /// The model's file.
        file: PathBuf,
        /// Why not.
        source: Box<kiln_import::GraphError>,
    },
    /// There is no such value.
    #[error("{problem}")]
    Output {
        /// The model's file.
        file: PathBuf,
        /// Why not.
        problem: String,
    },
    /// A classifier that takes the image itself.
    #[error("no operation comes before the classifier of `{}`", file.display())]
    NoFeatures {
        /// The model's file.
        file: PathBuf,
    },
    /// A value whose shape depends on the size of the image.
    #[error("the shape of `{segment}` is not known without the size of the image")]
    UnknownShape {
        /// The segment.
        segment: String,
    },
    /// A value that is no vector and no feature map.
    #[error(
        "expected an output of shape [N, features] or [N, channels, height, width], found {shape}{} at `{segment}`{}",
        tokens.map_or_else(String::new, |tokens| format!(", a vector for each of {tokens} tokens,")),
        instead.as_ref().map_or_else(String::new, |instead| format!(": `{instead}` after it is a vector"))
    )]
    Shape {
        /// The segment.
        segment: String,
        /// Its shape.
        shape: String,
        /// Number of vectors, if it is a sequence of them.
        tokens: Option<usize>,
        /// A segment after it that gives a vector.
        instead: Option<String>,
        /// The model's file.
        file: PathBuf,
    },
    /// The part of the graph cannot be taken out of it.
    #[error(transparent)]
    Cut(#[from] kiln_exporter::GraftError),
    /// The name of a file to write is that of another format.
    #[error("`{}` does not end in .npy, and would be a file of NumPy's", path.display())]
    Ending {
        /// The file.
        path: PathBuf,
    },
}

impl EmbedError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Shape {
                instead: Some(output),
                ..
            } => Hint::TakeOutput {
                output: output.clone(),
            },
            Self::Output { file, .. } | Self::Shape { file, .. } => {
                Hint::ListSegments { file: file.clone() }
            }
            Self::UnknownShape { .. } => Hint::SpecifySize,
            Self::Ending { .. } => Hint::EndIn { endings: &[".npy"] },
            Self::Graph { .. } | Self::NoFeatures { .. } | Self::Cut(_) => return None,
        })
    }
}

/// Images cannot be explained as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// A class that the model does not have.
    #[error(
        "the model has no class `{class}`{}",
        near.as_ref().map_or_else(String::new, |near| format!(": did you mean `{near}`?"))
    )]
    Class {
        /// What was given for its name or number.
        class: String,
        /// A class with a similar name.
        near: Option<String>,
        /// Number of the model's classes.
        classes: usize,
    },
    /// A patch that is no part of the image.
    #[error(
        "a patch of {patch} x {patch} pixels does not fit into {height} x {width}, which the model takes"
    )]
    Patch {
        /// Its side in pixels.
        patch: usize,
        /// Height of the model's input in pixels.
        height: usize,
        /// Its width in pixels.
        width: usize,
    },
    /// A model whose gradients are asked for, and which is no run directory.
    #[error("`{}` is no run directory, and gradients go through the layers of a run", path.display())]
    NoRun {
        /// The model.
        path: PathBuf,
    },
    /// A run's model whose layers have no feature maps, or in which a sequence of vectors follows them.
    #[error("the model of `{}` has no feature maps of several places that gradients lead to", run.display())]
    NoPlaces {
        /// The run directory.
        run: PathBuf,
    },
    /// A stride that leaves pixels uncovered.
    #[error("a stride of {stride} pixels does not fit patches of {patch} x {patch}")]
    Stride {
        /// From one patch to the next, in pixels.
        stride: usize,
        /// A patch's side in pixels.
        patch: usize,
    },
}

impl ExplainError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Class { classes, .. } => Hint::NameClass { classes: *classes },
            Self::Patch { height, width, .. } => Hint::Within {
                key: "patch",
                most: (*height).min(*width),
            },
            Self::Stride { patch, .. } => Hint::Within {
                key: "stride",
                most: *patch,
            },
            Self::NoRun { .. } | Self::NoPlaces { .. } => Hint::CoverPatches,
        })
    }
}

/// Models cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A class that the models call differently.
    #[error("class {class} of the first model is `{first}`, that of the second `{second}`")]
    Class {
        /// Its number.
        class: usize,
        /// Its name by the first model.
        first: String,
        /// Its name by the second model.
        second: String,
    },
    /// Different numbers of classes.
    #[error("the first model has {first} classes, the second {second}")]
    Classes {
        /// Number of the first model's classes.
        first: usize,
        /// Number of the second model's.
        second: usize,
    },
}

impl CompareError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Class { .. } | Self::Classes { .. } => Some(Hint::SameClasses),
        }
    }
}

/// A model cannot be made smaller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeModelError {
    /// The model is one that cannot be.
    #[error("cannot quantize {}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: QuantizeError,
    },
    /// What was observed does not suffice.
    #[error("cannot quantize the model: {0}")]
    Quantize(QuantizeError),
    /// A layer to leave in float that there is not.
    #[error("no layer `{name}` is put into 8 bits")]
    Node {
        /// As it was called.
        name: String,
        /// One that is called nearly so.
        near: Option<String>,
    },
    /// Data without an image.
    #[error("`{data}` has no images to calibrate the model with")]
    NoImages {
        /// The data.
        data: String,
    },
    /// Golden vectors for which the smaller model gives no number.
    #[error("the quantized model gives scores that are not finite for its golden vectors")]
    NotFinite,
    /// Golden vectors that cannot be replayed.
    #[error("cannot replay the golden vectors of the quantized model: {source}")]
    Golden {
        /// Why not.
        source: kiln_inference::VerifyError,
    },
}

impl QuantizeModelError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Model {
                source: QuantizeError::Opset { needed, .. },
                ..
            } => Some(Hint::NewerOpset { needed: *needed }),
            Self::Node { near, .. } => Some(Hint::QuantizedLayers { near: near.clone() }),
            Self::NoImages { .. } => Some(Hint::CheckPath),
            Self::Model { .. } | Self::Quantize(_) | Self::NotFinite | Self::Golden { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_too_large_is_described_in_words() {
        let error = BenchError::TooLarge {
            images: 9000,
            shape: [3, 224, 224],
            limit: 1 << 30,
        };
        assert_eq!(
            error.to_string(),
            "a batch of 9000 images of 3 x 224 x 224 takes more than 1 GiB"
        );
    }
}
