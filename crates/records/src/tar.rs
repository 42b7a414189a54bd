//! Tar files as webdataset has them: files whose names differ in what follows the first dot are one sample, and
//! stand one after another: `0001.jpg`, `0001.cls`.
//!
//! Images are not read here but found, so that going past one costs its header. Of a compressed file (`.tar.gz`) they are
//! read as they come: there is no other way to them.

use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use kiln_preprocess::is_image_name;
use serde_json::Value as Json;

use crate::error::Problem;
use crate::record::{Content, Record};
use crate::source::Source;

const BLOCK: u64 = 512;

/// Longest name, of those that are written as files of their own: 64 KiB.
const MAX_NAME: u64 = 64 << 10;

/// Longest label: 1 MiB of JSON.
const MAX_LABEL: u64 = 1 << 20;

/// Longest image of a compressed file: 1 GiB.
const MAX_IMAGE: u64 = 1 << 30;

/// What follows the first dot of the name of a label that is text.
const TEXT_LABELS: [&str; 4] = ["cls", "cls.txt", "label", "class"];

/// Keys of JSON that are a label, the first that is there.
const JSON_LABELS: [&str; 7] = [
    "label",
    "cls",
    "class",
    "class_name",
    "class_id",
    "target",
    "category",
];

/// A regular file in a tar file.
struct Member {
    name: String,
    offset: u64,
    length: u64,
    /// Of a compressed file: what a sample may need of it.
    content: Option<Arc<[u8]>>,
}

/// The samples of a tar file, one after another.
pub(crate) struct Samples {
    members: Members,
    with_images: bool,
    /// The first member of the next sample.
    next: Option<Member>,
    is_done: bool,
}

/// The regular files of a tar file, one after another.
struct Members {
    bytes: Bytes,
    at: u64,
    /// Whether the empty block at its end was read.
    is_over: bool,
}

/// How the bytes of a tar file are read.
enum Bytes {
    /// At any place.
    Plain(Source),
    /// Of a compressed file, from its beginning on.
    Gzip(Box<Unpacked>),
}

/// The bytes of a compressed file, one after another.
struct Unpacked {
    decoder: MultiGzDecoder<BufReader<Sequential>>,
    at: u64,
}

/// A file that is read from its beginning on.
struct Sequential {
    source: Source,
    at: u64,
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.length() - self.at;
        let length = left.min(buffer.len() as u64);
        self.source
            .read_at(&mut buffer[..length as usize], self.at)?;
        self.at += length;
        Ok(length as usize)
    }
}

/// The file ends within a header or one of its files.
const ENDS_IN_HEADER: Problem = Problem::Damaged("it ends within a header");
const ENDS_IN_FILE: Problem = Problem::Damaged("it ends within a file");

impl Bytes {
    /// Reads the header at `at`; nothing where the file ends there.
    fn header(&mut self, at: u64) -> Result<Option<Vec<u8>>, Problem> {
        match self {
            Self::Plain(source) if at >= source.length() => Ok(None),
            Self::Plain(source) => match source.read(at, BLOCK) {
                Err(Problem::Damaged(_)) => Err(ENDS_IN_HEADER),
                read => read.map(Some),
            },
            Self::Gzip(unpacked) => {
                unpacked.skip_to(at)?;
                let header = unpacked.up_to(BLOCK)?;
                match header.len() as u64 {
                    0 => Ok(None),
                    BLOCK => Ok(Some(header)),
                    _ => Err(ENDS_IN_HEADER),
                }
            }
        }
    }

    /// Reads so many bytes at `offset`, which of a compressed file is not before what was read.
    fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Plain(source) => source.read(offset, length),
            Self::Gzip(unpacked) => {
                unpacked.skip_to(offset)?;
                let read = unpacked.up_to(length)?;
                if read.len() as u64 == length {
                    Ok(read)
                } else {
                    Err(ENDS_IN_FILE)
                }
            }
        }
    }
}

impl Unpacked {
    /// Goes past what is before `offset`.
    fn skip_to(&mut self, offset: u64) -> Result<(), Problem> {
        let gap = offset - self.at;
        let passed = io::copy(&mut self.decoder.by_ref().take(gap), &mut io::sink());
        let passed = passed.map_err(|error| broken(&error))?;
        self.at += passed;
        if passed == gap {
            Ok(())
        } else {
            Err(ENDS_IN_FILE)
        }
    }

    /// Reads so many bytes, or those up to the end. Memory is taken only for what there is.
    fn up_to(&mut self, length: u64) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        let read = self.decoder.by_ref().take(length).read_to_end(&mut bytes);
        read.map_err(|error| broken(&error))?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}

/// What went wrong while a file was unpacked: its data, or what reads them.
fn broken(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Problem::Damaged("its compressed data end too soon"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Problem::Unpack {
            codec: "gzip",
            reason: error.to_string(),
        },
        kind => Problem::Read(io::Error::new(kind, error.to_string())),
    }
}

/// Files of one sample.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<Member>,
    /// Whether nothing but the ending follows the key of the image.
    is_plain: bool,
    label: Option<(Member, bool)>,
}

/// The number in a field of a header: octal digits, or where the first bit is set a number in base 256.
fn number(field: &[u8]) -> Option<u64> {
    match field.split_first() {
        Some((first, rest)) if first & 0x80 != 0 => {
            let start = u64::from(first & 0x7F);
            rest.iter().try_fold(start, |value, &byte| {
                value.checked_mul(256)?.checked_add(byte.into())
            })
        }
        _ => {
            let text = std::str::from_utf8(field).ok()?;
            let digits = text.trim_matches(|c: char| c == '\0' || c == ' ');
            if digits.is_empty() {
                return Some(0);
            }
            u64::from_str_radix(digits, 8).ok()
        }
    }
}

/// A field of text, up to the first zero.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The key of a sample, and what follows it: the name up to the first dot of its last part.
fn key_of(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |at| at + 1);
    let dot = start + name[start..].find('.')?;
    (dot > start).then(|| (&name[..dot], &name[dot + 1..]))
}

impl Samples {
    /// Takes a tar file, by its ending a compressed one; `with_images` false reads no images of that.
    pub fn new(source: Source, with_images: bool) -> Self {
        Self {
            members: Members::new(source),
            with_images,
            next: None,
            is_done: false,
        }
    }
}

impl Members {
    fn new(source: Source) -> Self {
        let bytes = if is_compressed(source.path()) {
            let decoder = MultiGzDecoder::new(BufReader::new(Sequential { source, at: 0 }));
            Bytes::Gzip(Box::new(Unpacked { decoder, at: 0 }))
        } else {
            Bytes::Plain(source)
        };
        Self {
            bytes,
            at: 0,
            is_over: false,
        }
    }

    /// Returns the next file, of a compressed tar file with its content if that is not longer than it is `needed`.
    fn next(&mut self, needed: impl Fn(&Member) -> Option<u64>) -> Result<Option<Member>, Problem> {
        let mut long_name = None;
        let mut long_size = None;
        while !self.is_over {
            let Some(header) = self.bytes.header(self.at)? else {
                // Else nothing tells a file that was cut between two others from a whole one.
                return Err(Problem::Damaged(
                    "it was cut off, or not finished: the empty block at its end is missing",
                ));
            };
            if header.iter().all(|&byte| byte == 0) {
                self.is_over = true;
                break;
            }
            let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
            let of_checksum: u64 = header[148..156].iter().map(|&byte| u64::from(byte)).sum();
            if number(&header[148..156]) != Some(sum - of_checksum + 8 * u64::from(b' ')) {
                return Err(Problem::Damaged(
                    "a header has not its checksum, or it is no tar file",
                ));
            }
            let written = number(&header[124..136]);
            let malformed = Problem::Damaged("a header has a malformed length");
            let length = long_size.or(written).ok_or(malformed)?;
            let offset = self.at + BLOCK;
            let end = offset.checked_add(length).filter(|end| match &self.bytes {
                Bytes::Plain(source) => *end <= source.length(),
                // It is seen where it is read.
                Bytes::Gzip(_) => *end <= u64::MAX - BLOCK,
            });
            if end.is_none() {
                return Err(ENDS_IN_FILE);
            }
            self.at = offset + length.div_ceil(BLOCK) * BLOCK;
            match header[156] {
                b'L' | b'x' if length > MAX_NAME => return Err(Problem::Memory(length)),
                b'L' => {
                    let name = self.bytes.read(offset, length)?;
                    long_name = Some(String::from_utf8_lossy(text(&name)).into_owned());
                }
                b'x' => {
                    let records = self.bytes.read(offset, length)?;
                    for (key, value) in pax(&records) {
                        match key {
                            b"path" => {
                                long_name = Some(String::from_utf8_lossy(value).into_owned());
                            }
                            b"size" => {
                                let size =
                                    std::str::from_utf8(value).ok().and_then(|s| s.parse().ok());
                                long_size =
                                    Some(size.ok_or(Problem::Damaged(
                                        "a header has a malformed length",
                                    ))?);
                            }
                            _ => (),
                        }
                    }
                }
                b'0' | 0 | b'7' => {
                    let name = long_name.take().unwrap_or_else(|| plain_name(&header));
                    let mut member = Member {
                        name,
                        offset,
                        length,
                        content: None,
                    };
                    if let Bytes::Gzip(_) = &self.bytes
                        && let Some(most) = needed(&member)
                        && length <= most
                    {
                        member.content = Some(self.bytes.read(offset, length)?.into());
                    }
                    return Ok(Some(member));
                }
                b'S' => return Err(Problem::Unsupported("a sparse file in a tar file".into())),
                // Folders, links, and notes for all files.
                _ => {
                    long_name = None;
                    long_size = None;
                }
            }
        }
        Ok(None)
    }
}

/// A file's name and content.
pub(crate) type NamedBytes = (String, Arc<[u8]>);

/// Reads the files of a compressed tar file that have such names, each of at most `most` bytes, and gives their names without
/// folders.
pub(crate) fn read_files(
    source: Source,
    most: u64,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<NamedBytes>, Problem> {
    let base = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let mut members = Members::new(source);
    let mut found = Vec::new();
    while let Some(member) = members.next(|member| wanted(&base(&member.name)).then_some(most))? {
        let name = base(&member.name);
        match member.content {
            Some(content) => found.push((name, content)),
            None if wanted(&name) => return Err(Problem::Memory(member.length)),
            None => (),
        }
    }
    Ok(found)
}

impl Samples {
    /// Returns the next sample that has an image or a label.
    pub fn next_record(&mut self) -> Option<Result<Record, Problem>> {
        while !self.is_done {
            match self.sample() {
                Ok(Some(sample)) if sample.image.is_none() && sample.label.is_none() => (),
                Ok(Some(sample)) => {
                    let record = self.record(sample);
                    self.is_done = record.is_err();
                    return Some(record);
                }
                Ok(None) => self.is_done = true,
                Err(problem) => {
                    self.is_done = true;
                    return Some(Err(problem));
                }
            }
        }
        None
    }

    fn sample(&mut self) -> Result<Option<Sample>, Problem> {
        let mut sample: Option<Sample> = None;
        loop {
            let member = if let Some(member) = self.next.take() {
                Some(member)
            } else {
                let with_images = self.with_images;
                self.members
                    .next(|member| member.most_needed(with_images))?
            };
            let Some(member) = member else {
                return Ok(sample);
            };
            let Some((key, rest)) = key_of(&member.name) else {
                continue;
            };
            // macOS writes a file of attributes beside each.
            if key
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with("._"))
            {
                continue;
            }
            let (key, rest) = (key.to_owned(), rest.to_lowercase());
            match &sample {
                Some(open) if open.key != key => {
                    self.next = Some(member);
                    return Ok(sample);
                }
                Some(_) | None => (),
            }
            let sample = sample.get_or_insert_with(|| Sample {
                key,
                ..Sample::default()
            });
            sample.add(member, &rest)?;
        }
    }

    fn record(&mut self, sample: Sample) -> Result<Record, Problem> {
        let label = match &sample.label {
            Some((member, is_json)) => self.label(member, *is_json)?,
            None => None,
        };
        let (name, image) = match sample.image {
            Some(member) => {
                let content = match (member.content, &self.members.bytes) {
                    (Some(bytes), _) => Content::Bytes(bytes),
                    (None, Bytes::Plain(source)) => {
                        Content::Span(source.span(member.offset, member.length))
                    }
                    (None, Bytes::Gzip(_)) if self.with_images => {
                        return Err(Problem::Memory(member.length));
                    }
                    (None, Bytes::Gzip(_)) => Content::Unread,
                };
                (member.name, content)
            }
            None => (sample.key, Content::Missing),
        };
        Ok(Record { name, image, label })
    }

    fn label(&mut self, member: &Member, is_json: bool) -> Result<Option<String>, Problem> {
        if member.length > MAX_LABEL {
            return Err(Problem::Memory(member.length));
        }
        let fail = |found: &str| Problem::LabelText {
            record: format!("`{}`", member.name),
            found: found.to_owned(),
        };
        let bytes = if let Some(bytes) = &member.content {
            Arc::clone(bytes)
        } else {
            let bytes = &mut self.members.bytes;
            bytes.read(member.offset, member.length)?.into()
        };
        if !is_json {
            let text = std::str::from_utf8(&bytes).map_err(|_| fail("not UTF-8"))?;
            return match text.trim() {
                "" => Err(fail("empty")),
                text => Ok(Some(text.to_owned())),
            };
        }
        let json: Json = serde_json::from_slice(&bytes).map_err(|_| fail("not JSON"))?;
        let found = match &json {
            Json::Object(object) => match JSON_LABELS.iter().find_map(|key| object.get(*key)) {
                Some(found) => found,
                None => return Ok(None),
            },
            other => other,
        };
        match found {
            Json::String(text) => Ok(Some(text.clone())),
            Json::Number(number) if number.is_i64() => Ok(Some(number.to_string())),
            Json::Null => Ok(None),
            Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                Err(fail("neither text nor a whole number"))
            }
        }
    }
}

impl Member {
    /// The most bytes of it that a sample may need; none where it is neither an image nor a label.
    fn most_needed(&self, with_images: bool) -> Option<u64> {
        if is_image_name(Path::new(&self.name)) {
            return with_images.then_some(MAX_IMAGE);
        }
        let (_, rest) = key_of(&self.name)?;
        let rest = rest.to_lowercase();
        (rest == "json" || TEXT_LABELS.contains(&rest.as_str())).then_some(MAX_LABEL)
    }
}

impl Sample {
    fn add(&mut self, member: Member, rest: &str) -> Result<(), Problem> {
        if is_image_name(Path::new(&member.name)) {
            let is_plain = !rest.contains('.');
            match &self.image {
                // `1.jpg` is the image, `1.mask.png` something else.
                Some(_) if self.is_plain && !is_plain => (),
                Some(_) if self.is_plain == is_plain => {
                    return Err(Problem::Unsupported(format!(
                        "a sample with several images (`{}` up to its first dot)",
                        member.name
                    )));
                }
                Some(_) | None => {
                    self.image = Some(member);
                    self.is_plain = is_plain;
                }
            }
        } else if TEXT_LABELS.contains(&rest) {
            self.label = Some((member, false));
        } else if rest == "json" && self.label.is_none() {
            self.label = Some((member, true));
        }
        Ok(())
    }
}

/// Whether a tar file is compressed, by its ending.
pub(crate) fn is_compressed(path: &Path) -> bool {
    let ending = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    ending.is_some_and(|ending| ending == "gz" || ending == "tgz")
}

fn plain_name(header: &[u8]) -> String {
    let name = String::from_utf8_lossy(text(&header[..100]));
    let prefix = String::from_utf8_lossy(text(&header[345..500]));
    // GNU's headers have times in the place of the prefix.
    let is_posix = &header[257..263] == b"ustar\0";
    if is_posix && !prefix.is_empty() {
        format!("{prefix}/{name}")
    } else {
        name.into_owned()
    }
}

/// Keys and values of an extended header: `LENGTH KEY=VALUE\n` each.
fn pax(mut records: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    while let Some(space) = records.iter().position(|&byte| byte == b' ') {
        let length = std::str::from_utf8(&records[..space]).ok();
        let length = length.and_then(|text| text.parse::<usize>().ok());
        let Some(length) = length.filter(|length| (space + 2..=records.len()).contains(length))
        else {
            break;
        };
        let record = &records[space + 1..length - 1];
        if let Some(equals) = record.iter().position(|&byte| byte == b'=') {
            found.push((&record[..equals], &record[equals + 1..]));
        }
        records = &records[length..];
    }
    found
}

/// A file in a tar file, for tests.
#[cfg(test)]
pub(crate) fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[156] = b'0';
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Memory;

    fn records(mut bytes: Vec<u8>) -> Vec<Result<Record, Problem>> {
        bytes.resize(bytes.len() + 1024, 0);
        cut_records(bytes)
    }

    fn cut_records(bytes: Vec<u8>) -> Vec<Result<Record, Problem>> {
        let length = bytes.len() as u64;
        let source = Source::new(Path::new("a.tar"), length, Arc::new(Memory(bytes)));
        let mut samples = Samples::new(source, true);
        std::iter::from_fn(|| samples.next_record()).collect()
    }

    #[test]
    fn files_of_one_key_are_a_sample() {
        let tar = [
            member("d/1.cls", b"3\n"),
            member("d/1.jpg", b"one"),
            member("d/1.mask.png", b"mask"),
            member("README", b""),
            member("d/._2.jpg", b"attributes"),
            member("d/2.JPG", b"two!"),
            member("d/2.json", br#"{"caption": "x", "label": "cat"}"#),
            member("d/3.cls", b"0"),
            member("d/4.txt", b"nothing of an image"),
            member("d/5.png", b"5"),
        ]
        .concat();
        let found: Vec<_> = records(tar)
            .into_iter()
            .map(|record| {
                let Record { name, image, label } = record.unwrap();
                (name, image.read().ok().map(|bytes| bytes.len()), label)
            })
            .collect();
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            ("d/1.jpg".to_owned(), Some(3), text("3")),
            ("d/2.JPG".to_owned(), Some(4), text("cat")),
            ("d/3".to_owned(), None, text("0")),
            ("d/5.png".to_owned(), Some(1), None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn two_images_of_one_key_are_refused() {
        let tar = [member("a.1.jpg", b""), member("a.2.jpg", b"")].concat();
        let error = records(tar).remove(0).unwrap_err().to_string();
        assert!(error.contains("several images (`a.2.jpg` up to"), "{error}");
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let tar = [
            member("a.jpg", &[1; 700]),
            member("a.cls", b"1"),
            member("b.jpg", b"2"),
        ]
        .concat();
        for length in 0..tar.len() + 512 {
            let mut cut = tar.clone();
            cut.resize(length, 0);
            assert!(cut_records(cut).iter().any(Result::is_err), "{length}");
        }
        let mut whole = tar;
        whole.resize(whole.len() + 512, 0);
        assert_eq!(cut_records(whole).len(), 2);
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn packed_records(bytes: Vec<u8>, with_images: bool) -> Vec<Result<Record, Problem>> {
        let length = bytes.len() as u64;
        let source = Source::new(Path::new("a.tar.gz"), length, Arc::new(Memory(bytes)));
        let mut samples = Samples::new(source, with_images);
        std::iter::from_fn(|| samples.next_record()).collect()
    }

    #[test]
    fn a_compressed_file_holds_what_it_holds_unpacked() {
        let mut tar = [
            member("d/1.json", br#"{"label": 7}"#),
            member("d/1.jpg", &[1; 700]),
            member("d/1.mp4", &[3; 5000]),
            member("README", b"text"),
            member("d/2.jpg", &[2; 1024]),
            member("d/2.cls", b"cat"),
        ]
        .concat();
        tar.resize(tar.len() + 1024, 0);
        let shown = |records: Vec<Result<Record, Problem>>| {
            let shown = records.into_iter().map(|record| {
                let Record { name, image, label } = record.unwrap();
                (name, image.read().unwrap(), label)
            });
            shown.collect::<Vec<_>>()
        };
        let plain = shown(cut_records(tar.clone()));
        assert_eq!(shown(packed_records(gzip(&tar), true)), plain);
        // Several members of gzip in a row are one file, as `cat` and pigz make them.
        let (first, second) = tar.split_at(1000);
        let joined = [gzip(first), gzip(second)].concat();
        assert_eq!(shown(packed_records(joined, true)), plain);
        let labels = packed_records(gzip(&tar), false).into_iter();
        let labels: Vec<_> = labels.map(|record| record.unwrap().label).collect();
        assert_eq!(labels, [Some("7".to_owned()), Some("cat".to_owned())]);
    }

    #[test]
    fn a_compressed_file_that_is_cut_or_damaged_is_an_error() {
        let mut tar = [member("a.jpg", &[1; 700]), member("a.cls", b"1")].concat();
        let cut = gzip(&tar);
        tar.resize(tar.len() + 512, 0);
        let whole = gzip(&tar);
        assert_eq!(packed_records(whole.clone(), true).len(), 1);
        for length in 0..whole.len() {
            let found = packed_records(whole[..length].to_vec(), true);
            // The last bytes say nothing new: the empty block was there.
            let is_whole = found.len() == 1 && length > whole.len() - 16;
            assert!(is_whole || found.iter().any(Result::is_err), "{length}");
        }
        for (bytes, expected) in [
            (cut, "the empty block at its end is missing"),
            (tar, "gzip data cannot be unpacked"),
        ] {
            let error = packed_records(bytes, true).pop().unwrap().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn changed_bytes_end(at in 0_usize..3000, byte in any::<u8>()) {
            let mut tar = [member("a.jpg", &[1; 700]), member("a.cls", b"1"), member("b.jpg", b"2")].concat();
            tar[at] = byte;
            records(tar);
        }
    }
}
