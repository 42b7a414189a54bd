//! Names of classes to the numbers that the model has for them.

use std::collections::HashMap;

use anyhow::bail;

/// The classes of a model, with the number of the first that has a name, and of the last.
#[derive(Debug, Clone)]
pub struct Labels(HashMap<String, [u32; 2]>);

impl Labels {
    /// By their names.
    pub fn new(classes: &[String]) -> Self {
        let mut numbers = HashMap::with_capacity(classes.len());
        for (number, class) in (0..).zip(classes) {
            numbers.entry(class.clone()).or_insert([number; 2])[1] = number;
        }
        Self(numbers)
    }

    /// The number of a class that an image has by this source.
    pub fn number(&self, class: &str, source: &str) -> anyhow::Result<u32> {
        let Some(&[number, last]) = self.0.get(class) else {
            let mut known: Vec<(u32, &str)> = self
                .0
                .iter()
                .map(|(class, number)| (number[0], class.as_str()))
                .collect();
            known.sort_unstable();
            let shown: Vec<&str> = known.iter().take(20).map(|(_, class)| *class).collect();
            let more = if known.len() > shown.len() {
                ", …"
            } else {
                ""
            };
            bail!(
                "{source} has the class `{class}`: the model has {}{more}: check the names, or the data set",
                shown.join(", ")
            );
        };
        if number != last {
            bail!(
                "{source} has the class `{class}`, which classes {number} and {last} of the model are both called: give each a name \
                 of its own with --labels"
            );
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_two_classes_is_no_label() {
        let labels = Labels::new(&["crane", "cat", "crane"].map(String::from));
        assert_eq!(labels.number("cat", "`list.csv`").unwrap(), 1);
        let message = labels
            .number("crane", "`list.csv`")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("classes 0 and 2 of the model are both called")
                && message.contains("--labels"),
            "{message}"
        );
    }
}
