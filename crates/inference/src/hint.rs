//! What can be done about an error.

use std::fmt;

use crate::choice::EngineId;

/// What can be done about an error, for programs to word in their own terms. Its text names neither
/// commands nor options.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Install ONNX Runtime, or name its library.
    InstallOnnxRuntime,
    /// Use the library that is loaded, or a new process.
    NewProcess,
    /// Use a GPU build of ONNX Runtime with CUDA and cuDNN, or the CPU.
    InstallCuda,
    /// Use an engine that supports the device, or the CPU.
    SupportedDevice {
        /// The engines of this build that do.
        engines: Vec<EngineId>,
    },
    /// Use another engine, or export the model again.
    OtherEngine,
    /// Use another engine, or export the model without the operator.
    OtherEngineOrOperator,
    /// Remove the output from the graph.
    RemoveOutput,
    /// Specify something about the model, or export it with kiln.
    Specify(Unspecified),
    /// Export the model with outputs of float32.
    FloatOutput,
    /// Specify as many labels as the model has classes.
    MatchLabels,
    /// Use the labels that the file has.
    FileLabels,
    /// Specify preprocessing that keeps pixels as they are.
    KeepPixels,
    /// Correct size, channels or layout of the preprocessing.
    MatchInput,
    /// Convert the model to float32.
    ConvertToFloat,
    /// Export the model with a single input of four axes.
    ImageInput,
    /// Export the model again.
    ExportAgain,
    /// Export the model with a smaller or an open batch.
    SmallerBatch,
    /// Give two labels, the second of which the score is for.
    TwoLabels,
    /// Specify that scores are of each class by itself, or leave the threshold out.
    OutputIsSigmoid,
    /// Give one threshold, or one for each class.
    MatchThresholds,
    /// Name one of the graph's outputs.
    ChooseOutput,
    /// Export the model for inference rather than training.
    ExportForInference,
    /// Take the softmax over the classes.
    SoftmaxAxis,
    /// Check the softmax's axis, or specify scores of each class by itself.
    NoDistribution,
    /// Specify that the output is logits.
    OutputIsLogits,
    /// Give at least 1, or leave the option out.
    AtLeastOne,
    /// Ask for fewer threads.
    FewerThreads,
    /// What can be done about an image.
    Image(kiln_preprocess::Hint),
    /// What can be done about a model's file.
    File(kiln_onnx::Hint),
    /// Check how the input was prepared.
    CheckInput,
    /// Check the values of the preprocessing.
    CheckPreprocessing,
    /// Export with golden vectors, or compare with a model that is known to be right.
    AddGolden,
}

/// What neither a file nor a caller specifies about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unspecified {
    /// How pixels become the model's input.
    Preprocessing,
    /// Height and width of the images.
    Size,
    /// Names of the classes.
    Labels,
}

impl Unspecified {
    /// Returns the metadata key that would specify it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Preprocessing | Self::Size => "kiln.preprocessing",
            Self::Labels => "kiln.labels",
        }
    }
}

impl fmt::Display for Unspecified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preprocessing => "preprocessing",
            Self::Size => "size of the images",
            Self::Labels => "labels",
        })
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InstallOnnxRuntime => "install ONNX Runtime, or name its library",
            Self::NewProcess => "use the loaded library, or start a new process to use another",
            Self::InstallCuda => {
                "use a GPU build of ONNX Runtime with CUDA and cuDNN installed, or the device `cpu`"
            }
            Self::SupportedDevice { engines } => {
                for engine in engines {
                    write!(f, "use the engine `{engine}`, or ")?;
                }
                "use the device `cpu`"
            }
            Self::OtherEngine => "use another engine, or export the model again",
            Self::OtherEngineOrOperator => {
                "use another engine, or export the model without the operator"
            }
            Self::RemoveOutput => "remove the output from the graph",
            Self::Specify(what) => {
                return write!(f, "specify the {what}, or export the model with kiln");
            }
            Self::FloatOutput => {
                "export it with float32 inputs and outputs, whatever its weights are (keep_io_types=True of onnxconverter-common)"
            }
            Self::MatchLabels => "give as many labels as the model has classes",
            Self::FileLabels => "use the file's own labels",
            Self::KeepPixels => {
                "use preprocessing that keeps pixels as they are, since the graph does the rest"
            }
            Self::MatchInput => "correct the size, the channels or the layout of the preprocessing",
            Self::ConvertToFloat => "convert the model to float32",
            Self::ImageInput => {
                "export the model with a single input of four axes: batch, channels, height, width, or channels last"
            }
            Self::ExportAgain => "export the model again",
            Self::SmallerBatch => "export the model with a smaller or an open batch",
            Self::OutputIsSigmoid => {
                "specify that the output is of a sigmoid, if it is, or leave the threshold out"
            }
            Self::MatchThresholds => "give one threshold, or one for each class",
            Self::TwoLabels => "give two labels: the score is that of the second",
            Self::ChooseOutput => "name one of these",
            Self::ExportForInference => {
                "export the model for inference, in PyTorch after `model.eval()`"
            }
            Self::SoftmaxAxis => "export the model with a softmax over axis 1, or without one",
            Self::NoDistribution => {
                "specify the output as `sigmoid` if each class has a probability by itself, or as `logits`; if it ends in a \
                 softmax, export it with one over the classes"
            }
            Self::OutputIsLogits => "specify the output as `logits` if it holds those",
            Self::AtLeastOne => "give at least 1, or leave it out",
            Self::FewerThreads => "ask for fewer, or check the limits on processes and memory",
            Self::Image(hint) => return hint.fmt(f),
            Self::File(hint) => return hint.fmt(f),
            Self::CheckInput => "check how it was prepared",
            Self::CheckPreprocessing => "correct the preprocessing",
            Self::AddGolden => {
                "export the model with kiln where the recipe's dataset is available, or compare its predictions with \
                 those of a file that is known to be right"
            }
        };
        f.write_str(text)
    }
}
