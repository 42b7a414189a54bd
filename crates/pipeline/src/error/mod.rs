//! Everything that can go wrong in a pipeline: one enum around the errors of phases and crates.
//!
//! The errors of phases are in the files beside this one, by what they are about. These use no
//! phase, and phases return [`Error`]: so there is no circle of files.

pub(crate) mod images;
pub(crate) mod models;
pub(crate) mod predictions;
#[cfg(feature = "training")]
pub(crate) mod training;

use crate::hint::Hint;

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
    Dataset(#[from] images::DatasetError),
    /// Images in memory or in a loader cannot be used.
    #[error(transparent)]
    Data(#[from] kiln_data::DataError),
    /// An IDX file cannot be used.
    #[error(transparent)]
    Idx(#[from] kiln_data::IdxError),
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
    /// A recipe file cannot be read.
    #[cfg(feature = "training")]
    #[error(transparent)]
    RecipeFile(#[from] training::RecipeFileError),
    /// No recipe can be made for images.
    #[cfg(feature = "training")]
    #[error(transparent)]
    Init(#[from] training::InitError),
    /// A run cannot be trained.
    #[cfg(feature = "training")]
    #[error(transparent)]
    TrainRun(#[from] training::TrainRunError),
    /// Learning rates cannot be tested.
    #[cfg(feature = "training")]
    #[error(transparent)]
    RangeTest(#[from] training::RangeTestError),
    /// A run cannot be exported.
    #[cfg(feature = "training")]
    #[error(transparent)]
    ExportRun(#[from] training::ExportRunError),
    /// A backbone cannot be read from its file, or run.
    #[cfg(feature = "training")]
    #[error(transparent)]
    Backbone(#[from] training::BackboneError),
    /// A sweep cannot be run or reported.
    #[cfg(feature = "training")]
    #[error(transparent)]
    Sweep(#[from] training::SweepError),
    /// A run cannot be reported.
    #[cfg(feature = "training")]
    #[error(transparent)]
    ReportRun(#[from] training::ReportRunError),
    /// An image cannot be prepared.
    #[error(transparent)]
    Preprocess(#[from] kiln_preprocess::PreprocessError),
    /// A record of preprocessing is not valid.
    #[error(transparent)]
    Preprocessing(#[from] kiln_model::PreprocessingError),
    /// A model cannot be run.
    #[error(transparent)]
    Inference(#[from] kiln_inference::RunError),
    /// An ONNX file cannot be decoded.
    #[error(transparent)]
    Onnx(#[from] kiln_onnx::DecodeError),
    /// Images to classify cannot be used.
    #[error(transparent)]
    Inputs(#[from] images::InputsError),
    /// Predictions cannot be written, read or resumed.
    #[error(transparent)]
    Predictions(#[from] predictions::PredictionsError),
    /// Predictions of several shards cannot be merged.
    #[error(transparent)]
    Merge(#[from] predictions::MergeError),
    /// What is specified about a model cannot be used.
    #[error(transparent)]
    Overrides(#[from] models::OverridesError),
    /// A model cannot be loaded as it was asked for.
    #[error(transparent)]
    Engines(#[from] models::EnginesError),
    /// An engine cannot be loaded, or fails.
    #[error(transparent)]
    Engine(#[from] kiln_inference::EngineError),
    /// The model of a network cannot be made of its weights.
    #[error(transparent)]
    Network(#[from] models::NetworkError),
    /// Models cannot be timed.
    #[error(transparent)]
    Bench(#[from] models::BenchError),
    /// Models cannot be compared.
    #[error(transparent)]
    Compare(#[from] models::CompareError),
    /// Vectors cannot be computed or written.
    #[error(transparent)]
    Embed(#[from] models::EmbedError),
    /// Images cannot be explained as asked.
    #[error(transparent)]
    Explain(#[from] models::ExplainError),
    /// A model cannot be made smaller.
    #[error(transparent)]
    Quantize(#[from] models::QuantizeModelError),
    /// A model cannot be described, or written in another form.
    #[error(transparent)]
    Describe(#[from] models::DescribeError),
    /// A file is no list of images.
    #[error(transparent)]
    NotAList(#[from] images::NotAList),
}

/// The result of a phase.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns what to do about it. Errors of libraries below have hints of their own.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Dataset(error) => error.hint(),
            Self::Inputs(error) => error.hint(),
            Self::Predictions(error) => error.hint(),
            Self::Merge(error) => error.hint(),
            Self::Overrides(error) => error.hint(),
            Self::Engines(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::Bench(error) => error.hint(),
            Self::Compare(error) => error.hint(),
            Self::Describe(error) => error.hint(),
            Self::Embed(error) => error.hint(),
            Self::Explain(error) => error.hint(),
            Self::Quantize(error) => error.hint(),
            Self::NotAList(error) => error.hint(),
            #[cfg(feature = "training")]
            Self::RecipeFile(error) => error.hint(),
            #[cfg(feature = "training")]
            Self::Init(error) => error.hint(),
            #[cfg(feature = "training")]
            Self::TrainRun(error) => error.hint(),
            #[cfg(feature = "training")]
            Self::ExportRun(error) => error.hint(),
            #[cfg(feature = "training")]
            Self::RangeTest(error) => error.hint(),
            #[cfg(feature = "training")]
            Self::Backbone(error) => error.hint(),
            #[cfg(feature = "training")]
            Self::ReportRun(error) => error.hint(),
            #[cfg(feature = "training")]
            Self::Train(_) | Self::Export(_) | Self::Sweep(_) => None,
            Self::Cache(_)
            | Self::Asset(_)
            | Self::Fetch(_)
            | Self::Data(_)
            | Self::Idx(_)
            | Self::Files(_)
            | Self::Recipe(_)
            | Self::Run(_)
            | Self::File(_)
            | Self::Load(_)
            | Self::Metrics(_)
            | Self::Report(_)
            | Self::Preprocess(_)
            | Self::Preprocessing(_)
            | Self::Inference(_)
            | Self::Onnx(_)
            | Self::Engine(_) => None,
        }
    }

    /// Returns the error of the part that failed, whose type says more.
    pub fn inner(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        match self {
            Self::Cache(error) => error,
            Self::Asset(error) => error,
            Self::Fetch(error) => error,
            Self::Dataset(error) => error,
            Self::Data(error) => error,
            Self::Idx(error) => error,
            Self::Files(error) => error,
            Self::Recipe(error) => error,
            Self::Run(error) => error,
            Self::File(error) => error,
            #[cfg(feature = "training")]
            Self::Train(error) => error,
            #[cfg(feature = "training")]
            Self::Export(error) => error,
            Self::Load(error) => error,
            Self::Metrics(error) => error,
            Self::Report(error) => error,
            #[cfg(feature = "training")]
            Self::RecipeFile(error) => error,
            #[cfg(feature = "training")]
            Self::Init(error) => error,
            #[cfg(feature = "training")]
            Self::TrainRun(error) => error,
            #[cfg(feature = "training")]
            Self::RangeTest(error) => error,
            #[cfg(feature = "training")]
            Self::ExportRun(error) => error,
            #[cfg(feature = "training")]
            Self::Backbone(error) => error,
            #[cfg(feature = "training")]
            Self::Sweep(error) => error,
            #[cfg(feature = "training")]
            Self::ReportRun(error) => error,
            Self::Preprocess(error) => error,
            Self::Preprocessing(error) => error,
            Self::Inference(error) => error,
            Self::Onnx(error) => error,
            Self::Inputs(error) => error,
            Self::Predictions(error) => error,
            Self::Merge(error) => error,
            Self::Overrides(error) => error,
            Self::Engines(error) => error,
            Self::Engine(error) => error,
            Self::Network(error) => error,
            Self::Bench(error) => error,
            Self::Compare(error) => error,
            Self::Describe(error) => error,
            Self::Embed(error) => error,
            Self::Explain(error) => error,
            Self::Quantize(error) => error,
            Self::NotAList(error) => error,
        }
    }
}
