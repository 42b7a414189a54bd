//! What lies in folders: images, and everything else, which is counted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use kiln_preprocess::is_image_name;
use walkdir::{DirEntry, WalkDir};

use crate::error::FilesError;

/// Folders that servers, systems and archivers add, without those whose names begin with a dot.
const SYSTEM_FOLDERS: [&str; 12] = [
    "__MACOSX",
    "__pycache__",
    "@eaDir",
    "@Recycle",
    "@Recently-Snapshot",
    "@sharebin",
    "@tmp",
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
];

/// Files that systems add.
const SYSTEM_FILES: [&str; 2] = ["Thumbs.db", "desktop.ini"];

/// The folder that kiln writes its runs into.
pub(super) const RUNS: &str = "runs";

/// What lies in searched folders and is not used, so that it can be told once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SkippedFiles {
    /// Number of files that are not images by their names, by ending: in lower case without its dot, and
    /// empty for names without one.
    pub endings: BTreeMap<String, u64>,
    /// Number of files that are hidden or made by systems.
    pub hidden: u64,
    /// Number of folders that are hidden, made by systems, or kiln's runs, by name, and of folders
    /// beside subsets that have no image.
    pub folders: BTreeMap<String, u64>,
    /// Number of images that lie beside the class folders.
    pub loose: u64,
    /// Number of links that lead nowhere or back to a folder that they are in, without those that
    /// are images by their names.
    pub dead_links: u64,
    /// Number of images in each folder that is a subset by its name and cannot be used as one.
    pub unused_subsets: BTreeMap<String, u64>,
    /// Classes whose names are those of subsets.
    pub subset_classes: Vec<String>,
}

impl SkippedFiles {
    /// Returns whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what others have.
    pub fn add(&mut self, other: &Self) {
        let Self {
            endings,
            hidden,
            folders,
            loose,
            dead_links,
            unused_subsets,
            subset_classes,
        } = other;
        for (sum, counts) in [
            (&mut self.endings, endings),
            (&mut self.folders, folders),
            (&mut self.unused_subsets, unused_subsets),
        ] {
            for (name, count) in counts {
                *sum.entry(name.clone()).or_default() += count;
            }
        }
        self.hidden += hidden;
        self.loose += loose;
        self.dead_links += dead_links;
        self.subset_classes.extend(subset_classes.iter().cloned());
    }

    fn add_folder(&mut self, name: &OsStr) {
        let name = name.to_string_lossy().into_owned();
        *self.folders.entry(name).or_default() += 1;
    }

    fn add_file(&mut self, path: &Path) {
        let ending = path.extension().unwrap_or_default();
        let ending = ending.to_string_lossy().to_lowercase();
        *self.endings.entry(ending).or_default() += 1;
    }
}

/// Something in a folder.
pub(super) enum Found {
    Folder(PathBuf),
    /// A file that is an image by its name, or something that cannot be read, which shows when it is.
    Image(PathBuf),
}

/// Goes through what is below a folder, each folder's entries sorted by name; links are followed.
pub(super) struct Walk {
    root: PathBuf,
    entries: walkdir::IntoIter,
    pub skipped: SkippedFiles,
    /// Number of runs of kiln's, which are not gone into.
    pub runs: u64,
}

impl Walk {
    /// Goes at most so deep; 1 is what lies in the folder itself.
    pub fn new(root: &Path, depth: usize) -> Self {
        let entries = WalkDir::new(root)
            .max_depth(depth)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter();
        Self {
            root: root.into(),
            entries,
            skipped: SkippedFiles::default(),
            runs: 0,
        }
    }

    /// Takes note of an entry. Returns it unless it is skipped.
    fn sort(&mut self, entry: DirEntry) -> Option<Found> {
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if entry.file_type().is_dir() {
            if entry.path_is_symlink() && self.leads_back(entry.path()) {
                self.skipped.dead_links += 1;
                self.entries.skip_current_dir();
                return None;
            }
            let skipped = hidden || SYSTEM_FOLDERS.iter().any(|system| name == *system);
            let is_run = !skipped && is_run(entry.path());
            if !skipped && !is_run {
                return Some(Found::Folder(entry.into_path()));
            }
            if is_run {
                self.runs += 1;
            } else {
                self.skipped.add_folder(name);
            }
            self.entries.skip_current_dir();
            return None;
        }
        let system = || {
            let same = |system: &&str| name.eq_ignore_ascii_case(system);
            SYSTEM_FILES.iter().any(same)
        };
        if hidden || system() {
            self.skipped.hidden += 1;
        } else if !entry.file_type().is_file() {
            // A pipe or a device.
            self.skipped.add_file(entry.path());
        } else if is_image_name(entry.path()) {
            return Some(Found::Image(entry.into_path()));
        } else {
            self.skipped.add_file(entry.path());
        }
        None
    }

    /// Returns whether a link leads to a folder that the root is in, or to the root.
    fn leads_back(&self, link: &Path) -> bool {
        let (root, target) = (self.root.canonicalize(), link.canonicalize());
        root.is_ok_and(|root| target.is_ok_and(|target| root.starts_with(target)))
    }

    /// Takes note of an entry that cannot be followed or read.
    fn sort_error(&mut self, error: walkdir::Error) -> Option<Result<Found, FilesError>> {
        let path = error.path().map(Path::to_path_buf);
        let Some(path) = path.filter(|_| error.depth() > 0) else {
            return Some(Err(FilesError::Read {
                path: self.root.clone(),
                reason: error
                    .into_io_error()
                    .unwrap_or_else(|| io::ErrorKind::Other.into()),
            }));
        };
        let leads_nowhere = path.is_symlink()
            && error
                .io_error()
                .is_none_or(|error| error.kind() == io::ErrorKind::NotFound);
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".") {
            self.skipped.hidden += 1;
            return None;
        }
        if leads_nowhere && !is_image_name(&path) {
            self.skipped.dead_links += 1;
            return None;
        }
        Some(Ok(Found::Image(path)))
    }
}

impl Iterator for Walk {
    type Item = Result<Found, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.entries.next()? {
                Ok(entry) if entry.depth() == 0 => {}
                Ok(entry) => {
                    if let Some(found) = self.sort(entry) {
                        return Some(Ok(found));
                    }
                }
                Err(error) => {
                    if let Some(found) = self.sort_error(error) {
                        return Some(found);
                    }
                }
            }
        }
    }
}

/// Returns whether a folder is the directory of one of kiln's runs.
fn is_run(path: &Path) -> bool {
    path.join("recipe.toml").is_file() && path.join("checkpoints").is_dir()
}

/// The images in and below a folder, found as they are asked for.
pub struct ImagesBelow(Walk);

impl ImagesBelow {
    /// Returns what was skipped so far.
    pub fn skipped(&self) -> SkippedFiles {
        let mut skipped = self.0.skipped.clone();
        if self.0.runs > 0 {
            *skipped.folders.entry(RUNS.into()).or_default() += self.0.runs;
        }
        skipped
    }
}

impl Iterator for ImagesBelow {
    type Item = Result<PathBuf, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.next()? {
                Ok(Found::Image(path)) => return Some(Ok(path)),
                Ok(Found::Folder(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Finds the images in and below a folder, at any depth, each folder's sorted by name: the order of
/// [`folder`](crate::folder)'s files. Files and folders that are hidden or made by systems are skipped,
/// and so are kiln's own runs. Links that lead nowhere are among the images if their names are those
/// of images; that they cannot be read shows when they are.
pub fn images_below(root: &Path) -> ImagesBelow {
    ImagesBelow(Walk::new(root, usize::MAX))
}

/// What lies in a folder itself.
pub(super) struct Level {
    pub folders: Vec<PathBuf>,
    pub images: Vec<PathBuf>,
    pub skipped: SkippedFiles,
    pub runs: u64,
}

impl Level {
    pub fn read(path: &Path) -> Result<Self, FilesError> {
        let mut walk = Walk::new(path, 1);
        let (mut folders, mut images) = (Vec::new(), Vec::new());
        for found in walk.by_ref() {
            match found? {
                Found::Folder(path) => folders.push(path),
                Found::Image(path) => images.push(path),
            }
        }
        Ok(Self {
            folders,
            images,
            skipped: walk.skipped,
            runs: walk.runs,
        })
    }
}
