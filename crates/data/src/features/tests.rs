use proptest::prelude::*;

use super::*;

const KEY: FeatureKey = FeatureKey([7; 32]);

fn path(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("deep/features.bin")
}

#[test]
fn rows_read_back_and_an_interrupted_file_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(&folder);
    assert!(Features::open(&path, KEY, 3, 2).unwrap().is_none());
    let mut writer = FeatureWriter::open(&path, KEY, 3, 2).unwrap();
    writer.append(&[1.0, 2.0]).unwrap();
    drop(writer);
    assert!(
        Features::open(&path, KEY, 3, 2).unwrap().is_none(),
        "incomplete"
    );
    let mut writer = FeatureWriter::open(&path, KEY, 3, 2).unwrap();
    assert_eq!(writer.done(), 1);
    writer.append(&[3.0, 4.0, 5.0, f32::NAN]).unwrap();
    drop(writer);
    let features = Features::open(&path, KEY, 3, 2).unwrap().expect("complete");
    assert_eq!((features.rows(), features.width()), (3, 2));
    let mut row = [0.0; 2];
    features.row(1, &mut row);
    assert_eq!(row.map(f32::to_bits), [3.0_f32, 4.0].map(f32::to_bits));
    features.row(2, &mut row);
    assert!(row[1].is_nan());
}

#[test]
fn another_key_or_size_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(&folder);
    FeatureWriter::open(&path, KEY, 1, 1)
        .unwrap()
        .append(&[1.0])
        .unwrap();
    for (key, rows, width) in [(FeatureKey([8; 32]), 1, 1), (KEY, 2, 1), (KEY, 1, 2)] {
        assert!(Features::open(&path, key, rows, width).unwrap().is_none());
    }
    assert_eq!(
        FeatureWriter::open(&path, FeatureKey([8; 32]), 1, 1)
            .unwrap()
            .done(),
        0
    );
}

#[test]
fn rows_that_did_not_reach_the_disk_are_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(&folder);
    let mut writer = FeatureWriter::open(&path, KEY, 4, 1).unwrap();
    writer.append(&[1.0, 2.0]).unwrap();
    drop(writer);
    // As after a crash: more bytes than the header knows of, or fewer.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend([0; 6]);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(FeatureWriter::open(&path, KEY, 4, 1).unwrap().done(), 2);
    bytes.truncate(HEADER + 5);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(FeatureWriter::open(&path, KEY, 4, 1).unwrap().done(), 0);
}

#[test]
fn a_place_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = FeatureWriter::open(&folder.path().join("file/features"), KEY, 1, 1)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot write"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), valid in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.bin");
        if valid && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(b"kilnfea1");
        }
        std::fs::write(&path, &bytes).unwrap();
        let _ = Features::open(&path, KEY, 3, 2).unwrap();
        let _ = FeatureWriter::open(&path, KEY, 3, 2).unwrap();
    }
}
