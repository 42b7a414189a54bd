//! `kiln compare`.

use std::fs;
use std::path::Path;

use crate::kiln::{DIGITS, TEST_DIGITS, digits, error, kiln, ok, path, run, trained};

const IMAGES: usize = 400;

/// A copy of the training images, a folder for each class.
fn copied(folder: &Path) -> String {
    for label in 0..10 {
        let class = folder.join(format!("digits/{label}"));
        fs::create_dir_all(&class).unwrap();
        for image in digits("train", label) {
            fs::copy(&image, class.join(image.file_name().unwrap())).unwrap();
        }
    }
    path(folder, "digits")
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("valid JSON")
}

/// Another model than [`trained`].
fn other(folder: &Path) -> String {
    let runs = folder.to_str().unwrap();
    let set = ["--set", "training.epochs=1", "--set", "data.limit=256"];
    let train = ["train", "models/quickstart.toml", "--runs", runs];
    ok(&[&train[..], &DIGITS, &set].concat());
    ok(&["export", &path(folder, "quickstart")]);
    path(&folder.join("quickstart"), "model.onnx")
}

#[test]
fn a_model_is_as_good_as_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (path(trained(), "model.onnx"), copied(folder.path()));
    let ended = ok(&[
        "compare",
        &model,
        &model,
        "--data",
        &data,
        "--max-drop",
        "0",
        "--json",
        "-",
    ]);
    let record = json(&ended.stdout);
    assert_eq!(
        (&record["agreement"], &record["p_value"], &record["passed"]),
        (&1.0.into(), &1.0.into(), &true.into())
    );
    assert_eq!(record["differences"], serde_json::json!([]));
}

#[test]
fn two_models_are_told_apart_image_by_image() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second, data) = (
        path(trained(), "model.onnx"),
        other(folder.path()),
        copied(folder.path()),
    );
    let file = path(folder.path(), "compared.json");
    let args = [
        "compare",
        &first,
        &second,
        "--data",
        &data,
        "--batch-size",
        "64",
        "--show",
        "3",
        "--json",
        &file,
    ];
    let ended = ok(&args);
    for word in [
        "only A",
        "only B",
        "exact test of equal accuracy: p ",
        "the first 3 of",
        "margin of A",
        "images/s at 1",
        "at 64",
        ".png",
    ] {
        assert!(ended.stdout.contains(word), "{word}\n{}", ended.stdout);
    }
    let record = json(&fs::read_to_string(&file).unwrap());
    let counts = ["both_right", "only_first", "only_second", "both_wrong"]
        .map(|key| record[key].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), IMAGES as u64);
    let batches = |at: usize| record["models"][at]["speed"].as_array().unwrap().clone();
    assert_eq!(
        [batches(0), batches(1)]
            .concat()
            .iter()
            .map(|speed| &speed["batch"])
            .collect::<Vec<_>>(),
        [1, 64, 1, 64]
    );

    // The same figures and classes as from evaluating each.
    let evaluated = [&first, &second].map(|model| {
        let csv = path(folder.path(), "predictions.csv");
        let ended = ok(&[
            "eval",
            model,
            "--data",
            &data,
            "--json",
            "-",
            "--predictions",
            &csv,
        ]);
        let lines = fs::read_to_string(csv).unwrap();
        // Path, label, predicted.
        let cells = lines
            .lines()
            .skip(1)
            .map(|line| line.split(',').skip(1).take(3).map(String::from).collect());
        (
            json(&ended.stdout)["accuracy"].as_f64().unwrap(),
            cells.collect::<Vec<Vec<String>>>(),
        )
    });
    let [(a, a_lines), (b, b_lines)] = evaluated;
    let accuracy = |at: usize| record["models"][at]["accuracy"].as_f64().unwrap();
    assert_eq!(
        [accuracy(0), accuracy(1)].map(f64::to_bits),
        [a, b].map(f64::to_bits)
    );
    assert!(
        (record["accuracy_change"].as_f64().unwrap() - (b - a)).abs() < 1e-12
            && (b - a).abs() > 0.002
    );
    let differences = record["differences"].as_array().unwrap();
    let differing = (0..IMAGES)
        .filter(|&at| a_lines[at][2] != b_lines[at][2])
        .count();
    assert!(
        differences.len() == differing && differing > 3,
        "{differing} {}",
        differences.len()
    );
    for difference in differences {
        let at = difference["index"].as_u64().unwrap() as usize;
        let said = [
            &difference["path"],
            &difference["label"],
            &difference["first"]["predicted"],
            &difference["second"]["predicted"],
        ];
        let cells = [
            &a_lines[at][0],
            &a_lines[at][1],
            &a_lines[at][2],
            &b_lines[at][2],
        ];
        assert_eq!(
            said.map(|value| value.as_str().unwrap()),
            cells.map(String::as_str)
        );
    }
    let margin = |difference: &serde_json::Value| {
        ["first", "second"]
            .map(|model| difference[model]["margin"].as_f64().unwrap())
            .into_iter()
            .fold(2.0, f64::min)
    };
    assert!(
        differences
            .windows(2)
            .all(|pair| margin(&pair[0]) >= margin(&pair[1]))
            && margin(&differences[0]) > 0.0
    );

    // More is lost than may be: exit code 1, after all is said.
    let limited = |first: &str, second: &str| {
        run(&mut kiln(&[
            "compare",
            first,
            second,
            "--data",
            &data,
            "--batch-size",
            "1",
            "--max-drop",
            "0.001",
        ]))
    };
    let (better, worse) = if a > b {
        (first, second)
    } else {
        (second, first)
    };
    let ended = limited(&better, &worse);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("FAILED: at most 0.10 points"),
        "{}",
        ended.stdout
    );
    assert_eq!(limited(&worse, &better).code, Some(0));
}

/// A copy of [`trained`]'s model with some of its metadata replaced.
fn changed(folder: &Path, key: &str, from: &str, to: &str) -> String {
    let mut model = kiln_onnx::load(trained().join("model.onnx")).unwrap();
    let entry = model
        .metadata_props
        .iter_mut()
        .find(|entry| entry.key == key)
        .unwrap();
    assert!(entry.value.contains(from), "{}", entry.value);
    entry.value = entry.value.replace(from, to);
    let file = path(folder, "changed.onnx");
    fs::write(&file, kiln_onnx::encode(&model)).unwrap();
    file
}

#[test]
fn each_model_prepares_images_in_its_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (path(trained(), "model.onnx"), copied(folder.path()));
    let other = changed(
        folder.path(),
        "kiln.preprocessing",
        "\"mean\":[0.0]",
        "\"mean\":[1.0]",
    );
    let record = json(&ok(&["compare", &model, &other, "--data", &data, "--json", "-"]).stdout);
    for (at, file) in [&model, &other].into_iter().enumerate() {
        let evaluated = json(&ok(&["eval", file, "--data", &data, "--json", "-"]).stdout);
        assert_eq!(record["models"][at]["accuracy"], evaluated["accuracy"]);
    }
    assert!(record["agreement"].as_f64().unwrap() < 1.0);
}

#[test]
fn every_source_and_images_that_cannot_be_read_are_as_in_eval() {
    let folder = tempfile::tempdir().unwrap();
    let (model, other, data) = (
        path(trained(), "model.onnx"),
        other(folder.path()),
        copied(folder.path()),
    );
    let compare = |data: &str, more: &[&str]| {
        kiln(
            &[
                &[
                    "compare",
                    &model,
                    &other,
                    "--data",
                    data,
                    "--batch-size",
                    "16",
                    "--json",
                    "-",
                ],
                more,
            ]
            .concat(),
        )
    };
    let whole = json(&run(&mut compare(&data, &[])).stdout);
    let globbed = json(&run(&mut compare(&format!("{data}/*/*.png"), &[])).stdout);
    for key in [
        "images",
        "both_right",
        "only_first",
        "only_second",
        "both_wrong",
    ] {
        assert_eq!(globbed[key], whole[key], "{key}");
    }
    for class in ["0", "5"] {
        fs::write(
            path(data.as_ref(), &format!("{class}/broken.png")),
            "no image",
        )
        .unwrap();
    }
    let message = error(&mut compare(&data, &["--quiet"]));
    assert!(
        message.contains(&format!("2 of {} images", IMAGES + 2)) && message.contains("--skip-bad"),
        "{message}"
    );
    let skipped = run(&mut compare(&data, &["--skip-bad"]));
    assert!(
        skipped.stderr.contains("Skipped 2 images"),
        "{}",
        skipped.stderr
    );
    assert_eq!(json(&skipped.stdout)["only_first"], whole["only_first"]);
}

#[test]
fn models_of_other_classes_are_refused_with_the_first_difference() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(trained(), "model.onnx");
    let file = changed(folder.path(), "kiln.labels", "\"3\"", "\"three\"");
    let message = error(&mut kiln(&[
        "compare",
        &model,
        &file,
        "--data",
        TEST_DIGITS,
    ]));
    assert!(
        message.contains("class 3 of ")
            && message.contains("is `3`")
            && message.contains("`three`"),
        "{message}"
    );
}
