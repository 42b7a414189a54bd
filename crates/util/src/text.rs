//! Text for people: numbers that are easy to read, and untrusted text made safe to print.

use std::error::Error;
use std::fmt;

/// Displays two lower-case hexadecimal digits for each byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Displays a number with a comma between groups of three digits: `47,040,016`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thousands(pub u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (i, digit) in digits.char_indices() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// Joins the message of an error with those of its causes: `cannot read `a`: no such file`. A cause that the message
/// ends with already is not repeated.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// Formats a count as [`Thousands`]: `12,345`.
pub fn thousands(n: usize) -> String {
    Thousands(n as u64).to_string()
}

/// Formats a count with its noun: `1 image`, `1,234 images`, `2 classes`. The plural of `noun` must
/// end in s.
pub fn counted(n: u64, noun: &str) -> String {
    let plural = match (n, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {noun}{plural}", Thousands(n))
}

/// Lists the first `most` items and counts the others: `a, b, c and 1,234 more`.
pub fn first_few<T: fmt::Display>(items: impl ExactSizeIterator<Item = T>, most: usize) -> String {
    let more = items.len().saturating_sub(most);
    let named: Vec<String> = items.take(most).map(|item| item.to_string()).collect();
    let named = named.join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {} more", thousands(more))
    }
}

/// Lists all items: `1, 2 and 128`.
pub fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match words.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        words => words.concat(),
    }
}

/// Formats a fraction of 0 to 1 as a percentage: `98.73 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

/// Formats a number of bytes in decimal units: `443.20 kB`.
pub fn bytes(n: u64) -> String {
    let mut size = n as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if size < 1000.0 {
            break;
        }
        (size, unit) = (size / 1000.0, larger);
    }
    if n < 1000 {
        format!("{n} {unit}")
    } else {
        format!("{size:.2} {unit}")
    }
}

/// Formats seconds: `3.4 s`, `2 min 5 s`, `1 h 30 min`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else if seconds < 3600.0 {
        let whole = seconds.round() as u64;
        format!("{} min {} s", whole / 60, whole % 60)
    } else {
        let whole = (seconds / 60.0).round() as u64;
        format!("{} h {} min", whole / 60, whole % 60)
    }
}

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

    #[derive(Debug)]
    struct Failure(&'static str, Option<Box<Self>>);

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failure {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|error| error as &dyn Error)
        }
    }

    #[test]
    fn causes_are_said_once() {
        let last = Failure("no room", None);
        let middle = Failure("the disk: no room", Some(Box::new(last)));
        let first = Failure("cannot write", Some(Box::new(middle)));
        assert_eq!(with_causes(&first), "cannot write: the disk: no room");
    }

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

    #[test]
    fn hex_has_two_digits_per_byte() {
        assert_eq!(Hex(&[0, 10, 255]).to_string(), "000aff");
    }

    #[test]
    fn lists_end_in_and() {
        assert_eq!(listed([1, 2, 128]), "1, 2 and 128");
        assert_eq!(listed(["a", "b"]), "a and b");
        assert_eq!(listed(["a"]), "a");
        assert_eq!(listed([""; 0]), "");
    }

    #[test]
    fn long_lists_end_in_a_count() {
        let items = ["a", "b", "c"];
        assert_eq!(first_few(items.iter(), 3), "a, b, c");
        assert_eq!(first_few(items.iter(), 2), "a, b and 1 more");
        assert_eq!(first_few([""; 0].iter(), 2), "");
    }

    #[test]
    fn thousands_are_groups_of_three() {
        let texts = [0, 999, 1_000, 47_040_016, 100_000].map(|n| Thousands(n).to_string());
        assert_eq!(texts, ["0", "999", "1,000", "47,040,016", "100,000"]);
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(
            [0, 999, 1000, 443_200, 14_300_000, u64::MAX].map(bytes),
            [
                "0 B",
                "999 B",
                "1.00 kB",
                "443.20 kB",
                "14.30 MB",
                "18.45 EB"
            ]
        );
        assert_eq!(
            [0, 1, 2000].map(|n| counted(n, "image")),
            ["0 images", "1 image", "2,000 images"]
        );
        assert_eq!(
            [1, 2].map(|n| counted(n, "class")),
            ["1 class", "2 classes"]
        );
        assert_eq!(percent(0.987_34), "98.73 %");
        let durations = [3.44, 59.94, 125.2, 5430.0].map(duration);
        assert_eq!(durations, ["3.4 s", "59.9 s", "2 min 5 s", "1 h 31 min"]);
    }
}
