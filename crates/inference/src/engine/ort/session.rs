//! A model in ONNX Runtime.

use ::ort::ep::{self, ExecutionProvider};
use ::ort::logging::LogLevel;
use ::ort::session::{RunOptions, Session};
use ::ort::value::TensorRef;

use super::placement::Placement;
use super::pool::Pool;
use super::runtime::{self, Runtime};
use crate::chunks::{self, Chunk};
use crate::engine::{Engine, EngineError, NamedTensor, Source};
use crate::options::{Device, EngineChoice, Options};
use crate::receipt::{ProviderNodes, Receipt};

/// Largest batch of one run where neither the graph nor the options say it: beyond it speed no longer grows, memory does.
const LARGEST_RUN: usize = 256;

/// A model's sessions. A session computes one run at a time, so there is one for each run that may go on at a time.
struct Ort {
    sessions: Pool<Session>,
    /// Keeps the runs from being as talkative as loading was.
    quiet: RunOptions,
    shape: [usize; 3],
    batch: Option<usize>,
    /// Largest batch of one run where the graph leaves it open.
    max_batch: usize,
    receipt: Receipt,
}

/// Loads a model.
pub fn load(source: &Source<'_>, options: &Options, threads: usize) -> Result<Box<dyn Engine>, EngineError> {
    let runtime = runtime::get(options)?;
    let parallel_runs = options.parallel_runs.unwrap_or(1).max(1);
    let wanted = Wanted { runtime, bytes: source.bytes, threads: (threads / parallel_runs).max(1) };
    let (first, device, fallback) = match options.device {
        Device::Cpu => (wanted.on_cpu()?, Device::Cpu, None),
        Device::Cuda => (wanted.on_cuda()?, Device::Cuda, None),
        Device::Auto => match wanted.on_cuda() {
            Ok(session) => (session, Device::Cuda, None),
            Err(error) => (wanted.on_cpu()?, Device::Cpu, Some(error.to_string())),
        },
    };
    let Loaded { session, nodes } = first;
    let mut sessions = vec![session];
    for _ in 1..parallel_runs {
        let another = if device == Device::Cuda { wanted.on_cuda() } else { wanted.on_cpu() };
        sessions.push(another?.session);
    }
    let mut quiet = RunOptions::new().map_err(load_error)?;
    quiet.set_log_level(LogLevel::Fatal).map_err(load_error)?;
    Ok(Box::new(Ort {
        sessions: Pool::new(sessions),
        quiet,
        shape: source.shape,
        batch: source.batch,
        max_batch: options.max_batch.unwrap_or(LARGEST_RUN).max(1),
        receipt: Receipt {
            engine: EngineChoice::Ort,
            version: runtime.library.version.clone(),
            requested: options.device,
            device,
            fallback,
            threads: threads.max(parallel_runs),
            parallel_runs: Some(parallel_runs),
            library: Some(runtime.library.clone()),
            nodes,
        },
    }))
}

/// A session to be made.
struct Wanted<'a> {
    runtime: &'a Runtime,
    bytes: &'a [u8],
    threads: usize,
}

/// A session and what computes its nodes.
struct Loaded {
    session: Session,
    nodes: Vec<ProviderNodes>,
}

impl Wanted<'_> {
    fn on_cpu(&self) -> Result<Loaded, EngineError> {
        self.load(None)
    }

    fn on_cuda(&self) -> Result<Loaded, EngineError> {
        let cuda_error = |reason: &dyn std::fmt::Display| EngineError::Cuda(one_line(reason));
        if !ep::CUDA::is_available().map_err(|error| cuda_error(&error))? {
            return Err(cuda_error(&format_args!("`{}` is built without CUDA", self.runtime.library.path.display())));
        }
        // TF32 is on by default and rounds inputs to 10 bits of mantissa: results would differ from those on the
        // processor in the third digit.
        let loaded = self.load(Some(ep::CUDA::default().with_tf32(false).build().error_on_failure()))?;
        // A provider may be there and take nothing.
        if !loaded.nodes.is_empty() && loaded.nodes.iter().all(|share| share.provider != ep::CUDA::NAME) {
            return Err(cuda_error(&"it took none of the graph's nodes"));
        }
        Ok(loaded)
    }

    fn load(&self, provider: Option<ep::ExecutionProviderDispatch>) -> Result<Loaded, EngineError> {
        let placement = Placement::default();
        let builder = Session::builder(&self.runtime.environment).map_err(load_error)?;
        let builder = builder.with_logger(placement.logger()).map_err(load_error)?;
        let builder = builder.with_log_level(LogLevel::Verbose).map_err(load_error)?;
        let mut builder = builder.with_intra_threads(self.threads).map_err(load_error)?;
        if let Some(provider) = provider {
            let builder_with = builder.with_execution_providers([provider]);
            builder = builder_with.map_err(|error| EngineError::Cuda(one_line(&error)))?;
        }
        let session = builder.commit_from_memory(self.bytes).map_err(load_error)?;
        Ok(Loaded { session, nodes: placement.heard() })
    }
}

impl Engine for Ort {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        match self.batch {
            Some(batch) => chunks::fixed(images, batch),
            None => chunks::at_most(images, self.max_batch),
        }
    }

    fn run(&self, input: &[f32], batch: usize) -> Result<Vec<NamedTensor>, EngineError> {
        let [c, h, w] = self.shape;
        let input = TensorRef::from_array_view(([batch, c, h, w], input)).map_err(run_error)?;
        let mut session = self.sessions.take();
        let outputs = session.run_with_options(::ort::inputs![input], &self.quiet).map_err(run_error)?;
        outputs.iter().map(|(name, value)| named(name, &value)).collect()
    }

    fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

fn named(name: &str, value: &::ort::value::ValueRef<'_>) -> Result<NamedTensor, EngineError> {
    let (shape, data) = value.try_extract_tensor::<f32>().map_err(run_error)?;
    // Sizes of a tensor that exists are not negative.
    let shape = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    Ok(NamedTensor { name: name.to_owned(), shape, data: data.to_vec() })
}

fn load_error(error: impl std::fmt::Display) -> EngineError {
    EngineError::Load { engine: EngineChoice::Ort, reason: one_line(&error) }
}

fn run_error(error: impl std::fmt::Display) -> EngineError {
    EngineError::Run { engine: EngineChoice::Ort, reason: one_line(&error) }
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
