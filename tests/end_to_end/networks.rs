//! Networks by name and layers of layers: trained, exported and verified like any model.

use std::fs;

use crate::kiln::{DIGITS, kiln, path, succeed};

/// Trains a recipe of layers or of a network on the digits of `tests/fixtures` and returns what it
/// prints.
fn train(model: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let recipe = path(folder.path(), "recipe.toml");
    let text = format!(
        "{model}\n[data]\ndataset = \"mnist\"\n[training]\nepochs = 2\nbatch_size = 32\n\
         optimizer.learning_rate = 0.003\n"
    );
    fs::write(&recipe, text).unwrap();
    let runs = path(folder.path(), "runs");
    let arguments = [&["run", &recipe], &DIGITS[..], &["--runs", &runs]].concat();
    let ended = succeed(&mut kiln(&arguments));
    ended.stderr + &ended.stdout
}

/// The loss of each epoch, training and validation.
fn losses(printed: &str) -> Vec<f64> {
    let epochs = printed.lines().filter(|line| line.contains("val_loss "));
    let epochs = epochs.filter(|line| line.trim_start().starts_with("Epoch"));
    epochs
        .map(|line| line.split("loss ").nth(1).unwrap())
        .map(|rest| rest.split_whitespace().next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn a_network_by_name_learns_and_is_verified() {
    let printed = train("network = { name = \"mobilenet_v3_small\", stem = \"small\" }");
    assert!(
        printed.contains("Verified Burn and tract agree"),
        "{printed}"
    );
    let losses = losses(&printed);
    assert!(losses.len() == 2 && losses[1] < losses[0], "{printed}");
}

#[test]
fn layers_that_are_repeated_learn_and_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = path(folder.path(), "recipe.toml");
    let text = r#"
        layers = [
            { type = "conv2d", filters = 8, kernel_size = 3, padding = "same", activation = "relu", repeat = 2 },
            { type = "max_pool" },
            { type = "residual", name = "block", activation = "relu", repeat = 3, layers = [
                { type = "conv2d", name = "conv", filters = 8, kernel_size = 3, padding = "same", repeat = 2 },
                { type = "batch_norm" },
            ] },
            { type = "global_avg_pool" },
            { type = "dense", units = 10 },
        ]
        data.folder = "tests/fixtures/digits"
        training = { epochs = 2, batch_size = 32, freeze = "block1" }
    "#;
    fs::write(&recipe, text).unwrap();
    let runs = path(folder.path(), "runs");
    let ended = succeed(&mut kiln(&["run", &recipe, "--runs", &runs]));
    assert!(
        ended.stderr.contains("Verified Burn and tract agree"),
        "{}",
        ended.stderr
    );
    let run = path(runs.as_ref(), "recipe");
    let frozen = fs::read_to_string(path(run.as_ref(), "frozen.json")).unwrap();
    assert!(frozen.contains("block1.conv2.weight") && !frozen.contains("block2"));
    let model = kiln_onnx::load(path(run.as_ref(), "model.onnx")).unwrap();
    let nodes = model.graph.unwrap().node;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    for name in ["conv2d", "conv2d_1", "block1.conv1", "block3.conv2"] {
        assert!(
            names.iter().any(|found| found.starts_with(name)),
            "{name}: {names:?}"
        );
    }
    // What was repeated is written out, and resumes.
    let resolved = fs::read_to_string(path(run.as_ref(), "recipe.toml")).unwrap();
    assert!(resolved.contains("\"block3\"") && !resolved.contains("repeat"));
    succeed(&mut kiln(&["train", "--resume", &run]));
}

#[test]
fn layers_of_layers_learn_and_are_verified() {
    let printed = train(
        r#"layers = [
            { type = "conv2d", filters = 8, kernel_size = 3, padding = 1, use_bias = false },
            { type = "batch_norm" },
            { type = "activation", activation = "relu6" },
            { type = "residual", activation = "relu", drop_rate = 0.1, layers = [
                { type = "depthwise_conv2d", kernel_size = 3, padding = "same" },
                { type = "batch_norm" },
                { type = "squeeze_excite", units = 4 },
            ] },
            { type = "max_pool", pool_size = 3, strides = 2, padding = 1 },
            { type = "branches", join = "concatenate", branches = [
                [{ type = "conv2d", filters = 4, kernel_size = 1, activation = "hard_swish" }],
                [{ type = "avg_pool", pool_size = 3, strides = 1, padding = "same" }],
            ] },
            { type = "layer_norm" },
            { type = "global_avg_pool" },
            { type = "dense", units = 10 },
        ]"#,
    );
    assert!(
        printed.contains("Verified Burn and tract agree"),
        "{printed}"
    );
    let losses = losses(&printed);
    assert!(losses.len() == 2 && losses[1] < losses[0], "{printed}");
}
