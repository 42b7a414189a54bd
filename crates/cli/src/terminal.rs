//! What people see: status lines, bars and errors on standard error, results on standard output.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use console::{Style, Term, measure_text_width};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kiln_util::printable;

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

    /// What to do about an error.
    pub fn help(&self, text: &str) {
        let word = Style::new().for_stderr().cyan().bold().apply_to("help");
        self.line(&format!(" {word}: {}", printable(text)));
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

/// `443.2 kB`.
pub fn bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}
