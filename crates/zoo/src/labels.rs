//! The names of a network's classes.

/// A file that is no list of labels.
#[derive(Debug, thiserror::Error)]
#[error("expected labels as a JSON array of strings")]
pub struct LabelsError(#[from] serde_json::Error);

/// Reads labels from a JSON array of strings, in the order of the classes.
///
/// Two classes may have one name, as two kinds of sunglasses have; they are kept as they are.
pub fn read_labels(json: &[u8]) -> Result<Vec<String>, LabelsError> {
    Ok(serde_json::from_slice(json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_kept_as_published() {
        let labels = read_labels(br#"["tench", "crane", "crane"]"#).unwrap();
        assert_eq!(labels, ["tench", "crane", "crane"]);
        for wrong in [&b"{}"[..], b"[1]", b"", b"[\"a\"", &vec![b'['; 100_000]] {
            assert!(read_labels(wrong).is_err());
        }
    }
}
