//! What people see: status lines, bars and errors on standard error, results on standard output.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use console::{Style, Term, measure_text_width};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kiln_data::Thousands;
use kiln_eval::printable;

use crate::named::Named;

/// Standard error and standard output. What messages quote from files reaches the terminal without
/// control characters. Nothing but errors, and what results leave out, is shown when quiet; colours
/// and bars only on a terminal.
#[derive(Debug)]
pub struct Terminal {
    quiet: bool,
    stderr: Term,
}

impl Terminal {
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            stderr: Term::stderr(),
        }
    }

    /// A line such as `    Fetching mnist`, the way cargo does.
    pub fn status(&self, verb: &str, text: &str) {
        if !self.quiet {
            self.verb(verb, text);
        }
    }

    /// What a result leaves out, with lines that tell more: part of the result, and shown even when
    /// quiet.
    pub fn left_out(&self, verb: &str, text: &str, more: &[String]) {
        self.verb(verb, text);
        for line in more {
            self.line(&format!("{:>12} {}", "", printable(line)));
        }
    }

    fn verb(&self, verb: &str, text: &str) {
        let verb = Style::new()
            .for_stderr()
            .green()
            .bold()
            .apply_to(format!("{verb:>12}"));
        self.line(&format!("{verb} {}", printable(text)));
    }

    /// A line without a verb, in line with the text of the others.
    pub fn detail(&self, text: &str) {
        if !self.quiet {
            self.line(&format!("{:>12} {}", "", printable(text)));
        }
    }

    /// Whether a line with a verb fits into the terminal; without a terminal any does.
    pub fn fits(&self, text: &str) -> bool {
        // The verb takes twelve columns and a space.
        self.stderr
            .size_checked()
            .is_none_or(|(_, columns)| 13 + measure_text_width(text) <= usize::from(columns))
    }

    /// An error.
    pub fn error(&self, text: &str) {
        let word = Style::new().for_stderr().red().bold().apply_to("error");
        self.line(&format!("{word}: {}", printable(text)));
    }

    fn line(&self, text: &str) {
        // There is nowhere left to say that standard error is closed.
        let _ = writeln!(&self.stderr, "{text}");
    }

    /// A result. Where its reader has gone away, as `head` does, nothing is wrong and nothing
    /// changes: neither the work that is still to do nor how the command ends.
    #[expect(
        clippy::unused_self,
        reason = "everything that people see goes through the terminal"
    )]
    pub fn print(&self, text: &str) -> std::io::Result<()> {
        let mut stdout = Named::stdout();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// Progress through images, with their rate: a bar where it is known how many there are.
    pub fn progress(&self, title: &str, count: Option<u64>) -> ProgressBar {
        match count {
            Some(count) => self.bar(
                count,
                &format!("{title} {{bar:24.green}} {{human_pos:>7}}/{{human_len}} {{per_sec:>12}} {{eta:>4}} left"),
            ),
            None => self.spinner(&format!("{title} {{human_pos:>7}} {{per_sec:>12}}")),
        }
    }

    /// A bar of `total` steps. Hidden when quiet or when standard error is no terminal.
    pub fn bar(&self, total: u64, template: &str) -> ProgressBar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let style = ProgressStyle::with_template(template).expect("templates are literals");
        let bar = ProgressBar::with_draw_target(Some(total), target);
        bar.set_style(style.progress_chars("━╸─"));
        bar
    }

    /// Shows a spinner's life while nothing can be counted.
    pub fn spinner(&self, template: &str) -> ProgressBar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template(template).expect("templates are literals"));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

/// `12,345`.
pub fn thousands(n: usize) -> String {
    Thousands(n as u64).to_string()
}

/// `1 image`, `1,234 images`, `2 classes`: something whose plural ends in s.
pub fn counted(n: u64, what: &str) -> String {
    let plural = match (n, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {what}{plural}", thousands(n as usize))
}

/// `98.73 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// `3.4 s`, `2 min 5 s`, `1 h 30 min`.
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

/// `443.2 kB`.
pub fn bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
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
