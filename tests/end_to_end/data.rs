//! Folders and lists of images, augmentation, and `kiln data`.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA};

use crate::kiln::{
    DIGITS, TEST_DIGITS, error, kiln, mnist, ok, online, onnxruntime, path, run, succeed,
};

/// 5 by 4 squares of 8 pixels, written by Pillow.
const CMYK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/cmyk.jpg");

const LAYERS: &str = r#"
[[layers]]
type = "conv2d"
filters = 8
kernel_size = 5
strides = 2
activation = "relu"

[[layers]]
type = "flatten"

[[layers]]
type = "dense"
units = 10
"#;

/// A folder `digits` of images, 30 for the class `d0` to 48 for `d9`, of several sizes and kinds, one
/// of them broken; a recipe for it; and a list of the same images.
fn digits() -> &'static Path {
    static FOLDER: OnceLock<std::path::PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut list = String::from("path,label\n");
        for label in 0..10 {
            fs::create_dir_all(folder.join(format!("digits/d{label}"))).unwrap();
            let images = ["train", "test"].map(|subset| crate::kiln::digits(subset, label));
            for (count, image) in images.iter().flatten().take(30 + 2 * label).enumerate() {
                let image = image::open(image).unwrap().into_luma8();
                let (kind, file) = (count % 15, format!("digits/d{label}/{count:02}.png"));
                as_kind(image, kind).save(folder.join(&file)).unwrap();
                writeln!(list, "{file},d{label}").unwrap();
            }
        }
        fs::copy(CMYK, folder.join("digits/d3/cmyk.jpg")).unwrap();
        fs::write(
            folder.join("digits/d7/broken.png"),
            b"\x89PNG\r\n\x1a\n, and no more",
        )
        .unwrap();
        fs::write(folder.join("digits/d7/notes.txt"), "no image").unwrap();
        list += "digits/d3/cmyk.jpg,d3\ndigits/d7/broken.png,d7\n";
        fs::write(folder.join("list.csv"), list).unwrap();
        let recipe = format!(
            "[data]\nfolder = {:?}\n\n[training]\nepochs = 3\nbatch_size = 32\n{LAYERS}",
            path(&folder, "digits")
        );
        fs::write(folder.join("digits.toml"), recipe).unwrap();
        folder
    })
}

/// Most images as they are; some larger, with alpha, or of 16 bits.
fn as_kind(image: GrayImage, kind: usize) -> DynamicImage {
    match kind {
        0 => image::imageops::resize(&image, 45, 37, image::imageops::FilterType::Triangle).into(),
        1 => {
            GrayAlphaImage::from_fn(28, 28, |x, y| LumaA([image.get_pixel(x, y).0[0], 200])).into()
        }
        2 => ImageBuffer::from_fn(28, 28, |x, y| {
            Luma([u16::from(image.get_pixel(x, y).0[0]) * 257])
        })
        .into(),
        3 => DynamicImage::from(image).into_rgb8().into(),
        _ => image.into(),
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("valid JSON")
}

#[test]
fn a_broken_image_stops_the_run_before_it_begins() {
    let runs = tempfile::tempdir().unwrap();
    let runs = path(runs.path(), "runs");
    let recipe = path(digits(), "digits.toml");
    let ended = run(&mut kiln(&["train", &recipe, "--runs", &runs]));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("1 of 392 images of") && ended.stderr.contains("broken.png"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("--skip-bad") && !Path::new(&runs).exists(),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_folder_trains_exports_and_evaluates() {
    trains_exports_and_evaluates(&["tract"], kiln);
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn a_folder_trains_exports_and_evaluates_on_every_engine() {
    onnxruntime();
    trains_exports_and_evaluates(&["tract", "ort"], online);
}

fn trains_exports_and_evaluates(engines: &[&str], kiln: fn(&[&str]) -> Command) {
    let folder = digits();
    let runs = tempfile::tempdir().unwrap();
    let recipe = path(folder, "digits.toml");
    let ended = succeed(&mut kiln(&[
        "run",
        &recipe,
        "--skip-bad",
        "--json",
        "--runs",
        runs.path().to_str().unwrap(),
    ]));
    let report = json(&ended.stdout);
    assert_eq!(report["parity"]["passed"], true);
    assert_eq!(
        report["evaluations"][0]["images"], 39,
        "a tenth of 391 for testing"
    );
    let last = ended.stderr.lines().last().unwrap();
    assert!(
        ended
            .stderr
            .contains("Skipped 1 image that cannot be used:")
            && last.contains("broken.png"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        ended.stderr.matches("Read ").count(),
        1,
        "read once: {}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains(" 1 other file skipped: .txt 1\n"),
        "{}",
        ended.stderr
    );

    let run_dir = runs.path().join("digits");
    let classes: Vec<String> = (0..10).map(|label| format!("d{label}")).collect();
    let model = path(&run_dir, "model.onnx");
    assert_eq!(
        kiln_onnx::load(&model).unwrap().metadata().unwrap().labels,
        Some(classes)
    );
    let environment = json(&fs::read_to_string(run_dir.join("environment.json")).unwrap());
    let checksum = &environment["data"][format!("images of {}", path(folder, "digits"))];
    assert_eq!(checksum.as_str().map(str::len), Some(64), "{environment}");

    // The folder and the list are the same images, in another order.
    let evaluate = |data: &str, engine: &str| {
        let data = path(folder, data);
        let csv = path(runs.path(), "predictions.csv");
        let args = [
            "eval",
            &model,
            "--data",
            &data,
            "--engine",
            engine,
            "--skip-bad",
            "--json",
            "-",
        ];
        let ended = succeed(&mut kiln(&[&args[..], &["--predictions", &csv]].concat()));
        let csv = fs::read_to_string(csv).unwrap();
        assert!(
            csv.starts_with("index,path,label,predicted,probability,p_d0,"),
            "{csv}"
        );
        assert!(ended.stderr.contains("broken.png"), "{}", ended.stderr);
        let figures = json(&ended.stdout);
        assert_eq!(figures["images"], 391);
        figures["confusion"].clone()
    };
    let confusion = evaluate("digits", "tract");
    for engine in engines {
        for data in ["digits", "list.csv"] {
            assert_eq!(evaluate(data, engine), confusion, "{data} on {engine}");
        }
    }
    let message = run(&mut kiln(&[
        "eval",
        &model,
        "--data",
        &path(folder, "digits"),
    ]))
    .stderr;
    assert!(
        message.contains("1 other file skipped: .txt 1"),
        "{message}"
    );
    assert!(
        message.contains("1 of 392 images") && message.contains("--skip-bad"),
        "{message}"
    );
    // Numbers stand for the classes of these numbers.
    let ended = ok(&["eval", &model, "--data", TEST_DIGITS]);
    assert!(
        ended
            .stderr
            .contains("are numbers, and matched as such: `0` is class 0"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_cmyk_jpeg_has_the_colors_that_pillow_gives_it() {
    let image = kiln_preprocess::open(CMYK).unwrap().image.into_rgb8();
    assert_eq!(image.dimensions(), (40, 32));
    for (x, y, expected) in [
        (0, 0, [255, 228, 34]),
        (39, 0, [187, 150, 81]),
        (0, 31, [31, 95, 108]),
    ] {
        assert_eq!(image.get_pixel(x, y).0, expected, "{x} {y}");
    }
}

#[test]
fn subsets_and_classes_that_do_not_fit_are_told() {
    let folder = digits();
    let recipe = path(folder, "digits.toml");
    for (set, expected) in [
        (
            "layers.dense.units=3",
            "the last layer outputs 3 scores, but `",
        ),
        ("data.validation=val", "has no folder `val` beside `train`"),
        ("data.folder=nowhere", "nowhere`"),
    ] {
        let ended = run(&mut kiln(&["train", &recipe, "--skip-bad", "--set", set]));
        assert_eq!(ended.code, Some(2), "{set}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{set}: {}", ended.stderr);
    }
}

#[test]
fn one_class_is_too_few() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("one/cat")).unwrap();
    for at in 0..20 {
        GrayImage::new(8, 8)
            .save(folder.path().join(format!("one/cat/{at}.png")))
            .unwrap();
    }
    let set = format!("data.folder={}", path(folder.path(), "one"));
    let table = ok(&["data", &path(folder.path(), "one")]).stdout;
    assert!(
        table.lines().next().unwrap().ends_with("one: 1 class"),
        "{table}"
    );
    let message = run(&mut kiln(&[
        "train",
        &path(digits(), "digits.toml"),
        "--set",
        &set,
    ]))
    .stderr;
    assert!(
        message.contains("has one class only: a classifier needs two or more"),
        "{message}"
    );
}

#[test]
fn augmentation_follows_from_the_seed() {
    let runs = tempfile::tempdir().unwrap();
    let train = |more: &[&str]| {
        let args = [
            "train",
            "models/quickstart.toml",
            "--runs",
            runs.path().to_str().unwrap(),
        ];
        let set = ["--set", "training.epochs=1", "--set", "data.limit=300"];
        let ended = ok(&[&args[..], &DIGITS, &set, more].concat());
        fs::read(path(ended.stdout.trim().as_ref(), "weights.safetensors")).unwrap()
    };
    let augment = [
        "--set",
        "augmentation.rotation_range=15",
        "--set",
        "augmentation.horizontal_flip=true",
    ];
    let (first, second, plain) = (train(&augment), train(&augment), train(&[]));
    assert!(first == second, "the same seed gave other weights");
    assert!(first != plain, "augmentation changed nothing");
    let mix = ["--set", "augmentation={mixup=0.2, cutmix=1.0}"];
    let (first, second) = (train(&mix), train(&mix));
    assert!(first == second, "the same seed gave other weights");
    assert!(first != plain, "mixing changed nothing");
    let erase = [
        "--set",
        "augmentation.random_erasing={probability=1, value=\"random\"}",
    ];
    let (first, second) = (train(&erase), train(&erase));
    assert!(first == second, "the same seed gave other weights");
    assert!(first != plain, "erasing changed nothing");
}

#[test]
#[ignore = "downloads MNIST and VGG16"]
fn features_of_augmented_images_are_not_kept() {
    mnist();
    succeed(&mut online(&["fetch", "vgg16"]));
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "train",
        "models/vgg16-frozen.toml",
        "--runs",
        folder.path().to_str().unwrap(),
    ];
    let set = [
        "data.limit=40",
        "data.test_limit=20",
        "training.epochs=1",
        "augmentation.zoom_range=0.1",
    ];
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let ended = succeed(&mut online(&[&args[..], &set].concat()));
    assert!(
        ended
            .stderr
            .contains("features of augmented images cannot be kept"),
        "{}",
        ended.stderr
    );
    assert!(
        !ended.stderr.contains("Computing features"),
        "{}",
        ended.stderr
    );
    assert!(Path::new(ended.stdout.trim()).join("frozen.json").exists());
}

#[test]
#[ignore = "downloads MNIST"]
fn mnist_is_counted_and_drawn() {
    mnist();
    let folder = tempfile::tempdir().unwrap();
    let png = path(folder.path(), "samples.png");
    let table = succeed(&mut online(&["data", "mnist", "--samples", &png])).stdout;
    assert!(
        table.starts_with("mnist: 10 classes\n class    train     test      all\n"),
        "{table}"
    );
    assert!(
        table.contains(" 1        6,742    1,135    7,877\n"),
        "{table}"
    );
    assert!(
        table.ends_with(" all     60,000   10,000   70,000\n"),
        "{table}"
    );
    let picture = image::open(&png).unwrap();
    assert!(
        picture.width() > 900 && picture.height() > 1000,
        "{} {}",
        picture.width(),
        picture.height()
    );
}

#[test]
fn data_counts_and_draws() {
    let folder = tempfile::tempdir().unwrap();
    let (png, svg) = (
        path(folder.path(), "samples.png"),
        path(folder.path(), "samples.svg"),
    );
    let table = ok(&["data", "tests/fixtures/digits", "--samples", &png]).stdout;
    assert!(table.ends_with(" all       400    100   500\n"), "{table}");
    let picture = image::open(&png).unwrap();
    assert!(
        picture.width() > 900 && picture.height() > 1000,
        "{} {}",
        picture.width(),
        picture.height()
    );

    let counts = ok(&[
        "data",
        &path(digits(), "list.csv"),
        "--skip-bad",
        "--json",
        "--samples",
        &svg,
    ])
    .stdout;
    let counts = json(&counts);
    assert_eq!(
        counts["classes"][3],
        serde_json::json!({ "name": "d3", "images": [37] })
    );
    assert_eq!(counts["totals"][0], 391);
    assert!(fs::read_to_string(&svg).unwrap().contains(">d9</text>"));

    let recipe = path(digits(), "digits.toml");
    let augment = [
        "--set",
        "augmentation.rotation_range=30",
        "--augmented",
        &png,
    ];
    let table = ok(&[&["data", &recipe, "--skip-bad"], &augment[..]].concat()).stdout;
    assert!(
        table.contains(" class   train   validation   test   all\n"),
        "{table}"
    );
    assert_eq!(image::open(&png).unwrap().width(), 8 * 124 + 12);
}

#[test]
fn what_cannot_be_drawn_is_told() {
    for (args, expected) in [
        (
            vec!["data", TEST_DIGITS, "--samples", "grid.gif"],
            "expected a file name that ends in .png or .svg",
        ),
        (
            vec!["data", TEST_DIGITS, "--augmented", "grid.png"],
            "name a recipe in place of a dataset",
        ),
        (
            vec!["data", "models/quickstart.toml", "--augmented", "grid.png"],
            "has no section [augmentation]",
        ),
        (
            vec!["data", TEST_DIGITS, "--set", "data.limit=3"],
            "--set changes a recipe",
        ),
        (vec!["data", "nowhere"], "unknown dataset `nowhere`"),
        (
            vec!["data", TEST_DIGITS, "--samples", "/no/such/folder/x.png"],
            "cannot write",
        ),
    ] {
        let message = error(&mut kiln(&args));
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}
