//! The golden files over HTTP: as from the disk, in few requests.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use kiln_records::{Collection, Cure, RecordFiles, RecordsError, Share};

/// Record by record: place, name in the file, bytes and label.
type Read = Vec<(u64, String, Option<Vec<u8>>, Option<String>)>;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found == ending)
}

/// A server of the golden files, and how many requests it has answered.
fn server() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || answer(&stream.unwrap(), &counted));
        }
    });
    (base, count)
}

/// Answers the requests of a connection.
fn answer(stream: &TcpStream, counted: &AtomicU64) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if line.trim().is_empty() {
                break;
            }
            head.push(line);
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let target = head[0].split(' ').nth(1)?;
        let path = target.split('?').next()?.trim_start_matches('/');
        let Ok(file) = fs::read(golden().join(path)) else {
            write!(
                &mut &*stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            )
            .ok()?;
            continue;
        };
        let range = head.iter().find_map(|line| {
            let line = line.to_lowercase();
            let (first, last) = line.strip_prefix("range: bytes=")?.trim().split_once('-')?;
            Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
        });
        let (first, last) = range?;
        let last = last.min(file.len() - 1);
        let part = &file[first..=last];
        write!(
            &mut &*stream,
            "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes {first}-{last}/{}\r\nContent-Length: {}\r\n\r\n",
            file.len(),
            part.len()
        )
        .ok()?;
        (&mut &*stream).write_all(part).ok()?;
    }
}

fn read(name: &str, share: Option<Share>, with_images: bool) -> Result<Read, RecordsError> {
    let images = Collection::open(&RecordFiles::find(Path::new(name))?)?;
    let records = images.records(share, with_images).map(|record| {
        let (index, record) = record?;
        let name = record
            .name
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let bytes = if with_images {
            record.image.read().ok().map(|bytes| bytes.to_vec())
        } else {
            None
        };
        Ok((index, name, bytes, record.label))
    });
    records.collect()
}

#[test]
fn files_are_the_same_over_http() {
    let (base, count) = server();
    let mut files = 0;
    for entry in fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !["parquet", "tar"]
            .iter()
            .any(|ending| has_ending(&name, ending))
        {
            continue;
        }
        if read(path.to_str().unwrap(), None, false).is_err() {
            continue;
        }
        files += 1;
        let (local, url) = (path.to_str().unwrap(), format!("{base}/{name}"));
        let shares = (0..3).map(|number| Some(Share { number, of: 3 }));
        for share in shares.chain([None]) {
            for with_images in [true, false] {
                let before = count.load(Ordering::Relaxed);
                let expected = read(local, share, with_images).unwrap();
                assert_eq!(read(&url, share, with_images).unwrap(), expected, "{name}");
                // Length, index, and blocks of the columns.
                let requests = count.load(Ordering::Relaxed) - before;
                let groups = expected.len() as u64;
                assert!(requests <= 3 + 2 * groups, "{name}: {requests} requests");
            }
        }
        let images = Collection::open(&RecordFiles::find(Path::new(&url)).unwrap()).unwrap();
        let last = read(local, None, true).unwrap().pop().unwrap();
        let single = images.record(last.0).unwrap();
        assert_eq!(
            single.image.read().ok().map(|bytes| bytes.to_vec()),
            last.2,
            "{name}"
        );
    }
    assert!(files >= 20);
}

#[test]
fn names_are_without_queries() {
    let (base, _) = server();
    let name = fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| has_ending(name, "tar"))
        .unwrap();
    let url = format!("{base}/{name}?signature=SECRET");
    let files = RecordFiles::find(Path::new(&url)).unwrap();
    assert!(files.is_remote() && files.has_query() && !files.is_folder);
    assert_eq!(files.name, Path::new(&format!("{base}/{name}")));
    let first = Collection::open(&files)
        .unwrap()
        .records(None, true)
        .next()
        .unwrap()
        .unwrap()
        .1;
    assert!(
        first.name.starts_with(&format!("{base}/{name}#")),
        "{}",
        first.name
    );
    let two = [url, format!("{base}/{name}?signature=OTHER")].map(PathBuf::from);
    let error = RecordFiles::find_all(&two).unwrap_err().to_string();
    assert!(
        error.contains("differ in their queries alone") && !error.contains("SECRET"),
        "{error}"
    );
}

#[test]
fn what_is_not_there_is_one_error() {
    let (base, _) = server();
    let fail = |name: &str| {
        let found = RecordFiles::find(Path::new(&format!("{base}/{name}")));
        found
            .and_then(|files| Collection::open(&files))
            .unwrap_err()
    };
    let error = fail("none.parquet");
    assert_eq!(
        error.to_string(),
        format!("there is no `{base}/none.parquet`: the server answered 404")
    );
    assert_eq!(error.cure(), Some(Cure::CheckUrl));
    for (name, expected) in [
        ("*.parquet", "web servers have no lists"),
        (
            "a.bin",
            "reading CIFAR's images over a network is not supported",
        ),
        ("a.png", "expected Parquet files"),
        ("a{1..3.tar", "without its `}`"),
    ] {
        let error = fail(name).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = RecordFiles::find(Path::new("az://container/x.tar"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("expected a URL of `s3://`, `gs://` or `https://`"),
        "{error}"
    );
}
