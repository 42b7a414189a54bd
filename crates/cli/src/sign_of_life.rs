//! A line now and then where no bar can be drawn.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::terminal::Terminal;
use kiln_util::{duration, thousands};

/// How often something is said.
const EVERY: Duration = Duration::from_secs(30);

/// Keeps the time since something was last said.
#[derive(Debug)]
pub struct SignOfLife {
    last: Instant,
}

impl SignOfLife {
    /// Something was said just now.
    pub fn new() -> Self {
        Self {
            last: Instant::now(),
        }
    }

    /// The same again.
    pub fn said(&mut self) {
        self.last = Instant::now();
    }

    /// Whether it is time to say something, which then counts as said.
    pub fn is_due(&mut self) -> bool {
        let due = self.last.elapsed() >= EVERY;
        if due {
            self.said();
        }
        due
    }

    /// Says how far a bar is that nobody sees, if it is time to.
    pub fn follow(&mut self, bar: &ProgressBar, terminal: &Terminal) {
        if bar.is_hidden() && self.is_due() {
            terminal.detail(&far(bar));
        }
    }
}

/// `12,345 of 60,000 images, 2 min 5 s left`; without the rest where it is not known how many there
/// are.
fn far(bar: &ProgressBar) -> String {
    let done = thousands(bar.position() as usize);
    match bar.length() {
        Some(total) => {
            let left = duration(bar.eta().as_secs_f64());
            format!(
                "{done} of {} images, {left} left",
                thousands(total as usize)
            )
        }
        None => format!("{done} images"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_in_a_while() {
        let mut sign = SignOfLife::new();
        assert!(!sign.is_due());
        sign.last = Instant::now().checked_sub(EVERY).unwrap();
        assert!(sign.is_due() && !sign.is_due());
    }

    #[test]
    fn a_hidden_bar_says_how_far_it_is() {
        let bar = ProgressBar::hidden();
        bar.set_length(60_000);
        bar.set_position(12_345);
        let text = far(&bar);
        assert!(
            text.starts_with("12,345 of 60,000 images, ") && text.ends_with(" left"),
            "{text}"
        );
        bar.unset_length();
        assert_eq!(far(&bar), "12,345 images");
    }
}
