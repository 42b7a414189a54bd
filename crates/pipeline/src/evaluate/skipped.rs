//! Images that could not be read while a model went through many.

use kiln_data::FilesError;

use crate::context::Context;
use crate::error::{Error, Result};

/// Most images that are listed.
const LISTED: usize = 20;

/// How many images were skipped, and what is wrong with the first of them.
#[derive(Debug, Default)]
pub struct SkippedImages {
    count: u64,
    reasons: Vec<String>,
    /// What is wrong with the first, as it was.
    first: Option<Error>,
}

impl SkippedImages {
    /// Takes note of an image.
    pub fn push(&mut self, reason: impl Into<Error>) {
        let reason = reason.into();
        self.count += 1;
        if self.reasons.len() < LISTED {
            self.reasons.push(reason.to_string());
        }
        self.first.get_or_insert(reason);
    }

    /// Ends the work, when `read` images of the source could be read and `resumed` more had their
    /// predictions already: unreadable images are an error, or with [`Context::skip_unreadable`]
    /// listed in the context. That there are no others is an error in any case.
    pub fn settle(
        self,
        source: &impl ToString,
        read: u64,
        resumed: u64,
        context: &Context<'_>,
    ) -> Result<()> {
        let (name, others) = (source.to_string(), read + resumed);
        let Some(first) = self.first else {
            return Ok(());
        };
        if !context.files.skips_unreadable() {
            if (self.count, others) == (1, 0) {
                return Err(first);
            }
            let mut examples = self.reasons;
            examples.truncate(FilesError::EXAMPLES);
            return Err(FilesError::Unreadable {
                name,
                bad: self.count,
                total: read + self.count,
                examples,
            }
            .into());
        }
        if others == 0 {
            return Err(FilesError::NothingReadable {
                name,
                example: first.to_string(),
            }
            .into());
        }
        context.files.skip(self.count, self.reasons);
        Ok(())
    }
}
