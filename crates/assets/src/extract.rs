//! Taking named members out of an archive.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::SourceError;
use crate::error::Failure;
use crate::install::GZIP;

/// Type of a file by its first bytes, since its name may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A zip archive; a Python wheel is one.
    Zip,
    /// A tar archive compressed by gzip; an npm package is one.
    TarGz,
    /// One file compressed by gzip, or one file as it is.
    Single,
}

/// Determines the type of a file.
pub(crate) fn kind(path: &Path) -> io::Result<Kind> {
    let mut head = [0; 4];
    let mut reader = BufReader::new(File::open(path)?);
    let start = reader.fill_buf()?;
    let n = start.len().min(head.len());
    head[..n].copy_from_slice(&start[..n]);
    if head == *b"PK\x03\x04" {
        return Ok(Kind::Zip);
    }
    if !head.starts_with(&GZIP) {
        return Ok(Kind::Single);
    }
    let mut block = Vec::with_capacity(512);
    // A torn file is told when it is read in earnest.
    let _ = MultiGzDecoder::new(reader)
        .take(512)
        .read_to_end(&mut block);
    let magic = block.get(257..262);
    Ok(if magic == Some(b"ustar") {
        Kind::TarGz
    } else {
        Kind::Single
    })
}

/// Hands every member of an archive that `select` gives a number to `sink`, with that number.
/// Nothing is written, so that no path in an archive leads anywhere.
///
/// Of a tar archive at most `budget` bytes are decompressed: what is not wanted has to be read
/// over.
pub(crate) fn extract(
    archive: &Path,
    budget: u64,
    select: &dyn Fn(&str) -> Option<usize>,
    sink: &mut dyn FnMut(usize, &mut dyn Read) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match kind(archive).map_err(|error| unreadable(archive, &error))? {
        Kind::Zip => zip(archive, select, sink),
        Kind::TarGz => tar_gz(archive, budget, select, sink),
        Kind::Single => Err(SourceError::Read {
            what: archive.display().to_string(),
            reason: "it is not an archive".into(),
        }
        .into()),
    }
}

fn zip(
    path: &Path,
    select: &dyn Fn(&str) -> Option<usize>,
    sink: &mut dyn FnMut(usize, &mut dyn Read) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut archive =
        zip::ZipArchive::new(BufReader::new(file)).map_err(|error| unreadable(path, &error))?;
    for index in 0..archive.len() {
        // A name that is not UTF-8 cannot be one that is wanted.
        let Some(Ok(name)) = archive.name_for_index(index) else {
            continue;
        };
        let Some(number) = (!name.ends_with('/')).then(|| select(&name)).flatten() else {
            continue;
        };
        let mut member = archive
            .by_index(index)
            .map_err(|error| unreadable(path, &error))?;
        sink(number, &mut member)?;
    }
    Ok(())
}

fn tar_gz(
    path: &Path,
    budget: u64,
    select: &dyn Fn(&str) -> Option<usize>,
    sink: &mut dyn FnMut(usize, &mut dyn Read) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let plain = MultiGzDecoder::new(BufReader::new(file)).take(budget);
    let mut archive = tar::Archive::new(plain);
    for entry in archive
        .entries()
        .map_err(|error| unreadable(path, &error))?
    {
        let mut entry = entry.map_err(|error| unreadable(path, &error))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if let Some(number) = select(name.strip_prefix("./").unwrap_or(&name)) {
            sink(number, &mut entry)?;
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> SourceError {
    SourceError::Read {
        what: path.display().to_string(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{gzip, tar_gz as make_tar_gz, zip as make_zip};

    const MEMBERS: [(&str, &[u8]); 3] = [("data/b", b"BB"), ("../../evil", b"E"), ("data/a", b"A")];

    fn names_and_contents(bytes: &[u8], budget: u64) -> Result<Vec<(usize, Vec<u8>)>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        fs::write(&path, bytes).unwrap();
        let mut found = Vec::new();
        extract(
            &path,
            budget,
            &|name| {
                ["data/a", "data/b"]
                    .iter()
                    .position(|wanted| *wanted == name)
            },
            &mut |n, reader| {
                let mut content = Vec::new();
                reader
                    .take(1000)
                    .read_to_end(&mut content)
                    .map_err(|error| unreadable(&path, &error))?;
                found.push((n, content));
                Ok(())
            },
        )?;
        Ok(found)
    }

    #[test]
    fn only_what_is_asked_for_comes_out() {
        for archive in [make_zip(&MEMBERS), make_tar_gz(&MEMBERS)] {
            let found = names_and_contents(&archive, 1 << 20).unwrap();
            assert_eq!(found, [(1, b"BB".to_vec()), (0, b"A".to_vec())]);
        }
    }

    #[test]
    fn the_kind_is_seen_in_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.zip");
        for (bytes, expected) in [
            (make_zip(&MEMBERS), Kind::Zip),
            (make_tar_gz(&MEMBERS), Kind::TarGz),
            (gzip(b"text"), Kind::Single),
            (b"text".to_vec(), Kind::Single),
            (Vec::new(), Kind::Single),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(kind(&path).unwrap(), expected);
        }
    }

    #[test]
    fn a_bomb_is_read_no_further_than_the_budget() {
        let zeros = vec![0; 5_000_000];
        let bomb = make_tar_gz(&[("padding", zeros.as_slice()), ("data/a", b"A")]);
        assert!(bomb.len() < 50_000);
        assert!(matches!(
            names_and_contents(&bomb, 1 << 20),
            Err(Failure::Source(SourceError::Read { .. }))
        ));
        assert_eq!(names_and_contents(&bomb, 1 << 23).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn torn_and_damaged_archives_never_panic(cut in 0usize..1000, at in 0usize..1000, byte: u8, tar: bool) {
            let mut bytes = if tar { make_tar_gz(&MEMBERS) } else { make_zip(&MEMBERS) };
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            let _ = names_and_contents(&bytes, 1 << 20);
        }
    }
}
