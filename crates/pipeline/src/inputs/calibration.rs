//! Images that a model is calibrated with: those to train on, where the source has such.

use std::ffi::OsStr;
use std::path::Path;

use kiln_data::{Folder, Subset, View, folder};

use super::input::Inputs;
use super::known::known;
use super::labeled::listed;
use super::records;
use crate::context::Context;
use crate::dataset::{self, DatasetRef};
use crate::error::Result;

/// Opens images whose labels do not count: of a folder with subsets those to train on, of a dataset by its name those
/// too unless it says otherwise, else what [`known`] takes.
pub fn calibration(data: &str, context: &Context<'_>) -> Result<Inputs> {
    let path = Path::new(data);
    if let Some(files) = records::find(OsStr::new(data))? {
        return records::calibration(&files);
    }
    if path.is_dir() {
        if let Ok(Folder::Divided { train, .. }) = folder(path) {
            dataset::tell_skipped(&path.display().to_string(), train.skipped(), context);
            return Ok(listed(train));
        }
    } else if !path.exists()
        && let Ok(DatasetRef::Named(name, subset)) = DatasetRef::parse(data)
    {
        let subset = if data.contains(':') {
            subset
        } else {
            Subset::Train
        };
        let dataset = dataset::load(name, subset, context)?;
        return Ok(Inputs::of_view(&View::all(dataset)));
    }
    Ok(known(OsStr::new(data), context)?.0)
}
