//! Datasets of image files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{GrayImage, Luma};
use kiln_data::{
    Dataset, Decoding, FeatureKey, FeatureRows, FeatureWriter, Features, Folder, Hint, Listing,
    Loader, Order, ReadOptions, Samples, View, folder, images_below, list,
};
use kiln_model::{Augmentation, Channels, Preprocessing};
use kiln_preprocess::Preprocessor;

/// An image of 2 by 2 pixels of this value.
fn write(root: &Path, path: &str, value: u8) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    GrayImage::from_pixel(2, 2, Luma([value]))
        .save(path)
        .expect("written");
}

fn whole(root: &Path) -> Listing {
    match folder(root).expect("a dataset") {
        Folder::Whole(listing) => listing,
        Folder::Divided { .. } => panic!("not divided"),
    }
}

fn read(listing: Listing) -> Dataset {
    listing
        .read(ReadOptions::default(), &|| ())
        .expect("readable")
        .dataset
}

fn error(root: &Path) -> String {
    folder(root).expect_err("no dataset").to_string()
}

#[test]
fn folders_are_classes_sorted_by_name() {
    let root = tempfile::tempdir().expect("a folder");
    for (path, value) in [
        ("dog/b.png", 3),
        ("cat/deep/z.bmp", 2),
        ("cat/a.png", 1),
        ("dog/a.png", 4),
    ] {
        write(root.path(), path, value);
    }
    write(root.path(), ".git/x.png", 9);
    write(root.path(), "dog/._a.png", 9);
    fs::write(root.path().join("dog/notes.txt"), "no image").expect("written");
    fs::write(root.path().join("README.md"), "no image").expect("written");
    for name in ["cat/x.heic", "cat/deep/y.HEIC", "dog/Makefile"] {
        fs::write(root.path().join(name), "no image").expect("written");
    }
    let listing = whole(root.path());
    assert_eq!(listing.classes(), ["cat", "dog"]);
    let skipped = listing.skipped();
    let counts = |counts: &BTreeMap<String, u64>| -> Vec<(String, u64)> {
        let counts = counts.iter();
        counts.map(|(name, count)| (name.clone(), *count)).collect()
    };
    let expected = |counts: &[(&str, u64)]| -> Vec<(String, u64)> {
        let counts = counts.iter();
        counts
            .map(|(name, count)| ((*name).into(), *count))
            .collect()
    };
    assert_eq!(
        counts(&skipped.endings),
        expected(&[("", 1), ("heic", 2), ("md", 1), ("txt", 1)])
    );
    assert_eq!(counts(&skipped.folders), expected(&[(".git", 1)]));
    assert_eq!((skipped.hidden, skipped.loose), (1, 0));
    let dataset = read(listing);
    assert_eq!(dataset.labels(), [0, 0, 1, 1]);
    let values: Vec<u8> = (0..4)
        .map(|index| dataset.image(index).expect("readable").as_raw().pixels[0])
        .collect();
    assert_eq!(values, [1, 2, 4, 3]);
    assert_eq!(dataset.path(1), Some(Path::new("cat/deep/z.bmp")));
}

#[test]
fn subsets_have_the_classes_of_train() {
    let root = tempfile::tempdir().expect("a folder");
    for path in [
        "train/a/1.png",
        "train/b/1.png",
        "train/c/1.png",
        "valid/c/1.png",
        "test/b/1.png",
    ] {
        write(root.path(), path, 1);
    }
    let Folder::Divided {
        train,
        validation: Some(validation),
        test: Some(test),
        ..
    } = folder(root.path()).expect("a dataset")
    else {
        panic!("three subsets")
    };
    assert_eq!((train.len(), train.classes().len()), (3, 3));
    assert_eq!(read(validation).labels(), [2]);
    assert_eq!(read(test).labels(), [1]);
    write(root.path(), "test/d/1.png", 1);
    assert!(error(root.path()).contains("test` has the class `d`: expected only a, b, c"));
    fs::remove_dir_all(root.path().join("test")).expect("removed");
    fs::create_dir(root.path().join("extra")).expect("made");
    let skipped = folder(root.path()).expect("a dataset").skipped();
    assert_eq!(skipped.folders, BTreeMap::from([("extra".into(), 1)]));
    write(root.path(), "extra/1.png", 1);
    assert!(error(root.path()).contains("extra` stands beside the training images"));
}

#[test]
fn subsets_are_known_by_their_usual_names() {
    for [train, validation, test] in [
        ["Train", "Valid", "TEST"],
        ["training_set", "validation_set", "test_set"],
        ["train2017", "val2017", "test2017"],
        ["seg_train/seg_train", "dev", "seg_test/seg_test"],
    ] {
        let root = tempfile::tempdir().expect("a folder");
        for (subset, count) in [(train, 3), (validation, 2), (test, 1)] {
            for number in 0..count {
                write(root.path(), &format!("{subset}/cat/{number}.png"), 1);
                write(root.path(), &format!("{subset}/dog/{number}.png"), 1);
            }
        }
        let found = folder(root.path()).expect("a dataset");
        assert!(found.skipped().is_empty());
        let Folder::Divided {
            train,
            validation: Some(validation),
            test: Some(test),
            ..
        } = found
        else {
            panic!("three subsets")
        };
        assert_eq!(train.classes(), ["cat", "dog"]);
        assert_eq!([train.len(), validation.len(), test.len()], [6, 4, 2]);
        // Two of a kind: neither is taken.
        write(root.path(), "testing/cat/1.png", 1);
        assert!(error(root.path()).contains("stands beside the training images"));
    }
}

#[test]
fn subsets_that_cannot_be_used_are_told() {
    // As competitions have it: the test images have no classes.
    let root = tempfile::tempdir().expect("a folder");
    for path in [
        "train/cat/1.png",
        "train/dog/1.png",
        "test1/1.png",
        "test1/2.png",
    ] {
        write(root.path(), path, 1);
    }
    write(root.path(), "holdout/cat/1.png", 1);
    write(root.path(), "train/loose.png", 1);
    write(root.path(), "sample.png", 1);
    let found = folder(root.path()).expect("a dataset");
    let skipped = found.skipped();
    let unused = [("holdout".to_owned(), 1), ("test1".to_owned(), 2)];
    assert_eq!(skipped.unused_subsets, BTreeMap::from(unused));
    assert_eq!(skipped.loose, 2);
    assert!(matches!(found, Folder::Divided { test: None, .. }));

    // Nothing but loose images.
    let root = tempfile::tempdir().expect("a folder");
    for path in ["train/cat.1.png", "train/dog.1.png", "test1/1.png"] {
        write(root.path(), path, 1);
    }
    let error = folder(root.path()).expect_err("no classes");
    assert_eq!(error.hint(), Some(Hint::NameSubsets));
    let message = error.to_string();
    assert!(
        message.contains("found `test1`, `train`, which look like subsets")
            && message.contains("train` holds 2 images in no class folder"),
        "{message}"
    );
}

#[test]
fn runs_are_no_data() {
    let root = tempfile::tempdir().expect("a folder");
    for path in [
        "cat/1.png",
        "dog/1.png",
        "runs/x/confusion.png",
        "out/y/a.png",
    ] {
        write(root.path(), path, 1);
    }
    for run in ["runs/x", "out/y", "sweep/lr/z"] {
        fs::create_dir_all(root.path().join(run).join("checkpoints")).expect("made");
        fs::write(root.path().join(run).join("recipe.toml"), "").expect("written");
    }
    fs::write(root.path().join("sweep/results.csv"), "").expect("written");
    let listing = whole(root.path());
    assert_eq!(listing.classes(), ["cat", "dog"]);
    let folders = BTreeMap::from([("runs".to_owned(), 3)]);
    assert_eq!(listing.skipped().folders, folders);
    assert!(listing.skipped().endings.is_empty());
    let mut images = images_below(root.path());
    let below: Vec<_> = images
        .by_ref()
        .map(|path| path.expect("readable"))
        .collect();
    assert_eq!(
        below,
        ["cat/1.png", "dog/1.png"].map(|path| root.path().join(path))
    );
    assert_eq!(images.skipped().folders, folders);
    // Before the first run there is an empty folder.
    fs::remove_dir_all(root.path().join("runs/x")).expect("removed");
    assert_eq!(whole(root.path()).classes(), ["cat", "dog"]);
    // People may call a class so.
    write(root.path(), "runs/1.png", 1);
    assert_eq!(whole(root.path()).classes(), ["cat", "dog", "runs"]);
}

#[test]
#[cfg(unix)]
fn links_that_lead_nowhere_are_images_that_cannot_be_read() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().expect("a folder");
    for path in ["a/1.png", "b/1.png"] {
        write(root.path(), path, 1);
    }
    symlink("/nowhere.png", root.path().join("a/gone.png")).expect("linked");
    symlink("/nowhere", root.path().join("c")).expect("linked");
    symlink(root.path(), root.path().join("b/loop")).expect("linked");
    let listing = whole(root.path());
    assert_eq!((listing.len(), listing.skipped().dead_links), (3, 2));
    let read = listing
        .clone()
        .read(ReadOptions::default().skip_bad(true), &|| ())
        .expect("two are good");
    assert_eq!((read.dataset.len(), read.bad.len()), (2, 1));
    assert!(
        read.bad[0].to_string().contains("a/gone.png"),
        "{}",
        read.bad[0]
    );
    let error = listing.read(ReadOptions::default(), &|| ());
    assert!(error.is_err(), "unless they may be skipped");
    let below = images_below(root.path()).flatten().count();
    assert_eq!(below, 3);
}

#[test]
fn names_in_two_normal_forms_are_one_class() {
    let root = tempfile::tempdir().expect("a folder");
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    write(root.path(), &format!("train/{decomposed}/1.png"), 1);
    write(root.path(), "train/eau/1.png", 1);
    write(root.path(), &format!("test/{composed}/1.png"), 1);
    let Folder::Divided {
        train,
        test: Some(test),
        ..
    } = folder(root.path()).expect("a dataset")
    else {
        panic!("two subsets")
    };
    assert_eq!(train.classes(), [decomposed, "eau"]);
    assert_eq!(read(test).labels(), [0]);
    let known = ["eau", composed].map(String::from);
    let (listing, numbered) = train.with_model_classes(&known).expect("known");
    assert_eq!((read(listing).labels(), numbered), (&[1, 0][..], None));
    // Both in one folder.
    write(root.path(), &format!("train/{composed}/2.png"), 1);
    let found = whole(&root.path().join("train"));
    assert_eq!((found.classes().len(), found.len()), (2, 3));
    assert_eq!(
        read(found)
            .labels()
            .iter()
            .filter(|&&label| label == 0)
            .count(),
        2
    );
}

#[test]
fn folders_named_by_numbers_are_classes_by_number() {
    let root = tempfile::tempdir().expect("a folder");
    for number in 0..11 {
        write(root.path(), &format!("{number}/1.png"), number);
    }
    let numbers: Vec<String> = (0..11).map(|number| number.to_string()).collect();
    let (listing, numbered) = whole(root.path())
        .with_model_classes(&numbers)
        .expect("known");
    assert_eq!(read(listing).labels(), [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]);
    let numbered = numbered.expect("sorted as text they are others");
    assert_eq!(
        (
            numbered.folder.as_str(),
            numbered.class,
            numbered.sorted_as_text
        ),
        ("10", 10, Some(2))
    );
    // As a training on these folders names its classes.
    let mut sorted = numbers.clone();
    sorted.sort();
    let (listing, numbered) = whole(root.path())
        .with_model_classes(&sorted)
        .expect("known");
    assert_eq!(read(listing).labels(), (0..11).collect::<Vec<u32>>());
    assert_eq!(numbered, None);
    let names: Vec<String> = (0..11).map(|at| format!("class {at}")).collect();
    let (listing, numbered) = whole(root.path())
        .with_model_classes(&names)
        .expect("by index");
    assert_eq!(read(listing).labels(), [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(numbered.is_some());
    // One name that is no number, and numbers are no indices.
    write(root.path(), "cat/1.png", 1);
    let names = [&names[..], &["cat".to_owned()]].concat();
    let error = whole(root.path())
        .with_model_classes(&names)
        .expect_err("no `0`");
    assert!(error.to_string().contains("has the class `0`"), "{error}");
}

#[test]
fn train_with_images_in_it_is_a_class() {
    let root = tempfile::tempdir().expect("a folder");
    for path in ["bus/1.png", "train/1.png"] {
        write(root.path(), path, 1);
    }
    assert_eq!(whole(root.path()).classes(), ["bus", "train"]);
}

#[test]
fn what_is_no_data_set_is_told() {
    let root = tempfile::tempdir().expect("a folder");
    assert!(error(&root.path().join("missing")).contains("missing`: "));
    assert!(error(root.path()).contains("has no folders with images"));
    write(root.path(), "cat/1.png", 1);
    fs::create_dir(root.path().join("dog")).expect("made");
    let empty = whole(root.path())
        .check_classes()
        .expect_err("an empty class");
    assert!(
        empty.to_string().ends_with("found none of `dog`"),
        "{empty}"
    );
    let classes = vec!["dog".to_owned()];
    assert_eq!(empty.hint(), Some(Hint::SkipEmptyClasses { classes }));
    write(root.path(), "1.png", 1);
    assert_eq!(whole(root.path()).skipped().loose, 1);
    fs::remove_dir_all(root.path().join("cat")).expect("removed");
    let message = error(root.path());
    assert!(
        message.contains("holds 1 image in no class folder, such as `")
            && message.contains("1.png`"),
        "{message}"
    );
}

#[test]
fn labels_follow_the_classes_asked_for() {
    let root = tempfile::tempdir().expect("a folder");
    for path in ["cat/1.png", "dog/1.png"] {
        write(root.path(), path, 1);
    }
    let classes = ["dog", "owl", "cat"].map(String::from);
    let dataset = read(
        whole(root.path())
            .with_classes(&classes)
            .expect("known classes"),
    );
    assert_eq!(
        (dataset.labels(), dataset.classes()),
        (&[2, 0][..], &classes[..])
    );
    let error = whole(root.path())
        .with_classes(&classes[..2])
        .expect_err("no cat")
        .to_string();
    assert!(
        error.contains("has the class `cat`: expected only dog, owl"),
        "{error}"
    );
}

#[test]
fn lists_name_images_and_classes() {
    let root = tempfile::tempdir().expect("a folder");
    for (path, value) in [("x/1.png", 1), ("x/2, old.png", 2), ("y.png", 3)] {
        write(root.path(), path, value);
    }
    let file = root.path().join("list.csv");
    fs::write(
        &file,
        "id,path,label\n7, y.png ,zebra\n8,x/1.png,ant\n9,\"x/2, old.png\",zebra\n",
    )
    .expect("written");
    let dataset = read(list(&file).expect("a list"));
    assert_eq!(
        (dataset.labels(), dataset.classes()),
        (&[1, 0, 1][..], &["ant", "zebra"].map(String::from)[..])
    );
    assert_eq!(dataset.image(0).expect("readable").as_raw().pixels[0], 3);
    for (text, expected) in [
        (
            "filename,class\na,b\n",
            "list.csv:1: expected the columns `path` and `label`, found `filename,class`: rename the columns",
        ),
        (
            "path;label\na;b\n",
            "found `path;label`: separate the columns by commas",
        ),
        (
            "path\tlabel\na\tb\n",
            "found `path\tlabel`: separate the columns by commas",
        ),
        (
            "a.png,cat\nb.png,dog\n",
            "found `a.png,cat`: add the line `path,label` at the top",
        ),
        (
            "path,class\na,b\n",
            "found no `label`: rename the column of the classes, or add one",
        ),
        ("path,label\n", "list.csv:1: the list is empty"),
        ("", "list.csv:1: expected the columns"),
        ("path,label\na,b\nc\n", "list.csv:3: "),
        (
            "path,label\na,\n",
            "list.csv:2: expected a path and a label",
        ),
        (
            "path,label\na,b\na,c\n",
            "list.csv:3: `a` is the image of line 2, which has another label",
        ),
        (
            "path,label\nx/1.png,b\n./y.png,b\nx/../x/./1.png,c\n",
            "list.csv:4: `x/../x/./1.png` is the image of line 2",
        ),
    ] {
        fs::write(&file, text).expect("written");
        let error = list(&file).expect_err("no list").to_string();
        assert!(
            error.contains(expected),
            "\nfound    {error}\nexpected {expected}"
        );
    }
    fs::write(&file, b"path,label\n\xff,b\n").expect("written");
    assert!(
        list(&file)
            .expect_err("no text")
            .to_string()
            .contains("list.csv:2: ")
    );
}

/// Writes images and a list of them, and reads it.
fn several(root: &Path, text: &str) -> Result<kiln_data::Listing, kiln_data::FilesError> {
    for (at, name) in ["a.png", "b.png", "c.png"].iter().enumerate() {
        write(root, name, at as u8);
    }
    let file = root.join("list.csv");
    fs::write(&file, text).expect("written");
    list(&file)
}

#[test]
fn a_list_has_several_labels_in_one_column_or_in_a_column_for_each() {
    let root = tempfile::tempdir().expect("a folder");
    for text in [
        "path,labels\na.png,dog|cat\nb.png,\nc.png,dog\n",
        "path,labels\na.png,\"cat, dog\"\nb.png,\nc.png,dog;dog\n",
        "path,dog,cat\na.png,1,1\nb.png,0,0\nc.png,1,\n",
        "cat,path,dog\ntrue,a.png,1.0\nfalse,b.png,0\n0,c.png,1\n",
    ] {
        let listing = several(root.path(), text).expect("a list");
        assert!(listing.has_several(), "{text}");
        assert_eq!(listing.classes(), ["cat", "dog"], "{text}");
        assert_eq!(listing.class_counts(), [1, 2], "{text}");
        let read = listing.read(ReadOptions::default(), &|| {});
        let dataset = read.expect("images").dataset;
        assert!(dataset.label_sets().has_several());
        let classes = [0, 1, 2].map(|image| dataset.classes_of(image));
        assert_eq!(classes, [&[0, 1][..], &[], &[1]], "{text}");
    }
}

#[test]
fn classes_of_several_labels_are_renumbered_as_those_of_one() {
    let root = tempfile::tempdir().expect("a folder");
    let text = "path,labels\na.png,cat|dog\nb.png,cat\nc.png,\n";
    let known = ["emu", "dog", "cat"].map(str::to_owned);
    let listing = several(root.path(), text).expect("a list");
    let listing = listing.with_classes(&known).expect("all are known");
    assert_eq!(listing.class_counts(), [0, 1, 2]);
    assert!(listing.check_classes().is_err(), "no emu");
    let (listing, empty) = listing.without_empty_classes();
    assert_eq!(
        (listing.classes(), empty.as_slice()),
        (&known[1..], &known[..1])
    );
    let read = listing.read(ReadOptions::default(), &|| {});
    let dataset = read.expect("images").dataset;
    assert_eq!(dataset.classes_of(0), [0, 1]);
    assert_eq!(dataset.classes_of(1), [1]);
}

#[test]
fn columns_that_are_no_marks_and_classes_without_images_are_named() {
    let root = tempfile::tempdir().expect("a folder");
    let message = several(root.path(), "path,cat,width\na.png,1,640\n")
        .expect_err("a width is no mark")
        .to_string();
    assert!(
        message.contains("list.csv:2:")
            && message.contains("expected 1 or 0 in the column of the class `width`, found `640`"),
        "{message}"
    );
    let empty = several(root.path(), "path,cat,dog\na.png,1,0\n").expect("a list");
    let message = empty.check_classes().expect_err("no dog").to_string();
    assert!(message.contains("dog"), "{message}");
    // One other column is no choice of classes.
    let message = several(root.path(), "path,cat\na.png,1\n").expect_err("no label");
    assert!(
        message.to_string().contains("found no `label`"),
        "{message}"
    );
}

#[test]
fn of_one_label_and_several_the_one_counts() {
    let root = tempfile::tempdir().expect("a folder");
    write(root.path(), "a.png", 1);
    let file = root.path().join("list.csv");
    // A list may have both: then the one counts.
    fs::write(&file, "path,label,labels\na.png,cat,cat|dog\n").expect("written");
    assert_eq!(list(&file).expect("a list").classes(), ["cat"]);
}

#[test]
fn a_file_under_two_spellings_is_one_image() {
    let root = tempfile::tempdir().expect("a folder");
    for path in ["x/1.png", "y.png", "caf\u{e9}.png"] {
        write(root.path(), path, 1);
    }
    let absolute = root.path().join("y.png");
    #[cfg_attr(not(unix), expect(unused_mut))]
    let mut text = format!(
        "path,label\ny.png,a\nx\\1.png,b\n./y.png,a\nx/../y.png,a\n{},a\nx/1.png,b\n\
         cafe\u{301}.png,th\u{e9}\ncaf\u{e9}.png,the\u{301}\n",
        absolute.display()
    );
    #[cfg_attr(not(unix), expect(unused_mut))]
    let mut repeated = vec![(4, 2), (5, 2), (6, 2), (7, 3), (9, 8)];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("y.png", root.path().join("link.png")).expect("linked");
        text += "link.png,a\n";
        repeated.push((10, 2));
    }
    let file = root.path().join("list.csv");
    fs::write(&file, text).expect("written");
    let listing = list(&file).expect("a list");
    let lines = listing.repeated().iter();
    let lines: Vec<(u64, u64)> = lines
        .map(|repeated| (repeated.line, repeated.first))
        .collect();
    assert_eq!(lines, repeated);
    assert_eq!(listing.classes(), ["a", "b", "th\u{e9}"]);
    let dataset = read(listing);
    assert_eq!(dataset.labels(), [0, 1, 2]);
    assert_eq!(dataset.path(1), Some(Path::new("x/1.png")));
    assert_eq!(dataset.path(2), Some(Path::new("caf\u{e9}.png")));
}

#[test]
fn lists_of_other_systems_are_read() {
    let root = tempfile::tempdir().expect("a folder");
    for path in ["x/1.png", "y.png"] {
        write(root.path(), path, 1);
    }
    let text = "path,label\r\nx/1.png,\u{e9}t\u{e9}\r\ny.png,b\r\n";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    };
    let file = root.path().join("list.csv");
    for content in [
        text.as_bytes().to_vec(),
        [&b"\xef\xbb\xbf"[..], text.as_bytes()].concat(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
    ] {
        fs::write(&file, content).expect("written");
        let listing = list(&file).expect("a list");
        assert_eq!(listing.classes(), ["b", "\u{e9}t\u{e9}"]);
        assert_eq!(read(listing).labels(), [1, 0]);
    }
    let mut half = utf16(u16::to_le_bytes);
    half.pop();
    fs::write(&file, half).expect("written");
    let message = list(&file).expect_err("cut off").to_string();
    assert!(
        message.contains("list.csv:") && message.contains("not valid UTF-16"),
        "{message}"
    );
}

#[test]
fn images_in_color_are_counted() {
    let root = tempfile::tempdir().expect("a folder");
    write(root.path(), "a/gray.png", 1);
    for (name, color) in [("b/green.png", [0, 130, 0]), ("b/gray.png", [9, 9, 9])] {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        image::RgbImage::from_pixel(2, 2, image::Rgb(color))
            .save(path)
            .expect("written");
    }
    assert_eq!(read(whole(root.path())).colored(), 1);
}

#[test]
fn what_cannot_be_read_is_an_error_or_left_out() {
    let root = tempfile::tempdir().expect("a folder");
    for path in ["a/1.png", "a/2.png", "b/1.png"] {
        write(root.path(), path, 1);
    }
    fs::write(root.path().join("a/bad.png"), "no image").expect("written");
    let seen = AtomicUsize::new(0);
    let progress = || {
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let error = whole(root.path())
        .read(ReadOptions::default(), &progress)
        .expect_err("one is bad");
    assert_eq!(seen.into_inner(), 4);
    assert_eq!(error.hint(), Some(Hint::SkipUnreadable { images: 1 }));
    let error = error.to_string();
    assert!(error.starts_with("1 of 4 images of `"), "{error}");
    assert!(
        error.contains("bad.png` is not an image") && error.lines().count() == 2,
        "{error}"
    );
    let read = whole(root.path())
        .read(ReadOptions::default().skip_bad(true), &|| ())
        .expect("three are good");
    assert_eq!((read.dataset.labels(), read.bad.len()), (&[0, 0, 1][..], 1));
}

#[test]
fn the_checksum_is_that_of_sha256sums_output() {
    let root = tempfile::tempdir().expect("a folder");
    for (path, value) in [("a/1.png", 1), ("b/1.png", 2)] {
        write(root.path(), path, value);
    }
    let dataset = read(whole(root.path()));
    let checksum = dataset.checksum().expect("files have a checksum");
    assert_eq!((checksum.len(), dataset.identity(0).len()), (64, 32));
    write(root.path(), "b/1.png", 3);
    assert_ne!(read(whole(root.path())).checksum(), Some(checksum));
    #[cfg(target_os = "linux")]
    {
        let script = "sha256sum a/1.png b/1.png | sha256sum";
        let run = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(root.path())
            .output();
        let printed = String::from_utf8(run.expect("sha256sum runs").stdout).expect("text");
        assert_eq!(
            printed.split(' ').next().map(String::from),
            read(whole(root.path())).checksum()
        );
    }
}

#[test]
fn batches_of_files_come_in_order_and_do_not_depend_on_the_threads() {
    let root = tempfile::tempdir().expect("a folder");
    for number in 0..40 {
        write(
            root.path(),
            &format!("{}/{number:02}.png", number % 2),
            number * 6,
        );
    }
    let view = View::all(Arc::new(read(whole(root.path()))));
    let preprocessor =
        Arc::new(Preprocessor::new(Preprocessing::raw(2, 2, Channels::Gray)).expect("valid"));
    let augmentation = Augmentation {
        brightness_range: Some([0.5, 1.5]),
        ..Augmentation::default()
    };
    let samples = Samples::images(view.clone(), preprocessor).augmented(Some(augmentation));
    let values = |batch_size, order| -> Vec<f32> {
        let loader = Loader::new(samples.clone(), batch_size, order).expect("valid");
        loader
            .iter()
            .flat_map(|batch| batch.expect("readable").values)
            .collect()
    };
    let plain: Vec<f32> = view
        .indices()
        .iter()
        .flat_map(|&i| {
            [f32::from(
                view.dataset()
                    .image(i as usize)
                    .expect("readable")
                    .as_raw()
                    .pixels[0],
            ); 4]
        })
        .collect();
    for batch_size in [1, 3, 40, 100] {
        assert_eq!(
            values(batch_size, Order::Sequential),
            plain,
            "not augmented, and in order"
        );
    }
    let order = Order::Shuffled { seed: 1, epoch: 1 };
    let shuffled = values(1, order);
    assert_eq!(shuffled, values(7, order));
    assert_ne!(shuffled, values(7, Order::Shuffled { seed: 1, epoch: 2 }));
    let (mut before, mut after) = (plain, shuffled);
    before.sort_by(f32::total_cmp);
    after.sort_by(f32::total_cmp);
    assert_ne!(before, after, "augmented");
}

#[test]
fn epochs_use_the_views_of_an_image_in_turn() {
    let root = tempfile::tempdir().expect("a folder");
    for number in 0..6 {
        write(
            root.path(),
            &format!("{}/{number}.png", number % 2),
            60 + number * 10,
        );
    }
    let view = View::all(Arc::new(read(whole(root.path()))));
    let preprocessor =
        Arc::new(Preprocessor::new(Preprocessing::raw(2, 2, Channels::Gray)).expect("valid"));
    let augmentation = Augmentation {
        brightness_range: Some([0.5, 1.5]),
        views: Some(2),
        ..Augmentation::default()
    };
    let images = Samples::images(view.clone(), preprocessor).augmented(Some(augmentation));
    // The values of each image, by its number.
    let by_number = |samples: &Samples, order| {
        let loader = Loader::new(samples.clone(), 6, order).expect("valid");
        let batch = loader.iter().next().expect("a batch").expect("readable");
        let rows = batch.values.chunks_exact(4).map(<[f32]>::to_vec);
        batch
            .indices
            .iter()
            .copied()
            .zip(rows)
            .collect::<BTreeMap<u32, Vec<f32>>>()
    };
    let epoch = |samples: &Samples, epoch| by_number(samples, Order::Shuffled { seed: 3, epoch });
    let changed: Vec<_> = (0..4).map(|number| epoch(&images, number)).collect();
    assert_eq!((&changed[0], &changed[1]), (&changed[2], &changed[3]));
    assert_ne!(changed[0], changed[1]);

    // Kept features of the views are what epochs see, and the unchanged ones what comes in order.
    let kept = |name: &str, samples: &Samples| {
        let path = root.path().join(name);
        let key = FeatureKey([name.len() as u8; 32]);
        let mut writer = FeatureWriter::open(&path, key, 6, 4).expect("a new file");
        for values in by_number(samples, Order::Sequential).into_values() {
            writer.append(&values).expect("room");
        }
        drop(writer);
        let features = Features::open(&path, key, 6, 4)
            .expect("readable")
            .expect("complete");
        Samples::features(view.clone(), FeatureRows::new(features, &view))
    };
    let views = [0, 1].map(|view| {
        let fixed = images.clone().as_in_epoch(3, view);
        assert!(fixed.is_changed() && !images.is_changed());
        kept(&"v".repeat(view as usize + 1), &fixed)
    });
    let features = kept("plain", &images).with_views(&views);
    for number in 0..4 {
        assert_eq!(epoch(&features, number), changed[number as usize]);
    }
    assert_eq!(
        by_number(&features, Order::Sequential),
        by_number(&images, Order::Sequential)
    );
}

#[test]
fn images_that_are_kept_need_no_file() {
    let root = tempfile::tempdir().expect("a folder");
    write(root.path(), "a/1.png", 1);
    let dataset = read(whole(root.path()));
    fs::remove_file(root.path().join("a/1.png")).expect("removed");
    assert_eq!(
        dataset.image(0).expect("kept in memory").as_raw().pixels,
        [1; 4]
    );
}

#[test]
fn images_that_are_only_verified_are_decoded_when_needed() {
    let root = tempfile::tempdir().expect("a folder");
    write(root.path(), "a/1.png", 1);
    let options = ReadOptions::default().decoding(Decoding::Verify);
    let dataset = whole(root.path())
        .read(options, &|| ())
        .expect("readable")
        .dataset;
    assert_eq!(dataset.image(0).expect("decoded").as_raw().pixels, [1; 4]);
    fs::remove_file(root.path().join("a/1.png")).expect("removed");
    assert!(dataset.image(0).is_err(), "nothing was kept");
}

#[test]
fn images_whose_decoding_is_deferred_have_the_same_checksums() {
    let root = tempfile::tempdir().expect("a folder");
    write(root.path(), "a/1.png", 1);
    fs::write(root.path().join("a/2.png"), "no image").expect("written");
    let deferred = ReadOptions::default().decoding(Decoding::Defer);
    let dataset = whole(root.path())
        .read(deferred.clone(), &|| ())
        .expect("readable")
        .dataset;
    assert_eq!(dataset.image(0).expect("decoded").as_raw().pixels, [1; 4]);
    assert!(dataset.image(1).is_err(), "found when it is used");
    write(root.path(), "a/2.png", 2);
    let again = whole(root.path())
        .read(deferred, &|| ())
        .expect("readable")
        .dataset;
    assert_ne!(dataset.checksum(), again.checksum());
    assert_eq!(read(whole(root.path())).checksum(), again.checksum());
}

#[test]
fn folders_of_systems_and_archivers_are_no_classes() {
    let root = tempfile::tempdir().expect("a folder");
    write(root.path(), "cat/1.png", 1);
    for hidden in ["__MACOSX", "@eaDir", "$RECYCLE.BIN", ".ipynb_checkpoints"] {
        write(root.path(), &format!("{hidden}/x.png"), 1);
        write(root.path(), &format!("cat/{hidden}/y.png"), 1);
    }
    fs::write(root.path().join(".DS_Store"), "").expect("written");
    let listing = whole(root.path());
    assert_eq!(
        (listing.classes(), listing.len()),
        (&["cat".to_owned()][..], 1)
    );
}

#[test]
fn empty_class_folders_can_be_skipped() {
    let root = tempfile::tempdir().expect("a folder");
    for path in ["b/1.png", "d/1.png", "d/2.png"] {
        write(root.path(), path, 1);
    }
    for empty in ["a", "c", "e"] {
        fs::create_dir(root.path().join(empty)).expect("made");
    }
    let error = whole(root.path())
        .check_classes()
        .expect_err("three are empty");
    assert!(
        error.to_string().ends_with("found none of `a`, `c`, `e`"),
        "{error}"
    );
    let (listing, empty) = whole(root.path()).without_empty_classes();
    assert_eq!(empty, ["a", "c", "e"]);
    let dataset = read(listing);
    assert_eq!(
        (dataset.classes(), dataset.labels()),
        (&["b", "d"].map(String::from)[..], &[0, 1, 1][..])
    );
    // A class that only an empty folder has is nobody's label.
    let known = ["d", "b"].map(String::from);
    let listing = whole(root.path())
        .with_classes(&known)
        .expect("no image is of another class");
    assert_eq!(read(listing).labels(), [1, 0, 0]);
}

#[test]
fn a_name_of_two_classes_labels_no_image() {
    let root = tempfile::tempdir().expect("a folder");
    for path in ["crane/1.png", "owl/1.png"] {
        write(root.path(), path, 1);
    }
    let classes = ["crane", "owl", "crane"].map(String::from);
    let error = whole(root.path())
        .with_classes(&classes)
        .expect_err("two cranes");
    assert!(
        error
            .to_string()
            .contains("has images of the class `crane`, which classes 0 and 2 are both called"),
        "{error}"
    );
    fs::remove_file(root.path().join("crane/1.png")).expect("removed");
    assert!(
        whole(root.path()).with_classes(&classes).is_ok(),
        "there is no image of it"
    );
}

#[test]
fn bad_images_are_a_list_that_ends_in_a_count() {
    let root = tempfile::tempdir().expect("a folder");
    write(root.path(), "a/good.png", 1);
    for bad in 1..=5 {
        fs::write(root.path().join(format!("a/{bad}.png")), "no image").expect("written");
    }
    let error = whole(root.path())
        .read(ReadOptions::default(), &|| ())
        .expect_err("five are bad")
        .to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert!(
        lines[0].starts_with("5 of 6 images of `") && lines[0].ends_with("cannot be read:"),
        "{error}"
    );
    assert!(
        lines[1].starts_with("  `") && lines[1].contains("1.png` is not an image"),
        "{error}"
    );
    assert_eq!((lines.len(), lines[4]), (5, "  and 2 more"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_read_is_named_once() {
    let root = tempfile::tempdir().expect("a folder");
    let missing = root.path().join("missing");
    let message = error(&missing);
    let path = missing.display().to_string();
    assert_eq!(message.matches(&path).count(), 1, "{message}");
}
