//! Everything that can go wrong in a pipeline.

/// Why a phase failed.
///
/// The variants say which part failed; what to do about it is [`Error::hint`]'s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] kiln_assets::CacheError),
    /// There is no such asset.
    #[error(transparent)]
    Asset(#[from] kiln_assets::AssetError),
    /// An asset could not be fetched.
    #[error(transparent)]
    Fetch(#[from] kiln_assets::FetchError),
    /// A dataset does not fit what was asked of it.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::DatasetError),
    /// Images in memory or in a loader cannot be used.
    #[error(transparent)]
    Data(#[from] kiln_data::DataError),
    /// A folder or a list of images cannot be used.
    #[error(transparent)]
    Files(#[from] kiln_data::FilesError),
    /// A recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] kiln_model::RecipeError),
    /// A file of a run cannot be used.
    #[error(transparent)]
    Run(#[from] kiln_run::RunError),
    /// A file cannot be written, or a folder is in use.
    #[error(transparent)]
    File(#[from] kiln_util::FileError),
    /// Training failed.
    #[cfg(feature = "training")]
    #[error(transparent)]
    Train(#[from] kiln_trainer::TrainError),
    /// A model cannot be written as ONNX.
    #[cfg(feature = "training")]
    #[error(transparent)]
    Export(#[from] kiln_exporter::ExportError),
    /// A model cannot be loaded.
    #[error(transparent)]
    Load(#[from] kiln_inference::LoadError),
    /// Figures cannot be computed.
    #[error(transparent)]
    Metrics(#[from] kiln_metrics::MetricsError),
    /// Figures cannot be drawn.
    #[error(transparent)]
    Report(#[from] kiln_report::ReportError),
}

/// The result of a phase.
pub type Result<T> = std::result::Result<T, Error>;
