//! A folder of images for each class.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use kiln_preprocess::is_image_name;
use walkdir::WalkDir;

use super::Listing;
use crate::error::FilesError;

/// Images found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are never many")]
pub enum Folder {
    /// `root/<class>/*`: images without subsets.
    Whole(Listing),
    /// `root/train/<class>/*` and its neighbors. All have the classes of `train`.
    Divided {
        /// `root/train`.
        train: Listing,
        /// `root/val`, `root/valid` or `root/validation`.
        validation: Option<Listing>,
        /// `root/test`.
        test: Option<Listing>,
    },
}

/// Finds the images of a folder: those in a folder for each class, at any depth, or in such folders
/// within `train`, `val` and `test`.
///
/// Images are known by their endings (`kiln_preprocess::ENDINGS`); other files, which are counted
/// ([`Listing::skipped_files`]), and files and folders that are hidden or made by systems (`__MACOSX`,
/// `@eaDir`), are skipped. Classes are sorted by
/// name, files by path. A folder `train` divides the dataset unless images lie in it directly:
/// then it is a class like the others.
pub fn folder(root: &Path) -> Result<Folder, FilesError> {
    let folders = folders(root)?;
    let train = root.join("train");
    let divided = folders.contains(&train)
        && images_in(&train)?.is_none()
        && !self::folders(&train)?.is_empty();
    if !divided {
        return Ok(Folder::Whole(classes(root)?));
    }
    let (mut validation, mut test) = (None, None);
    let train = classes(&train)?;
    for path in folders {
        let subset = match path.file_name().and_then(|name| name.to_str()) {
            Some("train") => continue,
            Some("val" | "valid" | "validation") if validation.is_none() => &mut validation,
            Some("test") => &mut test,
            _ => return Err(FilesError::NotASubset { path }),
        };
        *subset = Some(classes(&path)?.with_classes(&train.classes)?);
    }
    Ok(Folder::Divided {
        train,
        validation,
        test,
    })
}

/// `root/<class>/*`.
fn classes(root: &Path) -> Result<Listing, FilesError> {
    if let Some(path) = images_in(root)? {
        return Err(FilesError::Outside { path });
    }
    let mut listing = Listing {
        name: root.display().to_string(),
        root: root.into(),
        files: Vec::new(),
        labels: Vec::new(),
        classes: Vec::new(),
        skipped_files: BTreeMap::new(),
    };
    for (label, folder) in folders(root)?.into_iter().enumerate() {
        let Some(class) = folder.file_name().and_then(|name| name.to_str()) else {
            return Err(FilesError::ClassName { path: folder });
        };
        for entry in visible(&folder, usize::MAX) {
            let entry = entry?;
            if !entry.file_type().is_file() {
                continue;
            }
            if is_image_name(entry.path()) {
                let path = entry
                    .path()
                    .strip_prefix(root)
                    .expect("what is found in a folder is below it");
                listing.files.push(path.into());
                listing.labels.push(label as u32);
            } else {
                let ending = entry
                    .path()
                    .extension()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .to_lowercase();
                *listing.skipped_files.entry(ending).or_default() += 1;
            }
        }
        listing.classes.push(class.into());
    }
    if listing.files.is_empty() {
        return Err(FilesError::NoClasses { path: root.into() });
    }
    Ok(listing)
}

/// The images in and below a folder, at any depth, each folder's sorted by name: the order of
/// [`folder`]'s files. Found as they are asked for.
pub fn images_below(root: &Path) -> impl Iterator<Item = Result<PathBuf, FilesError>> + use<> {
    let image =
        |entry: &walkdir::DirEntry| entry.file_type().is_file() && is_image_name(entry.path());
    visible(root, usize::MAX)
        .filter(move |entry| entry.as_ref().map_or(true, image))
        .map(|entry| entry.map(walkdir::DirEntry::into_path))
}

/// The folders in a folder, sorted by name.
fn folders(path: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let mut folders = Vec::new();
    for entry in visible(path, 1) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            folders.push(entry.into_path());
        }
    }
    Ok(folders)
}

/// The first image that lies in a folder directly.
fn images_in(path: &Path) -> Result<Option<PathBuf>, FilesError> {
    for entry in visible(path, 1) {
        let entry = entry?;
        if entry.file_type().is_file() && is_image_name(entry.path()) {
            return Ok(Some(entry.into_path()));
        }
    }
    Ok(None)
}

/// Walks what is below a folder and not hidden, sorted by name; links are followed.
fn visible(
    path: &Path,
    depth: usize,
) -> impl Iterator<Item = Result<walkdir::DirEntry, FilesError>> + use<> {
    let entries = WalkDir::new(path)
        .min_depth(1)
        .max_depth(depth)
        .follow_links(true)
        .sort_by_file_name();
    let entries = entries
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name()));
    let path = path.to_path_buf();
    entries.map(move |entry| {
        entry.map_err(|error| FilesError::Read {
            path: error.path().map_or_else(|| path.clone(), PathBuf::from),
            reason: reason(error),
        })
    })
}

/// Returns whether people do not see a file or folder of this name as their own: hidden ones, and
/// those that systems and archivers add.
fn is_hidden(name: &OsStr) -> bool {
    const SYSTEM: [&str; 5] = [
        "__MACOSX",
        "@eaDir",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
    ];
    name.as_encoded_bytes().starts_with(b".") || SYSTEM.iter().any(|system| name == *system)
}

/// Returns the system's reason without the path, which the message has.
fn reason(error: walkdir::Error) -> io::Error {
    match error.loop_ancestor() {
        Some(ancestor) => {
            let text = format!("a link leads back to `{}`", ancestor.display());
            io::Error::other(text)
        }
        None => error
            .into_io_error()
            .unwrap_or_else(|| io::ErrorKind::Other.into()),
    }
}
