//! Names of classes: what messages, lists and columns tell classes apart by.

use std::collections::HashMap;

/// The first class that has the name of another, as the numbers of both from 0, the earlier one
/// first.
pub fn repeated_label(labels: &[String]) -> Option<[usize; 2]> {
    let mut seen = HashMap::with_capacity(labels.len());
    labels
        .iter()
        .enumerate()
        .find_map(|(at, label)| seen.insert(label, at).map(|before| [before, at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_that_comes_again_is_found() {
        let labels = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(repeated_label(&labels("a b c b a")), Some([1, 3]));
        assert_eq!(repeated_label(&labels("a A b")), None);
        assert_eq!(repeated_label(&[]), None);
    }
}
