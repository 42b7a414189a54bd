//! A sidecar beside a model file: TOML with the model's name, as other commands read it.

use std::fs;
use std::path::Path;

use kiln_inference::ModelOverrides;
use kiln_model::Recipe;
use kiln_util::decode_text;

/// Maximum size of a sidecar or a file of labels.
const MAX_BYTES: u64 = 16 << 20;

/// Reads what the sidecar of a model specifies; nothing where there is none. The error names the file.
pub fn read(model: &Path) -> Result<Option<ModelOverrides>, String> {
    let path = model.with_extension("toml");
    if !path.is_file() {
        return Ok(None);
    }
    let text = text(&path)?;
    // A recipe has its model's name too, and so may have a file of another tool.
    if Recipe::is_recipe(&text) || !ModelOverrides::is_sidecar(&text) {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let overrides = ModelOverrides::parse(&text, &path.display().to_string(), &[], |file| {
        labels(&folder.join(file))
    });
    overrides.map(Some).map_err(|error| error.to_string())
}

fn text(path: &Path) -> Result<String, String> {
    let fail = |problem: String| format!("cannot read `{}`: {problem}", path.display());
    let metadata = fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if metadata.len() > MAX_BYTES {
        return Err(fail("expected at most 16 MiB".into()));
    }
    let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
    decode_text(bytes)
        .map_err(|line| fail(format!("expected UTF-8 text, found none in line {line}")))
}

/// Reads the names of classes, one a line.
fn labels(path: &Path) -> Result<Vec<String>, String> {
    let text = text(path)?;
    let names: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    match names.iter().position(String::is_empty) {
        Some(line) => Err(format!(
            "cannot read `{}`: line {} is empty, expected a name",
            path.display(),
            line + 1
        )),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_sidecar_are_read_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        assert_eq!(read(&model), Ok(None));
        let sidecar = folder.path().join("m.toml");
        fs::write(&sidecar, "preprocess = \"unit\"\nlabels = \"names.txt\"\n").unwrap();
        assert!(read(&model).unwrap_err().contains("names.txt"));
        fs::write(folder.path().join("names.txt"), "cat\ndog\n").unwrap();
        let overrides = read(&model).unwrap().unwrap();
        assert_eq!(overrides.labels, Some(vec!["cat".into(), "dog".into()]));
        fs::write(&sidecar, "[package]\nname = \"m\"\n").unwrap();
        assert_eq!(read(&model), Ok(None), "of another tool");
    }
}
