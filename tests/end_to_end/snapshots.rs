//! What commands print where the text is the product, compared with the files in `tests/snapshots`.
//! `UPDATE_SNAPSHOTS=1` writes them instead.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use regex::Regex;

use crate::kiln::{kiln, root, run};

/// A folder to run commands in, so that only relative paths are printed: the fixture's `digits`,
/// `digits.onnx` that classifies them, `other.onnx` that prepares images otherwise, a recipe, and
/// files that are none.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let fixture = root().join("tests/fixtures/digits");
        for subset in ["train", "test"] {
            for class in 0..10 {
                let class = format!("{subset}/{class}");
                let copy = folder.join("digits").join(&class);
                fs::create_dir_all(&copy).unwrap();
                for image in fs::read_dir(fixture.join(&class)).unwrap() {
                    let image = image.unwrap();
                    fs::copy(image.path(), copy.join(image.file_name())).unwrap();
                }
            }
        }
        let model = root().join("crates/inference/examples/digits.onnx");
        fs::copy(&model, folder.join("digits.onnx")).unwrap();
        let mut other = kiln_onnx::load(&model).unwrap();
        let mut metadata = other.metadata().unwrap();
        metadata.preprocessing.as_mut().unwrap().scale = 1.0 / 500.0;
        other.set_metadata(&metadata);
        fs::write(folder.join("other.onnx"), kiln_onnx::encode(&other)).unwrap();
        let recipe = fs::read_to_string(root().join("models/quickstart.toml")).unwrap();
        fs::write(folder.join("quickstart.toml"), &recipe).unwrap();
        let wrong = recipe.replacen("filters = 32", "filtres = 32", 1);
        fs::write(folder.join("wrong_key.toml"), wrong).unwrap();
        let wrong = recipe.replacen("pool_size = 2", "pool_size = 30", 1);
        fs::write(folder.join("wrong_layer.toml"), wrong).unwrap();
        fs::write(folder.join("page.onnx"), "<!DOCTYPE html><html>404</html>").unwrap();
        fs::write(
            folder.join("letter.png"),
            "Dear reader, this is no picture.",
        )
        .unwrap();
        fs::write(folder.join("list.csv"), "file,class\nx.png,1\n").unwrap();
        fs::create_dir_all(folder.join("pets/cat")).unwrap();
        fs::copy(
            folder.join("digits/test/0/00003.png"),
            folder.join("pets/cat/1.png"),
        )
        .unwrap();
        // One image of each class.
        for class in 0..10 {
            let class = class.to_string();
            let images = folder.join("digits/test").join(&class);
            let image = fs::read_dir(images).unwrap().next().unwrap().unwrap();
            fs::create_dir_all(folder.join("singles").join(&class)).unwrap();
            let copy = folder.join("singles").join(&class).join("1.png");
            fs::copy(image.path(), copy).unwrap();
        }
        folder
    })
}

/// Replaces what differs from run to run and from machine to machine.
fn without_measurements(text: &str) -> String {
    let measurements = [
        ("[0-9,]+ images/s", "N images/s"),
        (r"\([0-9,]+ in the model\)", "(N in the model)"),
        ("in [0-9.]+ s", "in T s"),
        ("largest difference [0-9.e-]+", "largest difference D"),
    ];
    replace_all(text, &measurements)
}

/// Leaves out the speeds in the table of `kiln compare`, which set its width.
fn without_speeds(text: &str) -> String {
    let speeds = [
        ("(?m) +images/s at 1 +at 256$", ""),
        ("(?m)^( [AB] .*B) +[0-9,]+ +[0-9,]+$", "$1"),
        ("─+", "─"),
    ];
    replace_all(text, &speeds)
}

fn replace_all(text: &str, replacements: &[(&str, &str)]) -> String {
    let start = text.to_owned();
    replacements
        .iter()
        .fold(start, |text, (pattern, replacement)| {
            let pattern = Regex::new(pattern).unwrap();
            pattern.replace_all(&text, *replacement).into_owned()
        })
}

/// What a command printed and how it ended, as a snapshot shows it.
fn transcript(args: &[&str]) -> String {
    let args = [args, &["--threads", "2"]].concat();
    let mut command = kiln(&args);
    let folder = folder();
    command.current_dir(folder).env("KILN_CACHE", "cache");
    let ended = run(command.env_remove("COLUMNS"));
    let mut text = format!("$ kiln {}\n", args[..args.len() - 2].join(" "));
    for (stream, printed) in [
        ("standard output", ended.stdout),
        ("standard error", ended.stderr),
    ] {
        if !printed.is_empty() {
            write!(text, "--- {stream}\n{printed}").unwrap();
        }
    }
    let code = ended.code.expect("it was not killed");
    text = text.replace(folder.to_str().unwrap(), "FOLDER");
    without_measurements(&format!("{text}--- exit code {code}\n"))
}

/// Compares a text with the snapshot of this name, or writes it.
#[track_caller]
fn compare(name: &str, found: &str) {
    let file = root().join(format!("tests/snapshots/{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let differs = |(expected, found): &(&str, &str)| expected != found;
    let end = std::iter::once("(end)");
    let lines = expected.lines().chain(end.clone());
    let first = lines.zip(found.lines().chain(end)).find(differs);
    assert!(
        expected == found,
        "tests/snapshots/{name}.txt differs; UPDATE_SNAPSHOTS=1 updates it\n\
         first difference, expected and found: {first:#?}\n\nall of it:\n{found}"
    );
}

#[test]
fn help() {
    compare("help/kiln", &transcript(&["--help"]));
    for command in [
        "init", "run", "train", "probe", "quantize", "sweep", "report", "export", "verify", "eval",
        "predict", "merge", "explain", "embed", "describe", "bench", "compare", "data", "summary",
        "fetch", "doctor",
    ] {
        compare(
            &format!("help/{command}"),
            &transcript(&[command, "--help"]),
        );
    }
}

#[test]
fn what_commands_print() {
    compare("summary", &transcript(&["summary", "quickstart.toml"]));
    compare("data", &transcript(&["data", "digits"]));
    compare("describe", &transcript(&["describe", "digits.onnx"]));
    let verify = ["verify", "digits.onnx", "--engine", "tract"];
    compare("verify", &transcript(&verify));
    let eval = ["eval", "digits.onnx", "--data", "digits/train"];
    compare("eval", &transcript(&eval));
    let predict = ["predict", "digits.onnx", "digits/test/7", "--top-k", "2"];
    compare("predict", &transcript(&predict));
    let models = ["compare", "digits.onnx", "other.onnx"];
    let data = ["--data", "digits/train", "--show", "3"];
    let compared = transcript(&[&models[..], &data].concat());
    compare("compare", &without_speeds(&compared));
}

#[test]
fn errors() {
    let set_recipe = |set| ["train", "quickstart.toml", "--set", set];
    for (name, args) in [
        ("unknown_key", &["train", "wrong_key.toml"][..]),
        ("layer_that_does_not_fit", &["train", "wrong_layer.toml"]),
        ("wrong_value", &set_recipe("layers.dropout.rate=1.5")),
        ("no_recipe", &["run", "nothing.toml"]),
        (
            "offline",
            &["train", "quickstart.toml", "--runs", "no-runs"],
        ),
        ("no_model", &["predict", "nowhere.onnx", "letter.png"]),
        ("not_onnx", &["eval", "page.onnx", "--data", "digits/test"]),
        ("no_image", &["predict", "digits.onnx", "letter.png"]),
        (
            "unknown_dataset",
            &["eval", "digits.onnx", "--data", "cifar"],
        ),
        ("other_classes", &["eval", "digits.onnx", "--data", "pets"]),
        (
            "wrong_columns",
            &["eval", "digits.onnx", "--data", "list.csv"],
        ),
        (
            "one_class",
            &[
                "data",
                "quickstart.toml",
                "--set",
                "data.dataset=",
                "--set",
                "data.folder=pets",
            ],
        ),
        (
            "no_test_images",
            &[
                "data",
                "quickstart.toml",
                "--set",
                "data.dataset=",
                "--set",
                "data.folder=singles",
            ],
        ),
        ("no_run", &["export", "digits"]),
        (
            "unknown_option",
            &["eval", "digits.onnx", "--dta", "digits"],
        ),
    ] {
        compare(&format!("errors/{name}"), &transcript(args));
    }
}
