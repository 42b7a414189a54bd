//! Names of classes in a text file.

use std::path::Path;

/// Longest file of labels: 16 MiB.
const MAX_BYTES: u64 = 16 << 20;

/// Reads names of classes, one a line.
pub fn read(path: &Path) -> Result<Vec<String>, String> {
    let fail = |problem: &str| format!("cannot use the labels `{}`: {problem}", path.display());
    let metadata =
        std::fs::metadata(path).map_err(|error| fail(&format!("{error}: check the path")))?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(fail(
            "expected a text file of at most 16 MiB: check the path",
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| fail(&format!("{error}: check the path")))?;
    let text =
        String::from_utf8(bytes).map_err(|_| fail("expected UTF-8 text with one name a line"))?;
    parse(&text).map_err(|problem| fail(&problem))
}

/// One name a line; blanks around it and empty lines at the end do not count.
fn parse(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim_start_matches('\u{feff}').trim_end();
    if text.is_empty() {
        return Err("the file is empty: write one name a line".into());
    }
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    if let Some(line) = names.iter().position(String::is_empty) {
        return Err(format!(
            "line {} is empty: every class needs a name",
            line + 1
        ));
    }
    Ok(names)
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
        assert!(parse(" \n").unwrap_err().contains("the file is empty"));
        assert_eq!(
            parse("a\n\nb"),
            Err("line 2 is empty: every class needs a name".into())
        );
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for path in ["no/such/labels.txt", "/"] {
            let message = read(Path::new(path)).unwrap_err();
            assert!(
                message.starts_with(&format!("cannot use the labels `{path}`: ")),
                "{message}"
            );
        }
    }
}
