//! Images that could not be read while a model went through many.

use anyhow::bail;
use kiln_data::FilesError;

use crate::commands::Context;
use crate::dataset::LISTED;

/// How many there are, and what is wrong with the first of them.
#[derive(Debug, Default)]
pub struct Unreadable {
    count: u64,
    reasons: Vec<String>,
}

impl Unreadable {
    /// Takes note of one.
    pub fn push(&mut self, reason: &impl ToString) {
        self.count += 1;
        if self.reasons.len() < LISTED {
            self.reasons.push(reason.to_string());
        }
    }

    /// At the end, when `read` images of the source could be read, and `resumed` more had their
    /// predictions already: an error, or with `--skip-bad` listed when the command ends. That there
    /// are no others is an error in any case.
    pub fn settle(
        self,
        source: &impl ToString,
        read: u64,
        resumed: u64,
        context: &Context<'_>,
    ) -> anyhow::Result<()> {
        let name = source.to_string();
        if let (1, 0, Some(only)) = (self.count, read + resumed, self.reasons.first())
            && !context.files.skip_bad()
        {
            bail!("{only}");
        }
        if self.count > 0 && !context.files.skip_bad() {
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
        if let (0, Some(first)) = (read + resumed, self.reasons.first()) {
            return Err(FilesError::NothingReadable {
                name,
                example: first.clone(),
            }
            .into());
        }
        context.files.skipped(self.count, self.reasons);
        Ok(())
    }
}
