//! How a model is loaded.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use kiln_onnx::OutputKind;
use kiln_spec::Preprocessing;

/// What computes the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EngineChoice {
    /// tract: pure Rust, CPU only, nothing to install.
    #[default]
    Tract,
    /// ONNX Runtime: a shared library found at run time.
    Ort,
}

impl EngineChoice {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Tract, Self::Ort];

    /// The word used on the command line and in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::Ort => "ort",
        }
    }
}

/// Where the graph is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU, by ONNX Runtime's CUDA execution provider. An error where that does not work.
    Cuda,
    /// The GPU where it works, the processor elsewhere; [`Receipt`](crate::Receipt) says which it was, and why.
    Auto,
}

impl Device {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Cuda, Self::Auto];

    /// The word used on the command line and in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Auto => "auto",
        }
    }
}

/// A word that is no engine or no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, found `{found}`: use one of these words")]
pub struct UnknownWord {
    expected: String,
    found: String,
}

macro_rules! words {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.into_iter().find(|choice| choice.as_str() == word).ok_or_else(|| UnknownWord {
                    expected: Self::ALL.map(|choice| format!("`{choice}`")).join(", "),
                    found: word.to_owned(),
                })
            }
        }
    )*};
}

words!(EngineChoice, Device);

/// How a model is loaded. The default is tract on the processor, with what the file says.
///
/// ONNX Runtime's library is looked for in this order: [`ort_library`](Self::ort_library), the environment variable
/// `KILN_ORT_LIB`, [`library_cache`](Self::library_cache), beside the program, the system. The first two are orders
/// rather than hints: if one is given and does not work, that is an error, and nothing else is tried.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What computes the graph.
    pub engine: EngineChoice,
    /// Where it is computed.
    pub device: Device,
    /// Number of threads; as many as there are cores if not given.
    pub threads: Option<usize>,
    /// How many runs callers can have at a time on ONNX Runtime, which shares `threads` out among them; further callers
    /// wait. One if not given: each run has all threads, which is best for one caller with batches. As many as threads is
    /// best for many callers with single images, and takes the memory of the weights and of a run once for each.
    pub parallel_runs: Option<usize>,
    /// Most images of one run of the graph: a larger batch is cut into several, so that the memory for what lies between
    /// the layers stays bounded. If not given 256 on ONNX Runtime, and 16 on tract, which takes no more. A graph whose
    /// batch size is fixed keeps to that.
    pub max_batch: Option<usize>,
    /// ONNX Runtime's library, or the folder that it is in.
    pub ort_library: Option<PathBuf>,
    /// File or folder where a downloaded ONNX Runtime library is kept.
    pub library_cache: Option<PathBuf>,
    /// Preprocessing, in place of what the file says.
    pub preprocessing: Option<Preprocessing>,
    /// Names of the classes in the order of the output, in place of what the file says.
    pub labels: Option<Vec<String>>,
    /// What the output is, in place of what the file says. Where neither says it, a graph that ends in a softmax gives
    /// probabilities, any other logits.
    pub output: Option<OutputKind>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for engine in EngineChoice::ALL {
            assert_eq!(engine.to_string().parse(), Ok(engine));
        }
        for device in Device::ALL {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!(
            "gpu".parse::<Device>().unwrap_err().to_string(),
            "expected one of `cpu`, `cuda`, `auto`, found `gpu`: use one of these words"
        );
    }
}
