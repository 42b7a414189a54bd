//! What a run says of its images, before and after they change.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};

use crate::kiln::{kiln, ok, path, run};

/// Squares of a shade, dark ones of the class `dark` and light ones of `light`.
fn square(folder: &Path, class: &str, at: u32) {
    let classes = folder.join("squares").join(class);
    fs::create_dir_all(&classes).unwrap();
    let shade = if class == "dark" { at } else { 255 - at };
    GrayImage::from_pixel(8, 8, Luma([shade as u8]))
        .save(classes.join(format!("{at:03}.png")))
        .unwrap();
}

/// A folder of twenty images for each class, and a recipe for it.
fn squares() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (class, at) in ["dark", "light"]
        .into_iter()
        .flat_map(|class| (1..21).map(move |at| (class, at)))
    {
        square(folder.path(), class, at);
    }
    let recipe = format!(
        "layers = [{{ type = \"flatten\" }}, {{ type = \"dense\", units = 2 }}]\n[input]\nheight = 8\nwidth = 8\n\
         [data]\nfolder = {:?}\n[training]\nepochs = 2\n",
        path(folder.path(), "squares")
    );
    fs::write(folder.path().join("squares.toml"), recipe).unwrap();
    folder
}

#[test]
fn a_page_says_what_was_validated_on_and_by_what_the_epoch_was_chosen() {
    let folder = squares();
    let (recipe, runs) = (
        path(folder.path(), "squares.toml"),
        path(folder.path(), "runs"),
    );
    let page = |name: &str, set: &[&str]| {
        let runs = format!("{runs}/{name}");
        ok(&[&["run", &recipe, "--runs", &runs], set].concat());
        fs::read_to_string(format!("{runs}/squares/report.html")).unwrap()
    };
    let split = page("a", &[]);
    assert!(
        split.contains(">10.00 % of the training images<"),
        "{split}"
    );
    assert!(
        split.contains("has the lowest validation loss, ")
            && !split.contains("the test images</dd>"),
        "{split}"
    );
    let test = page(
        "b",
        &[
            "--set",
            "data.validation=test",
            "--set",
            "training.monitor=val_accuracy",
        ],
    );
    assert!(
        test.contains("has the highest validation accuracy, ")
            && test.contains(">the test images<"),
        "{test}"
    );
    let squares = folder.path().join("squares");
    for class in ["dark", "light"] {
        for (at, entry) in fs::read_dir(squares.join(class))
            .unwrap()
            .map(Result::unwrap)
            .enumerate()
        {
            let to = squares
                .join(if at < 4 { "val" } else { "train" })
                .join(class);
            fs::create_dir_all(&to).unwrap();
            fs::rename(entry.path(), to.join(entry.file_name())).unwrap();
        }
        fs::remove_dir(squares.join(class)).unwrap();
    }
    assert!(page("c", &[]).contains(">the images in `val`<"));
}

#[test]
fn images_that_changed_are_not_shown_as_those_of_the_run() {
    let folder = squares();
    let (recipe, runs) = (
        path(folder.path(), "squares.toml"),
        path(folder.path(), "runs"),
    );
    // With so small a rate some are mistaken.
    ok(&[
        "run",
        &recipe,
        "--runs",
        &runs,
        "--set",
        "training.optimizer={type=\"adam\", learning_rate=1e-9}",
    ]);
    let report = || ok(&["report", &format!("{runs}/squares")]).stderr;
    let page = || fs::read_to_string(format!("{runs}/squares/report.html")).unwrap();
    let whole = page();
    assert!(whole.contains("Training images</h2>"), "{whole}");
    assert!(!report().contains("Note") && page() == whole);
    square(folder.path(), "dark", 0);
    let note = report();
    assert!(
        note.contains("the images of") && note.contains("have changed since it was trained"),
        "{note}"
    );
    assert!(!page().contains("Training images</h2>"));
    fs::rename(
        folder.path().join("squares"),
        folder.path().join("elsewhere"),
    )
    .unwrap();
    let note = report();
    assert!(
        note.contains("the page is without images") && note.contains("is not there"),
        "{note}"
    );
}

#[test]
fn a_sweep_does_not_reuse_runs_on_other_images() {
    let folder = squares();
    let (recipe, runs) = (
        path(folder.path(), "squares.toml"),
        path(folder.path(), "runs"),
    );
    let sweep = || {
        run(&mut kiln(&[
            "sweep",
            &recipe,
            "--runs",
            &runs,
            "--set",
            "sweep.training.seed=[0]",
        ]))
        .stderr
    };
    let reused = |progress: &str| progress.contains("Reusing");
    assert_eq!(
        [sweep(), sweep()].map(|progress| reused(&progress)),
        [false, true]
    );
    square(folder.path(), "dark", 0);
    assert_eq!(
        [sweep(), sweep()].map(|progress| reused(&progress)),
        [false, true]
    );
}
