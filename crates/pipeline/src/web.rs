//! A folder with a page that runs a run's model in the browser.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_assets::Asset;
use kiln_page::{RUNTIME_FILES, of_browser};
use kiln_run::RunDir;
use kiln_util::{FileError, write_atomically};

use crate::context::Context;
use crate::error::Result;
use crate::export::{ExportForm, ExportRequest, export_run};

/// Name of the model in the folder, by which the page asks for it.
const MODEL: &str = "model.onnx";

/// Writes a run's model, in the form that takes pixels, into a folder with a page that runs it in the browser, and returns the
/// page's file. Any web server can serve the folder; the page asks for nothing outside of it. What is in the folder already is
/// replaced where it has the same name.
///
/// ONNX Runtime Web is fetched if it is not in the cache. `golden` is whether the model has golden vectors, which the page replays.
pub fn export_web(
    run: &RunDir,
    folder: &Path,
    golden: bool,
    context: &Context<'_>,
) -> Result<PathBuf> {
    // First, since it may fail for want of a network.
    let runtime =
        context
            .assets
            .require(&Asset::onnxruntime_web(), context.observer, &context.cancel)?;
    let ort = folder.join("ort");
    fs::create_dir_all(&ort).map_err(|source| FileError::Write {
        path: ort.clone(),
        source,
    })?;
    let request = ExportRequest {
        form: ExportForm::Uint8Input,
        golden,
        output: Some(folder.join(MODEL)),
        ..ExportRequest::default()
    };
    export_run(run, &request, context)?;
    for (name, file) in RUNTIME_FILES.iter().zip(&runtime.files) {
        let bytes = fs::read(&file.path).map_err(|source| FileError::Write {
            path: ort.join(name),
            source,
        })?;
        write_atomically(&ort.join(name), &bytes)?;
    }
    for file in of_browser() {
        write_atomically(&folder.join(file.path), file.content.as_bytes())?;
    }
    Ok(folder.join("index.html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_takes_the_files_that_are_fetched() {
        let asset = Asset::onnxruntime_web();
        let names: Vec<_> = asset.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, RUNTIME_FILES);
    }
}
