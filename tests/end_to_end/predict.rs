//! `kiln predict`.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::kiln::{error, kiln, mnist, ok, path, run, trained};

/// Writes the first test images as PNG files and gives the folder.
fn digits(n: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let idx = fs::read(mnist().join("t10k-images-idx3-ubyte")).unwrap();
    for (at, pixels) in idx[16..].chunks_exact(28 * 28).take(n).enumerate() {
        let image = image::GrayImage::from_raw(28, 28, pixels.to_vec()).unwrap();
        image.save(folder.path().join(format!("{at:03}.png"))).unwrap();
    }
    folder
}

#[test]
fn files_give_what_the_data_set_gives() {
    let folder = digits(20);
    let model = path(trained(), "model.onnx");
    let csv = path(folder.path(), "predictions.csv");
    ok(&["eval", &model, "--data", "mnist:test", "--predictions", &csv]);
    let expected: Vec<String> = fs::read_to_string(csv)
        .unwrap()
        .lines()
        .skip(1)
        .take(20)
        .map(|line| line.split(',').nth(2).unwrap().to_string())
        .collect();
    let ended = ok(&["predict", &model, folder.path().to_str().unwrap(), "--json"]);
    let mut lines: Vec<serde_json::Value> = ended.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    // What it ran on comes first.
    assert_eq!(lines.remove(0)["runtime"]["engine"], "tract");
    let found: Vec<&str> = lines.iter().map(|line| line["label"].as_str().unwrap()).collect();
    assert_eq!(found, expected);
    assert!(lines[3]["image"].as_str().unwrap().ends_with("003.png"));
}

#[test]
fn an_image_may_come_from_standard_input() {
    let folder = digits(1);
    let model = path(trained(), "model.onnx");
    let mut child = kiln(&["predict", &model, "-", "--top-k", "3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(folder.path().join("000.png")).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let from_stdin = String::from_utf8(output.stdout).unwrap();
    let from_file = ok(&["predict", &model, &path(folder.path(), "000.png"), "--top-k", "3"]).stdout;
    let classes = |line: &str| line.split_once(": ").unwrap().1.to_string();
    assert!(from_stdin.starts_with("-: "), "{from_stdin}");
    assert_eq!(classes(&from_stdin), classes(&from_file));
    assert_eq!(from_file.matches('%').count(), 3);
}

#[test]
fn an_image_that_is_none_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(trained(), "model.onnx");
    let text = path(folder.path(), "letter.png");
    fs::write(&text, "Dear reader, this is no picture.").unwrap();
    let message = error(&mut kiln(&["predict", &model, &text]));
    assert!(message.contains("letter.png") && message.contains("PNG, JPEG, BMP, WebP, TIFF"), "{message}");
    let message = error(&mut kiln(&["predict", &model, &path(folder.path(), "nothing.png")]));
    assert!(message.contains("nothing.png"), "{message}");
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let folder = digits(2);
    let model = path(trained(), "model.onnx");
    let mut child = kiln(&["predict", &model, folder.path().to_str().unwrap()]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.success());
    assert_eq!(run(&mut kiln(&["predict", &model])).code, Some(2), "no image is wrong usage");
}
