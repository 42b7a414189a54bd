//! What to do about errors, for the line `help: …`.
//!
//! Libraries return hints as values, since they know neither commands nor options. Here they become
//! text: one function for each crate.

use std::error::Error;

/// Returns what to do about an error: the hint of the first in its chain that has one.
pub fn help(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|error| {
        inference(error)
            .or_else(|| onnx(error))
            .or_else(|| preprocess(error))
    })
}

/// Hints of `kiln_inference`.
pub fn inference(error: &(dyn Error + 'static)) -> Option<String> {
    use kiln_inference::{EngineError, Hint, LoadError, RunError, VerifyError};

    let hint = if let Some(error) = error.downcast_ref::<LoadError>() {
        error.hint()?
    } else if let Some(error) = error.downcast_ref::<EngineError>() {
        error.hint()?
    } else if let Some(error) = error.downcast_ref::<RunError>() {
        error.hint()?
    } else {
        error.downcast_ref::<VerifyError>()?.hint()?
    };
    if let Some(command) = install(&hint) {
        return Some(format!(
            "run `{command}`, or set KILN_ORT_LIB to the library's file"
        ));
    }
    Some(match hint {
        Hint::SupportedDevice { engines } => {
            let engines = engines
                .iter()
                .map(|engine| format!("--engine {engine}, or "));
            format!("use {}--device cpu", engines.collect::<String>())
        }
        Hint::InstallCuda => {
            "use a GPU build of ONNX Runtime with CUDA and cuDNN installed, or --device cpu".into()
        }
        Hint::OutputIsLogits => "give --output logits if it holds those".into(),
        other => other.to_string(),
    })
}

/// The command that installs what a hint of `kiln_inference` asks for.
pub fn install(hint: &kiln_inference::Hint) -> Option<&'static str> {
    (*hint == kiln_inference::Hint::InstallOnnxRuntime).then_some("kiln fetch onnxruntime")
}

/// Hints of `kiln_preprocess`.
pub fn preprocess(error: &(dyn Error + 'static)) -> Option<String> {
    let error = error.downcast_ref::<kiln_preprocess::PreprocessError>()?;
    Some(error.hint().to_string())
}

/// Hints of `kiln_onnx`.
pub fn onnx(error: &(dyn Error + 'static)) -> Option<String> {
    use kiln_onnx::{LoadError, MetadataError, TensorError};

    let hint = if let Some(error) = error.downcast_ref::<LoadError>() {
        error.hint()?
    } else if let Some(error) = error.downcast_ref::<MetadataError>() {
        error.hint()?
    } else {
        error.downcast_ref::<TensorError>()?.hint()?
    };
    Some(hint.to_string())
}
