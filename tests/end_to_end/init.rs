//! `kiln init`, and training a folder without a recipe.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};
use kiln_onnx::encode;

use crate::graph_backbone::classifier;
use crate::kiln::{DIGITS, Ended, error, kiln, ok, path, succeed};

const FIXTURE: &str = "tests/fixtures/digits";

/// Writes images of two classes, some light and some dark, of these sides.
fn images(folder: &Path, name: &str, sides: [u32; 2], colored: bool, each: u8) {
    for (class, level) in [("dark", 20), ("light", 200)] {
        for at in 0..each {
            let file = folder.join(format!("{name}/{class}/{at}.png"));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let level = level + at;
            let [height, width] = sides;
            if colored {
                RgbImage::from_pixel(width, height, Rgb([level, 0, 90]))
                    .save(file)
                    .unwrap();
            } else {
                GrayImage::from_pixel(width, height, Luma([level]))
                    .save(file)
                    .unwrap();
            }
        }
    }
}

/// A command that runs in a folder.
fn within(folder: &Path, args: &[&str]) -> std::process::Command {
    let mut command = kiln(args);
    command.current_dir(folder);
    command
}

/// The text of a file.
fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn a_recipe_for_gray_images_is_written_and_runs_without_an_edit() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), "tiles", [20, 24], false, 12);
    let init = ["init", "tiles"];
    let printed = succeed(&mut within(folder.path(), &init)).stdout;
    for line in [
        "  24 images of 2 classes, 12 each\n",
        "  in gray, 20 x 24 pixels\n",
        "recipe.toml: a small convolutional network from scratch, 28 x 28 pixels, 40 epochs\n",
        "Next: kiln run recipe.toml\n",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    let recipe = read(folder.path(), "recipe.toml");
    for part in [
        "# Made by `kiln init tiles`; `kiln run recipe.toml` trains it.",
        "name = \"tiles\"",
        "folder = \"tiles\"",
        "batch_size = 8",
        "test_split = 0.2",
    ] {
        assert!(recipe.contains(part), "{recipe}");
    }
    // Nothing is overwritten unless that is asked for.
    fs::write(folder.path().join("recipe.toml"), "mine").unwrap();
    let message = error(&mut within(folder.path(), &init));
    assert!(
        message.contains("`recipe.toml` is already there: replace it with --force"),
        "{message}"
    );
    assert_eq!(read(folder.path(), "recipe.toml"), "mine");
    succeed(&mut within(
        folder.path(),
        &[&init[..], &["--force"]].concat(),
    ));
    assert_eq!(read(folder.path(), "recipe.toml"), recipe);
    let ended = succeed(&mut within(
        folder.path(),
        &["init", "tiles", "-o", "-", "--quiet"],
    ));
    assert!(
        ended
            .stdout
            .contains(&recipe[recipe.find("Found").unwrap()..])
    );

    // A folder has its name wherever it is named from.
    let inside = folder.path().join("tiles");
    let ended = succeed(&mut within(&inside, &["init", ".", "-o", "-"]));
    assert!(
        ended.stdout.contains("name = \"tiles\"") && ended.stdout.contains("folder = \".\""),
        "{}",
        ended.stdout
    );

    let ended = succeed(&mut within(folder.path(), &["run", "recipe.toml"]));
    assert!(ended.stdout.contains("tiles: 100.00 %"), "{}", ended.stdout);
    let kept = read(folder.path(), "runs/tiles/recipe.toml");
    assert!(kept.contains("units = 2"), "{kept}");
}

/// Trains images without a recipe, in few steps.
fn run(folder: &Path, args: &[&str]) -> Ended {
    succeed(&mut within(folder, &[&["run"], args].concat()))
}

#[test]
fn a_folder_is_trained_without_a_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let runs = path(folder.path(), "runs");
    let ended = ok(&[
        "run",
        FIXTURE,
        "--runs",
        &runs,
        "--set",
        "training.epochs=1",
        "--set",
        "data.limit=100",
    ]);
    for line in [
        "Found 500 images of 10 classes, 40 each to train on\n             in gray, 28 x 28 pixels (300 looked at)\n",
        "400 to train on, 100 to test on",
        "Chose a small convolutional network from scratch, 28 x 28 pixels",
        "Verified Burn and tract agree",
    ] {
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
    }
    let kept = read(folder.path(), "runs/digits/recipe.toml");
    for part in ["limit = 100", "epochs = 1\n", "units = 10"] {
        assert!(kept.contains(part), "{kept}");
    }
    // The run can be repeated from what it keeps.
    let recipe = path(folder.path(), "runs/digits/recipe.toml");
    let trained = ok(&["train", &recipe, "--runs", &runs]).stdout;
    let weights = |run: &str| fs::read(Path::new(run).join("weights.safetensors")).unwrap();
    assert_eq!(weights(trained.trim()), weights(&format!("{runs}/digits")));
}

#[test]
fn small_images_in_color_get_a_residual_network() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), "icons", [32, 32], true, 6);
    let ended = run(folder.path(), &["icons", "--set", "training.epochs=1"]);
    assert!(
        ended.stderr.contains("Chose ResNet-18 for small images"),
        "{}",
        ended.stderr
    );
    let kept = read(folder.path(), "runs/icons/recipe.toml");
    assert!(
        kept.contains("name = \"resnet18\"") && kept.contains("classes = 2"),
        "{kept}"
    );
}

#[test]
fn photographs_get_a_pretrained_network() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), "photos", [70, 90], true, 12);
    // The weights are not on the machine, and a recipe can be made without them.
    let printed = succeed(&mut within(folder.path(), &["init", "photos"])).stdout;
    assert!(
        printed.contains("Next: kiln fetch onnxruntime"),
        "{printed}"
    );
    let recipe = read(folder.path(), "recipe.toml");
    for part in [
        "weights = \"efficientnet-lite0\"",
        "unfreeze = \"blocks_13..\"",
    ] {
        assert!(recipe.contains(part), "{recipe}");
    }
    let message = error(&mut within(folder.path(), &["run", "recipe.toml"]));
    assert!(message.contains("efficientnet-lite0"), "{message}");

    // Another network in its place, which is here.
    fs::write(folder.path().join("theirs.onnx"), encode(&classifier())).unwrap();
    fs::write(folder.path().join("theirs.toml"), "preprocess = \"unit\"\n").unwrap();
    let set = [
        "backbone.weights=theirs.onnx",
        "training.phases.1.epochs=2",
        "training.phases.2.epochs=1",
        "training.phases.2.unfreeze=layer2",
    ];
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let mut command = within(folder.path(), &[&["run", "photos"][..], &set].concat());
    let ended = succeed(command.env("KILN_CACHE", folder.path().join("cache")));
    for line in [
        "Chose EfficientNet-Lite0, pretrained on ImageNet",
        "Phase 2/2",
        "Verified Burn and tract agree",
    ] {
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
    }
}

#[test]
fn a_folder_can_be_summarized_and_swept() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), "tiles", [28, 28], false, 6);
    let summary = succeed(&mut within(folder.path(), &["summary", "tiles"])).stdout;
    assert!(summary.contains("[batch, 2]"), "{summary}");
    let set = [
        "--set",
        "sweep.training.seed=[0, 1]",
        "--set",
        "training.epochs=1",
    ];
    let ended = succeed(&mut within(
        folder.path(),
        &[&["sweep", "tiles"][..], &set].concat(),
    ));
    assert!(
        folder.path().join("runs/tiles-sweep").is_dir(),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_list_is_trained_too() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), "tiles", [28, 28], false, 6);
    let classes = ["dark", "light"];
    let rows = classes
        .iter()
        .flat_map(|class| (0..6).map(move |at| format!("tiles/{class}/{at}.png,{class}\n")));
    let list = format!("path,label\n{}", rows.collect::<String>());
    fs::write(folder.path().join("all.csv"), list).unwrap();
    succeed(&mut within(
        folder.path(),
        &["init", "all.csv", "-o", "list.toml"],
    ));
    let summary = succeed(&mut within(folder.path(), &["summary", "list.toml"])).stdout;
    assert!(summary.contains("Model: all\n"), "{summary}");
    let ended = run(folder.path(), &["all.csv", "--set", "training.epochs=1"]);
    assert!(ended.stderr.contains("runs/all on"), "{}", ended.stderr);
    let message = error(&mut within(
        folder.path(),
        &["init", "list.toml", "-o", "other.toml"],
    ));
    assert!(message.contains("expected a CSV file"), "{message}");
}

#[test]
fn what_no_recipe_can_be_made_for_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    images(root, "two", [28, 28], false, 1);
    fs::create_dir_all(root.join("one/cat")).unwrap();
    fs::copy(root.join("two/dark/0.png"), root.join("one/cat/0.png")).unwrap();
    fs::create_dir_all(root.join("flat")).unwrap();
    fs::copy(root.join("two/dark/0.png"), root.join("flat/0.png")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    for class in ["a", "b"] {
        fs::create_dir_all(root.join("torn").join(class)).unwrap();
        for at in 0..3 {
            fs::write(root.join(format!("torn/{class}/{at}.png")), "torn").unwrap();
        }
    }
    fs::create_dir_all(root.join("run")).unwrap();
    fs::write(root.join("run/recipe.toml"), "").unwrap();
    for (data, expected) in [
        ("nowhere", "found nothing at `nowhere`"),
        ("one", "`one` has one class only, `cat`"),
        ("flat", "`flat` holds 1 image in no class folder"),
        ("empty", "`empty` has no folders with images"),
        ("two", "there are no test images in `two`"),
        ("torn", "no image of `torn` can be read"),
        ("run", "`run` is a run: expected a folder of images"),
    ] {
        let message = error(&mut within(root, &["init", data]));
        assert!(message.contains(expected), "{data}: {message}");
        assert!(!root.join("recipe.toml").exists(), "{data}");
        if data != "nowhere" {
            let again = error(&mut within(root, &["run", data]));
            assert_eq!(again, message);
        }
    }
}

#[test]
fn small_classes_and_unreadable_images_are_noted() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), "mixed", [28, 28], false, 5);
    let file = |name: &str| folder.path().join("mixed").join(name);
    fs::create_dir_all(file("rare")).unwrap();
    fs::copy(file("dark/0.png"), file("rare/0.png")).unwrap();
    fs::copy(file("dark/1.png"), file("rare/1.png")).unwrap();
    fs::write(file("dark/9.png"), "torn").unwrap();
    let ended = succeed(&mut within(folder.path(), &["init", "mixed"]));
    for note in [
        "1 class has fewer than 3 images, too few to have one to train, to validate and to test on: `rare`: add images, or \
         remove the class",
        "1 of the 13 images looked at cannot be read: ",
    ] {
        assert!(ended.stderr.contains(note), "{}", ended.stderr);
    }
}

#[test]
fn a_dry_run_writes_and_fetches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), "photos", [70, 90], true, 20);
    let cache = folder.path().join("cache");
    let dry = |args: &[&str]| {
        let mut command = within(folder.path(), &[args, &["--dry-run"]].concat());
        command.env("KILN_CACHE", &cache);
        command
    };
    let plan = succeed(&mut dry(&["run", "photos"])).stdout;
    for line in [
        "photos: a dry run, nothing is written\n",
        "  data      photos, 2 classes\n",
        "  images    26 to train on, 6 to validate on, 8 to test on\n",
        "  model     not known before its backbone is fetched\n",
        "  phase 1   40 epochs of 4 steps of 8 images, adam at 0.001\n",
        "  phase 2   10 epochs of 4 steps of 8 images, adam at 0.0001\n",
        "  run       runs/photos\n",
        "  fetch     efficientnet-lite0, 18.84 MB (",
    ] {
        assert!(plan.contains(line), "{line}{plan}");
    }
    let again = succeed(&mut dry(&["train", "photos"])).stdout;
    assert_eq!(again, plan);
    let names = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(), ["photos"]);

    // The next free folder, and changes of the recipe.
    fs::create_dir_all(folder.path().join("runs/photos")).unwrap();
    fs::write(folder.path().join("runs/photos/recipe.toml"), "").unwrap();
    let set = ["--set", "training.phases.1.epochs=3", "--json"];
    let plan = succeed(&mut dry(&[&["run", "photos"][..], &set].concat())).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["run"], "runs/photos-2");
    assert_eq!(plan["phases"][0]["epochs"], 3);
    assert_eq!(plan["model"], serde_json::Value::Null);

    // A mistake is the same as without.
    let ended = crate::kiln::run(&mut dry(&["run", "photos", "--set", "training.epoch=3"]));
    let message = "error: --set training.epoch=3: unknown key `epoch`";
    assert!(
        ended.code == Some(2) && ended.stderr.contains(message),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_dry_run_of_a_recipe_counts_its_images_and_parameters() {
    let digits = ["train", "models/quickstart.toml", "--dry-run"];
    let plan = ok(&[&digits[..], &DIGITS].concat()).stdout;
    for line in [
        "  images    360 to train on, 40 to validate on, 100 to test on\n",
        "  model     113,642 parameters, 1 x 28 x 28 pixels\n",
        "  training  3 epochs of 3 steps of 128 images, adam at 0.001, 113,514 parameters trained\n",
    ] {
        assert!(plan.contains(line), "{line}{plan}");
    }
    // Steps of two batches: 360 images are a step of 256 and one of the rest.
    let accumulated = ["--set", "training.gradient_accumulation_steps=2"];
    let plan = ok(&[&digits[..], &DIGITS, &accumulated].concat()).stdout;
    assert!(
        plan.contains("  training  3 epochs of 2 steps of 256 images"),
        "{plan}"
    );
    // A dataset that is not there.
    let plan = ok(&digits).stdout;
    for line in [
        "  images    not known before they are fetched\n",
        "  training  3 epochs in batches of 128 images, adam at 0.001, 113,514 parameters trained\n",
        "  fetch     mnist, 54.95 MB (CC BY-SA 3.0)\n",
    ] {
        assert!(plan.contains(line), "{line}{plan}");
    }
    let message = error(&mut kiln(&["run", "--dry-run", "--resume", "runs/x"]));
    assert!(message.contains("cannot be used with"), "{message}");
}
