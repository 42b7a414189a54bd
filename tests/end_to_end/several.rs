//! Images with several labels, and two classes with one score: from training to evaluation.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::kiln::{error, kiln, online, onnxruntime, succeed};

/// Images of 8 x 8 pixels whose channels are bright or dark, in all combinations, and the classes that are bright.
fn images(folder: &Path) -> Vec<(String, Vec<&'static str>)> {
    let mut images = Vec::new();
    for at in 0..96_u32 {
        let bright = |channel: u32| at >> channel & 1 == 1;
        let level = |channel| (if bright(channel) { 180 } else { 20 }) + (at * 7 % 40) as u8;
        let name = format!("{at}.png");
        RgbImage::from_pixel(8, 8, Rgb([level(0), level(1), level(2)]))
            .save(folder.join(&name))
            .unwrap();
        let names = ["blue", "green", "red"];
        let classes = [2, 1, 0].into_iter().zip(names);
        let classes = classes.filter(|(channel, _)| bright(*channel));
        images.push((name, classes.map(|(_, name)| name).collect()));
    }
    images
}

fn within(folder: &Path, args: &[&str]) -> Command {
    let mut command = kiln(args);
    command.current_dir(folder);
    command
}

const RECIPE: &str = r#"
layers = [{ type = "global_avg_pool" }, { type = "dense", activation = "sigmoid" }]
[input]
height = 8
width = 8
channels = "rgb"
[data]
csv = "list.csv"
test_split = 0.25
validation_split = 0.25
[training]
loss = "binary_crossentropy"
epochs = 60
batch_size = 8
optimizer = { type = "adam", learning_rate = 0.1 }
"#;

/// A folder with images, a list of them with one column of labels, and a recipe.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut list = String::from("path,labels\n");
    for (name, classes) in images(folder.path()) {
        writeln!(list, "{name},{}", classes.join("|")).unwrap();
    }
    fs::write(folder.path().join("list.csv"), list).unwrap();
    fs::write(folder.path().join("colors.toml"), RECIPE).unwrap();
    folder
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The thresholds that a file says.
fn thresholds(folder: &Path, model: &str) -> Value {
    let described = succeed(&mut within(folder, &["describe", model, "--json"])).stdout;
    let described: Value = serde_json::from_str(&described).unwrap();
    let thresholds = described["metadata"]["kiln.threshold"].as_str();
    serde_json::from_str(thresholds.unwrap()).unwrap()
}

#[test]
fn several_labels_go_all_the_way() {
    let folder = folder();
    let folder = folder.path();
    let ended = succeed(&mut within(folder, &["run", "colors.toml"]));
    for part in [
        "colors: mean average precision 100.00 % of 24 test images",
        "All implementations agree",
    ] {
        assert!(ended.stdout.contains(part), "{}", ended.stdout);
    }
    let run = folder.join("runs/colors");
    let evaluations = json(&run.join("eval.json"));
    for evaluation in evaluations.as_array().unwrap() {
        assert_eq!(evaluation["mean_average_precision"], 1.0);
        assert_eq!(evaluation["exact_matches"], 1.0);
        assert_eq!(evaluation["classes"].as_array().unwrap().len(), 3);
    }
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    for part in [
        "Test mean average precision",
        "average precision",
        "Precision by recall",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let history = fs::read_to_string(run.join("history.csv")).unwrap();
    assert_eq!(history.lines().count(), 61);

    // The file says what its scores are, and needs no option.
    let model = "runs/colors/model.onnx";
    let described = succeed(&mut within(folder, &["describe", model])).stdout;
    assert!(described.contains("sigmoid_logits"), "{described}");
    succeed(&mut within(folder, &["verify", model]));
    let predicted = succeed(&mut within(folder, &["predict", model, "5.png", "0.png"])).stdout;
    assert!(
        predicted.contains("blue") && predicted.contains("red") && !predicted.contains("green"),
        "{predicted}"
    );
    succeed(&mut within(
        folder,
        &["eval", model, "--data", "list.csv", "--json", "all.json"],
    ));
    let all = json(&folder.join("all.json"));
    assert_eq!(
        (&all["images"], &all["exact_matches"]),
        (&96.into(), &1.0.into())
    );
    // A column for each class says the same.
    let mut marks = String::from("path,red,green,blue\n");
    for at in 0..96 {
        writeln!(marks, "{at}.png,{},{},{}", at & 1, at >> 1 & 1, at >> 2 & 1).unwrap();
    }
    fs::write(folder.join("marks.csv"), marks).unwrap();
    succeed(&mut within(
        folder,
        &["eval", model, "--data", "marks.csv", "--json", "marks.json"],
    ));
    assert_eq!(
        json(&folder.join("marks.json"))["mean_average_precision"],
        all["mean_average_precision"]
    );
    let again = [
        "run",
        "colors.toml",
        "--set",
        "data.csv=marks.csv",
        "--set",
        "name=marks",
    ];
    let ended = succeed(&mut within(folder, &again));
    assert!(
        ended
            .stdout
            .contains("marks: mean average precision 100.00 %"),
        "{}",
        ended.stdout
    );
    let [one, other] = ["colors", "marks"].map(|name| {
        let model = fs::read(folder.join(format!("runs/{name}/weights.safetensors")));
        model.unwrap()
    });
    assert!(
        one == other,
        "the same images and labels train the same weights"
    );

    let sigmoid = succeed(&mut within(folder, &["export", "runs/colors", "--sigmoid"])).stdout;
    assert_eq!(sigmoid.trim(), "runs/colors/model-sigmoid.onnx");
    succeed(&mut within(folder, &["verify", sigmoid.trim()]));
    succeed(&mut within(
        folder,
        &[
            "eval",
            sigmoid.trim(),
            "--data",
            "list.csv",
            "--json",
            "sigmoid.json",
        ],
    ));
    let found = json(&folder.join("sigmoid.json"));
    assert_eq!(
        found["mean_average_precision"],
        all["mean_average_precision"]
    );
    let message = error(&mut within(folder, &["export", "runs/colors", "--softmax"]));
    assert!(
        message.contains("those of a sigmoid\nhelp: give --sigmoid"),
        "{message}"
    );
}

#[test]
fn thresholds_are_chosen_on_the_validation_images_and_kept_in_the_file() {
    let folder = folder();
    let folder = folder.path();
    let set = [
        "--set",
        "export.threshold=best_f1",
        "--set",
        "training.epochs=3",
    ];
    succeed(&mut within(
        folder,
        &[&["run", "colors.toml"][..], &set].concat(),
    ));
    let chosen = json(&folder.join("runs/colors/thresholds.json"));
    assert_eq!(thresholds(folder, "runs/colors/model.onnx"), chosen);
    let evaluations = json(&folder.join("runs/colors/eval.json"));
    let classes = evaluations[0]["classes"].as_array().unwrap();
    let used: Vec<&Value> = classes.iter().map(|class| &class["threshold"]).collect();
    assert_eq!(used, chosen.as_array().unwrap().iter().collect::<Vec<_>>());
    // Another export has them too, also when the images are gone.
    fs::remove_file(folder.join("list.csv")).unwrap();
    succeed(&mut within(
        folder,
        &["export", "runs/colors", "--sigmoid", "--no-golden"],
    ));
    assert_eq!(thresholds(folder, "runs/colors/model-sigmoid.onnx"), chosen);
}

#[test]
fn two_classes_have_one_score() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut list = String::from("path,label\n");
    for (name, classes) in images(folder) {
        let label = if classes.contains(&"red") {
            "warm"
        } else {
            "cold"
        };
        writeln!(list, "{name},{label}").unwrap();
    }
    fs::write(folder.join("list.csv"), list).unwrap();
    fs::write(folder.join("warm.toml"), RECIPE).unwrap();
    let set = [
        "--set",
        "training.class_weight=balanced",
        "--set",
        "export.sigmoid=true",
    ];
    let ended = succeed(&mut within(
        folder,
        &[&["run", "warm.toml"][..], &set].concat(),
    ));
    assert!(
        ended.stdout.contains("warm: 100.00 % of 24 test images"),
        "{}",
        ended.stdout
    );
    let kept = fs::read_to_string(folder.join("runs/warm/recipe.toml")).unwrap();
    assert!(kept.contains("units = 1"), "{kept}");
    let model = "runs/warm/model.onnx";
    let described = succeed(&mut within(folder, &["describe", model])).stdout;
    assert!(
        described.contains("cold") && described.contains("warm"),
        "{described}"
    );
    succeed(&mut within(folder, &["verify", model]));
    let predicted = succeed(&mut within(folder, &["predict", model, "1.png", "6.png"])).stdout;
    let lines: Vec<&str> = predicted.lines().collect();
    assert!(
        lines[0].contains("warm") && lines[1].contains("cold"),
        "{predicted}"
    );
    let ended = succeed(&mut within(folder, &["eval", model, "--data", "list.csv"]));
    assert!(
        ended.stdout.contains("accuracy 100.00 % (96 of 96 images)"),
        "{}",
        ended.stdout
    );
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn both_engines_agree_on_scores_by_themselves() {
    onnxruntime();
    let folder = folder();
    let folder = folder.path();
    let run = |args: &[&str]| succeed(online(args).current_dir(folder)).stdout;
    for set in ["export.sigmoid=false", "export.sigmoid=true"] {
        let printed = run(&["run", "colors.toml", "--set", set]);
        assert!(printed.contains("All implementations agree"), "{printed}");
        let evaluations = json(&folder.join("runs/colors/eval.json"));
        assert_eq!(evaluations.as_array().unwrap().len(), 2);
        assert_eq!(
            evaluations[0]["mean_average_precision"],
            evaluations[1]["mean_average_precision"]
        );
        run(&["verify", "runs/colors/model.onnx"]);
        fs::remove_dir_all(folder.join("runs")).unwrap();
    }
    let text = fs::read_to_string(folder.join("list.csv")).unwrap();
    let lines = text.lines().skip(1).map(|line| {
        let (path, classes) = line.split_once(',').unwrap();
        format!(
            "{path},{}\n",
            if classes.contains("red") {
                "warm"
            } else {
                "cold"
            }
        )
    });
    fs::write(
        folder.join("list.csv"),
        format!("path,label\n{}", lines.collect::<String>()),
    )
    .unwrap();
    let printed = run(&["run", "colors.toml"]);
    assert!(printed.contains("All implementations agree"), "{printed}");
    for engine in ["tract", "ort"] {
        let printed = run(&[
            "eval",
            "runs/colors/model.onnx",
            "--data",
            "list.csv",
            "--engine",
            engine,
        ]);
        assert!(printed.contains("accuracy 100.00 %"), "{printed}");
    }
}

#[test]
fn a_training_is_resumed_and_a_recipe_made_for_several_labels_too() {
    let folder = folder();
    let folder = folder.path();
    let init = succeed(&mut within(
        folder,
        &["init", "list.csv", "-o", "made.toml"],
    ))
    .stdout;
    assert!(
        init.contains("of 3 classes of which an image can have several"),
        "{init}"
    );
    let made = fs::read_to_string(folder.join("made.toml")).unwrap();
    assert!(made.contains("loss = \"binary_crossentropy\""), "{made}");
    let dry = succeed(&mut within(folder, &["run", "made.toml", "--dry-run"])).stdout;
    assert!(
        dry.contains("96 to train on") || dry.contains("to train on"),
        "{dry}"
    );

    let epochs = |count: &str| format!("training.epochs={count}");
    let (two, four) = (epochs("2"), epochs("4"));
    let whole = [
        "train",
        "colors.toml",
        "--set",
        &four,
        "--set",
        "name=whole",
    ];
    succeed(&mut within(folder, &whole));
    succeed(&mut within(
        folder,
        &["train", "colors.toml", "--set", &two],
    ));
    let extend = ["train", "--resume", "runs/colors", "--set", &four];
    let ended = succeed(&mut within(folder, &extend));
    let extended = ended.stdout.lines().last().unwrap_or_default().to_owned();
    let weights = |run: &str| fs::read(folder.join(run).join("weights.safetensors"));
    let found = weights(extended.trim())
        .or_else(|_| weights("runs/colors-2"))
        .unwrap();
    assert!(found == weights("runs/whole").unwrap(), "{}", ended.stdout);
}

#[test]
fn what_does_not_fit_is_said_with_its_cure() {
    let folder = folder();
    let folder = folder.path();
    for (set, expected) in [
        (
            "training.loss=categorical_crossentropy",
            "leave the sigmoid out",
        ),
        ("layers.2.units=5", "give the last dense layer `units = 3`"),
        ("training.class_weight=balanced", "give `pos_weight`"),
        (
            "training.pos_weight={pink = 2}",
            "`training.pos_weight` names the class `pink`",
        ),
    ] {
        let message = error(&mut within(folder, &["run", "colors.toml", "--set", set]));
        assert!(message.contains(expected), "{set}: {message}");
    }
    let plain = [
        "run",
        "colors.toml",
        "--set",
        "layers.2.activation=linear",
        "--set",
        "training.loss=",
    ];
    let message = error(&mut within(folder, &plain));
    assert!(
        message.contains("can have several classes") && message.contains("binary_crossentropy"),
        "{message}"
    );
    assert!(!folder.join("runs").exists(), "nothing is begun");
}
