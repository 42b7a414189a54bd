//! `kiln fetch`.

use std::fs;

use crate::kiln::{error, kiln, mnist, online, path, run};

#[test]
#[ignore = "downloads MNIST"]
fn what_is_there_is_shown() {
    mnist();
    let ended = run(&mut online(&["fetch"]));
    assert_eq!(ended.code, Some(0));
    let line = ended
        .stdout
        .lines()
        .find(|line| line.contains("mnist"))
        .unwrap();
    assert!(line.contains("yes"), "{}", ended.stdout);
}

#[test]
#[ignore = "downloads MNIST"]
fn a_folder_of_files_can_be_supplied_offline() {
    let cache = tempfile::tempdir().unwrap();
    let from = mnist().to_str().unwrap();
    let ended =
        run(kiln(&["fetch", "mnist", "--from", from, "--offline"]).env("KILN_CACHE", cache.path()));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 4);
    assert!(ended.stdout.lines().all(|file| fs::metadata(file).is_ok()));
}

#[test]
#[ignore = "downloads SqueezeNet"]
fn weights_become_a_model_that_has_a_name() {
    let ended = run(&mut online(&["fetch", "squeezenet"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let file = ended.stdout.trim();
    assert!(
        file.ends_with("squeezenet.onnx") && fs::metadata(file).is_ok(),
        "{file}"
    );
    let ended = run(&mut online(&[
        "describe",
        "squeezenet",
        "--json",
        "--offline",
    ]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("espresso"), "{}", ended.stdout);
    // A file that says nothing of its classes gets the same names on request.
    let folder = tempfile::tempdir().unwrap();
    let mut model = kiln_onnx::load(file).unwrap();
    model.set_metadata(&kiln_onnx::Metadata::default());
    let bare = path(folder.path(), "bare.onnx");
    fs::write(&bare, kiln_onnx::encode(&model)).unwrap();
    let image = path(folder.path(), "gray.png");
    image::GrayImage::from_pixel(9, 9, image::Luma([128]))
        .save(&image)
        .unwrap();
    let predicted = |model: &str, options: &[&str]| {
        let arguments = [
            "predict",
            model,
            &image,
            "--top-k",
            "3",
            "--preprocess",
            "torch",
        ];
        let ended = run(&mut online(&[&arguments, options].concat()));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    let named = predicted(&bare, &["--labels", "imagenet"]);
    assert_eq!(named, predicted("squeezenet", &[]));
}

#[test]
fn a_wrong_checksum_is_refused_and_names_both() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = "t10k-labels-idx1-ubyte";
    let file = path(folder.path(), name);
    // Of the right size.
    fs::write(&file, [0; 10_008]).unwrap();
    let message = error(kiln(&["fetch", "mnist", "--from", &file]).env("KILN_CACHE", cache.path()));
    assert!(
        message.contains(name) && message.contains("SHA-256"),
        "{message}"
    );
}

#[test]
fn offline_says_how_to_supply_the_files() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = kiln(&["train", "models/quickstart.toml"]);
    let message = error(
        command
            .env("KILN_CACHE", cache.path())
            .env("KILN_OFFLINE", "1"),
    );
    assert!(
        message.contains("offline") && message.contains("kiln fetch mnist --from"),
        "{message}"
    );
}

#[test]
fn a_name_that_is_none_lists_those_that_are() {
    let message = error(&mut kiln(&["fetch", "cifar"]));
    assert!(
        message.contains("mnist, cifar-10, vgg16, onnxruntime"),
        "{message}"
    );
}
