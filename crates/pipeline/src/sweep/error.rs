//! Sweeps that cannot be run or reported.

/// A sweep that cannot be run or reported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// A combination cannot be run.
    #[error("combination `{label}`: {source}")]
    Combination {
        /// The combination.
        label: String,
        /// Why it cannot be run.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The results cannot be written as CSV.
    #[error("cannot write the results as CSV: {0}")]
    Csv(#[from] csv::Error),
}
