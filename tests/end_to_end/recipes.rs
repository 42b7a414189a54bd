//! Every recipe in `models/`, cut short: it must train, export, and pass the parity gate.

use std::fs;

use crate::kiln::{online, onnxruntime, root, succeed};

#[test]
#[ignore = "downloads MNIST, VGG16 and ONNX Runtime"]
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
        let args = [
            "run",
            path.to_str().unwrap(),
            "--json",
            "--runs",
            runs.path().to_str().unwrap(),
        ];
        let mut set = vec![
            "data.limit=256".to_string(),
            "data.test_limit=256".to_string(),
        ];
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("\n[sweep]") {
            // The recipe itself; the combinations are checked where recipes are parsed.
            set.push("sweep=".into());
        }
        match text.matches("[[training.phases]]").count() {
            0 => set.push("training.epochs=1".into()),
            phases => {
                set.extend((1..=phases).map(|phase| format!("training.phases.{phase}.epochs=1")));
            }
        }
        let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        let ended = succeed(&mut online(&[&args[..], &set].concat()));
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(report["parity"]["passed"], true, "{}", path.display());
        assert_eq!(
            report["evaluations"].as_array().unwrap().len(),
            2,
            "{}",
            path.display()
        );
    }
    assert!(recipes >= 7, "only {recipes} recipes found");
}
