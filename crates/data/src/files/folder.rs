//! A folder of images for each class.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Listing;
use super::names::{SubsetRole, composed, subset_role};
use super::walk::{Found, Level, RUNS, SkippedFiles, Walk, images_below};
use crate::error::FilesError;

/// Images found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are never many")]
pub enum Folder {
    /// `root/<class>/*`: images without subsets.
    Whole(Listing),
    /// `root/train/<class>/*` and its neighbors. All have the classes of `train`.
    Divided {
        /// `root/train`, or by another name of its role.
        train: Listing,
        /// `root/val`, or by another name of its role.
        validation: Option<Listing>,
        /// `root/test`, or by another name of its role.
        test: Option<Listing>,
        /// What lies beside them.
        skipped: SkippedFiles,
    },
}

impl Folder {
    /// Returns all that was skipped.
    pub fn skipped(&self) -> SkippedFiles {
        match self {
            Self::Whole(all) => all.skipped().clone(),
            Self::Divided {
                train,
                validation,
                test,
                skipped,
            } => {
                let mut sum = skipped.clone();
                for listing in std::iter::once(train).chain(validation).chain(test) {
                    sum.add(listing.skipped());
                }
                sum
            }
        }
    }
}

/// Finds the images of a folder: those in a folder for each class, at any depth, or in such folders
/// within folders for training, validation and test images, by any of their usual names
/// ([`subset_role`]).
///
/// Images are known by their endings (`kiln_preprocess::ENDINGS`). Everything else is skipped and
/// counted ([`SkippedFiles`]): other files, what is hidden or made by systems (`__MACOSX`, `@eaDir`),
/// kiln's own runs, images beside class folders, and subsets without class folders. Classes are sorted
/// by name, files by path; class folders whose names differ only in their Unicode normal form are one
/// class. A link that leads nowhere is an image if its name is that of one, and so is a folder that
/// cannot be read.
///
/// # Errors
///
/// [`FilesError::Outside`] and [`FilesError::NoClasses`] if there are no class folders,
/// [`FilesError::OnlySubsets`] if there are subsets, and none to train on, [`FilesError::NotASubset`] if
/// class folders or a second subset of a kind stand beside that to train on.
pub fn folder(root: &Path) -> Result<Folder, FilesError> {
    let level = Level::read(root)?;
    let mut train = None;
    for path in &level.folders {
        if role(path) != Some(SubsetRole::Train) {
            continue;
        }
        match (subset_root(path)?, &train) {
            (Some(_), Some(_)) => return Err(FilesError::NotASubset { path: path.clone() }),
            (Some(found), None) => train = Some((path, found)),
            (None, _) => {}
        }
    }
    match train {
        Some((path, train)) => divided(&level, path, &train),
        None => whole(root, level).map(Folder::Whole),
    }
}

/// The subset that a folder is by its name.
fn role(path: &Path) -> Option<SubsetRole> {
    subset_role(path.file_name()?.to_str()?)
}

/// Returns where the class folders of a subset are: in its folder, or in the only folder in that
/// where it has the same role, as archives of `train/train/<class>` have it; none if there are no
/// class folders.
fn subset_root(path: &Path) -> Result<Option<PathBuf>, FilesError> {
    let mut root = path.to_path_buf();
    loop {
        let level = Level::read(&root)?;
        match &level.folders[..] {
            [only] if level.images.is_empty() && role(only) == role(path) => root.clone_from(only),
            folders => {
                let holds = |folder: &PathBuf| images_below(folder).next().is_some();
                return Ok(folders.iter().any(holds).then_some(root));
            }
        }
    }
}

fn divided(level: &Level, train_folder: &Path, train: &Path) -> Result<Folder, FilesError> {
    let train = classes(train, Level::read(train)?)?;
    let (mut validation, mut test) = (None, None);
    let mut skipped = level.skipped.clone();
    skipped.loose += level.images.len() as u64;
    if level.runs > 0 {
        *skipped.folders.entry(RUNS.into()).or_default() += level.runs;
    }
    for path in level.folders.iter().filter(|path| *path != train_folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut images = images_below(path);
        let role = role(path);
        let slot = match role {
            Some(SubsetRole::Validation) => Some(&mut validation),
            Some(SubsetRole::Test) => Some(&mut test),
            Some(SubsetRole::Train | SubsetRole::Other) | None => None,
        };
        match (slot, subset_root(path)?) {
            (Some(slot), Some(root)) if slot.is_none() => {
                let found = classes(&root, Level::read(&root)?)?;
                *slot = Some(found.with_classes(&train.classes)?);
            }
            (Some(_), Some(_)) => return Err(FilesError::NotASubset { path: path.clone() }),
            _ if role.is_some() => {
                skipped
                    .unused_subsets
                    .insert(name.into(), images.count() as u64);
            }
            _ if images.next().is_none() => *skipped.folders.entry(name.into()).or_default() += 1,
            _ => return Err(FilesError::NotASubset { path: path.clone() }),
        }
    }
    Ok(Folder::Divided {
        train,
        validation,
        test,
        skipped,
    })
}

/// A folder without subsets to train on.
fn whole(root: &Path, level: Level) -> Result<Listing, FilesError> {
    let names = level.folders.iter().filter_map(|path| path.file_name());
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
    let are_subsets = names.iter().all(|name| subset_role(name).is_some());
    if are_subsets && !names.is_empty() {
        let loose = |path: &PathBuf| {
            let images = Level::read(path).map_or(0, |level| level.images.len());
            (images > 0).then(|| (path.clone(), images as u64))
        };
        // That of the training images is what matters most.
        let mut folders: Vec<&PathBuf> = level.folders.iter().collect();
        folders.sort_by_key(|path| role(path) != Some(SubsetRole::Train));
        return Err(FilesError::OnlySubsets {
            path: root.into(),
            folders: names,
            loose: folders.into_iter().find_map(loose),
        });
    }
    let mut listing = classes(root, level)?;
    let of_subsets = listing.classes.iter();
    let of_subsets = of_subsets.filter(|class| subset_role(class).is_some());
    listing.skipped.subset_classes = of_subsets.cloned().collect();
    Ok(listing)
}

/// `root/<class>/*`.
fn classes(root: &Path, level: Level) -> Result<Listing, FilesError> {
    let mut listing = Listing::new(root.display().to_string(), root);
    listing.skipped = level.skipped;
    let mut runs = level.runs;
    // By their composed names.
    let mut known = HashMap::new();
    for folder in level.folders {
        let name = folder.file_name().unwrap_or_default();
        let mut walk = Walk::new(&folder, usize::MAX);
        let mut images = Vec::new();
        for found in walk.by_ref() {
            match found {
                Ok(Found::Image(path)) => images.push(path),
                Ok(Found::Folder(_)) => {}
                // That it cannot be read shows when it is.
                Err(_) => images.push(folder.clone()),
            }
        }
        // Runs, and the files of a sweep beside them, are nobody's class.
        if images.is_empty() && (walk.runs > 0 || name == RUNS) {
            runs += walk.runs.max(1);
            continue;
        }
        let Some(class) = name.to_str() else {
            return Err(FilesError::ClassName { path: folder });
        };
        listing.skipped.add(&walk.skipped);
        runs += walk.runs;
        let label = *known.entry(composed(class)).or_insert_with(|| {
            listing.classes.push(class.to_owned());
            listing.classes.len() as u32 - 1
        });
        let below = |path: PathBuf| path.strip_prefix(root).map(PathBuf::from).unwrap_or(path);
        listing
            .labels
            .resize(listing.labels.len() + images.len(), label);
        listing.files.extend(images.into_iter().map(below));
    }
    if runs > 0 {
        *listing.skipped.folders.entry(RUNS.into()).or_default() += runs;
    }
    let loose = level.images.len() as u64;
    listing.skipped.loose += loose;
    match (listing.files.is_empty(), level.images.into_iter().next()) {
        (false, _) => Ok(listing),
        (true, None) => Err(FilesError::NoClasses { path: root.into() }),
        (true, Some(image)) => Err(FilesError::Outside {
            path: root.into(),
            images: loose,
            image,
        }),
    }
}
