//! Files as other exporters write them, through the commands.

use std::fs;
use std::path::Path;

use kiln_onnx::{DataLocation, Dim, GraphBuilder, ModelProto, StringStringEntryProto, encode};

use crate::kiln::{error, kiln, ok, onnxruntime, path, succeed};

const SIDE: usize = 8;
const COLORS: [(&str, [u8; 3]); 3] = [
    ("red", [255, 0, 0]),
    ("green", [0, 255, 0]),
    ("blue", [0, 0, 255]),
];

/// Two images of each color, in folders by its name.
fn images(folder: &Path) -> String {
    for (color, pixel) in COLORS {
        let class = folder.join("colors").join(color);
        fs::create_dir_all(&class).unwrap();
        for number in 0..2 {
            let image = image::RgbImage::from_pixel(SIDE as u32, SIDE as u32, image::Rgb(pixel));
            image.save(class.join(format!("{number}.png"))).unwrap();
        }
    }
    path(folder, "colors")
}

/// A model whose logits are five times the mean of each channel, and what `add` makes of them: `y`.
fn model(classes: usize, add: impl FnOnce(&mut GraphBuilder)) -> ModelProto {
    let mut graph = GraphBuilder::new("colors");
    graph
        .input("x", Dim::batched([3, SIDE, SIDE]))
        .output("y", Dim::batched([classes]));
    graph.initializer("five", &[1], vec![5.0_f32]);
    graph.node("GlobalAveragePool", "pool", &["x"], "pool");
    graph.node("Flatten", "flat", &["pool"], "flat");
    graph.node("Mul", "logits", &["flat", "five"], "logits");
    add(&mut graph);
    graph.finish().unwrap()
}

fn write(folder: &Path, name: &str, model: &ModelProto) -> String {
    fs::write(folder.join(name), encode(model)).unwrap();
    path(folder, name)
}

const UNIT: [&str; 4] = ["--preprocess", "unit", "--channels", "rgb"];

/// Runs a command on the model with the preprocessing of these images.
fn with_unit<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &UNIT].concat()
}

fn property(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    }
}

#[test]
fn weights_beside_the_model_are_read_and_taken_into_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = images(folder);
    let mut external = model(3, |graph| {
        graph.node("MatMul", "y", &["logits", "w"], "y");
        // The unit matrix.
        let unit = vec![1.0_f32, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        graph.initializer("w", &[3, 3], unit);
    });
    let tensor = external
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .iter_mut()
        .find(|tensor| tensor.name == "w")
        .unwrap();
    fs::create_dir(folder.join("weights")).unwrap();
    fs::write(
        folder.join("weights/w.bin"),
        std::mem::take(&mut tensor.raw_data),
    )
    .unwrap();
    tensor.data_location = DataLocation::External as i32;
    tensor.external_data = vec![property("location", "weights/w.bin")];
    let file = write(folder, "model.onnx", &external);

    let red = path(folder, "colors/red/0.png");
    let predicted = ok(&with_unit(&["predict", &file, &red]));
    assert!(
        predicted.stdout.contains("0 (98.67 %)"),
        "{}",
        predicted.stdout
    );
    // By its name alone, from its own folder.
    let here = succeed(
        kiln(&with_unit(&["predict", "model.onnx", "colors/red/0.png"])).current_dir(folder),
    );
    assert!(here.stdout.contains("0 (98.67 %)"), "{}", here.stdout);
    let copy = path(folder, "copy.onnx");
    fs::write(folder.join("labels.txt"), "red\ngreen\nblue\n").unwrap();
    let names = format!("labels={}", path(folder, "labels.txt"));
    ok(&[
        "describe",
        &file,
        "--set",
        "preprocess=unit",
        "--set",
        "channels=rgb",
        "--set",
        &names,
        "-o",
        &copy,
    ]);
    fs::remove_file(folder.join("weights/w.bin")).unwrap();
    let evaluated = ok(&["eval", &copy, "--data", &data]);
    assert!(
        evaluated.stdout.contains("accuracy 100.00 %"),
        "{}",
        evaluated.stdout
    );
    let gone = error(&mut kiln(&with_unit(&["predict", &file, &red])));
    assert!(
        gone.contains("`weights/w.bin`, which cannot be read"),
        "{gone}"
    );
    // Not even by a link does it read another file.
    tensor_at(&mut external).external_data = vec![property("location", "../w.bin")];
    let file = write(folder, "outside.onnx", &external);
    let refused = error(&mut kiln(&with_unit(&["predict", &file, &red])));
    assert!(
        refused.contains("`../w.bin`, expected a file in the model's folder")
            && refused
                .contains("help: copy the model and the files with its weights into one folder"),
        "{refused}"
    );
}

fn tensor_at(model: &mut ModelProto) -> &mut kiln_onnx::TensorProto {
    let tensors = &mut model.graph.as_mut().unwrap().initializer;
    tensors
        .iter_mut()
        .find(|tensor| tensor.name == "w")
        .unwrap()
}

#[test]
fn every_kind_of_score_is_predicted_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = images(folder);
    let labels = path(folder, "labels.txt");
    fs::write(&labels, "red\ngreen\nblue\n").unwrap();
    let red = path(folder, "colors/red/0.png");
    for (op, probability, note) in [
        ("Identity", "98.67 %", "taken for logits"),
        ("Softmax", "98.67 %", ""),
        ("LogSoftmax", "98.67 %", ""),
        (
            "Sigmoid",
            "99.33 %",
            "each class has a probability by itself",
        ),
    ] {
        let scores = model(3, |graph| {
            graph.node(op, "y", &["logits"], "y");
        });
        let file = write(folder, &format!("{op}.onnx"), &scores);
        let predicted = ok(&with_unit(&["predict", &file, &red, "--labels", &labels]));
        let line = format!("red ({probability})");
        assert!(
            predicted.stdout.contains(&line),
            "{op}: {}",
            predicted.stdout
        );
        assert!(
            predicted.stderr.contains(note),
            "{op}: {}",
            predicted.stderr
        );
        let evaluated = ok(&with_unit(&[
            "eval", &file, "--data", &data, "--labels", &labels,
        ]));
        assert!(
            evaluated
                .stdout
                .contains("accuracy 100.00 % (6 of 6 images)"),
            "{op}: {}",
            evaluated.stdout
        );
    }
}

#[test]
fn one_score_is_a_binary_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder);
    let binary = model(1, |graph| {
        graph.initializer("w", &[3, 1], vec![1.0_f32, -1.0, -1.0]);
        graph.node("MatMul", "one", &["logits", "w"], "one");
        graph.node("Sigmoid", "y", &["one"], "y");
    });
    let file = write(folder, "binary.onnx", &binary);
    let [red, blue] = ["red", "blue"].map(|color| path(folder, &format!("colors/{color}/0.png")));
    let predicted = ok(&with_unit(&["predict", &file, &red, &blue]));
    assert!(
        predicted.stdout.contains("positive (99.33 %)")
            && predicted.stdout.contains("negative (99.33 %)"),
        "{}",
        predicted.stdout
    );
    assert!(
        predicted.stderr.contains("called negative and positive"),
        "{}",
        predicted.stderr
    );
    let labels = path(folder, "labels.txt");
    fs::write(&labels, "other\nred\n").unwrap();
    // A list, since no folder is of the other class.
    let list = path(folder, "list.csv");
    fs::write(
        &list,
        "path,label\ncolors/red/0.png,red\ncolors/blue/0.png,other\n",
    )
    .unwrap();
    let evaluated = ok(&with_unit(&[
        "eval", &file, "--data", &list, "--labels", &labels,
    ]));
    assert!(
        evaluated.stdout.contains("accuracy 100.00 % (2 of 2"),
        "{}",
        evaluated.stdout
    );
}

#[test]
fn the_scores_are_found_among_several_outputs_and_their_names_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder);
    let red = path(folder, "colors/red/0.png");
    let mut two = model(16, |graph| {
        graph.initializer("w", &[3, 16], vec![0.5_f32; 48]);
        graph.node("MatMul", "y", &["flat", "w"], "y");
        graph.output("scores", Dim::batched([3]));
        graph.node("Softmax", "scores", &["logits"], "scores");
    });
    // As Ultralytics writes them.
    two.metadata_props = vec![property("names", "{0: 'red', 1: 'green', 2: 'blue'}")];
    let file = write(folder, "two.onnx", &two);
    let predicted = ok(&with_unit(&["predict", &file, &red]));
    assert!(
        predicted.stdout.contains("red (98.67 %)"),
        "{}",
        predicted.stdout
    );
    assert!(
        predicted
            .stderr
            .contains("`scores` is taken for the scores (--output-name NAME)"),
        "{}",
        predicted.stderr
    );
    let named = ok(&with_unit(&[
        "predict",
        &file,
        &red,
        "--output-name",
        "scores",
    ]));
    assert!(
        !named.stderr.contains("taken for the scores"),
        "{}",
        named.stderr
    );
    let unknown = error(&mut kiln(&with_unit(&[
        "predict",
        &file,
        &red,
        "--output-name",
        "score",
    ])));
    assert!(
        unknown.contains("has no output `score`, but `y`, `scores`")
            && unknown.contains("help: name one of these with --output-name"),
        "{unknown}"
    );
}

#[test]
fn what_was_put_right_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder);
    let red = path(folder, "colors/red/0.png");
    let mut training = model(3, |graph| {
        for (name, value) in [("g", 1.0_f32), ("b", 0.0), ("m", 0.0), ("v", 1.0)] {
            graph.initializer(name, &[3], vec![value; 3]);
        }
        graph
            .node(
                "BatchNormalization",
                "norm",
                &["logits", "g", "b", "m", "v"],
                "y",
            )
            .int("training_mode", 1)
            .float("epsilon", 0.0)
            .output("mean")
            .output("variance");
    });
    training.graph.as_mut().unwrap().node.reverse();
    let file = write(folder, "training.onnx", &training);
    for more in [&[][..], &["colors/green/0.png"]] {
        let more: Vec<String> = more.iter().map(|more| path(folder, more)).collect();
        let mut command = vec!["predict", &file, &red];
        command.extend(more.iter().map(String::as_str));
        let predicted = ok(&with_unit(&command));
        assert!(
            predicted.stdout.contains("0 (98.67 %)"),
            "{}",
            predicted.stdout
        );
        assert!(
            predicted
                .stderr
                .contains("batch normalization `norm` is in training mode"),
            "{}",
            predicted.stderr
        );
    }
    let described = ok(&["describe", &file]);
    assert!(
        described
            .stdout
            .contains("Repaired: the nodes are put into topological order."),
        "{}",
        described.stdout
    );
}

#[test]
fn the_dimensions_of_a_fixed_output_are_written_for_triton() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut fixed = model(3, |graph| {
        graph.node("Identity", "y", &["logits"], "y");
    });
    let output = &mut fixed.graph.as_mut().unwrap().output[0];
    *output = kiln_onnx::ValueInfoProto::of_floats("y", &[1, 3].map(Dim::Fixed));
    let file = write(folder, "fixed.onnx", &fixed);
    let config = path(folder, "config.pbtxt");
    ok(&[
        "describe",
        &file,
        "--set",
        "preprocess=unit",
        "--triton",
        &config,
    ]);
    let config = fs::read_to_string(config).unwrap();
    assert!(
        config.contains("max_batch_size: 0")
            && config.contains("dims: [ -1, 3, 8, 8 ]")
            && config.contains("dims: [ 1, 3 ]")
            && !config.contains("dynamic_batching"),
        "{config}"
    );
}

#[test]
fn what_the_model_sees_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder);
    let scores = model(3, |graph| {
        graph.node("Softmax", "y", &["logits"], "y");
    });
    let file = write(folder, "model.onnx", &scores);
    // Wide, so that the sides of a center crop are left out: they are green.
    let mut wide = image::RgbImage::from_pixel(24, 8, image::Rgb([0, 255, 0]));
    for (x, _, pixel) in wide.enumerate_pixels_mut() {
        if (8..16).contains(&x) {
            *pixel = image::Rgb([255, 0, 0]);
        }
    }
    let wide_file = path(folder, "wide.png");
    wide.save(&wide_file).unwrap();
    let colors = |options: &[&str]| {
        let seen = path(folder, "seen.png");
        let command = ["predict", &file, &wide_file, "--show", &seen];
        let predicted = ok(&with_unit(&[&command, options].concat()));
        assert!(
            predicted.stderr.contains("what the model sees in"),
            "{}",
            predicted.stderr
        );
        let drawn = image::open(&seen).unwrap().to_rgb8();
        [[255, 0, 0], [0, 255, 0]].map(|color| drawn.pixels().any(|pixel| pixel.0 == color))
    };
    assert_eq!(colors(&["--resize", "shorter"]), [true, false]);
    assert_eq!(colors(&["--filter", "nearest"]), [true, true]);
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn a_model_that_takes_too_much_when_it_runs_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = images(folder);
    let image = format!("{data}/red/0.png");
    // As many values as the brightest pixel says, 400 million: no graph tells.
    let hostile = model(3, |graph| {
        graph.initializer("many", &[], vec![4e8_f32]);
        graph.initializer("axis", &[1], vec![1_i64]);
        graph
            .node("ReduceMax", "brightest", &["x"], "brightest")
            .int("keepdims", 0);
        graph.node("Mul", "size", &["brightest", "many"], "size");
        graph.node("Cast", "whole", &["size"], "whole").int("to", 7);
        graph.node("Reshape", "shape", &["whole", "axis"], "shape");
        graph.node("ConstantOfShape", "values", &["shape"], "values");
        graph
            .node("ReduceSum", "sum", &["values"], "sum")
            .int("keepdims", 0);
        graph.node("Add", "y", &["logits", "sum"], "y");
    });
    let file = write(folder, "hostile.onnx", &hostile);
    let message = error(&mut kiln(&with_unit(&[
        "predict",
        &file,
        &image,
        "--engine",
        "ort",
        "--ort-lib",
        onnxruntime(),
        "--output",
        "logits",
        "--max-memory",
        "300MB",
    ])));
    assert!(
        message
            .starts_with("error: the model's first run takes more than 300 MB of memory\nhelp: "),
        "{message}"
    );
    assert!(message.contains("`--max-memory`"), "{message}");

    let plain = write(
        folder,
        "plain.onnx",
        &model(3, |graph| {
            graph.node("Identity", "y", &["logits"], "y");
        }),
    );
    ok(&with_unit(&[
        "predict",
        &plain,
        &image,
        "--max-memory",
        "none",
        "--max-seconds",
        "none",
    ]));
    let message = error(&mut kiln(&with_unit(&[
        "predict",
        &plain,
        &image,
        "--max-memory",
        "much",
    ])));
    assert!(
        message.contains("expected a size, such as `4GB`"),
        "{message}"
    );
}

/// Three classes of which an image can have several: those whose channel is brighter than 0.4.
fn several(add: impl FnOnce(&mut GraphBuilder)) -> ModelProto {
    model(3, |graph| {
        graph.initializer("two", &[1], vec![2.0_f32]);
        graph.node("Sub", "centered", &["logits", "two"], "centered");
        add(graph);
    })
}

/// Images of one color, by their names.
fn mixed(folder: &Path) {
    for (name, pixel) in [
        ("red", [255, 0, 0]),
        ("yellow", [255, 255, 0]),
        ("black", [0, 0, 0]),
        ("white", [255, 255, 255]),
    ] {
        let image = image::RgbImage::from_pixel(SIDE as u32, SIDE as u32, image::Rgb(pixel));
        image.save(folder.join(format!("{name}.png"))).unwrap();
    }
}

/// The model with its sigmoid, the file of its labels, the images and a list of them, whose last label is wrong.
fn several_in(folder: &Path) -> (String, String) {
    mixed(folder);
    fs::write(folder.join("labels.txt"), "red\ngreen\nblue\n").unwrap();
    let list = "path,labels\nred.png,red\nyellow.png,green|red\nblack.png,\nwhite.png,red;green\n";
    fs::write(folder.join("names.csv"), list).unwrap();
    let sigmoid = several(|graph| {
        graph.node("Sigmoid", "y", &["centered"], "y");
    });
    let file = write(folder, "several.onnx", &sigmoid);
    (file, path(folder, "labels.txt"))
}

#[test]
fn images_with_several_labels_are_classified_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (file, labels) = several_in(folder);
    let image = |name: &str| path(folder, &format!("{name}.png"));
    let (yellow, black) = (image("yellow"), image("black"));
    let arguments = ["predict", &file, &yellow, &black, "--labels", &labels];
    let ended = ok(&with_unit(&arguments));
    assert!(
        ended
            .stdout
            .contains("yellow.png: red (95.26 %), green (95.26 %)\n"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("black.png: none of the classes\n"),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stderr
            .contains("each class has a probability by itself"),
        "{}",
        ended.stderr
    );
    let json = ok(&with_unit(
        &[&arguments[..], &["--json", "--threshold", "0.96,0.1,0.1"]].concat(),
    ));
    let yellow = json.stdout.lines().nth(1).unwrap();
    assert!(
        yellow.contains("\"labels\":[\"green\",\"blue\"]"),
        "{yellow}"
    );

    // In one column, and in a column for each class.
    let marks =
        "path,blue,red,green\nred.png,0,1,0\nyellow.png,0,1,1\nblack.png,0,0,0\nwhite.png,0,1,1\n";
    fs::write(folder.join("marks.csv"), marks).unwrap();
    for name in ["names.csv", "marks.csv"] {
        let list = path(folder, name);
        let rows = path(folder, "rows.csv");
        let arguments = [
            "eval",
            &file,
            "--data",
            &list,
            "--labels",
            &labels,
            "--predictions",
            &rows,
            "--json",
        ];
        let ended = ok(&with_unit(&arguments));
        let found: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        // Of four images two times two decisions are right, and blue's of white is not.
        assert_eq!(found["exact_matches"], 0.75, "{found}");
        assert_eq!(found["hamming_loss"], 1.0 / 12.0, "{found}");
        assert_eq!(found["classes"][0]["average_precision"], 1.0, "{found}");
        assert_eq!(
            found["classes"][2]["average_precision"],
            serde_json::Value::Null,
            "{found}"
        );
        let text = fs::read_to_string(&rows).unwrap();
        assert!(
            text.contains("yellow.png,red|green,red|green,")
                || text.contains("yellow.png,green|red,red|green,"),
            "{text}"
        );
        // All is there already.
        let resumed = ok(&with_unit(
            &[&arguments[..arguments.len() - 1], &["--resume"]].concat(),
        ));
        assert!(
            resumed.stdout.contains("exactly right 75.00 % of 4 images"),
            "{}",
            resumed.stdout
        );
        assert!(
            resumed.stdout.contains("best threshold"),
            "{}",
            resumed.stdout
        );
    }
}

#[test]
fn whether_an_image_has_several_labels_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (file, labels) = several_in(folder);
    let image = |name: &str| path(folder, &format!("{name}.png"));
    let bare = write(
        folder,
        "bare.onnx",
        &several(|graph| {
            graph.node("Identity", "y", &["centered"], "y");
        }),
    );
    let list = path(folder, "names.csv");
    let arguments = ["eval", &bare, "--data", &list, "--labels", &labels];
    let message = error(&mut kiln(&with_unit(&arguments)));
    assert!(
        message.contains("the classes of the model exclude each other")
            && message.contains("sigmoid_logits"),
        "{message}"
    );
    let ended = ok(&with_unit(
        &[&arguments[..], &["--output", "sigmoid_logits"]].concat(),
    ));
    assert!(
        ended.stdout.contains("exactly right 75.00 % of 4 images"),
        "{}",
        ended.stdout
    );
    let message = error(&mut kiln(&with_unit(&[
        "predict",
        &bare,
        &image("red"),
        "--threshold",
        "0.7",
    ])));
    assert!(
        message.contains("the classes of this model exclude each other"),
        "{message}"
    );
    let message = error(&mut kiln(&with_unit(&[
        "compare", &file, &file, "--data", &list, "--labels", &labels,
    ])));
    assert!(message.contains("expected one"), "{message}");
    // A copy keeps the thresholds.
    let copy = path(folder, "copy.onnx");
    ok(&[
        "describe",
        &file,
        "--set",
        "preprocess=unit",
        "--set",
        "threshold=0.96,0.1,0.1",
        "-o",
        &copy,
    ]);
    let described = ok(&["describe", &copy]);
    assert!(
        described.stdout.contains("more than 0.96, 0.1, 0.1"),
        "{}",
        described.stdout
    );
    let ended = ok(&["predict", &copy, &image("yellow")]);
    assert!(
        ended
            .stdout
            .contains("yellow.png: 1 (95.26 %), 2 (11.92 %)"),
        "{}",
        ended.stdout
    );
}

#[test]
fn the_threshold_of_two_classes_moves_images_from_one_to_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = images(folder);
    // 0.73 for red, a half for the others.
    let binary = model(1, |graph| {
        graph.initializer("red", &[3, 1], vec![0.2_f32, 0.0, 0.0]);
        graph.node("MatMul", "score", &["logits", "red"], "score");
        graph.node("Sigmoid", "y", &["score"], "y");
    });
    let file = write(folder, "binary.onnx", &binary);
    fs::write(
        folder.join("list.csv"),
        "path,label\ncolors/red/0.png,positive\ncolors/blue/0.png,negative\n",
    )
    .unwrap();
    let list = path(folder, "list.csv");
    let red = format!("{data}/red/0.png");
    for (threshold, class, accuracy) in [
        ("0.7", "positive (73.11 %)", 1.0),
        ("0.8", "negative (26.89 %)", 0.5),
    ] {
        let ended = ok(&with_unit(&[
            "predict",
            &file,
            &red,
            "--threshold",
            threshold,
        ]));
        assert!(ended.stdout.contains(class), "{}", ended.stdout);
        let ended = ok(&with_unit(&[
            "eval",
            &file,
            "--data",
            &list,
            "--threshold",
            threshold,
            "--json",
        ]));
        let found: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(found["accuracy"], accuracy, "{found}");
    }
    let message = error(&mut kiln(&with_unit(&[
        "predict",
        &file,
        &red,
        "--threshold",
        "1.5",
    ])));
    assert!(
        message.contains("expected a threshold from 0 to 1"),
        "{message}"
    );
}
