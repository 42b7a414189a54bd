//! `--device` of the commands that train.

use std::fs;

use crate::kiln::{DIGITS, error, kiln, ok, path};

#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
#[test]
fn a_device_that_is_not_built_in_is_an_error_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let runs = path(folder.path(), "runs");
    for command in ["train", "run", "sweep"] {
        for device in ["cuda", "wgpu"] {
            let mut recipe = vec![
                command,
                "models/quickstart.toml",
                "--runs",
                &runs,
                "--device",
                device,
            ];
            if command == "sweep" {
                recipe.extend(["--set", "sweep.training.seed=[0, 1]"]);
            }
            let message = error(&mut kiln(&recipe));
            assert!(
                message.contains(&format!("cannot train on `{device}`")),
                "{message}"
            );
            assert!(
                message.contains(&format!("--features {device}"))
                    && message.contains("--device cpu"),
                "{message}"
            );
        }
    }
    assert!(!folder.path().join("runs/quickstart").exists());
}

#[test]
fn the_device_is_recorded_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "train",
        "models/quickstart.toml",
        "--runs",
        folder.path().to_str().unwrap(),
        "--device",
        "cpu",
    ];
    let set = ["--set", "training.epochs=1", "--set", "data.limit=64"];
    for (more, expected) in [
        (&[][..], "cpu (flex, kiln's kernels)"),
        (&["--stock-kernels"], "cpu (flex, stock kernels)"),
    ] {
        let run = ok(&[&args[..], &DIGITS, &set, more].concat()).stdout;
        let environment =
            fs::read_to_string(path(run.trim().as_ref(), "environment.json")).unwrap();
        let environment: serde_json::Value = serde_json::from_str(&environment).unwrap();
        assert_eq!(environment["device"], expected);
    }
}
