//! How many images each class has.

use kiln_data::View;
use kiln_report::{MAX_LABEL, text_table};
use kiln_util::shown;
use serde::Serialize;

use kiln_util::{counted, thousands};

/// Counts by class and subset.
#[derive(Serialize)]
pub struct Counts {
    data: String,
    subsets: Vec<&'static str>,
    classes: Vec<Class>,
    /// Images of each subset.
    totals: Vec<usize>,
}

#[derive(Serialize)]
struct Class {
    name: String,
    /// Images in each subset.
    images: Vec<usize>,
}

impl Counts {
    /// Counts the views, at least one, which have the same classes.
    pub fn new(data: String, views: &[(&'static str, View)]) -> Self {
        let counts: Vec<Vec<usize>> = views.iter().map(|(_, view)| view.class_counts()).collect();
        let classes = views[0].1.dataset().classes().iter().enumerate();
        Self {
            data,
            subsets: views.iter().map(|(name, _)| *name).collect(),
            classes: classes
                .map(|(at, name)| Class {
                    name: name.clone(),
                    images: counts.iter().map(|counts| counts[at]).collect(),
                })
                .collect(),
            totals: views.iter().map(|(_, view)| view.len()).collect(),
        }
    }

    /// One line per class and one for all.
    pub fn table(&self) -> String {
        let row = |name: &str, images: &[usize]| -> Vec<String> {
            // With one subset there is nothing to add up.
            let sum = (images.len() > 1).then(|| images.iter().sum());
            std::iter::once(shown(name, MAX_LABEL))
                .chain(images.iter().copied().chain(sum).map(thousands))
                .collect()
        };
        let all = (self.subsets.len() > 1).then_some("all");
        let header = ["class"]
            .into_iter()
            .chain(self.subsets.iter().copied())
            .chain(all);
        let rows = self
            .classes
            .iter()
            .map(|class| row(&class.name, &class.images));
        let table = text_table(header, rows.chain([row("all", &self.totals)]), 1);
        format!(
            "{}: {}\n{table}\n",
            self.data,
            counted(self.classes.len() as u64, "class")
        )
    }
}
