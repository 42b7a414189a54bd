//! What people see: status lines, bars and errors on standard error, results on standard output.

use std::fmt;
use std::io::{self, ErrorKind, Stdout, Write};
use std::time::Duration;

use console::{Style, Term, measure_text_width};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use kiln_pipeline::dataset::Skipped;
use kiln_util::{Thousands, bytes, counted, duration, printable, thousands};

/// Standard error and standard output. What messages quote from files reaches the terminal without
/// control characters. Nothing but errors, and what results leave out, is shown when quiet; colors
/// and bars only on a terminal.
#[derive(Debug, Clone)]
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
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut stdout = Named::stdout();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// Shows progress through images with their rate: a bar if their number is known.
    pub fn progress(&self, title: &str, unit: &'static str, count: Option<u64>) -> ProgressBar {
        match count {
            Some(count) => self.bar(
                count,
                &format!(
                    "{title:>12} {{bar:24.green}} {{human_pos:>7}}/{{human_len}}{{rate}}{{left}}"
                ),
                unit,
            ),
            None => self.spinner(&format!("{title:>12} {{human_pos:>7}}{{rate}}"), unit),
        }
    }

    /// Shows a bar of `total` steps. Templates may use `{rate}`, the steps per second in `unit`, and
    /// `{left}`, the time left, which both are empty while there is hardly anything to measure.
    /// Hidden when quiet or when standard error is not a terminal.
    pub fn bar(&self, total: u64, template: &str, unit: &'static str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), self.target());
        bar.set_style(style(template, unit).progress_chars("━╸─"));
        bar
    }

    /// Shows a spinner while the number of steps is not known.
    pub fn spinner(&self, template: &str, unit: &'static str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(None, self.target());
        bar.set_style(style(template, unit));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        }
    }

    /// Lists the images that were skipped, if there are any: part of the result, shown even when
    /// quiet.
    pub fn skipped(&self, skipped: &Skipped) {
        if skipped.count == 0 {
            return;
        }
        let more = skipped.count.saturating_sub(skipped.reasons.len() as u64);
        let more = (more > 0).then(|| format!("and {} more", Thousands(more)));
        let lines: Vec<String> = skipped.reasons.iter().cloned().chain(more).collect();
        self.left_out(
            "Skipped",
            &format!("{} that cannot be used:", counted(skipped.count, "image")),
            &lines,
        );
    }
}

/// A writer with a name for messages. Errors keep their kind, by which a reader that went away is
/// known.
pub struct Named<W> {
    name: &'static str,
    to: W,
}

impl Named<Stdout> {
    /// Standard output.
    pub fn stdout() -> Self {
        Self {
            name: "standard output",
            to: io::stdout(),
        }
    }
}

impl<W> Named<W> {
    fn fail(&self, error: &io::Error) -> io::Error {
        let full = matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        );
        let advice = if full { ": make room" } else { "" };
        io::Error::new(
            error.kind(),
            format!("cannot write {}: {error}{advice}", self.name),
        )
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).map_err(|error| self.fail(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|error| self.fail(&error))
    }
}

/// What is measured for less time than this says nothing.
const MEASURABLE: Duration = Duration::from_millis(500);

fn style(template: &str, unit: &'static str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("templates are literals")
        .with_key(
            "rate",
            move |state: &ProgressState, out: &mut dyn fmt::Write| {
                if state.elapsed() >= MEASURABLE {
                    let _ = write!(out, "  {}", rate(state.per_sec(), unit));
                }
            },
        )
        .with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
            if state.elapsed() >= MEASURABLE && state.pos() > 0 {
                let _ = write!(out, "  {} left", duration(state.eta().as_secs_f64()));
            }
        })
}

/// `263 images/s`, `2.5 images/s`, `1 min 41 s per image`.
fn rate(per_second: f64, unit: &str) -> String {
    if unit == "bytes" {
        return format!("{}/s", bytes(per_second as u64));
    }
    if per_second < 1.0 {
        let one = unit.trim_end_matches('s');
        format!(
            "{} per {one}",
            duration(1.0 / per_second.max(f64::MIN_POSITIVE))
        )
    } else if per_second < 10.0 {
        format!("{per_second:.1} {unit}/s")
    } else {
        format!("{} {unit}/s", thousands(per_second.round() as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded() {
        assert_eq!(rate(1_292.038_457_767_263, "images"), "1,292 images/s");
        assert_eq!(rate(0.009_947_890_902, "images"), "1 min 41 s per image");
        assert_eq!(rate(2.46, "images"), "2.5 images/s");
        assert_eq!(rate(1_500_000.0, "bytes"), "1.50 MB/s");
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_failure_names_what_it_is_about_and_keeps_its_kind() {
        let mut out = Named {
            name: "standard output",
            to: Full,
        };
        let error = out.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let message = error.to_string();
        assert!(
            message.starts_with("cannot write standard output: ")
                && message.ends_with(": make room"),
            "{message}"
        );
        assert_eq!(out.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
