//! `kiln summary`.

use crate::kiln::ok;

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
