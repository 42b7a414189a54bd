//! Which files a path, a pattern or a folder names, and what subset each belongs to.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_preprocess::is_image_name;
use kiln_store::{Address, Client, Object, StoreError, is_url, shown};

use crate::cifar::Cifar;
use crate::error::{Problem, RecordsError};
use crate::idx::is_idx;

/// Folders within a folder that are searched, as in `data/train/0000.parquet`.
const MAX_DEPTH: usize = 3;

/// Most patterns that braces stand for.
const MAX_PATTERNS: usize = 1 << 20;

/// What files of many images are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Parquet with a column of images.
    Parquet,
    /// Tar files as webdataset has them.
    Tar,
    /// CIFAR's binary files.
    Cifar,
    /// IDX files of images.
    Idx,
}

impl Format {
    /// Returns the format of a file; none if it is no file of many images. Parquet and tar files are known by their
    /// endings, the others by their content too.
    pub fn of(path: &Path) -> Option<Self> {
        match Self::by_ending(path.as_os_str()) {
            Some(Self::Cifar) => Cifar::is(path).then_some(Self::Cifar),
            Some(format) => path.is_file().then_some(format),
            None => is_idx(path).then_some(Self::Idx),
        }
    }

    fn by_ending(name: &OsStr) -> Option<Self> {
        if is_tar_name(Path::new(name)) {
            return Some(Self::Tar);
        }
        let ending = Path::new(name).extension()?.to_str()?.to_lowercase();
        match ending.as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "bin" => Some(Self::Cifar),
            _ => None,
        }
    }

    /// What messages call a file of it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Tar => "tar",
            Self::Cifar => "CIFAR's images",
            Self::Idx => "IDX",
        }
    }
}

/// Whether a file is a tar file by its ending, compressed or not.
pub(crate) fn is_tar_name(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::to_ascii_lowercase);
    let name = name.as_deref().and_then(OsStr::to_str).unwrap_or_default();
    [".tar", ".tar.gz", ".tgz"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

/// Files of many images, all of one format, in the order of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFiles {
    /// What they were named by; a URL without its query.
    pub name: PathBuf,
    /// Their format.
    pub format: Format,
    /// The files, at least one; URLs without their queries.
    pub files: Vec<PathBuf>,
    /// Whether a folder was named, or what is one in an object store.
    pub is_folder: bool,
    /// Where those are that are far away, by what is in `files`.
    remote: Arc<Remotes>,
}

/// Files that are far away, by the paths that they are shown as.
type Remotes = HashMap<PathBuf, Remote>;

/// A file in an object store or on a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remote {
    address: Address,
    /// What a list said of it.
    listed: Option<Object>,
}

impl Remote {
    const fn new(address: Address) -> Self {
        Self {
            address,
            listed: None,
        }
    }

    /// Adds it under the name that it is shown by.
    fn add(self, files: &mut Vec<PathBuf>, remote: &mut Remotes) -> Result<(), Problem> {
        let path = PathBuf::from(self.address.to_string());
        files.push(path.clone());
        let address = self.address.clone();
        match remote.insert(path, self) {
            Some(other) if other.address != address => Err(Problem::SameUrl),
            Some(_) | None => Ok(()),
        }
    }
}

impl RecordFiles {
    /// Returns whether a path, a pattern or a folder names such files. A folder does if it holds some, in folders within
    /// folders too, and no image.
    ///
    /// A URL does, whatever is there: images are read of such files alone.
    pub fn is(path: &Path) -> bool {
        if is_url(path.as_os_str()) {
            return true;
        }
        if path.is_dir() {
            return holds_records(path, MAX_DEPTH) == Held::Records;
        }
        if path.exists() {
            return Format::of(path).is_some();
        }
        is_pattern(path.as_os_str()) && Format::by_ending(path.as_os_str()).is_some()
    }

    /// Finds the files that a path, a folder or a pattern names: `*`, `?`, `[abc]`, `{a,b}`, and `{000..127}`; of a
    /// store those that a URL names, which is a folder where it ends in `/` or has no ending of a file of many images.
    ///
    /// # Errors
    ///
    /// If there is none, they are of several formats, or a store gives no list.
    pub fn find(path: &Path) -> Result<Self, RecordsError> {
        if let Some(url) = path.to_str().filter(|_| is_url(path.as_os_str())) {
            return Self::find_remote(url);
        }
        let fail = |problem: Problem| problem.of(path);
        let mut files = Vec::new();
        if path.is_dir() {
            search(path, MAX_DEPTH, &mut files).map_err(fail)?;
        } else if path.exists() || !is_pattern(path.as_os_str()) {
            files.push(path.to_owned());
        } else {
            let text = path.to_str().ok_or_else(|| fail(Problem::NoFiles))?;
            matches(text, &mut files).map_err(fail)?;
        }
        Self::of(path, files)
    }

    /// Takes several paths, patterns and folders together.
    pub fn find_all(paths: &[PathBuf]) -> Result<Self, RecordsError> {
        let mut files = Vec::new();
        let mut remote = HashMap::new();
        let mut name = PathBuf::new();
        let mut is_folder = false;
        for (at, path) in paths.iter().enumerate() {
            let found = Self::find(path)?;
            for (path, file) in &*found.remote {
                let known = remote.insert(path.clone(), file.clone());
                if known.is_some_and(|known: Remote| known.address != file.address) {
                    return Err(Problem::SameUrl.of(path));
                }
            }
            if at == 0 {
                name = found.name;
                is_folder = found.is_folder && paths.len() == 1;
            }
            files.extend(found.files);
        }
        let all = Self::of(&name, files)?;
        Ok(Self {
            is_folder,
            remote: Arc::new(remote),
            ..all
        })
    }

    fn find_remote(url: &str) -> Result<Self, RecordsError> {
        let pattern = Path::new(shown(url));
        let (files, remote, is_folder) = named(url).map_err(|problem| problem.of(pattern))?;
        let found = Self::of(pattern, files)?;
        if !is_streamed(Some(found.format)) {
            let name = found.format.name();
            let problem = Problem::Unsupported(format!("reading {name} over a network"));
            return Err(problem.of(pattern));
        }
        Ok(Self {
            is_folder,
            remote: Arc::new(remote),
            ..found
        })
    }

    /// Returns whether the files are in a store or on a web server.
    pub fn is_remote(&self) -> bool {
        !self.remote.is_empty()
    }

    /// Returns whether a file has a URL with a query, which may be a signature that ends.
    pub fn has_query(&self) -> bool {
        self.remote.values().any(|file| file.address.has_query())
    }

    /// Opens a file that is far away; none where it is not.
    pub(crate) fn object(&self, path: &Path) -> Option<Result<Object, RecordsError>> {
        let file = self.remote.get(path)?;
        Some(match &file.listed {
            Some(object) => Ok(object.clone()),
            None => Client::shared()
                .open(&file.address)
                .map_err(|error| Problem::from(error).of(path)),
        })
    }

    fn of(name: &Path, files: Vec<PathBuf>) -> Result<Self, RecordsError> {
        let mut formats = Vec::with_capacity(files.len());
        for file in &files {
            let of_content = if is_url(file.as_os_str()) {
                None
            } else {
                Format::of(file)
            };
            match of_content.or_else(|| Format::by_ending(file.as_os_str())) {
                Some(format) => formats.push(format),
                None => return Err(Problem::NoFiles.of(file)),
            }
        }
        let (Some(&format), Some(first)) = (formats.first(), files.first()) else {
            return Err(Problem::NoFiles.of(name));
        };
        if let Some(at) = formats.iter().position(|&other| other != format) {
            return Err(Problem::Formats {
                first: first.clone(),
                expected: format.name(),
                found: formats[at].name(),
            }
            .of(&files[at]));
        }
        Ok(Self {
            name: name.to_owned(),
            format,
            files,
            is_folder: name.is_dir(),
            remote: Arc::default(),
        })
    }

    /// Returns the files by what `role` makes of their names: of the part of each path within the folder that was
    /// named, from the file outwards, the first name that has a role counts. Files of no role are in `None`.
    pub fn by_role<R: PartialEq + Copy>(
        &self,
        role: impl Fn(&str) -> Option<R>,
    ) -> Vec<(Option<R>, Self)> {
        let mut found: Vec<(Option<R>, Self)> = Vec::new();
        for file in &self.files {
            let within = file.strip_prefix(&self.name).unwrap_or(file);
            let names = within.iter().rev().filter_map(OsStr::to_str);
            // Of a file that was named alone, the folders say nothing.
            let most = if within == file { 1 } else { MAX_DEPTH + 1 };
            let of_file = names.take(most).find_map(&role);
            let at = found.iter().position(|(role, _)| *role == of_file);
            match at {
                Some(at) => found[at].1.files.push(file.clone()),
                None => found.push((
                    of_file,
                    Self {
                        files: vec![file.clone()],
                        ..self.clone()
                    },
                )),
            }
        }
        found
    }
}

/// Whether files of a format are read image by image, rather than whole.
const fn is_streamed(format: Option<Format>) -> bool {
    matches!(format, Some(Format::Parquet | Format::Tar))
}

/// Finds the files that a URL names, by the names that they are shown by, and whether it is one of a folder.
fn named(url: &str) -> Result<(Vec<PathBuf>, Remotes, bool), Problem> {
    // What follows `?` belongs to the key of a store, and is a query elsewhere, which has no pattern.
    let pattern = shown(url);
    let query = url.get(pattern.len()..).unwrap_or_default();
    let mut urls = Vec::new();
    braces(pattern, &mut urls)?;
    let is_single = urls.len() == 1;
    let mut is_folder = false;
    let (mut files, mut remote) = (Vec::new(), HashMap::new());
    for url in urls {
        let address = Address::parse(&(url + query))?;
        let found = match address.bucket_key() {
            Some(key) => match key.find(['*', '?', '[']) {
                Some(at) => matching(&address.with_key(&key[..at]), key)?,
                None if address.is_prefix() || Format::by_ending(OsStr::new(key)).is_none() => {
                    is_folder = is_single;
                    below(&address, key)?
                }
                None => vec![Remote::new(address)],
            },
            None if address.to_string().contains(['*', '[']) => {
                let url = address.to_string();
                return Err(StoreError::NoLists { url }.into());
            }
            None => vec![Remote::new(address)],
        };
        for file in found {
            file.add(&mut files, &mut remote)?;
        }
    }
    Ok((files, remote, is_folder))
}

/// Lists the objects whose keys a pattern matches.
fn matching(prefix: &Address, pattern: &str) -> Result<Vec<Remote>, Problem> {
    let pattern = glob::Pattern::new(pattern)
        .map_err(|error| Problem::Unsupported(format!("the pattern: {error}")))?;
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    listed(prefix, |key| pattern.matches_with(key, options))
}

/// Lists the files of many images below a folder.
fn below(address: &Address, key: &str) -> Result<Vec<Remote>, Problem> {
    let folder = match key {
        "" => String::new(),
        key => format!("{}/", key.trim_end_matches('/')),
    };
    listed(&address.with_key(&folder), |key| {
        let below = key.strip_prefix(&folder).unwrap_or(key);
        let depth = below.matches('/').count();
        let is_hidden = below.split('/').any(|name| name.starts_with('.'));
        depth <= MAX_DEPTH && !is_hidden && is_streamed(Format::by_ending(OsStr::new(key)))
    })
}

/// Lists the objects with a prefix whose keys are wanted, in the order of their paths.
fn listed(prefix: &Address, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Remote>, Problem> {
    let objects = Client::shared().list(prefix)?.into_iter();
    let objects = objects.filter(|object| object.address.bucket_key().is_some_and(&is_wanted));
    let mut files: Vec<Remote> = objects
        .map(|object| Remote {
            address: object.address.clone(),
            listed: Some(object),
        })
        .collect();
    // As in folders on a disk, where `a/b` comes before `a-b`.
    files.sort_by_cached_key(|file| PathBuf::from(file.address.to_string()));
    Ok(files)
}

/// Whether this is a pattern rather than the path of something that is there.
fn is_pattern(text: &OsStr) -> bool {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'{');
    text.as_encoded_bytes().iter().any(special)
}

/// The entries of a folder by name, without hidden ones.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether there is an image below a folder, or else a file of many: an archive beside the class folders that it was
/// unpacked to is no dataset.
fn holds_records(folder: &Path, depth: usize) -> Held {
    let Ok(entries) = entries(folder) else {
        return Held::Nothing;
    };
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.into_iter().partition(|path| path.is_dir());
    let mut held = Held::Nothing;
    for file in &files {
        if is_image_name(file) {
            return Held::Images;
        }
        if held == Held::Nothing && is_data(file).is_some() {
            held = Held::Records;
        }
    }
    let Some(deeper) = depth.checked_sub(1) else {
        return held;
    };
    for folder in folders {
        held = held.max(holds_records(&folder, deeper));
        if held == Held::Images {
            break;
        }
    }
    held
}

/// What lies below a folder; what is more counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Nothing,
    Records,
    Images,
}

/// The format of a file in a folder. Labels beside IDX files of images are none.
fn is_data(file: &Path) -> Option<Format> {
    let name = file.file_name()?.to_str()?;
    if Format::by_ending(OsStr::new(name)).is_some() || name.contains("idx") {
        return Format::of(file);
    }
    None
}

fn search(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Problem> {
    for path in entries(folder)? {
        if path.is_dir() {
            if let Some(deeper) = depth.checked_sub(1) {
                search(&path, deeper, files)?;
            }
        } else if is_data(&path).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

fn matches(pattern: &str, files: &mut Vec<PathBuf>) -> Result<(), Problem> {
    let mut patterns = Vec::new();
    braces(pattern, &mut patterns)?;
    for pattern in patterns {
        let is_glob = pattern.contains(['*', '?', '[']);
        if !is_glob {
            // A name that is spelled out must be there.
            files.push(pattern.into());
            continue;
        }
        let fail = |reason: String| Problem::Unsupported(format!("the pattern: {reason}"));
        for path in glob::glob(&pattern).map_err(|error| fail(error.to_string()))? {
            let path = path.map_err(|error| Problem::Read(error.into()))?;
            if path.is_file() {
                files.push(path);
            }
        }
    }
    Ok(())
}

/// Replaces braces by what they stand for, from the left: `{a,b}`, `{8..11}` and, with as many digits, `{08..11}`.
fn braces(pattern: &str, found: &mut Vec<String>) -> Result<(), Problem> {
    let Some((before, rest)) = pattern.split_once('{') else {
        if found.len() >= MAX_PATTERNS {
            return Err(too_many());
        }
        found.push(pattern.to_owned());
        return Ok(());
    };
    let Some((inside, after)) = rest.split_once('}') else {
        return Err(Problem::Unsupported("a `{` without its `}`".into()));
    };
    let range = inside.split_once("..").and_then(|(first, last)| {
        let numbers = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        Some((numbers, first.len()))
    });
    if let Some(((first, last), width)) = range {
        if last.saturating_sub(first) >= MAX_PATTERNS as u64 {
            return Err(too_many());
        }
        if first > last {
            return Err(Problem::Unsupported(format!(
                "the range `{{{inside}}}`, which is empty,"
            )));
        }
        for number in first..=last {
            braces(&format!("{before}{number:0width$}{after}"), found)?;
        }
        return Ok(());
    }
    for choice in inside.split(',') {
        braces(&format!("{before}{choice}{after}"), found)?;
    }
    Ok(())
}

fn too_many() -> Problem {
    Problem::Unsupported(format!("a pattern of more than {MAX_PATTERNS} names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_names() {
        let names = |pattern: &str| {
            let mut found = Vec::new();
            braces(pattern, &mut found)
                .map(|()| found)
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            names("d-{08..11}.tar").unwrap(),
            ["d-08.tar", "d-09.tar", "d-10.tar", "d-11.tar"]
        );
        assert_eq!(names("{a,b}{1..2}").unwrap(), ["a1", "a2", "b1", "b2"]);
        assert!(
            names("{3..2}")
                .unwrap_err()
                .contains("`{3..2}`, which is empty")
        );
        assert!(names("{0..9999999}").unwrap_err().contains("more than"));
        assert!(names("{1..").unwrap_err().contains("without its"));
    }

    #[test]
    fn folders_and_patterns_name_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("data/.cache")).unwrap();
        for name in [
            "README.md",
            "data/test-00000-of-00001.parquet",
            "data/train-00001-of-00002.parquet",
            "data/train-00000-of-00002.parquet",
            "data/.cache/x.parquet",
        ] {
            fs::write(root.join(name), "").unwrap();
        }
        assert!(RecordFiles::is(root) && !RecordFiles::is(&root.join("README.md")));
        let found = RecordFiles::find(root).unwrap();
        assert_eq!((found.format, found.files.len()), (Format::Parquet, 3));
        let role = |name: &str| {
            name.split('-')
                .next()
                .filter(|role| *role != "data")
                .map(str::len)
        };
        let by_role = found.by_role(role);
        let counts: Vec<_> = by_role
            .iter()
            .map(|(role, files)| (*role, files.files.len()))
            .collect();
        assert_eq!(counts, [(Some(4), 1), (Some(5), 2)]);
        let pattern = root.join("data/train-0000{0..1}-of-*.parquet");
        assert!(RecordFiles::is(&pattern));
        assert_eq!(RecordFiles::find(&pattern).unwrap().files.len(), 2);
        let error = RecordFiles::find(&root.join("*.tar"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("*.tar`: expected Parquet files"), "{error}");
        fs::write(root.join("a.tar"), "").unwrap();
        let error = RecordFiles::find(root).unwrap_err().to_string();
        assert!(
            error.contains("holds Parquet, and `") || error.contains("holds tar"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_of_images_is_another_thing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cat")).unwrap();
        fs::write(folder.path().join("cat/1.png"), "").unwrap();
        fs::create_dir(folder.path().join("dog")).unwrap();
        fs::write(folder.path().join("dog/x.parquet"), "").unwrap();
        assert!(!RecordFiles::is(folder.path()));
        fs::write(folder.path().join("animals.tar"), "").unwrap();
        assert!(!RecordFiles::is(folder.path()), "what it was unpacked from");
    }
}
