//! `kiln init`, and training a folder without a recipe.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::kiln::{error, kiln, succeed};

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

    let ended = succeed(&mut within(folder.path(), &["run", "recipe.toml"]));
    assert!(ended.stdout.contains("tiles: 100.00 %"), "{}", ended.stdout);
    let kept = read(folder.path(), "runs/tiles/recipe.toml");
    assert!(kept.contains("units = 2"), "{kept}");
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
