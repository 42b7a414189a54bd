//! What runs models.

use kiln_inference::probe_ort;

use super::finding::Finding;
use crate::app::App;

/// The engines, and what ONNX Runtime's library can do.
pub fn findings(app: &App<'_>) -> Vec<Finding> {
    let tract = Finding::ok("tract", "built in: pure Rust, on the CPU");
    let named = std::env::var_os("KILN_ORT_LIB").filter(|value| !value.is_empty());
    let ort = match (probe_ort(&kiln_pipeline::engines::options(&app.context)), named) {
        (Ok(library), _) => {
            let version = library.version.as_deref().unwrap_or("of unknown version");
            let found = format!(
                "{version}, {}\n{}",
                library.path.display(),
                library.providers.join(", ")
            );
            Finding::ok("ONNX Runtime", found)
        }
        (Err(error), Some(named)) => Finding::broken(
            "ONNX Runtime",
            error.to_string(),
            format!(
                "`unset KILN_ORT_LIB` takes back {}; then `kiln fetch onnxruntime`",
                named.display()
            ),
        ),
        (Err(error), None) => Finding::missing(
            "ONNX Runtime",
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .trim_end_matches("; tried"),
            "kiln fetch onnxruntime",
        ),
    };
    vec![tract, ort]
}
