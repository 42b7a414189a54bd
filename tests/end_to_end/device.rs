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

#[test]
fn bfloat16_where_it_is_not_to_be_had_is_an_error_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let runs = path(folder.path(), "runs");
    for command in [&["train"][..], &["run"], &["run", "--dry-run"]] {
        let mut args = [command, &["models/quickstart.toml", "--runs", &runs]].concat();
        args.extend(DIGITS);
        args.extend(["--stock-kernels", "--set", "training.precision=bf16"]);
        let message = error(&mut kiln(&args));
        assert!(
            message.contains("training in bf16 is not possible here: only kiln's kernels have it"),
            "{message}"
        );
        assert!(
            message.contains("--set training.precision=float32"),
            "{message}"
        );
    }
    assert!(!folder.path().join("runs/quickstart").exists());
}

/// On a CPU that multiplies bfloat16 numbers; on another, the error says so.
#[test]
fn bfloat16_trains_repeatably_and_exports_a_model_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let run = |runs: &str, precision: &str| {
        let runs = path(folder.path(), runs);
        let mut args = vec!["run", "models/quickstart.toml", "--runs", &runs];
        args.extend(DIGITS);
        let precision = format!("training.precision={precision}");
        args.extend(["--set", &precision, "--set", "training.epochs=2"]);
        args.extend(["--threads", "2", "--json"]);
        crate::kiln::run(&mut kiln(&args))
    };
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    let first = run("a", "bf16");
    if !has {
        assert_eq!(first.code, Some(2));
        assert!(
            first.stderr.contains("AVX512-BF16, and this one has"),
            "{}",
            first.stderr
        );
        return;
    }
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert_eq!(run("b", "bf16").code, Some(0));
    assert_eq!(run("c", "float32").code, Some(0));
    let file = |runs: &str, name: &str| {
        fs::read(folder.path().join(runs).join("quickstart").join(name)).unwrap()
    };
    let weights = ["a", "b", "c"].map(|runs| file(runs, "weights.safetensors"));
    assert_eq!(weights[0], weights[1], "equal trainings give equal bits");
    assert_ne!(weights[0], weights[2], "nothing was rounded");
    let environment: serde_json::Value =
        serde_json::from_slice(&file("a", "environment.json")).unwrap();
    assert_eq!(
        environment["device"],
        "cpu (flex, kiln's kernels, bf16 products)"
    );
}
