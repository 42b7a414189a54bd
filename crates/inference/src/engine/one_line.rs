//! What an engine says, fit for a message.

use std::fmt::Display;

/// Most characters: behind them a dump of a graph would begin.
const LONGEST: usize = 600;

/// What `message` says without line breaks, cut where it is very long.
pub fn one_line(message: &dyn Display) -> String {
    let mut line = message
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_and_kept_on_one_line() {
        let line = one_line(&"né\n".repeat(1000));
        assert_eq!(line.chars().count(), 601);
        assert!(line.starts_with("né né "));
    }
}
