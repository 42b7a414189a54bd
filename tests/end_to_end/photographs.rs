//! Photographs as cameras store them.

use std::fs;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder, Luma};
use kiln_onnx::{Dim, GraphBuilder, encode};

use crate::kiln::{ok, path};

const SIDE: u32 = 8;

/// A picture of a bright half, above or below, and a dark one.
fn picture(bright_above: bool) -> GrayImage {
    GrayImage::from_fn(SIDE, SIDE, |_, y| {
        Luma([if (y < SIDE / 2) == bright_above {
            250
        } else {
            5
        }])
    })
}

/// Writes a picture as a camera held on its side does: turned counterclockwise, with the tag that says to
/// turn it clockwise.
fn stored_turned(picture: &GrayImage, file: &Path) {
    let pixels = image::imageops::rotate270(picture);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 95)
        .write_image(&pixels, SIDE, SIDE, ExtendedColorType::L8)
        .unwrap();
    // A little-endian TIFF header and a directory of one entry: Orientation (0x112), one SHORT, 6.
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let segment = [&[0xFF, 0xE1, 0, exif.len() as u8 + 2], &exif[..]].concat();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, [&jpeg[..2], &segment, &jpeg[2..]].concat()).unwrap();
}

/// A model of two classes, whose scores are the means of the upper and the lower half.
fn halves(folder: &Path) -> String {
    let side = SIDE as usize;
    let mut graph = GraphBuilder::new("halves");
    graph
        .input("x", Dim::batched([1, side, side]))
        .output("y", Dim::batched([2]));
    graph.initializer("five", &[1], vec![5.0]);
    graph
        .node("AveragePool", "pool", &["x"], "p")
        .ints("kernel_shape", [i64::from(SIDE / 2), i64::from(SIDE)])
        .ints("strides", [i64::from(SIDE / 2), i64::from(SIDE)]);
    graph.node("Flatten", "flatten", &["p"], "f").int("axis", 1);
    graph.node("Mul", "mul", &["f", "five"], "y");
    let file = path(folder, "halves.onnx");
    fs::write(&file, encode(&graph.finish().unwrap())).unwrap();
    file
}

#[test]
fn a_photograph_is_turned_upright_on_request_and_else_told() {
    let folder = tempfile::tempdir().unwrap();
    let model = halves(folder.path());
    let photograph = path(folder.path(), "turned.jpg");
    stored_turned(&picture(true), Path::new(&photograph));
    let unit = ["--preprocess", "unit", "--channels", "gray"];
    let predict =
        |more: &[&str]| ok(&[&["predict", &model, &photograph][..], &unit, more].concat());
    let note = "1 image is stored turned";
    let turned = predict(&["--orientation"]);
    assert!(
        turned.stdout.contains("turned.jpg: 0 (99."),
        "{}",
        turned.stdout
    );
    assert!(!turned.stderr.contains(note), "{}", turned.stderr);
    // Stored, its bright half is on the left.
    let stored = predict(&[]);
    assert!(stored.stdout.contains("(50."), "{}", stored.stdout);
    assert_eq!(stored.stderr.matches(note).count(), 1, "{}", stored.stderr);
}

#[test]
fn training_and_serving_turn_photographs_alike() {
    let folder = tempfile::tempdir().unwrap();
    for (class, bright_above) in [("above", true), ("below", false)] {
        for at in 0..12 {
            let mut picture = picture(bright_above);
            picture.put_pixel(at % SIDE, at / SIDE, Luma([100]));
            let file = folder.path().join(format!("data/{class}/{at}.jpg"));
            stored_turned(&picture, &file);
        }
        picture(bright_above)
            .save(folder.path().join(format!("{class}.png")))
            .unwrap();
    }
    let recipe = path(folder.path(), "recipe.toml");
    let text = format!(
        "[data]\nfolder = {:?}\n[input]\nheight = {SIDE}\nwidth = {SIDE}\n[training]\nepochs = 20\nbatch_size = 4\n\
         [[layers]]\ntype = \"flatten\"\n[[layers]]\ntype = \"dense\"\n",
        path(folder.path(), "data")
    );
    fs::write(&recipe, text).unwrap();
    let runs = path(folder.path(), "runs");
    let run = ok(&["run", &recipe, "--runs", &runs, "--quiet"]);
    let run = run.stdout.lines().last().unwrap_or_default().to_owned();
    let model = path(folder.path(), "runs/recipe/model.onnx");
    assert!(Path::new(&model).exists(), "{run}");
    for class in ["above", "below"] {
        let upright = ok(&[
            "predict",
            &model,
            &path(folder.path(), &format!("{class}.png")),
        ]);
        assert!(
            upright.stdout.contains(&format!("{class}.png: {class}")),
            "{}",
            upright.stdout
        );
        let turned = path(folder.path(), &format!("data/{class}/0.jpg"));
        let turned = ok(&["predict", &model, &turned]);
        assert!(
            turned.stdout.contains(&format!(": {class}")),
            "{}",
            turned.stdout
        );
        assert!(
            !turned.stderr.contains("stored turned"),
            "{}",
            turned.stderr
        );
    }
}
