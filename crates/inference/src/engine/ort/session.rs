//! A model in ONNX Runtime.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use ::ort::ep::{self, ExecutionProvider};
use ::ort::logging::LogLevel;
use ::ort::session::{RunOptions, Session as OrtSession};
use ::ort::value::TensorRef;
use kiln_onnx::ModelProto;

use super::error::OrtError;
use super::info::{OrtInfo, Placement, ProviderNodes};
use super::runtime::{self, Runtime};
use crate::choice::{Device, EngineId, RuntimeInfo};
use crate::chunks::{self, Chunk, NamedTensor};
use crate::engine::error::{EngineError, one_line};
use crate::engine::interface::{Engine, Outputs, Session, Source};
use crate::input::Input;
use crate::options::Options;
use crate::pool::FullPool;

/// Largest batch of one run where neither the graph nor the options say it: beyond it speed no
/// longer grows, memory does.
const LARGEST_RUN: usize = 256;

/// Maximum bytes of models in sessions made for streams: beyond, there are fewer sessions with more
/// threads each.
const SESSIONS_BYTES: usize = 256 << 20;

/// A model's sessions. A session computes one run at a time, so there is one for each
/// concurrent run. For streams more sessions are made: a thread for each graph is faster than many
/// threads for one.
struct Ort {
    runs: FullPool<Run>,
    sessions: Sessions,
    /// How to make a session for a stream, where those are its own.
    wanted: Wanted<'static>,
    info: RuntimeInfo,
}

/// A session and the shape of what it takes.
struct Run {
    session: OrtSession,
    /// Keeps the runs from being as talkative as loading was.
    quiet: RunOptions,
    shape: [usize; 3],
    batch: Option<usize>,
    /// Largest batch of one run where the graph leaves it open.
    max_batch: usize,
}

/// The session option for the folder of files with weights of a model that is loaded from memory.
const WEIGHTS_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// The session option for optimizations that are left out.
const DISABLED_OPTIMIZERS: &str = "optimization.disable_specified_optimizers";

/// The optimization that takes `Pad` into the node behind it. Up to 1.31 it does so before a max
/// pooling too, whose padding is minus infinity rather than the zeros of `Pad`: values below zero come
/// out wrong at the border.
const PAD_FUSION: &str = "Pad_Fusion";

/// Whether a max pooling takes the values of a `Pad`.
fn pads_pools(model: &ModelProto) -> bool {
    let nodes = || model.graph.iter().flat_map(|graph| &graph.node);
    let padded: HashSet<_> = nodes()
        .filter(|node| node.op_type == "Pad")
        .filter_map(|node| node.output.first())
        .collect();
    nodes().any(|node| {
        node.op_type == "MaxPool"
            && node
                .input
                .first()
                .is_some_and(|input| padded.contains(input))
    })
}

/// The first version that knows it, after the 1.
const WEIGHTS_FOLDER_SINCE: u32 = 21;

/// The folder of files with weights as ONNX Runtime takes it.
fn weights_folder(source: &Source<'_>, runtime: &Runtime) -> Result<Option<String>, EngineError> {
    let Some(folder) = source.weights_folder else {
        return Ok(None);
    };
    // An older one would ignore the option and look in the current folder.
    if let Some(version) = &runtime.library.version
        && minor(version).is_some_and(|minor| minor < WEIGHTS_FOLDER_SINCE)
    {
        return Err(OrtError::WeightFiles {
            found: version.clone(),
            needed: WEIGHTS_FOLDER_SINCE,
        }
        .into());
    }
    Ok(Some(folder.to_owned()))
}

/// The number after `1.` of a version.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// Loads a model.
pub fn load(
    source: &Source<'_>,
    options: &Options,
    threads: usize,
) -> Result<Arc<dyn Engine>, EngineError> {
    let runtime = runtime::get(&options.ort)?;
    // A session needs a thread.
    let concurrent_runs = options.ort.concurrent_runs.unwrap_or(1).min(threads);
    let wanted = Wanted {
        runtime,
        bytes: source.bytes.into(),
        weights_folder: weights_folder(source, runtime)?,
        pads_pools: pads_pools(source.proto),
        threads: threads / concurrent_runs,
        shape: source.shape,
        batch: source.batch,
        max_batch: options.max_batch.unwrap_or(LARGEST_RUN),
    };
    let (first, device, fallback) = match options.device {
        Device::Cpu => (wanted.on_cpu()?, Device::Cpu, None),
        Device::Cuda => (wanted.on_cuda()?, Device::Cuda, None),
        Device::Auto => match wanted.on_cuda() {
            Ok(loaded) => (loaded, Device::Cuda, None),
            Err(error) => (wanted.on_cpu()?, Device::Cpu, Some(error.to_string())),
        },
    };
    let Loaded { run, nodes } = first;
    let mut runs = vec![run];
    for _ in 1..concurrent_runs {
        let another = if device == Device::Cuda {
            wanted.on_cuda()
        } else {
            wanted.on_cpu()
        };
        runs.push(another?.run);
    }
    let weights = usize::try_from(source.weights_bytes).unwrap_or(usize::MAX);
    let size = source.bytes.len().saturating_add(weights);
    let sessions = Sessions::of(size, device, threads, concurrent_runs);
    let kept = if sessions.own {
        source.bytes.to_vec()
    } else {
        Vec::new()
    };
    let wanted = Wanted {
        bytes: kept.into(),
        threads: threads / sessions.count,
        ..wanted
    };
    Ok(Arc::new(Ort {
        runs: FullPool::new(runs),
        sessions,
        wanted,
        info: RuntimeInfo {
            version: runtime.library.version.clone(),
            device,
            fallback,
            ort: Some(OrtInfo {
                concurrent_runs,
                library: runtime.library.clone(),
                nodes,
            }),
            ..RuntimeInfo::new(EngineId::ORT, options.device, threads)
        },
    }))
}

/// The sessions of a model that a stream has at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sessions {
    count: usize,
    /// Whether they are made for the stream; else it shares those of the concurrent runs.
    own: bool,
}

impl Sessions {
    /// Sessions of their own on the CPU, as many as have room in memory, unless there are as
    /// many already.
    fn of(bytes: usize, device: Device, threads: usize, concurrent_runs: usize) -> Self {
        let own = if device == Device::Cpu {
            (SESSIONS_BYTES / bytes.max(1)).min(threads)
        } else {
            0
        };
        Self {
            count: own.max(concurrent_runs),
            own: own > concurrent_runs,
        }
    }
}

/// A session to be made.
struct Wanted<'a> {
    runtime: &'static Runtime,
    bytes: Cow<'a, [u8]>,
    /// Where files with further weights are.
    weights_folder: Option<String>,
    /// Whether a max pooling takes padded values.
    pads_pools: bool,
    threads: usize,
    shape: [usize; 3],
    batch: Option<usize>,
    max_batch: usize,
}

/// A session and what computes its nodes.
struct Loaded {
    run: Run,
    nodes: Vec<ProviderNodes>,
}

impl Wanted<'_> {
    fn on_cpu(&self) -> Result<Loaded, EngineError> {
        self.load(None)
    }

    fn on_cuda(&self) -> Result<Loaded, EngineError> {
        let cuda_error =
            |reason: &dyn std::fmt::Display| EngineError::from(OrtError::Cuda(one_line(reason)));
        if !ep::CUDA::is_available().map_err(|error| cuda_error(&error))? {
            return Err(cuda_error(&format_args!(
                "`{}` is built without CUDA",
                self.runtime.library.path.display()
            )));
        }
        // TF32 is on by default and rounds inputs to 10 bits of mantissa: results would differ from
        // those on the CPU in the third digit.
        let loaded = self.load(Some(
            ep::CUDA::default()
                .with_tf32(false)
                .build()
                .error_on_failure(),
        ))?;
        // A provider may be there and take nothing.
        if !loaded.nodes.is_empty()
            && loaded
                .nodes
                .iter()
                .all(|share| share.provider != ep::CUDA::NAME)
        {
            return Err(cuda_error(&"it took none of the graph's nodes"));
        }
        Ok(loaded)
    }

    fn load(&self, provider: Option<ep::ExecutionProviderDispatch>) -> Result<Loaded, EngineError> {
        let placement = Placement::default();
        let builder = OrtSession::builder(&self.runtime.environment).map_err(load_error)?;
        let builder = builder
            .with_logger(placement.logger())
            .map_err(load_error)?;
        let builder = builder
            .with_log_level(LogLevel::Verbose)
            .map_err(load_error)?;
        // A file may be an ONNX file and ONNX Runtime's own format at once, and hold another model in each:
        // the library takes the second by itself where it finds its mark.
        let builder = builder
            .with_config_entry("session.load_model_format", "ONNX")
            .map_err(load_error)?;
        // Threads that spin while they wait take the cores from those that prepare images.
        let builder = builder.with_intra_op_spinning(false).map_err(load_error)?;
        let mut builder = builder
            .with_intra_threads(self.threads)
            .map_err(load_error)?;
        if let Some(provider) = provider {
            let builder_with = builder.with_execution_providers([provider]);
            builder = builder_with.map_err(|error| OrtError::Cuda(one_line(&error)))?;
        }
        if let Some(folder) = &self.weights_folder {
            builder = builder
                .with_config_entry(WEIGHTS_FOLDER, folder)
                .map_err(load_error)?;
        }
        if self.pads_pools {
            builder = builder
                .with_config_entry(DISABLED_OPTIMIZERS, PAD_FUSION)
                .map_err(load_error)?;
        }
        let session = builder
            .commit_from_memory(&self.bytes)
            .map_err(load_error)?;
        let mut quiet = RunOptions::new().map_err(load_error)?;
        quiet.set_log_level(LogLevel::Fatal).map_err(load_error)?;
        let Self {
            shape,
            batch,
            max_batch,
            ..
        } = *self;
        let run = Run {
            session,
            quiet,
            shape,
            batch,
            max_batch,
        };
        Ok(Loaded {
            run,
            nodes: placement.heard(),
        })
    }
}

impl Engine for Ort {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        chunks_of(images, self.wanted.batch, self.wanted.max_batch)
    }

    fn run(
        &self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        self.runs.acquire().run(input, batch, outputs)
    }

    fn runtime(&self) -> &RuntimeInfo {
        &self.info
    }

    fn max_sessions(&self) -> usize {
        self.sessions.count
    }

    fn session(self: Arc<Self>) -> Result<Box<dyn Session>, EngineError> {
        if self.sessions.own {
            Ok(Box::new(self.wanted.on_cpu()?.run))
        } else {
            Ok(Box::new(Shared(self)))
        }
    }
}

/// Acquires one of the pooled sessions for each run.
struct Shared(Arc<Ort>);

impl Session for Shared {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        self.0.chunks(images)
    }

    fn run(
        &mut self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        self.0.run(input, batch, outputs)
    }
}

impl Session for Run {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        chunks_of(images, self.batch, self.max_batch)
    }

    fn run(
        &mut self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        let [a, b, c] = self.shape;
        let shape = [batch, a, b, c];
        let input = match input {
            Input::F32(values) => {
                TensorRef::from_array_view((shape, &values[..])).map(TensorRef::into_dyn)
            }
            Input::U8(pixels) => {
                TensorRef::from_array_view((shape, &pixels[..])).map(TensorRef::into_dyn)
            }
        };
        let inputs = ::ort::inputs![input.map_err(run_error)?];
        let computed = self
            .session
            .run_with_options(inputs, &self.quiet)
            .map_err(run_error)?;
        computed
            .iter()
            .take(outputs.limit())
            .map(|(name, value)| named(name, &value))
            .collect()
    }
}

fn chunks_of(images: usize, batch: Option<usize>, max_batch: usize) -> Vec<Chunk> {
    match batch {
        Some(batch) => chunks::fixed(images, batch),
        None => chunks::at_most(images, max_batch),
    }
}

fn named(name: &str, value: &::ort::value::ValueRef<'_>) -> Result<NamedTensor, EngineError> {
    let (shape, data) = value.try_extract_tensor::<f32>().map_err(run_error)?;
    // Sizes of a tensor that exists are not negative.
    let shape = shape
        .iter()
        .map(|&size| usize::try_from(size).unwrap_or(0))
        .collect();
    Ok(NamedTensor {
        name: name.to_owned(),
        shape,
        data: data.to_vec(),
    })
}

fn load_error(error: impl std::fmt::Display) -> EngineError {
    EngineError::Load {
        engine: EngineId::ORT,
        reason: one_line(&error),
    }
}

fn run_error(error: impl std::fmt::Display) -> EngineError {
    EngineError::Run {
        engine: EngineId::ORT,
        reason: one_line(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        assert_eq!(minor("1.18.1"), Some(18));
        assert_eq!(minor("1.31"), Some(31));
        assert_eq!(minor("2.0.0"), None);
    }

    #[test]
    fn sessions_are_as_many_as_there_are_or_room_for_more() {
        const MIB: usize = 1 << 20;
        let sessions = |mib: usize, concurrent_runs| {
            let Sessions { count, own } = Sessions::of(mib * MIB, Device::Cpu, 8, concurrent_runs);
            (count, own)
        };
        assert_eq!(
            [sessions(1, 1), sessions(100, 1), sessions(300, 1)],
            [(8, true), (2, true), (1, false)]
        );
        assert_eq!(
            [sessions(1, 8), sessions(100, 8), sessions(300, 8)],
            [(8, false); 3]
        );
        assert_eq!(sessions(1, 3), (8, true));
        assert_eq!(
            Sessions::of(MIB, Device::Cuda, 8, 2),
            Sessions {
                count: 2,
                own: false
            }
        );
    }
}
