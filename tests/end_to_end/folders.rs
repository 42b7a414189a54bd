//! Folders and lists as people have them: subsets by other names, what is no image, names in other
//! encodings, classes of few images.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use kiln_onnx::{Dim, GraphBuilder, encode};
use serde_json::Value;

use crate::kiln::{Ended, error, kiln, ok, path, run, succeed};

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];

/// Options for models that take colors from 0 to 1.
const UNIT: [&str; 4] = ["--preprocess", "unit", "--channels", "rgb"];

/// A square of 8 pixels.
fn png(folder: &Path, name: &str, color: [u8; 3]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(8, 8, Rgb(color)).save(path).unwrap();
}

/// A model of three classes, whose scores are five times the means of red, green and blue.
fn means(folder: &Path) -> String {
    let mut graph = GraphBuilder::new("means");
    graph
        .input("x", Dim::batched([3, 8, 8]))
        .output("y", Dim::batched([3]));
    graph.initializer("five", &[1], vec![5.0]);
    graph.node("GlobalAveragePool", "pool", &["x"], "p");
    graph.node("Flatten", "flatten", &["p"], "f").int("axis", 1);
    graph.node("Mul", "mul", &["f", "five"], "y");
    let file = path(folder, "means.onnx");
    fs::write(&file, encode(&graph.finish().unwrap())).unwrap();
    file
}

/// Evaluates that model on some data.
fn eval(model: &str, data: &str, more: &[&str]) -> Ended {
    let args = ["eval", model, "--data", data, "--json", "-"];
    run(&mut kiln(&[&args[..], &UNIT, more].concat()))
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr))
}

/// A recipe for a folder beside it.
fn recipe(folder: &Path, data: &str, more: &str) -> String {
    let file = path(folder, &format!("{data}.toml"));
    let text = format!(
        "[data]\nfolder = {:?}\n[training]\nepochs = 1\nbatch_size = 8\n{more}\n\
         [[layers]]\ntype = \"flatten\"\n[[layers]]\ntype = \"dense\"\n",
        path(folder, data)
    );
    fs::write(&file, text).unwrap();
    file
}

const SMALL_INPUT: &str = "[input]\nheight = 8\nwidth = 8\nchannels = \"rgb\"";

#[test]
fn subsets_have_other_names() {
    let folder = tempfile::tempdir().unwrap();
    for subset in ["Train", "Test"] {
        for at in 0..4 {
            png(folder.path(), &format!("shop/{subset}/cat/{at}.png"), RED);
            png(folder.path(), &format!("shop/{subset}/dog/{at}.png"), BLUE);
        }
    }
    let counts = json(&ok(&["data", &path(folder.path(), "shop"), "--json"]));
    assert_eq!(counts["subsets"], serde_json::json!(["train", "test"]));
    assert_eq!(counts["totals"], serde_json::json!([8, 8]));
    for at in 0..4 {
        png(folder.path(), &format!("kaggle/train/cat.{at}.png"), RED);
        png(folder.path(), &format!("kaggle/test1/{at}.png"), BLUE);
    }
    let message = error(&mut kiln(&["data", &path(folder.path(), "kaggle")]));
    assert!(
        message.contains("which look like subsets")
            && message.contains("holds 4 images in no class folder")
            && message.contains("help: put a folder for each class into `train`"),
        "{message}"
    );
}

#[test]
fn what_is_not_used_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let model = means(folder.path());
    png(folder.path(), "mix/red.png", RED);
    for name in [
        "IMG_1.HEIC",
        "b.md",
        "noending",
        ".DS_Store",
        "@eaDir/red.png",
    ] {
        png(folder.path(), "mix/@eaDir/x.png", RED);
        fs::write(folder.path().join("mix").join(name), "").unwrap();
    }
    let mix = path(folder.path(), "mix");
    let ended = ok(&[&["predict", &model, &mix][..], &UNIT].concat());
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    let note = "3 other files skipped: without an ending 1, .heic 1, .md 1; 1 hidden file skipped; \
                folders skipped: @eaDir 1";
    assert_eq!(ended.stderr.matches(note).count(), 1, "{}", ended.stderr);

    for class in ["0", "1", "2"] {
        png(folder.path(), &format!("data/{class}/a.png"), RED);
        fs::write(folder.path().join(format!("data/{class}/a.txt")), "").unwrap();
    }
    png(folder.path(), "data/loose.png", RED);
    let data = path(folder.path(), "data");
    let note = "3 other files skipped: .txt 3; 1 image beside the class folders skipped";
    for ended in [ok(&["data", &data]), eval(&model, &data, &[])] {
        assert_eq!(ended.stderr.matches(note).count(), 1, "{}", ended.stderr);
    }
}

#[test]
#[cfg(unix)]
fn links_that_lead_nowhere_are_skipped_images() {
    let folder = tempfile::tempdir().unwrap();
    let model = means(folder.path());
    for (class, color) in [("0", RED), ("1", GREEN), ("2", BLUE)] {
        png(folder.path(), &format!("dead/{class}/a.png"), color);
    }
    let link = folder.path().join("dead/0/gone.png");
    std::os::unix::fs::symlink("/nowhere", link).unwrap();
    let dead = path(folder.path(), "dead");
    let predict = [&["predict", &model, &dead][..], &UNIT].concat();
    let ended = ok(&[&predict[..], &["--skip-bad"]].concat());
    assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.stdout);
    let skipped = |ended: &Ended| {
        let text = &ended.stderr;
        text.contains("Skipped 1 image that cannot be used:") && text.contains("gone.png")
    };
    assert!(skipped(&ended), "{}", ended.stderr);
    let ended = eval(&model, &dead, &["--skip-bad"]);
    assert_eq!(json(&ended)["accuracy"], 1.0);
    assert!(skipped(&ended), "{}", ended.stderr);
    let ended = run(&mut kiln(&predict));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("gone.png"), "{}", ended.stderr);
}

#[test]
fn folders_named_by_numbers_are_matched_as_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let mut names: Vec<String> = (0..11).map(|level| level.to_string()).collect();
    names.sort();
    let levels: Vec<f32> = names
        .iter()
        .map(|name| name.parse::<f32>().unwrap() * 20.0 / 255.0)
        .collect();
    // The class of the level that is nearest.
    let weights: Vec<f32> = (0..3)
        .flat_map(|_| levels.iter().map(|level| 2000.0 * level / 3.0))
        .collect();
    let bias: Vec<f32> = levels.iter().map(|level| -1000.0 * level * level).collect();
    let mut graph = GraphBuilder::new("levels");
    graph
        .input("x", Dim::batched([3, 8, 8]))
        .output("y", Dim::batched([11]));
    graph.initializer("w", &[3, 11], weights);
    graph.initializer("b", &[11], bias);
    graph.node("GlobalAveragePool", "pool", &["x"], "p");
    graph.node("Flatten", "flatten", &["p"], "f").int("axis", 1);
    graph.node("Gemm", "gemm", &["f", "w", "b"], "y");
    let model = path(folder.path(), "order.onnx");
    fs::write(&model, encode(&graph.finish().unwrap())).unwrap();
    let labels = path(folder.path(), "order.txt");
    fs::write(&labels, names.join("\n")).unwrap();
    for level in 0..11 {
        png(
            folder.path(),
            &format!("levels/{level}/a.png"),
            [level * 20; 3],
        );
    }
    let data = path(folder.path(), "levels");
    let ended = eval(&model, &data, &[]);
    assert!(json(&ended)["accuracy"].as_f64().unwrap() < 0.2);
    assert!(
        ended
            .stderr
            .contains("`10` is class 10, counted from 0; sorted as text")
            && ended.stderr.contains("it would be class 2"),
        "{}",
        ended.stderr
    );
    let ended = eval(&model, &data, &["--labels", &labels]);
    assert_eq!(json(&ended)["accuracy"], 1.0);
    assert!(!ended.stderr.contains("sorted as text"), "{}", ended.stderr);
}

#[test]
fn names_and_lists_of_other_systems_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let model = means(folder.path());
    png(folder.path(), "mac/cafe\u{301}/a.png", RED);
    png(folder.path(), "mac/th\u{e9}/b.png", GREEN);
    let labels = "caf\u{e9}\r\nth\u{e9}\r\neau\r\n";
    let utf16 = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let file = path(folder.path(), "fr.txt");
    for bytes in [labels.as_bytes().to_vec(), utf16(labels)] {
        fs::write(&file, bytes).unwrap();
        let ended = eval(&model, &path(folder.path(), "mac"), &["--labels", &file]);
        assert_eq!(json(&ended)["accuracy"], 1.0);
    }
    png(folder.path(), "rgb/0/a.png", RED);
    png(folder.path(), "rgb/1/a.png", GREEN);
    let list = "path,label\r\nrgb\\0\\a.png,0\r\nrgb\\1\\a.png,1\r\n";
    let file = path(folder.path(), "windows.csv");
    for bytes in [list.as_bytes().to_vec(), utf16(list)] {
        fs::write(&file, bytes).unwrap();
        assert_eq!(json(&eval(&model, &file, &[]))["accuracy"], 1.0);
        let counts = json(&ok(&["data", &file, "--json"]));
        assert_eq!(counts["totals"][0], 2);
    }
    fs::write(&file, "path,label\nrgb/0/a.png,0\nrgb/1/a.png,7\n").unwrap();
    let ended = eval(&model, &file, &[]);
    assert!(
        ended.stderr.contains("line 3 of `")
            && ended.stderr.contains("windows.csv` has the class `7`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_file_of_several_lines_is_one_image() {
    let folder = tempfile::tempdir().unwrap();
    let model = means(folder.path());
    for (name, color) in [("red.png", RED), ("blue.png", BLUE), ("rgb/x.png", GREEN)] {
        png(folder.path(), name, color);
    }
    let file = path(folder.path(), "double.csv");
    let lines = "path,label\nred.png,0\n./red.png,0\nrgb/../red.png,0\nblue.png,2\n";
    fs::write(&file, lines).unwrap();
    let ended = ok(&["data", &file, "--json"]);
    assert_eq!(json(&ended)["totals"][0], 2);
    let note = "line 3 is line 2, line 4 is line 2";
    assert_eq!(ended.stderr.matches(note).count(), 1, "{}", ended.stderr);
    let ended = eval(&model, &file, &[]);
    assert_eq!(json(&ended)["images"], 2);
    assert_eq!(ended.stderr.matches(note).count(), 1, "{}", ended.stderr);
    fs::write(&file, format!("{lines}./blue.png,0\n")).unwrap();
    let message = error(&mut kiln(&["data", &file]));
    assert!(
        message.contains("double.csv:6: `./blue.png` is the image of line 5"),
        "{message}"
    );
}

#[test]
fn every_subset_has_every_class_that_is_large_enough() {
    let folder = tempfile::tempdir().unwrap();
    for class in 0..20 {
        for at in 0..5 {
            png(
                folder.path(),
                &format!("few/c{class:02}/{at}.png"),
                [class * 12, at * 40, 99],
            );
        }
        png(
            folder.path(),
            &format!("one/c{class:02}/0.png"),
            [class * 12, 9, 9],
        );
    }
    let few = recipe(folder.path(), "few", SMALL_INPUT);
    for seed in ["0", "1"] {
        let set = format!("training.seed={seed}");
        let ended = ok(&["data", &few, "--set", &set, "--json"]);
        let counts = json(&ended);
        assert_eq!(
            counts["totals"],
            serde_json::json!([60, 20, 20]),
            "{}",
            ended.stderr
        );
        for class in counts["classes"].as_array().unwrap() {
            assert_eq!(class["images"], serde_json::json!([3, 1, 1]), "{class}");
        }
    }
    let one = recipe(folder.path(), "one", SMALL_INPUT);
    let ended = run(&mut kiln(&["data", &one]));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("there are no test images in `")
            && ended
                .stderr
                .contains("the only image of a class is for training"),
        "{}",
        ended.stderr
    );
    // Some classes of one image among others: they are trained on, and named.
    png(folder.path(), "few/rare/0.png", GREEN);
    let ended = ok(&["data", &few, "--json"]);
    let counts = json(&ended);
    assert_eq!(
        counts["classes"][20]["images"],
        serde_json::json!([1, 0, 0])
    );
    let note = "1 class without a validation image: `rare`; 1 class without a test image: `rare`";
    assert_eq!(ended.stderr.matches(note).count(), 1, "{}", ended.stderr);
}

#[test]
fn images_in_color_that_are_trained_in_gray_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..10 {
        png(folder.path(), &format!("hue/red/{at}.png"), RED);
        png(folder.path(), &format!("hue/green/{at}.png"), [0, 130, 0]);
    }
    let gray = recipe(folder.path(), "hue", "");
    let note = "20 of 20 images in `";
    let ended = ok(&["data", &gray]);
    assert_eq!(ended.stderr.matches(note).count(), 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the model takes gray ones"),
        "{}",
        ended.stderr
    );
    let rgb = recipe(folder.path(), "hue", SMALL_INPUT);
    let ended = ok(&["data", &rgb]);
    assert!(!ended.stderr.contains(note), "{}", ended.stderr);
}

#[test]
fn runs_in_the_folder_of_the_images_are_no_class() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..10 {
        png(folder.path(), &format!("red/{at}.png"), RED);
        png(folder.path(), &format!("blue/{at}.png"), BLUE);
    }
    let file = recipe(folder.path(), "x", SMALL_INPUT);
    for name in ["x", "x-2"] {
        let set = ["--set", "data.folder=."];
        let mut command = kiln(&[&["run", &file][..], &set].concat());
        succeed(command.current_dir(folder.path()));
        let run = folder.path().join("runs").join(name);
        let labels = fs::read_to_string(run.join("labels.json")).unwrap();
        let labels: Vec<String> = serde_json::from_str(&labels).unwrap();
        assert_eq!(labels, ["blue", "red"]);
    }
}

#[test]
fn a_run_of_before_keeps_its_subsets() {
    let folder = tempfile::tempdir().unwrap();
    for class in 0..6 {
        for at in 0..5 {
            png(
                folder.path(),
                &format!("few/c{class}/{at}.png"),
                [class * 40, at * 40, 99],
            );
        }
    }
    let file = recipe(folder.path(), "few", SMALL_INPUT);
    let runs = path(folder.path(), "runs");
    ok(&["run", &file, "--runs", &runs]);
    let run = format!("{runs}/few");
    let images = || json(&ok(&["eval", &run, "--json", "-"]))["images"].clone();
    assert_eq!(images(), 6, "one of each class");
    // As kiln 0.2.0 wrote it: of 30 images three were for testing.
    let environment = format!("{run}/environment.json");
    let text = fs::read_to_string(&environment).unwrap();
    let mut fields: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(fields.remove("split_rule").unwrap(), "seeded");
    fs::write(&environment, serde_json::to_string(&fields).unwrap()).unwrap();
    assert_eq!(images(), 3);
}

#[test]
fn a_class_of_unreadable_images_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..4 {
        png(folder.path(), &format!("torn/cat/{at}.png"), RED);
        png(folder.path(), &format!("torn/dog/{at}.png"), BLUE);
        let torn = folder.path().join(format!("torn/emu/{at}.png"));
        fs::create_dir_all(torn.parent().unwrap()).unwrap();
        fs::write(torn, "torn").unwrap();
    }
    let recipe = recipe(folder.path(), "torn", SMALL_INPUT);
    let runs = path(folder.path(), "runs");
    let ended = run(&mut kiln(&["--skip-bad", "run", &recipe, "--runs", &runs]));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let message = ended.stderr;
    assert!(
        message.contains("no image of class `emu` of") && message.contains("can be read"),
        "{message}"
    );
    assert!(
        message.contains("help: add some, or remove the class"),
        "{message}"
    );
}

#[test]
fn a_missing_image_of_a_list_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let model = means(folder.path());
    for (name, color) in [("red", RED), ("green", GREEN), ("blue", BLUE)] {
        png(folder.path(), &format!("{name}.png"), color);
    }
    let list = path(folder.path(), "list.csv");
    fs::write(
        &list,
        "path,label\nred.png,0\ngreen.png,1\ngone.png,2\nblue.png,2\n",
    )
    .unwrap();
    let named = |text: &str| text.contains("gone.png` (") && text.contains("list.csv:4)");
    let ended = eval(&model, &list, &[]);
    assert!(named(&ended.stderr), "{}", ended.stderr);
    let ended = eval(&model, &list, &["--skip-bad"]);
    assert!(named(&ended.stderr), "{}", ended.stderr);
    assert_eq!(json(&ended)["accuracy"], 1.0);
    let ended = run(&mut kiln(
        &[&["predict", &model, &list][..], &UNIT].concat(),
    ));
    assert!(named(&ended.stderr), "{}", ended.stderr);
    let lines = path(folder.path(), "lines.txt");
    let text = ["red.png", "gone.png"].map(|name| path(folder.path(), name));
    fs::write(&lines, text.join("\n")).unwrap();
    let ended = run(&mut kiln(
        &[&["predict", &model, "--list", &lines][..], &UNIT].concat(),
    ));
    assert!(ended.stderr.contains("lines.txt:2)"), "{}", ended.stderr);
    let recipe = recipe(folder.path(), "list.csv", SMALL_INPUT);
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, text.replace("folder =", "csv =")).unwrap();
    let message = error(&mut kiln(&["data", &recipe]));
    assert!(named(&message), "{message}");
}
