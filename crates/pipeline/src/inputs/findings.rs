//! What turns out about images while they are gone through, and is told at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_data::{NumberedFolders, Repeated, SkippedFiles};

use super::source::Source;
use crate::context::Context;
use crate::event::Event;

/// Most lines of a list that are named.
const LINES: usize = 5;

/// What turned out about images of one folder or list, shared with who goes through them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    skipped: SkippedFiles,
    /// Number of lines that do not count, and the first of them.
    repeated: (u64, Vec<Repeated>),
    numbered: Option<NumberedFolders>,
}

impl Findings {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what was skipped so far, in place of what was before.
    pub fn set_skipped(&self, skipped: SkippedFiles) {
        self.lock().skipped = skipped;
    }

    /// Takes note of a line that does not count.
    pub fn add_repeated(&self, line: Repeated) {
        let mut found = self.lock();
        found.repeated.0 += 1;
        if found.repeated.1.len() < LINES {
            found.repeated.1.push(line);
        }
    }

    /// Takes note of a class that was found by its number.
    pub fn set_numbered(&self, name: &str, class: u32) {
        let numbered = || NumberedFolders {
            folder: name.to_owned(),
            class,
            sorted_as_text: None,
        };
        self.lock().numbered.get_or_insert_with(numbered);
    }

    /// Tells all of it, and forgets it.
    fn tell(&self, source: &str, context: &Context<'_>) {
        let Found {
            skipped,
            repeated: (count, lines),
            numbered,
        } = std::mem::take(&mut *self.lock());
        if !skipped.is_empty() {
            context.emit(&Event::FilesSkipped {
                folder: source,
                skipped: &skipped,
            });
        }
        if count > 0 {
            context.emit(&Event::RepeatedFiles {
                list: source,
                count,
                lines: &lines,
            });
        }
        if let Some(example) = &numbered {
            context.emit(&Event::NumberedClasses {
                data: source,
                example,
            });
        }
    }
}

/// What turned out about images of several sources, each by its name.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllFindings {
    sources: Vec<(String, Findings)>,
    /// Number of photographs that stay turned.
    turned: Arc<AtomicU64>,
}

impl AllFindings {
    /// Those of one source.
    pub fn of(source: &Source, findings: Findings) -> Self {
        Self {
            sources: vec![(source.name(), findings)],
            ..Self::default()
        }
    }

    /// Adds those of others.
    pub fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        Self {
            sources: parts.into_iter().flat_map(|part| part.sources).collect(),
            ..Self::default()
        }
    }

    /// Takes note of whether a photograph stays turned.
    pub fn add_turned(&self, stays_turned: bool) {
        self.turned
            .fetch_add(u64::from(stays_turned), Ordering::Relaxed);
    }

    /// Tells all of them, now that the images were gone through.
    pub fn tell(&self, context: &Context<'_>) {
        let turned = self.turned.swap(0, Ordering::Relaxed);
        if turned > 0 {
            context.emit(&Event::OrientationIgnored { images: turned });
        }
        for (source, findings) in &self.sources {
            findings.tell(source, context);
        }
    }
}
