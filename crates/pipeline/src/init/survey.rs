//! What a folder or a list of labeled images holds.

use std::fmt::Write;
use std::path::Path;

use kiln_data::{FilesError, Listing, Look};
use kiln_model::{DataSource, Recipe};
use kiln_util::{Thousands, counted, first_few, shown};

use crate::context::Context;
use crate::dataset::{self, DatasetError, Listings};
use crate::error::Result;
use crate::error::training::InitError;
use crate::event::Task;

/// Most images that are decoded to see what they are like: enough for shares and a median, and seconds
/// even of large photographs.
const LOOKED_AT: usize = 300;

/// Images with color are more than this share where a dataset counts as one in color.
const COLORED: f64 = 0.01;

/// Most small classes that are named.
const NAMED: usize = 10;

/// What a folder or a list of labeled images holds: which classes and subsets, and what some of the
/// images are like.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Survey {
    /// Where the images are.
    pub source: DataSource,
    /// The name of the folder, or of the list without its ending, as a recipe may be called.
    pub name: String,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Whether an image can have several classes, or none.
    pub several: bool,
    /// The number of images to train on, validation and test images included where they are yet to be split off.
    pub train: usize,
    /// The number of images of each class: to train on, or all where there are no subsets.
    pub class_counts: Vec<usize>,
    /// Number of validation images, if there are some of their own.
    pub validation: Option<usize>,
    /// Number of test images, if there are some of their own.
    pub test: Option<usize>,
    /// Number of images that were decoded, at least one.
    pub looked_at: usize,
    /// Number of these that show more than grays.
    pub colored: usize,
    /// What their sizes are.
    pub sizes: Sizes,
    /// Number of images that could not be decoded when they were looked at.
    pub unreadable: usize,
    /// What is wrong with the first of these.
    pub unreadable_example: Option<String>,
}

/// Sizes of images: heights and widths in pixels, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The smallest height and the smallest width.
    pub smallest: [u32; 2],
    /// The median height and width.
    pub median: [u32; 2],
    /// The largest height and the largest width.
    pub largest: [u32; 2],
}

impl Sizes {
    /// Returns those of some images; none if there are none.
    fn of(images: &[[u32; 2]]) -> Option<Self> {
        let [heights, widths] = [0, 1].map(|axis| {
            let mut sides: Vec<u32> = images.iter().map(|size| size[axis]).collect();
            sides.sort_unstable();
            sides
        });
        let last = images.len().checked_sub(1)?;
        let at = |place: usize| [heights[place], widths[place]];
        Some(Self {
            smallest: at(0),
            median: at(images.len() / 2),
            largest: at(last),
        })
    }
}

/// Looks at a folder of images or a list of them: counts all, and decodes some.
///
/// # Errors
///
/// [`InitError`] if nothing is there, if there is a single class, or if the path is a run; else why the
/// images cannot be listed, such as a folder without class folders, or that none can be read.
pub fn survey(path: &Path, context: &Context<'_>) -> Result<Survey> {
    let source = source(path)?;
    let Some(listings) = dataset::listings(&source, context)? else {
        return Err(InitError::ReadWhole { path: path.into() }.into());
    };
    dataset::tell_skipped(source.as_str(), &listings.skipped, context);
    dataset::tell_repeated(&listings.train, context);
    let classes = listings.train.classes();
    dataset::check_names(&source, classes)?;
    if let [class] = classes {
        return Err(InitError::OneClass {
            dataset: source.to_string(),
            class: class.clone(),
        }
        .into());
    }
    let class_counts = listings.train.class_counts();
    for (own, subset) in [
        (&listings.test, "test"),
        (&listings.validation, "validation"),
    ] {
        if own.is_none() && class_counts.iter().all(|&count| count <= 1) {
            let dataset = source.to_string();
            return Err(DatasetError::SingleImages { dataset, subset }.into());
        }
    }
    let Look {
        sizes,
        colored,
        bad,
    } = look(&listings, source.as_str(), context);
    let example = bad.first().map(ToString::to_string);
    let Some(summary) = Sizes::of(&sizes) else {
        return Err(FilesError::NothingReadable {
            name: format!("`{source}`"),
            example: example.unwrap_or_default(),
        }
        .into());
    };
    Ok(Survey {
        name: name(path),
        classes: classes.to_vec(),
        several: listings.train.has_several(),
        train: listings.train.len(),
        class_counts,
        validation: listings.validation.as_ref().map(Listing::len),
        test: listings.test.as_ref().map(Listing::len),
        looked_at: sizes.len(),
        colored,
        sizes: summary,
        unreadable: bad.len(),
        unreadable_example: example,
        source,
    })
}

/// Where the images are that a path leads to.
fn source(path: &Path) -> Result<DataSource, InitError> {
    let text = path
        .to_str()
        .ok_or_else(|| InitError::NotUtf8 { path: path.into() })?;
    if path.is_dir() && kiln_run::RunDir::open(path).is_ok() {
        return Err(InitError::Run { path: path.into() });
    }
    let source = dataset::source_of(path, text);
    source.ok_or_else(|| InitError::Missing { path: path.into() })
}

/// What a recipe for these images is called.
fn name(path: &Path) -> String {
    // `.` has a name only where it leads to.
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    let name = if whole.is_dir() {
        whole.file_name()
    } else {
        whole.file_stem()
    };
    Recipe::name_for(&name.unwrap_or_default().to_string_lossy())
}

/// Decodes some of the images of all subsets.
fn look(listings: &Listings, dataset: &str, context: &Context<'_>) -> Look {
    let subsets = [
        Some(&listings.train),
        listings.validation.as_ref(),
        listings.test.as_ref(),
    ];
    let subsets = || subsets.iter().copied().flatten();
    let all: usize = subsets().map(Listing::len).sum();
    let share = |len: usize| (LOOKED_AT * len).div_ceil(all.max(1)).min(len);
    let total: usize = subsets().map(|subset| share(subset.len())).sum();
    let task = context.task(Task::Read { dataset }, Some(total as u64));
    let mut sum = Look::default();
    for subset in subsets() {
        sum.add(subset.look(share(subset.len()), &|| task.advance(1)));
    }
    sum
}

impl Survey {
    /// Returns the number of images of all subsets.
    pub fn images(&self) -> usize {
        self.train + self.validation.unwrap_or(0) + self.test.unwrap_or(0)
    }

    /// Returns whether the images count as colored: more than one in a hundred of those looked at.
    pub fn is_colored(&self) -> bool {
        self.colored as f64 > COLORED * self.looked_at as f64
    }

    /// Returns the number of images that a class needs to be in every subset: one for each that is yet
    /// to be split off, and one to train on.
    pub fn needed(&self) -> usize {
        1 + usize::from(self.validation.is_none()) + usize::from(self.test.is_none())
    }

    /// Returns the classes with too few images to be in every subset.
    pub fn small_classes(&self) -> Vec<&str> {
        let classes = self.classes.iter().zip(&self.class_counts);
        classes
            .filter(|(_, count)| **count < self.needed())
            .map(|(class, _)| class.as_str())
            .collect()
    }

    /// Describes what was found: number, classes, colors, sizes and subsets, in a line each.
    pub fn lines(&self) -> Vec<String> {
        let images = counted(self.images() as u64, "image");
        let (few, most) = (
            self.class_counts.iter().min().copied().unwrap_or(0),
            self.class_counts.iter().max().copied().unwrap_or(0),
        );
        let classes = counted(self.classes.len() as u64, "class");
        let several = if self.several {
            " of which an image can have several"
        } else {
            ""
        };
        let each = if few == most {
            format!("{} each", Thousands(few as u64))
        } else {
            format!(
                "{} to {} each",
                Thousands(few as u64),
                Thousands(most as u64)
            )
        };
        let of = if self.has_subsets() {
            " to train on"
        } else {
            ""
        };
        let colors = match (self.is_colored(), self.colored) {
            (true, _) => "in color",
            (false, 0) => "in gray",
            (false, _) => "nearly all in gray",
        };
        let mut lines = vec![
            format!("{images} of {classes}{several}, {each}{of}"),
            format!("{colors}, {}{}", self.sizes_text(), self.looked_at_text()),
        ];
        if self.has_subsets() {
            let mut text = format!("{} to train on", Thousands(self.train as u64));
            for (count, what) in [(self.validation, "validate"), (self.test, "test")] {
                if let Some(count) = count {
                    let _ = write!(text, ", {} to {what} on", Thousands(count as u64));
                }
            }
            lines.push(text);
        }
        lines
    }

    /// Notes on what may stand in the way of training.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let small = self.small_classes();
        if !small.is_empty() {
            let named = small.iter().map(|class| format!("`{}`", shown(class, 40)));
            notes.push(format!(
                "{} fewer than {} images, too few to have one to train, to validate and to test on: {}: add images, or \
                 remove the class",
                match small.len() {
                    1 => "1 class has".to_owned(),
                    many => format!("{} have", counted(many as u64, "class")),
                },
                self.needed(),
                first_few(named, NAMED),
            ));
        }
        if let Some(example) = &self.unreadable_example {
            notes.push(format!(
                "{} of the {} images looked at cannot be read: {example}",
                self.unreadable,
                self.looked_at + self.unreadable,
            ));
        }
        notes
    }

    fn has_subsets(&self) -> bool {
        self.validation.is_some() || self.test.is_some()
    }

    /// `224 x 224 pixels`, or `180 x 224 to 400 x 600 pixels`: height x width.
    fn sizes_text(&self) -> String {
        let Sizes {
            smallest, largest, ..
        } = self.sizes;
        let size = |[height, width]: [u32; 2]| format!("{height} x {width}");
        if smallest == largest {
            format!("{} pixels", size(smallest))
        } else {
            format!("{} to {} pixels", size(smallest), size(largest))
        }
    }

    fn looked_at_text(&self) -> String {
        let looked_at = self.looked_at + self.unreadable;
        if looked_at == self.images() {
            String::new()
        } else {
            format!(" ({} looked at)", Thousands(looked_at as u64))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_taken_side_by_side() {
        let sizes = Sizes::of(&[[10, 90], [30, 20], [20, 50]]).unwrap();
        assert_eq!(
            (sizes.smallest, sizes.median, sizes.largest),
            ([10, 20], [20, 50], [30, 90])
        );
        assert_eq!(Sizes::of(&[]), None);
    }
}
