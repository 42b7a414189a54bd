//! `kiln summary`.

use std::fs;

use crate::kiln::{DIGITS, error, kiln, ok};

#[test]
fn the_reports_networks_have_the_reports_parameter_counts() {
    for (recipe, total, trainable) in [
        ("mnist-cnn-3x3x32", "113,642", "113,514"),
        ("mnist-cnn-3x3x64", "225,418", "225,226"),
        ("mnist-cnn-5x5x32", "93,162", "93,034"),
        ("mnist-cnn-5x5x64", "184,458", "184,266"),
    ] {
        let text = ok(&["summary", &format!("models/{recipe}.toml")]).stdout;
        assert!(
            text.contains(&format!(
                "Total params: {total}\nTrainable params: {trainable}\n"
            )),
            "{text}"
        );
    }
}

#[test]
fn a_change_on_the_command_line_counts() {
    let text = ok(&[
        "summary",
        "models/mnist-cnn-3x3x32.toml",
        "--json",
        "--set",
        "layers.conv2d_1.filters=64",
    ])
    .stdout;
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["total_parameters"], 225_418);
    assert_eq!(
        summary["layers"][4]["output_shape"],
        serde_json::json!([64, 11, 11])
    );
}

#[test]
fn the_plan_says_what_the_kernels_run_together() {
    let text = ok(&["summary", "models/mnist-cnn-5x5x64.toml", "--plan"]).stdout;
    let first = "fused    conv2d + batch_norm + max_pool + dropout\n";
    assert!(
        text.starts_with(first) && text.contains("general  flatten\n"),
        "{text}"
    );
}

#[test]
fn the_dataset_says_how_many_classes_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("any.toml");
    let recipe = recipe.to_str().unwrap();
    let text = "layers = [{ type = \"flatten\" }, { type = \"dense\" }]";
    fs::write(recipe, text).unwrap();
    let with = |more: &[&str]| {
        // Without the first option, which takes the dataset away that this recipe does not name.
        let args = [&["summary", recipe], &DIGITS[2..], more].concat();
        kiln(&args)
    };
    let summary = crate::kiln::succeed(&mut with(&[])).stdout;
    assert!(summary.contains("Total params: 7,850\n"), "{summary}");
    // A number that is given is compared with the dataset's.
    let message = error(&mut with(&["--set", "layers.dense.units=9"]));
    assert!(
        message.contains("9 scores, but `tests/fixtures/digits` has 10 classes"),
        "{message}"
    );
    let message = error(&mut with(&["--set", "data.folder=nowhere"]));
    assert!(
        message.contains("`units` is missing, and the number of classes of `nowhere` is not known"),
        "{message}"
    );
    // Why they cannot be counted says more.
    let message = error(&mut with(&["--set", "data.folder=tests/snapshots/errors"]));
    assert!(
        message.contains("tests/snapshots/errors") && !message.contains("units"),
        "{message}"
    );
}

#[test]
fn a_network_by_name_has_as_many_classes_as_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("net.toml");
    let recipe = recipe.to_str().unwrap();
    fs::write(
        recipe,
        "network = { name = \"resnet18\", stem = \"small\" }",
    )
    .unwrap();
    let with = |more: &[&str]| kiln(&[&["summary", recipe], &DIGITS[2..], more].concat());
    let summary = crate::kiln::succeed(&mut with(&["--json"])).stdout;
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let last = summary["layers"].as_array().unwrap().last().unwrap();
    assert_eq!(last["output_shape"], serde_json::json!([10]));
    let message = error(&mut with(&["--set", "network.classes=9"]));
    assert!(
        message.contains("9 scores, but `tests/fixtures/digits` has 10 classes"),
        "{message}"
    );
    let message = error(&mut with(&["--set", "data.folder=nowhere"]));
    assert!(message.contains("give `network.classes`"), "{message}");
}

#[test]
fn subsets_without_class_folders_are_not_taken_for_classes() {
    let folder = tempfile::tempdir().unwrap();
    for subset in ["Train", "Test"] {
        let subset = folder.path().join(subset);
        fs::create_dir_all(&subset).unwrap();
        fs::write(subset.join("1.png"), "").unwrap();
    }
    let data = format!("data.folder={}", folder.path().display());
    let message = error(&mut kiln(&[
        "train",
        "models/quickstart.toml",
        "--set",
        "data.dataset=",
        "--set",
        &data,
        "--set",
        "layers.dense.units=2",
    ]));
    assert!(
        message.contains("found `Test`, `Train`, which look like subsets")
            && message.contains("help: put a folder for each class into `train`"),
        "{message}"
    );
}
