//! How a pipeline's events look on a terminal: a status line each, a bar for a task, and a line now
//! and then where no bar can be drawn.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use kiln_pipeline::{Event, Observer, Task};
use kiln_util::{Thousands, counted, duration, thousands};

use crate::terminal::{Terminal, bytes};

/// How often a task without a visible bar says how far it is.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Draws events on standard error.
pub struct TerminalObserver<'a> {
    terminal: &'a Terminal,
    /// Tasks do not nest.
    progress: Mutex<Progress>,
}

struct Progress {
    bar: Option<ProgressBar>,
    /// When something was last said.
    last: Instant,
}

impl<'a> TerminalObserver<'a> {
    /// Creates an observer that draws nothing yet.
    pub fn new(terminal: &'a Terminal) -> Self {
        Self {
            terminal,
            progress: Mutex::new(Progress {
                bar: None,
                last: Instant::now(),
            }),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, task: Task<'_>, total: Option<u64>) {
        let bar = match task {
            Task::Fetch { what } => {
                let bar = match total {
                    Some(total) => self.terminal.bar(
                        total,
                        "             {wide_msg} {bar:24.green} {bytes:>10}/{total_bytes:10}{rate}{left}",
                        "bytes",
                    ),
                    None => self
                        .terminal
                        .spinner("             {spinner:.green} {wide_msg} {elapsed:>4}", "bytes"),
                };
                bar.set_message(what.to_owned());
                bar
            }
            Task::Read { .. } => self.terminal.progress("Reading", "images", total),
            Task::Features => self.terminal.progress("Features", "images", total),
            Task::Evaluate { engine } => {
                self.terminal
                    .progress(&format!("Evaluating {engine}"), "images", total)
            }
            Task::Compare => self.terminal.progress("Comparing", "images", total),
            Task::Bench => self.terminal.progress("Measuring", "turns", total),
            _ => self.terminal.progress("Working", "steps", total),
        };
        let mut progress = self.progress();
        progress.bar = Some(bar);
        progress.last = Instant::now();
    }

    fn advance(&self, done: u64, resumed: u64) {
        let mut progress = self.progress();
        let Some(bar) = &progress.bar else { return };
        if bar.position() < resumed {
            // What was done before does not count for the speed.
            bar.set_position(resumed);
            bar.reset_eta();
        }
        bar.set_position(done);
        if bar.is_hidden() && progress.last.elapsed() >= HEARTBEAT {
            self.terminal.detail(&how_far(bar));
            progress.last = Instant::now();
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.progress().bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for TerminalObserver<'_> {
    fn event(&self, event: &Event<'_>) {
        let terminal = self.terminal;
        match event {
            Event::TaskStarted { task, total } => self.start(*task, *total),
            Event::TaskAdvanced { done, resumed, .. } => self.advance(*done, *resumed),
            Event::TaskFinished { .. } => self.finish(),
            Event::Fetching {
                asset,
                bytes: size,
                license,
            } => terminal.status("Fetching", &format!("{asset} ({}, {license})", bytes(*size))),
            Event::Fetched { folder, sources } => terminal.status(
                "Fetched",
                &format!("{} from {}", folder.display(), sources.join(", ")),
            ),
            Event::FetchMessage(text) => terminal.detail(text),
            Event::DatasetRead {
                name,
                images,
                seconds,
                other_files,
            } => {
                terminal.status(
                    "Read",
                    &format!("{} of {name} in {}", counted(*images, "image"), duration(*seconds)),
                );
                if let Some(text) = skipped_files(other_files) {
                    terminal.detail(&text);
                }
            }
            _ => {}
        }
    }
}

/// `12,345 of 60,000 images, 2 min 5 s left`; without the rest where their number is not known.
fn how_far(bar: &ProgressBar) -> String {
    let done = thousands(bar.position() as usize);
    match bar.length() {
        Some(total) => {
            let left = duration(bar.eta().as_secs_f64());
            format!("{done} of {} images, {left} left", Thousands(total))
        }
        None => format!("{done} images"),
    }
}

/// Most endings that are named.
const MOST_ENDINGS: usize = 10;

/// `3 other files skipped: .txt 2, .gif 1`, the most frequent ending first; nothing if there are
/// none.
fn skipped_files(endings: &[(String, u64)]) -> Option<String> {
    let all: u64 = endings.iter().map(|(_, count)| count).sum();
    let named = endings.iter().take(MOST_ENDINGS);
    let named: Vec<String> = named
        .map(|(ending, count)| match ending.as_str() {
            "" => format!("without an ending {}", Thousands(*count)),
            ending => format!(".{ending} {}", Thousands(*count)),
        })
        .collect();
    let more = if endings.len() > MOST_ENDINGS { ", …" } else { "" };
    let files = counted(all, "other file");
    (all > 0).then(|| format!("{files} skipped: {}{more}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_bar_says_how_far_it_is() {
        let bar = ProgressBar::hidden();
        bar.set_length(60_000);
        bar.set_position(12_345);
        let text = how_far(&bar);
        assert!(
            text.starts_with("12,345 of 60,000 images, ") && text.ends_with(" left"),
            "{text}"
        );
        bar.unset_length();
        assert_eq!(how_far(&bar), "12,345 images");
    }

    #[test]
    fn files_that_are_not_images_are_counted_by_ending() {
        let endings = [("txt".to_owned(), 2), (String::new(), 1)];
        let text = skipped_files(&endings).unwrap();
        assert_eq!(text, "3 other files skipped: .txt 2, without an ending 1");
        assert_eq!(skipped_files(&[]), None);
    }
}
