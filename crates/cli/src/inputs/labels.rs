//! Names of classes to the numbers that the model has for them.

use std::collections::HashMap;

use anyhow::bail;

/// The classes of a model.
#[derive(Debug, Clone)]
pub struct Labels(HashMap<String, u32>);

impl Labels {
    /// By names that are all different, as those of a model are.
    pub fn new(classes: &[String]) -> Self {
        Self(classes.iter().enumerate().map(|(number, class)| (class.clone(), number as u32)).collect())
    }

    /// The number of a class that an image has by this source.
    pub fn number(&self, class: &str, source: &str) -> anyhow::Result<u32> {
        let Some(&number) = self.0.get(class) else {
            let mut known: Vec<(&u32, &str)> = self.0.iter().map(|(class, number)| (number, class.as_str())).collect();
            known.sort_unstable();
            let shown: Vec<&str> = known.iter().take(20).map(|(_, class)| *class).collect();
            let more = if known.len() > shown.len() { ", …" } else { "" };
            bail!(
                "{source} has the class `{class}`: the model has {}{more}: check the names, or the data set",
                shown.join(", ")
            );
        };
        Ok(number)
    }
}
