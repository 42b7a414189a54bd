//! Names of classes in a text file.

use std::path::Path;

use crate::error::models::OverridesError;

/// Longest file of labels: 16 MiB.
const MAX_BYTES: u64 = 16 << 20;

/// Reads names of classes, one a line; blanks around a name and empty lines at the end do not
/// count.
pub fn read_labels(path: &Path) -> Result<Vec<String>, OverridesError> {
    let fail = |source| OverridesError::ReadLabels {
        path: path.into(),
        source,
    };
    let wrong = |problem| OverridesError::Labels {
        path: path.into(),
        problem,
    };
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(wrong("expected a text file of at most 16 MiB".into()));
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong("expected UTF-8 text with one name a line".into()))?;
    parse(&text).map_err(wrong)
}

fn parse(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim_start_matches('\u{feff}').trim_end();
    if text.is_empty() {
        return Err("expected one name a line, found an empty file".into());
    }
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    match names.iter().position(String::is_empty) {
        Some(line) => Err(format!(
            "expected a name for every class, found line {} empty",
            line + 1
        )),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_a_line() {
        assert_eq!(
            parse("\u{feff}cat\r\nhot dog \n\n"),
            Ok(vec!["cat".into(), "hot dog".into()])
        );
        assert!(parse(" \n").unwrap_err().contains("found an empty file"));
        assert_eq!(
            parse("a\n\nb"),
            Err("expected a name for every class, found line 2 empty".into())
        );
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for path in ["no/such/labels.txt", "/"] {
            let message = read_labels(Path::new(path)).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("cannot use the labels `{path}`: ")),
                "{message}"
            );
        }
    }
}
