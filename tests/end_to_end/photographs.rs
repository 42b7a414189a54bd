//! Photographs as cameras store them.

use std::fs;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, GrayImage, ImageEncoder, Luma, Rgba, RgbaImage};
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

#[test]
fn comparing_tells_of_photographs_that_stay_turned() {
    let folder = tempfile::tempdir().unwrap();
    let model = halves(folder.path());
    for (at, bright_above) in [true, false, true].into_iter().enumerate() {
        let file = folder.path().join(format!("data/{}/{at}.jpg", at % 2));
        stored_turned(&picture(bright_above), &file);
    }
    let data = path(folder.path(), "data");
    let compare = ["compare", &model, &model, "--data", &data];
    let unit = ["--preprocess", "unit", "--channels", "gray"];
    let compare = |more: &[&str]| ok(&[&compare[..], &unit, more].concat()).stderr;
    let note = "3 images are stored turned";
    let stored = compare(&[]);
    assert_eq!(stored.matches(note).count(), 1, "{stored}");
    let turned = compare(&["--orientation"]);
    assert!(!turned.contains("stored turned"), "{turned}");
}

/// Writes a picture with transparent corners, stored turned, as PNG.
fn transparent_and_turned(bright_above: bool, shade: u8, file: &Path) {
    let mut picture = RgbaImage::from_fn(2 * SIDE, SIDE, |x, y| {
        let light = if (y < SIDE / 2) == bright_above {
            250
        } else {
            5
        };
        let alpha = if (x + y) % 5 == 0 { 40 } else { 255 };
        Rgba([light, shade, (16 * x) as u8, alpha])
    });
    picture.put_pixel(0, 0, Rgba([0, 0, 0, 0]));
    let pixels = image::imageops::rotate270(&picture);
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    let [width, height] = [pixels.width(), pixels.height()];
    encoder
        .write_image(&pixels, width, height, ExtendedColorType::Rgba8)
        .unwrap();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, png).unwrap();
}

/// Training reads the same values as what uses the model: the loss of its validation images is that of
/// the exported file on the same images, and `predict`, `eval` and a program agree on each of them.
#[test]
fn training_evaluation_prediction_and_programs_prepare_a_photograph_alike() {
    let folder = tempfile::tempdir().unwrap();
    for subset in ["train", "val"] {
        for (class, bright_above) in [("above", true), ("below", false)] {
            for at in 0..6 {
                let file = format!("data/{subset}/{class}/{at}.png");
                transparent_and_turned(bright_above, 40 * at, &folder.path().join(file));
            }
        }
    }
    let recipe = path(folder.path(), "recipe.toml");
    let text = format!(
        "[data]\nfolder = {:?}\n[input]\nheight = {SIDE}\nwidth = {SIDE}\npreprocess = \"timm\"\n\
         background = [0, 255, 40]\n[training]\nepochs = 3\nbatch_size = 4\n\
         [[layers]]\ntype = \"flatten\"\n[[layers]]\ntype = \"dense\"\n",
        path(folder.path(), "data")
    );
    fs::write(&recipe, text).unwrap();
    ok(&[
        "run",
        &recipe,
        "--runs",
        &path(folder.path(), "runs"),
        "--quiet",
    ]);
    let model = path(folder.path(), "runs/recipe/model.onnx");
    let validation = path(folder.path(), "data/val");

    let history = fs::read_to_string(folder.path().join("runs/recipe/history.csv")).unwrap();
    let mut lines = history.lines();
    let column = lines
        .next()
        .unwrap()
        .split(',')
        .position(|name| name == "val_loss")
        .unwrap();
    let losses = lines.map(|line| line.split(',').nth(column).unwrap().parse::<f64>().unwrap());
    let trained = losses.fold(f64::INFINITY, f64::min);
    let evaluated = ok(&["eval", &model, "--data", &validation, "--json", "-"]);
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated.stdout).unwrap();
    let loss = evaluated["loss"].as_f64().unwrap();
    assert!((loss - trained).abs() < 1e-4, "{loss} {trained}");

    let predicted = ok(&["predict", &model, &validation, "--json"]).stdout;
    let program = kiln_inference::Model::open(&model).unwrap();
    let mut images = 0;
    let mut sum = 0.0;
    // The first line is the runtime.
    for line in predicted.lines().skip(1) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let file = line["image"].as_str().unwrap();
        let image = kiln_inference::open_image(file).unwrap();
        let prediction = program.classify(&image).unwrap();
        assert_eq!(line["label"], prediction.label, "{line}");
        let probability = line["probability"].as_f64().unwrap();
        assert!(
            (probability - f64::from(prediction.probability)).abs() < 1e-6,
            "{line}"
        );
        let own = if file.contains(&prediction.label) {
            probability
        } else {
            1.0 - probability
        };
        sum -= own.ln();
        images += 1;
    }
    assert_eq!(images, 12);
    assert!((sum / 12.0 - loss).abs() < 1e-5, "{} {loss}", sum / 12.0);
}

#[test]
fn samples_of_a_recipe_are_what_its_model_sees() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["above", "below"] {
        for at in 0..4 {
            let file = format!("data/{class}/{at}.png");
            transparent_and_turned(class == "above", 40 * at, &folder.path().join(file));
        }
    }
    let (recipe, data) = (
        path(folder.path(), "recipe.toml"),
        path(folder.path(), "data"),
    );
    let text = format!(
        "[data]\nfolder = {data:?}\n[input]\nheight = 8\nwidth = 8\nchannels = \"rgb\"\nresize = \"longer\"\n\
         padding = [255, 0, 255]\n[[layers]]\ntype = \"flatten\"\n[[layers]]\ntype = \"dense\"\n"
    );
    fs::write(&recipe, text).unwrap();
    let picture = path(folder.path(), "samples.png");
    let padded = |of: &str| {
        ok(&["data", of, "--samples", &picture]);
        let drawn = image::open(&picture).unwrap().to_rgb8();
        drawn
            .pixels()
            .filter(|pixel| pixel.0 == [255, 0, 255])
            .count()
    };
    // Half of each picture of twice the width is padding, enlarged to 112 pixels.
    assert!(padded(&recipe) >= 2 * 112 * 56, "{}", padded(&recipe));
    assert_eq!(padded(&data), 0);
}
