//! Where a model looks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use image::{GrayImage, Luma};
use kiln_onnx::{Dim, GraphBuilder, encode};
use kiln_pipeline::explain::Patches;
use serde_json::Value;

use crate::kiln::{
    DIGITS, TEST_DIGITS, digits, error, kiln, ok, onnxruntime, path, run, succeed, trained,
};

/// The first row and column of the watermark: a square in the lower right corner.
const MARK: u32 = 20;
/// Its side in pixels.
const SIDE: u32 = 6;

/// An image of a digit, with a watermark if asked for.
fn stamped(digit: &Path, watermark: bool) -> GrayImage {
    let mut image = image::open(digit).unwrap().into_luma8();
    if watermark {
        for (x, y) in (MARK..MARK + SIDE).flat_map(|x| (MARK..MARK + SIDE).map(move |y| (x, y))) {
            image.put_pixel(x, y, Luma([255]));
        }
    }
    image
}

/// A folder with a run of a network that is trained on digits, all of those of one class with a watermark:
/// `run`, and `marked`, test images that have the watermark.
fn watermarked() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::var_os("KILN_EXPLANATIONS")
            .map_or_else(|| tempfile::tempdir().unwrap().keep(), PathBuf::from);
        let save = |image: GrayImage, file: &str| {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            image.save(file).unwrap();
        };
        for class in [4, 9] {
            for subset in ["train", "test"] {
                for (at, digit) in digits(subset, class).iter().enumerate() {
                    let file = format!("images/{subset}/{class}/{at:02}.png");
                    save(stamped(digit, class == 4), &file);
                }
            }
            for (at, digit) in digits("test", class).iter().take(4).enumerate() {
                save(stamped(digit, true), &format!("marked/{class}-{at}.png"));
                save(stamped(digit, false), &format!("clean/{class}-{at}.png"));
            }
        }
        let recipe = "scripts/check-explanations/watermark.toml";
        let images = format!("data.folder={}", path(&folder, "images"));
        let runs = path(&folder, "runs");
        ok(&["run", recipe, "--runs", &runs, "--set", &images]);
        folder
    })
}

/// What is printed as JSON: where the patches lie, and the images.
fn explained(args: &[&str]) -> (Value, Vec<Value>) {
    let ended = ok(&[&["explain"], args, &["--json"]].concat());
    let mut lines = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (lines.next().unwrap(), lines.collect())
}

/// Rows and columns of the patch with the largest drop.
fn largest(image: &Value) -> [[u32; 2]; 2] {
    ["rows", "columns"].map(|axis| {
        let ends = &image["largest"][axis];
        [0, 1].map(|end| ends[end].as_u64().unwrap() as u32)
    })
}

#[test]
fn a_watermark_that_gives_a_class_away_is_found() {
    let folder = watermarked();
    let (model, images) = (path(folder, "runs/watermark"), path(folder, "marked"));
    let picture = path(folder, "marked.png");
    let patches = Patches::new([28, 28], Some(6), Some(2)).unwrap();
    let patch = ["--class", "4", "--patch", "6", "--stride", "2"];
    let args = [&[model.as_str(), &images, "-o", &picture], &patch[..]].concat();
    let (_, found) = explained(&args);
    assert_eq!(found.len(), 8, "digits of both classes");
    for image in &found {
        let mark = [MARK, MARK + SIDE - 1];
        assert_eq!(largest(image), [mark; 2], "{}", image["image"]);
        let drops: Vec<f32> = serde_json::from_value(image["values"].clone()).unwrap();
        let map = patches.map(&drops);
        let most = (0..map.len())
            .max_by(|&a, &b| map[a].total_cmp(&map[b]))
            .unwrap();
        for at in [most / 28, most % 28] {
            assert!(
                (mark[0]..=mark[1]).contains(&(at as u32)),
                "{}: {at}",
                image["image"]
            );
        }
    }
    let drops = found
        .iter()
        .map(|image| image["largest"]["value"].as_f64().unwrap());
    assert!(
        drops.clone().any(|drop| drop > 0.5),
        "{:?}",
        drops.collect::<Vec<_>>()
    );
    // Without the watermark there is nothing in that corner.
    let picture = path(folder, "clean.png");
    let (_, found) = explained(&[&model, &path(folder, "clean"), "-o", &picture]);
    for image in &found {
        let [rows, columns] = largest(image);
        assert!(rows[1] < MARK || columns[1] < MARK, "{image}");
    }
}

/// Of a run, gradients find the same: the place of the feature maps that speaks most for the watermark's class is one
/// that sees the watermark.
#[test]
fn gradients_lead_to_the_watermark() {
    let folder = watermarked();
    let (run, images) = (path(folder, "runs/watermark"), path(folder, "marked"));
    let picture = path(folder, "marked-gradients.png");
    let gradients = ["--method", "grad-cam", "--class", "4", "-o", &picture];
    let (header, found) = explained(&[&[run.as_str(), &images], &gradients[..]].concat());
    assert_eq!(
        [&header["method"], &header["layer"]],
        ["grad-cam", "conv2d_1"]
    );
    assert_eq!([&header["rows"], &header["columns"]], [11, 11]);
    assert_eq!(found.len(), 8, "digits of both classes");
    for image in &found {
        assert_eq!(image["label"], "4");
        let values: Vec<f32> = serde_json::from_value(image["values"].clone()).unwrap();
        assert_eq!(values.len(), 121);
        let most = f64::from(values.iter().copied().fold(0.0, f32::max));
        let largest = image["largest"]["value"].as_f64().unwrap();
        assert!(
            most > 0.0 && (largest - most).abs() < 1e-6 * most,
            "{image}"
        );
    }
    // Of 28 pixels a place has two or three, and sees 3.5 more on either side.
    let sees_mark = |image: &&Value| {
        let near = |[first, last]: [u32; 2]| last + 4 >= MARK && first <= MARK + SIDE + 3;
        largest(image).into_iter().all(near)
    };
    // In one nine, a stroke that is much like one of a four speaks still more.
    assert!(found.iter().filter(sees_mark).count() >= 7, "{found:?}");
    assert!(fs::metadata(&picture).unwrap().len() > 1000);
    // The probabilities are those of the exported model.
    let covered = ["--class", "4", "--patch", "14"];
    let (_, expected) = explained(&[&[run.as_str(), &images], &covered[..]].concat());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found["probability"], expected["probability"]);
    }
    let ended = ok(&["explain", &run, &images, "--method", "grad-cam"]);
    let text = "gradients of the class's score to `conv2d_1`: 11 x 11 places in 28 x 28 pixels";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
    assert!(
        ended.stdout.contains(" %), for which rows "),
        "{}",
        ended.stdout
    );
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn engines_give_the_same_drops() {
    let model = path(trained(), "model.onnx");
    let drops = |engine: &[&str]| {
        let args = ["explain", &model, TEST_DIGITS, "--json", "--quiet"];
        let ended = succeed(&mut kiln(&[&args, engine].concat()));
        let lines = ended.stdout.lines().skip(1).map(str::to_owned);
        let of = |line: String| {
            let image: Value = serde_json::from_str(&line).unwrap();
            serde_json::from_value::<Vec<f32>>(image["values"].clone()).unwrap()
        };
        lines.flat_map(of).collect::<Vec<f32>>()
    };
    let tract = drops(&["--engine", "tract"]);
    let ort = drops(&["--engine", "ort", "--ort-lib", onnxruntime()]);
    assert_eq!((tract.len(), ort.len()), (100 * 169, 100 * 169));
    let differs = tract.iter().zip(&ort).any(|(a, b)| (a - b).abs() > 1e-4);
    assert!(!differs);
}

/// A model of two labels with a sigmoid each, that see only the pixel in row 2 and column 5 of an image of 8 x 8, the second
/// with the opposite sign.
fn one_pixel(folder: &Path, batch: Option<usize>, channels: usize) -> String {
    let mut graph = GraphBuilder::new("one pixel");
    let batched = |shape: &[usize]| {
        let batch = batch.map_or(Dim::Symbol("N".into()), Dim::Fixed);
        let rest = shape.iter().copied().map(Dim::Fixed);
        std::iter::once(batch).chain(rest).collect::<Vec<_>>()
    };
    graph
        .input("x", batched(&[channels, 8, 8]))
        .output("y", batched(&[2]));
    let mut weights = vec![0.0_f32; 2 * channels * 64];
    weights[2 * 8 + 5] = 3.0;
    weights[channels * 64 + 2 * 8 + 5] = -3.0;
    graph.initializer("weights", &[2, channels * 64], weights);
    graph.node("Flatten", "flatten", &["x"], "f").int("axis", 1);
    graph
        .node("Gemm", "gemm", &["f", "weights"], "g")
        .int("transB", 1);
    graph.node("Sigmoid", "sigmoid", &["g"], "y");
    let file = path(folder, &format!("{channels}-{batch:?}.onnx"));
    fs::write(&file, encode(&graph.finish().unwrap())).unwrap();
    file
}

#[test]
fn only_patches_over_the_pixel_that_counts_matter() {
    let folder = tempfile::tempdir().unwrap();
    let image = path(folder.path(), "pixel.png");
    let mut pixels = GrayImage::new(8, 8);
    pixels.put_pixel(5, 2, Luma([255]));
    pixels.save(&image).unwrap();
    let labels = path(folder.path(), "labels.txt");
    fs::write(&labels, "bright\ndark\n").unwrap();
    for (batch, channels) in [(None, 1), (None, 3), (Some(3), 1), (Some(1), 3)] {
        let model = one_pixel(folder.path(), batch, channels);
        let colors = if channels == 1 { "gray" } else { "rgb" };
        let more = [
            "--preprocess",
            "unit",
            "--channels",
            colors,
            "--labels",
            &labels,
        ];
        let args = [
            &[model.as_str(), &image, "--patch", "3", "--stride", "2"],
            &more[..],
        ]
        .concat();
        let (patches, found) = explained(&args);
        assert_eq!(
            patches["rows"],
            serde_json::json!([0, 2, 4, 5]),
            "{patches}"
        );
        assert_eq!(patches["runtime"]["engine"], "tract");
        let [found] = found.as_slice() else {
            panic!("one image: {found:?}")
        };
        assert_eq!(
            (&found["label"], &found["index"]),
            (&"bright".into(), &0.into())
        );
        let starts = [0, 2, 4, 5];
        let places = starts
            .iter()
            .flat_map(|row| starts.map(|column| [*row, column]));
        let drops = found["values"].as_array().unwrap();
        assert_eq!(drops.len(), 16);
        for (drop, [row, column]) in drops.iter().zip(places) {
            let drop = drop.as_f64().unwrap();
            let covers = (row..row + 3).contains(&2) && (column..column + 3).contains(&5);
            // The pixel becomes the mean color: one of 64 pixels.
            let sigmoid = |x: f64| 1.0 / (1.0 + (-3.0 * x).exp());
            let expected = if covers {
                sigmoid(1.0) - sigmoid(1.0 / 64.0)
            } else {
                0.0
            };
            assert!((drop - expected).abs() < 1e-5, "{row} {column}: {drop}");
        }
        // Of the other label, it is the other way around, and no patch lowers it.
        let text = ok(&[&["explain"], &args[..], &["--class", "1"]].concat()).stdout;
        let line = format!("{image}: dark (4.74 %), which no patch lowers by more than 1 point: ");
        assert!(text.starts_with(&line), "{text}");
    }
}

#[test]
fn pictures_go_into_a_folder_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(trained(), "model.onnx");
    let images = digits("test", 3).into_iter().take(2);
    let images: Vec<String> = images
        .map(|image| image.to_str().unwrap().to_owned())
        .collect();
    let maps = path(folder.path(), "new/maps");
    let explain = |more: &[&str]| {
        let args = ["explain", &model, &images[0], &images[1], "--class", "3"];
        ok(&[&args, more].concat())
    };
    let ended = explain(&["-o", &maps]);
    assert_eq!(ended.stdout.lines().count(), 2);
    assert!(
        ended.stdout.starts_with(&format!("{}: 3 (", images[0])),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stderr
            .contains("169 patches of 4 x 4 pixels in 28 x 28")
            && ended.stderr.contains("mean color"),
        "{}",
        ended.stderr
    );
    let stem = |image: &str| {
        Path::new(image)
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let first = image::open(path(maps.as_ref(), &format!("0-{}.png", stem(&images[0]))));
    let first = first.unwrap().into_rgb8();
    assert!(
        Path::new(&maps)
            .join(format!("1-{}.png", stem(&images[1])))
            .is_file()
    );
    // Gray on the left as the model sees it, colors on the right.
    let colored = |from: u32, to: u32| {
        let pixels = first
            .enumerate_pixels()
            .filter(|(x, _, _)| (from..to).contains(x));
        pixels
            .filter(|(_, _, pixel)| pixel.0[0].abs_diff(pixel.0[2]) > 100)
            .count()
    };
    let middle = first.width() / 2;
    assert_eq!(colored(0, middle), 0);
    assert!(
        colored(middle, first.width()) > 16,
        "at least a pixel of the image"
    );
    let picture = path(folder.path(), "all.svg");
    explain(&["-o", &picture]);
    let svg = fs::read_to_string(picture).unwrap();
    assert_eq!(svg.matches("<image").count(), 4);
}

#[test]
fn what_cannot_be_explained_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained().to_str().unwrap();
    let image = digits("test", 3)[0].to_str().unwrap().to_owned();
    let text = path(folder.path(), "letter.png");
    fs::write(&text, "Dear reader, this is no picture.").unwrap();
    let jpeg = path(folder.path(), "map.jpg");
    for (args, expected) in [
        (
            &["--class", "10"][..],
            "has no class `10`\nhelp: name one of its 10 classes, or give a number from 0 to 9",
        ),
        (
            &["--patch", "29"],
            "does not fit into 28 x 28, which the model takes\nhelp: give a --patch from 1 to 28",
        ),
        (&["--patch", "0"], "help: give a --patch from 1 to 28"),
        (
            &["--patch", "4", "--stride", "5"],
            "help: give a --stride from 1 to 4",
        ),
        (&["-o", &jpeg], "ends in .png or .svg"),
        (&["-o", &image], "--pictures would replace"),
    ] {
        let args = [&["explain", "--quiet", run], args, &[&image]].concat();
        let message = error(&mut kiln(&args));
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    let gradients = ["--method", "grad-cam"];
    for (args, expected) in [
        (
            &["--patch", "4"][..],
            "--patch is for patches, which --method grad-cam does not cover",
        ),
        (&["--class", "ten"], "has no class `ten`"),
    ] {
        let args = [
            &["explain", "--quiet", run],
            &gradients[..],
            args,
            &[&image],
        ]
        .concat();
        let message = error(&mut kiln(&args));
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    let model = path(trained(), "model.onnx");
    let args = [&["explain", "--quiet", &model, &image], &gradients[..]].concat();
    let message = error(&mut kiln(&args));
    let expected = "is no run directory, and gradients go through the layers of a run\nhelp: leave out --method";
    assert!(message.contains(expected), "{message}");
    let recipe = path(folder.path(), "dense.toml");
    let layers = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]\n";
    fs::write(
        &recipe,
        layers.to_owned() + "data.dataset = \"mnist\"\ntraining.epochs = 1\n",
    )
    .unwrap();
    let runs = path(folder.path(), "runs");
    ok(&[&["run", &recipe, "--runs", &runs], &DIGITS[..]].concat());
    let dense = path(folder.path(), "runs/dense");
    let args = [&["explain", "--quiet", &dense, &image], &gradients[..]].concat();
    let message = error(&mut kiln(&args));
    let expected =
        "has no feature maps of several places that gradients lead to\nhelp: leave out --method";
    assert!(message.contains(expected), "{message}");
    let names = path(folder.path(), "names.txt");
    fs::write(&names, "cat\ndog\n").unwrap();
    let model = one_pixel(folder.path(), None, 1);
    let more = [
        "--preprocess",
        "unit",
        "--channels",
        "gray",
        "--labels",
        &names,
        "--class",
        "dgo",
    ];
    let message = error(&mut kiln(
        &[&["explain", "--quiet", &model, &image], &more[..]].concat(),
    ));
    assert!(
        message.contains("no class `dgo`: did you mean `dog`?"),
        "{message}"
    );
    assert_eq!(run_without_images(run), Some(2));
    let message = error(&mut kiln(&["explain", "--quiet", run, &text]));
    assert!(message.contains("letter.png"), "{message}");
    // An image that cannot be read is skipped if asked for.
    let ended = ok(&["explain", run, &text, &image, "--skip-bad"]);
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("letter.png"), "{}", ended.stderr);
}

fn run_without_images(model: &str) -> Option<i32> {
    run(&mut kiln(&["explain", model])).code
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_between_batches() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let run = trained().to_str().unwrap();
    let args = ["explain", run, TEST_DIGITS, "--patch", "2", "--stride", "1"];
    let mut child = kiln(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains('%'));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let rest = lines.count();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(rest < 99, "it ended before the last image");
}
