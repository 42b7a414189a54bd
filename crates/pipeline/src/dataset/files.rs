//! Datasets of image files, read with progress and once only.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kiln_data::{Dataset, Folder, Listing, ReadOptions, folder, list};
use kiln_model::DataSource;

use super::store::Subsets;
use crate::context::Context;
use crate::error::Result;
use crate::event::{Event, Task};
use crate::list_file::check_list;

/// Returns the subsets of a folder of images.
pub(super) fn folder_subsets(path: &str, context: &Context<'_>) -> Result<Subsets> {
    once(DataSource::Folder(path.into()), context, || {
        Ok(folder(Path::new(path))?)
    })
}

/// Returns the images of a CSV list as the training images.
pub(super) fn list_subsets(path: &str, context: &Context<'_>) -> Result<Subsets> {
    once(DataSource::Csv(path.into()), context, || {
        let path = Path::new(path);
        check_list(path)?;
        Ok(Folder::Whole(list(path)?))
    })
}

/// Returns what was read before, or finds and reads it.
fn once(
    source: DataSource,
    context: &Context<'_>,
    find: impl FnOnce() -> Result<Folder>,
) -> Result<Subsets> {
    if let Some(subsets) = context.files.get(&source) {
        return Ok(subsets);
    }
    let (train, validation, test) = match find()? {
        Folder::Whole(all) => (all, None, None),
        Folder::Divided {
            train,
            validation,
            test,
        } => (train, validation, test),
    };
    let train = if context.files.skips_unreadable() {
        let (train, empty) = train.without_empty_classes();
        if !empty.is_empty() {
            context.emit(&Event::EmptyClassesSkipped {
                dataset: train.name(),
                classes: &empty,
            });
        }
        train
    } else {
        train.check_classes()?;
        train
    };
    let classes = train.classes().to_vec();
    let known = |subset: Option<Listing>| {
        subset
            .map(|subset| subset.with_classes(&classes))
            .transpose()
    };
    let validation = known(validation)?;
    let test = known(test)?;
    let read = |listing| read(listing, context);
    let subsets = Subsets {
        train: read(train)?,
        validation: validation.map(read).transpose()?,
        test: test.map(read).transpose()?,
    };
    context.files.insert(source, subsets.clone());
    Ok(subsets)
}

fn read(listing: Listing, context: &Context<'_>) -> Result<Arc<Dataset>> {
    let start = Instant::now();
    let name = listing.name().to_owned();
    let images = listing.len() as u64;
    let other_files = other_files(&listing);
    let task = context.task(Task::Read { dataset: &name }, Some(images));
    let options = ReadOptions::default()
        .skip_bad(context.files.skips_unreadable())
        .keep_pixels(context.files.keeps_pixels());
    let read = listing.read(options, &|| task.advance(1));
    drop(task);
    let read = read?;
    context.emit(&Event::DatasetRead {
        name: &name,
        images,
        seconds: start.elapsed().as_secs_f64(),
        other_files: &other_files,
    });
    context.files.skip(
        read.bad.len() as u64,
        read.bad.iter().map(ToString::to_string),
    );
    Ok(Arc::new(read.dataset))
}

/// Counts the files of a listing that are not images by ending, the most frequent first.
pub(crate) fn other_files(listing: &Listing) -> Vec<(String, u64)> {
    let endings = listing.skipped_files().iter();
    let mut endings: Vec<(String, u64)> = endings
        .map(|(ending, count)| (ending.clone(), *count))
        .collect();
    endings.sort_by_key(|(_, count)| Reverse(*count));
    endings
}
