//! Whether two models have the same classes.

use super::error::CompareError;

/// Checks that both models have the same classes in the same order.
pub fn check_classes(first: &[String], second: &[String]) -> Result<(), CompareError> {
    let mut pairs = first.iter().zip(second);
    if let Some(class) = pairs.position(|(first, second)| first != second) {
        return Err(CompareError::Class {
            class,
            first: first[class].clone(),
            second: second[class].clone(),
        });
    }
    if first.len() != second.len() {
        return Err(CompareError::Classes {
            first: first.len(),
            second: second.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_differs_is_named() {
        let names = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let check = |first: &str, second: &str| {
            check_classes(&names(first), &names(second)).map_err(|error| error.to_string())
        };
        assert_eq!(check("a b", "a b"), Ok(()));
        let message = check("a b", "a c").unwrap_err();
        assert_eq!(
            message,
            "class 1 of the first model is `b`, that of the second `c`"
        );
        let message = check("a b", "a").unwrap_err();
        assert_eq!(message, "the first model has 2 classes, the second 1");
    }
}
