//! Data sets of image files, read with progress and once only.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kiln_data::{Dataset, Folder, Listing, ReadOptions, folder, list};
use kiln_model::DataSource;

use super::Subsets;
use crate::commands::Context;
use crate::terminal::Terminal;
use kiln_util::{counted, duration, thousands};

/// How many skipped images are listed; the others are counted.
pub const LISTED: usize = 20;

/// The data sets of files that a command has read, however often it asks for them, and the images
/// that it skipped.
pub struct FileSets {
    skip_bad: bool,
    keep_pixels: Cell<bool>,
    subsets: RefCell<BTreeMap<DataSource, Subsets>>,
    /// How many, and what is wrong with the first few.
    skipped: RefCell<(u64, Vec<String>)>,
}

impl FileSets {
    pub fn new(skip_bad: bool) -> Self {
        Self {
            skip_bad,
            keep_pixels: Cell::new(true),
            subsets: RefCell::default(),
            skipped: RefCell::default(),
        }
    }

    /// Whether images that cannot be read are left out.
    pub fn skip_bad(&self) -> bool {
        self.skip_bad
    }

    /// From here on, only verifies images: their pixels are not used, or only few of them.
    pub fn forget_pixels(&self) {
        self.keep_pixels.set(false);
    }

    /// Takes note of so many images that were left out, with what is wrong with the first of them.
    pub fn skipped(&self, count: u64, reasons: impl IntoIterator<Item = String>) {
        let (all, listed) = &mut *self.skipped.borrow_mut();
        *all += count;
        let room = LISTED.saturating_sub(listed.len());
        listed.extend(reasons.into_iter().take(room));
    }

    /// The subsets of a folder or a list, all read.
    pub fn subsets(&self, source: &DataSource, context: &Context<'_>) -> anyhow::Result<Subsets> {
        if let Some(subsets) = self.subsets.borrow().get(source) {
            return Ok(subsets.clone());
        }
        let (train, validation, test) = match find(source)? {
            Folder::Whole(all) => (all, None, None),
            Folder::Divided {
                train,
                validation,
                test,
            } => (train, validation, test),
        };
        let train = if self.skip_bad {
            let (train, empty) = train.without_empty_classes();
            if !empty.is_empty() {
                let count = counted(empty.len() as u64, "class");
                let text = format!("{count} of {} without images:", train.name());
                context.terminal.left_out("Skipped", &text, &empty);
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
        let (validation, test) = (known(validation)?, known(test)?);
        let read = |listing| self.read(listing, context);
        let subsets = Subsets {
            train: read(train)?,
            validation: validation.map(read).transpose()?,
            test: test.map(read).transpose()?,
        };
        self.subsets
            .borrow_mut()
            .insert(source.clone(), subsets.clone());
        Ok(subsets)
    }

    /// Reads the images of a listing.
    pub fn read(&self, listing: Listing, context: &Context<'_>) -> anyhow::Result<Arc<Dataset>> {
        let (name, count, start) = (listing.name().to_string(), listing.len(), Instant::now());
        let bar = context
            .terminal
            .progress("     Reading", Some(count as u64));
        let others = passed_over(&listing);
        let options = ReadOptions::default()
            .skip_bad(self.skip_bad)
            .keep_pixels(self.keep_pixels.get());
        let read = listing.read(options, &|| bar.inc(1));
        bar.finish_and_clear();
        let read = read?;
        let time = duration(start.elapsed().as_secs_f64());
        context.terminal.status(
            "Read",
            &format!("{} of {name} in {time}", counted(count as u64, "image")),
        );
        if let Some(others) = others {
            context.terminal.detail(&others);
        }
        self.skipped(
            read.bad.len() as u64,
            read.bad.iter().map(ToString::to_string),
        );
        Ok(Arc::new(read.dataset))
    }

    /// Lists the images that were skipped, if any were.
    pub fn list_skipped(&self, terminal: &Terminal) {
        let (count, listed) = &*self.skipped.borrow();
        if *count == 0 {
            return;
        }
        let more = (*count as usize)
            .checked_sub(listed.len())
            .filter(|&more| more > 0);
        let more = more.map(|more| format!("and {} more", thousands(more)));
        let lines: Vec<String> = listed.iter().cloned().chain(more).collect();
        terminal.left_out(
            "Skipped",
            &format!("{} that cannot be read:", counted(*count, "image")),
            &lines,
        );
    }
}

/// Most endings that are named.
const MOST_ENDINGS: usize = 10;

/// `3 other files passed over: .txt 2, .gif 1`, if there are any, those first of which there are
/// most.
pub fn passed_over(listing: &Listing) -> Option<String> {
    let mut endings: Vec<(&str, u64)> = listing
        .skipped_files()
        .iter()
        .map(|(ending, count)| (ending.as_str(), *count))
        .collect();
    endings.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let all: u64 = endings.iter().map(|(_, count)| count).sum();
    let named = endings
        .iter()
        .take(MOST_ENDINGS)
        .map(|(ending, count)| match *ending {
            "" => format!("without an ending {}", thousands(*count as usize)),
            ending => format!(".{ending} {}", thousands(*count as usize)),
        });
    let more = if endings.len() > MOST_ENDINGS {
        ", …"
    } else {
        ""
    };
    let named = named.collect::<Vec<_>>().join(", ");
    (all > 0).then(|| format!("{} passed over: {named}{more}", counted(all, "other file")))
}

/// Finds the images of a folder or a list.
pub fn find(source: &DataSource) -> anyhow::Result<Folder> {
    Ok(match source {
        DataSource::Folder(path) => folder(Path::new(path))?,
        DataSource::Csv(path) => Folder::Whole(list(Path::new(path))?),
        DataSource::Named(name) => unreachable!("{} is no path", name.as_str()),
    })
}
