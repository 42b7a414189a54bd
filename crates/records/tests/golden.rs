//! Files that `datasets`, pyarrow, polars and webdataset wrote (`golden/make.py`), read whole, in shares, and damaged.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_records::{Collection, Content, ReadAt, Record, RecordFiles, RecordsError, Share, Source};
use proptest::prelude::*;

#[derive(serde::Deserialize)]
struct Expected {
    /// In base 64.
    images: Vec<String>,
    /// The number of the image and the label of each row.
    files: BTreeMap<String, Vec<Row>>,
}

type Row = (Option<usize>, Option<String>);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn expected() -> Expected {
    serde_json::from_slice(&fs::read(golden("expected.json")).unwrap()).unwrap()
}

fn open(path: &Path) -> Result<Collection, RecordsError> {
    Collection::open(&RecordFiles::find(path)?)
}

fn records(path: &Path) -> Result<Vec<(u64, Record)>, RecordsError> {
    open(path)?.records(None, true).collect()
}

#[test]
fn files_of_other_writers_are_read() {
    let Expected { images, files } = expected();
    assert!(files.len() >= 20);
    for (name, rows) in &files {
        let path = golden(name);
        let read = records(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.len(), rows.len(), "{name}");
        for (at, ((index, record), (image, label))) in (0..).zip(read.iter().zip(rows)) {
            assert_eq!((*index, &record.label), (at, label), "{name}");
            let expected = image.map(|number| images[number].clone());
            let found = record.image.read().ok().map(|bytes| base64(&bytes));
            assert_eq!(found, expected, "{name}, image {at}");
        }
        let mut all = open(&path).unwrap().records(None, true);
        all.by_ref().for_each(drop);
        assert!(all.next().is_none(), "{name} has ended");
        let names: std::collections::BTreeSet<&str> = read
            .iter()
            .map(|(_, record)| record.name.as_str())
            .collect();
        assert_eq!(names.len(), read.len(), "{name}: names are unique");
        // Labels alone are the same.
        let labels = open(&path).unwrap().records(None, false);
        let labels: Vec<_> = labels.map(|record| record.unwrap().1.label).collect();
        assert!(
            labels.iter().eq(rows.iter().map(|(_, label)| label)),
            "{name}"
        );
    }
    let classes = open(&golden("datasets.parquet")).unwrap();
    assert_eq!(classes.classes().unwrap(), ["cat", "dog", "old owl"]);
    let (_, first) = &records(&golden("datasets.parquet")).unwrap()[0];
    assert!(first.name.ends_with("datasets.parquet#0"), "{}", first.name);
    let (_, first) = &records(&golden("webdataset.tar")).unwrap()[0];
    assert!(
        first.name.ends_with("webdataset.tar#train/000000.png"),
        "{}",
        first.name
    );
    assert!(
        matches!(first.image, Content::Span(_)),
        "not read before its turn"
    );
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk
            .iter()
            .fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
        let number = number << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at > chunk.len() { '=' } else { digit });
        }
    }
    text
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let error = |name: &str| open(&golden(name)).err().unwrap().to_string();
    let message = error("lists.parquet");
    assert!(
        message.contains("`image` holds several images for a row, expected one"),
        "{message}"
    );
    let message = error("texts.parquet");
    assert!(
        message.contains("expected a column of images") && message.contains("`text`, `label`"),
        "{message}"
    );
}

#[test]
fn shares_are_disjoint_and_together_everything() {
    // Row groups of 5, 5 and 2 rows.
    let collection = open(&golden("datasets.parquet")).unwrap();
    for of in 1..6 {
        let mut all = Vec::new();
        for number in 0..of {
            let share = Share { number, of };
            let indices: Vec<u64> = collection
                .records(Some(share), true)
                .map(|record| record.unwrap().0)
                .collect();
            assert_eq!(
                collection.count_of(share),
                Some(indices.len() as u64),
                "{share:?}"
            );
            assert!(!indices.is_empty(), "{share:?}");
            all.extend(indices);
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..12), "{of}");
    }
    let second = Share { number: 1, of: 3 };
    let indices: Vec<u64> = collection
        .records(Some(second), true)
        .map(|record| record.unwrap().0)
        .collect();
    assert_eq!(indices, [5, 6, 7, 8, 9]);
    let tar = open(&golden("webdataset.tar")).unwrap();
    let share = Share { number: 1, of: 2 };
    let indices: Vec<u64> = tar
        .records(Some(share), true)
        .map(|record| record.unwrap().0)
        .collect();
    assert_eq!((indices, tar.count_of(share)), (vec![1, 3], None));
}

/// A file in memory that counts what is read of it.
struct Counted {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl ReadAt for Counted {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        let found = self
            .bytes
            .get(offset as usize..)
            .and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn in_memory(name: &str, bytes: Vec<u8>) -> (Source, Arc<Counted>) {
    let length = bytes.len() as u64;
    let counted = Arc::new(Counted {
        bytes,
        read: AtomicU64::new(0),
    });
    let source = Source::new(
        Path::new(name),
        length,
        Arc::clone(&counted) as Arc<dyn ReadAt>,
    );
    (source, counted)
}

#[test]
fn a_share_reads_its_own_bytes() {
    let bytes = fs::read(golden("datasets.parquet")).unwrap();
    let (source, counted) = in_memory("datasets.parquet", bytes);
    let collection = Collection::of_sources(vec![source]).unwrap();
    let read = |share: Option<Share>| {
        counted.read.store(0, Ordering::Relaxed);
        collection
            .records(share, true)
            .for_each(|record| drop(record.unwrap()));
        counted.read.load(Ordering::Relaxed)
    };
    let whole = read(None);
    let shares = [0, 1, 2].map(|number| read(Some(Share { number, of: 3 })));
    assert_eq!(shares.iter().sum::<u64>(), whole, "nothing is read twice");
    assert!(
        shares
            .iter()
            .all(|share| (1..whole * 45 / 100).contains(share)),
        "{shares:?} of {whole}"
    );
}

#[test]
fn memory_does_not_follow_what_a_file_announces() {
    // A page header that announces a gibibyte, and a footer of four.
    let (footer, _) = in_memory(
        "a.parquet",
        [
            b"PAR1".as_slice(),
            &[0; 8],
            &u32::MAX.to_le_bytes(),
            b"PAR1",
        ]
        .concat(),
    );
    let message = Collection::of_sources(vec![footer])
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.contains("asks for 4,294,967,295 bytes"),
        "{message}"
    );
}

/// Reads what can be read of damaged bytes: an error is fine, a panic is not.
fn survives(name: &str, bytes: Vec<u8>) -> Result<usize, RecordsError> {
    let (source, _) = in_memory(name, bytes);
    let collection = Collection::of_sources(vec![source])?;
    let mut count = 0;
    // What a level claims to be there costs time alone, so the test ends it.
    for record in collection.records(None, true).take(2000) {
        let _ = record?.1.image.read();
        count += 1;
    }
    Ok(count)
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in [
        "datasets.parquet",
        "pages.parquet",
        "polars.parquet",
        "prefixes.parquet",
    ] {
        let whole = fs::read(golden(name)).unwrap();
        for length in 0..whole.len() {
            let error = survives(name, whole[..length].to_vec()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(survives(name, whole).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn changed_bytes_are_an_error_or_other_values(
        file in 0_usize..100,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let names: Vec<String> = expected().files.into_keys().collect();
        let name = &names[file % names.len()];
        let mut bytes = fs::read(golden(name)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = survives(name, bytes);
    }

    /// The headers of pages and the footer are what a hostile file is written in: changes there alone.
    #[test]
    fn changed_footers_are_an_error_or_other_values(
        changes in prop::collection::vec((0_usize..600, any::<u8>()), 1..6),
    ) {
        let mut bytes = fs::read(golden("zstd-1.parquet")).unwrap();
        let end = bytes.len() - 8;
        for (before, byte) in changes {
            bytes[end - 1 - before] = byte;
        }
        let _ = survives("zstd-1.parquet", bytes);
    }
}
