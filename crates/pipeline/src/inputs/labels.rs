//! Names of classes to the numbers that the model has for them.

use std::collections::HashMap;

use crate::error::images::InputsError;

/// The classes of a model, with the number of the first that has a name, and of the last.
#[derive(Debug, Clone)]
pub struct Labels(HashMap<String, [u32; 2]>);

impl Labels {
    /// Numbers the classes by their names.
    pub fn new(classes: &[String]) -> Self {
        let mut numbers = HashMap::with_capacity(classes.len());
        for (number, class) in (0..).zip(classes) {
            numbers.entry(class.clone()).or_insert([number; 2])[1] = number;
        }
        Self(numbers)
    }

    /// Returns the number of a class that an image of this source has.
    pub fn number(&self, class: &str, source: &str) -> Result<u32, InputsError> {
        let Some(&[first, last]) = self.0.get(class) else {
            let mut known: Vec<(u32, &String)> = self
                .0
                .iter()
                .map(|(class, number)| (number[0], class))
                .collect();
            known.sort_unstable();
            return Err(InputsError::UnknownClass {
                source_name: source.into(),
                class: class.into(),
                known: known.into_iter().map(|(_, class)| class.clone()).collect(),
            });
        };
        if first != last {
            return Err(InputsError::RepeatedClass {
                source_name: source.into(),
                class: class.into(),
                first,
                last,
            });
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    #[test]
    fn classes_are_found_by_name() {
        let labels = Labels::new(&["cat".into(), "dog".into()]);
        assert_eq!(labels.number("dog", "`x`").unwrap(), 1);
        let message = labels.number("emu", "`x`").unwrap_err().to_string();
        assert_eq!(
            message,
            "`x` has the class `emu`: expected one of the model's, cat, dog"
        );
    }

    #[test]
    fn a_name_of_two_classes_is_no_label() {
        let labels = Labels::new(&["crane", "cat", "crane"].map(String::from));
        assert_eq!(labels.number("cat", "`list.csv`").unwrap(), 1);
        let error = labels.number("crane", "`list.csv`").unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("classes 0 and 2 of the model are both called"),
            "{message}"
        );
        assert_eq!(error.hint(), Some(Hint::UniqueLabels));
    }
}
