//! Every recipe in `models/`, cut short: it must train, export, and pass the parity gate.

use std::fs;

use crate::kiln::{ok, onnxruntime, root};

#[test]
fn every_recipe_passes_the_parity_gate() {
    onnxruntime();
    let runs = tempfile::tempdir().unwrap();
    let mut recipes = 0;
    for entry in fs::read_dir(root().join("models")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        recipes += 1;
        let args = ["run", path.to_str().unwrap(), "--json", "--runs", runs.path().to_str().unwrap()];
        let set = ["--set", "training.epochs=1", "--set", "data.limit=256", "--set", "data.validation_split=0.1"];
        // A recipe that validates on the test images would go through all of them.
        let text = fs::read_to_string(&path).unwrap();
        let whole = if text.contains("validation = \"test\"") { &set[..4] } else { &set[..] };
        let ended = ok(&[&args[..], whole].concat());
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(report["parity"]["passed"], true, "{}", path.display());
        assert_eq!(report["evaluations"].as_array().unwrap().len(), 2, "{}", path.display());
    }
    assert!(recipes >= 5, "only {recipes} recipes found");
}
