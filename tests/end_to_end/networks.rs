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
