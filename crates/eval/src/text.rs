//! Labels come from folder names and model files: they are made safe to print before they are
//! shown.

/// Copies a label without what would break a line, a terminal or an XML file, and cuts it to `max`
/// characters.
///
/// Control characters, those that turn the direction of the text around, and the two code points
/// that XML forbids become U+FFFD; a cut label ends with `…`.
pub fn shown(label: &str, max: usize) -> String {
    let mut text: String = label
        .chars()
        .map(|c| if is_unsafe(c) { '\u{fffd}' } else { c })
        .take(max)
        .collect();
    if label.chars().nth(max).is_some() {
        text.pop();
        text.push('…');
    }
    text
}

/// Copies text of several lines without what would mislead a terminal: as [`shown`], but whole, and
/// with its line breaks and tabs.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_unsafe(c) && !matches!(c, '\n' | '\t') {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_cleans() {
        assert_eq!(shown("cat", 3), "cat");
        assert_eq!(shown("cats", 3), "ca…");
        assert_eq!(shown("a\nb\u{1b}[31m", 20), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(shown("\u{202e}gpj", 9), "\u{fffd}gpj");
        assert_eq!(shown("", 3), "");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(
            printable("a\tb\n\u{1b}]0;x\u{7}\r\u{9b}1A"),
            "a\tb\n\u{fffd}]0;x\u{fffd}\u{fffd}\u{fffd}1A"
        );
    }
}
