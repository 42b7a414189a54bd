//! How a model is loaded.

use std::path::PathBuf;

use kiln_model::ModelOverrides;

use crate::error::LoadErrorKind;

/// What computes the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EngineChoice {
    /// tract: pure Rust, CPU only, nothing to install.
    #[default]
    Tract,
    /// ONNX Runtime: a shared library found at run time.
    Ort,
}

/// Where the graph is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU, by ONNX Runtime's CUDA execution provider. An error where that does
    /// not work.
    Cuda,
    /// The GPU where it works, the processor elsewhere; [`Receipt`](crate::Receipt) says which it
    /// was, and why.
    Auto,
}

kiln_util::str_enum!(EngineChoice { Tract = "tract", Ort = "ort" });
kiln_util::str_enum!(Device { Cpu = "cpu", Cuda = "cuda", Auto = "auto" });

/// How a model is loaded. The default is tract on the processor, with what the file says. Numbers
/// are at least 1.
///
/// ONNX Runtime's library is looked for in this order: [`ort_library`](Self::ort_library), the
/// environment variable `KILN_ORT_LIB`, [`library_cache`](Self::library_cache), beside the program,
/// the system. The first two are orders rather than hints: if one is given and does not work, that
/// is an error, and nothing else is tried.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What computes the graph.
    pub engine: EngineChoice,
    /// Where it is computed.
    pub device: Device,
    /// Number of threads; as many as there are cores if not given.
    pub threads: Option<usize>,
    /// How many runs callers can have at a time on ONNX Runtime, which shares `threads` out among
    /// them, so that there are no more than those; further callers wait. One if not given: each run
    /// has all threads, which is best for one caller with batches. As many as threads is best for
    /// many callers with single images, and takes the memory of the weights and of a run once for
    /// each.
    pub parallel_runs: Option<usize>,
    /// Most images of one run of the graph: a larger batch is cut into several, so that the memory
    /// for what lies between the layers stays bounded. If not given 256 on ONNX Runtime, and 16 on
    /// tract, which takes no more. A graph whose batch size is fixed keeps to that.
    pub max_batch: Option<usize>,
    /// ONNX Runtime's library, or the folder that it is in.
    pub ort_library: Option<PathBuf>,
    /// File or folder where a downloaded ONNX Runtime library is kept.
    pub library_cache: Option<PathBuf>,
    /// What the caller says about preprocessing, labels, layout and output: it goes before what the
    /// file says, and is needed for files that say nothing, such as those of other exporters.
    ///
    /// ```
    /// use kiln_inference::{ModelOverrides, Options, Preprocess};
    ///
    /// let declared = ModelOverrides { preprocess: Some(Preprocess::Torch), ..ModelOverrides::default() };
    /// let options = Options { declared, ..Options::default() };
    /// ```
    pub declared: ModelOverrides,
}

impl Options {
    /// Refuses 0, which would be taken for "as many as there are" by some and for 1 by others: no
    /// number says that here.
    pub(crate) fn check(&self) -> Result<(), LoadErrorKind> {
        let numbers = [
            ("threads", self.threads),
            ("parallel_runs", self.parallel_runs),
            ("max_batch", self.max_batch),
        ];
        match numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            Some((option, _)) => Err(LoadErrorKind::Zero { option }),
            None => Ok(()),
        }
    }
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
            "expected one of `cpu`, `cuda`, `auto`; did you mean `cuda`?"
        );
    }
}
