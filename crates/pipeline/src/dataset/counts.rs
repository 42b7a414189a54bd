//! The number of images of each class.

use kiln_data::View;
use serde::Serialize;

/// Images by class and subset.
#[derive(Debug, Serialize)]
pub struct ClassCounts {
    /// The dataset's name.
    pub data: String,
    /// Names of the subsets.
    pub subsets: Vec<&'static str>,
    /// The classes.
    pub classes: Vec<ClassCount>,
    /// Number of images of each subset.
    pub totals: Vec<usize>,
}

/// A class.
#[derive(Debug, Serialize)]
pub struct ClassCount {
    /// Its name.
    pub name: String,
    /// Number of images in each subset.
    pub images: Vec<usize>,
}

impl ClassCounts {
    /// Counts named views, at least one, which have the same classes.
    pub fn new(data: String, views: &[(&'static str, View)]) -> Self {
        let counts: Vec<Vec<usize>> = views.iter().map(|(_, view)| view.class_counts()).collect();
        let classes = views
            .first()
            .map_or(&[][..], |(_, view)| view.dataset().classes());
        Self {
            data,
            subsets: views.iter().map(|(name, _)| *name).collect(),
            classes: classes
                .iter()
                .enumerate()
                .map(|(at, name)| ClassCount {
                    name: name.clone(),
                    images: counts.iter().map(|counts| counts[at]).collect(),
                })
                .collect(),
            totals: views.iter().map(|(_, view)| view.len()).collect(),
        }
    }
}
