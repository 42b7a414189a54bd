//! Reading a data set of files once as a whole.

use kiln_preprocess::PreprocessError;
use rayon::prelude::*;

use super::images::{ImageFile, ImageFiles, Room};
use super::{FilesError, Listing};
use crate::{DataError, Dataset};

/// How many of the images that cannot be read an error names.
const EXAMPLES: usize = 3;

/// A data set of files, and what is wrong with those that were left out.
#[derive(Debug)]
pub struct ReadFiles {
    /// The images that can be read.
    pub dataset: Dataset,
    /// One for each image that cannot, in order; none unless they may be left out.
    pub bad: Vec<PreprocessError>,
}

impl Listing {
    /// Reads and decodes every file, on all threads of rayon's pool, so that what cannot be read is
    /// known before work begins: that is an error unless `skip_bad` says to leave such images out.
    /// `progress` hears of every file. The first 1 GiB of pixels is kept decoded; memory stays flat
    /// beyond.
    pub fn read(
        self,
        skip_bad: bool,
        progress: &(dyn Fn() + Sync),
    ) -> Result<ReadFiles, DataError> {
        let room = Room::new();
        let read = |path| {
            let file = ImageFile::read(&self.root, path, &room);
            progress();
            file
        };
        let results: Vec<_> = self.files.par_iter().map(|path| read(path)).collect();
        let (mut files, mut labels, mut bad) =
            (Vec::with_capacity(results.len()), Vec::new(), Vec::new());
        for (result, &label) in results.into_iter().zip(&self.labels) {
            match result {
                Ok(file) => {
                    files.push(file);
                    labels.push(label);
                }
                Err(reason) => bad.push(reason),
            }
        }
        let name = self.name;
        if !bad.is_empty() && !skip_bad {
            let examples: Vec<String> =
                bad.iter().take(EXAMPLES).map(ToString::to_string).collect();
            let (bad, total) = (bad.len() as u64, self.files.len() as u64);
            return Err(FilesError::Unreadable {
                name: format!("`{name}`"),
                bad,
                total,
                examples: examples.join("; "),
            }
            .into());
        }
        if let (true, Some(first)) = (files.is_empty(), bad.first()) {
            return Err(FilesError::NothingReadable {
                name: format!("`{name}`"),
                example: first.to_string(),
            }
            .into());
        }
        let dataset = Dataset::from_files(
            name,
            ImageFiles::new(self.root, files),
            labels,
            self.classes,
        )?;
        Ok(ReadFiles { dataset, bad })
    }
}
