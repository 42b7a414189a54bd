//! A model in ONNX Runtime.

use std::borrow::Cow;

use ::ort::ep::{self, ExecutionProvider};
use ::ort::logging::LogLevel;
use ::ort::session::{RunOptions, Session};
use ::ort::value::TensorRef;

use super::placement::Placement;
use super::runtime::{self, Runtime};
use crate::chunks::{self, Chunk};
use crate::engine::one_line::one_line;
use crate::engine::{Engine, EngineError, Lane, NamedTensor, Outputs, Source};
use crate::input::Input;
use crate::options::{Device, EngineChoice, Options};
use crate::pool::Pool;
use crate::receipt::{ProviderNodes, Receipt};

/// Largest batch of one run where neither the graph nor the options say it: beyond it speed no
/// longer grows, memory does.
const LARGEST_RUN: usize = 256;

/// Most bytes of models in lanes that have sessions of their own: beyond, there are fewer lanes
/// with more threads each.
const LANES_BYTES: usize = 256 << 20;

/// A model's sessions. A session computes one run at a time, so there is one for each run that may
/// go on at a time. For streams more sessions are made: a thread for each graph is faster than many
/// threads for one.
struct Ort {
    runs: Pool<Run>,
    lanes: Lanes,
    /// What the session of a lane is made of, where lanes have their own.
    wanted: Wanted<'static>,
    receipt: Receipt,
}

/// A session and the shape of what it takes.
struct Run {
    session: Session,
    /// Keeps the runs from being as talkative as loading was.
    quiet: RunOptions,
    shape: [usize; 3],
    batch: Option<usize>,
    /// Largest batch of one run where the graph leaves it open.
    max_batch: usize,
}

/// Loads a model.
pub fn load(
    source: &Source<'_>,
    options: &Options,
    threads: usize,
) -> Result<Box<dyn Engine>, EngineError> {
    let runtime = runtime::get(options)?;
    // A session needs a thread.
    let parallel_runs = options.parallel_runs.unwrap_or(1).min(threads);
    let wanted = Wanted {
        runtime,
        bytes: source.bytes.into(),
        threads: threads / parallel_runs,
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
    for _ in 1..parallel_runs {
        let another = if device == Device::Cuda {
            wanted.on_cuda()
        } else {
            wanted.on_cpu()
        };
        runs.push(another?.run);
    }
    let lanes = Lanes::of(source.bytes.len(), device, threads, parallel_runs);
    let kept = if lanes.own {
        source.bytes.to_vec()
    } else {
        Vec::new()
    };
    let wanted = Wanted {
        bytes: kept.into(),
        threads: threads / lanes.count,
        ..wanted
    };
    Ok(Box::new(Ort {
        runs: Pool::new(runs),
        lanes,
        wanted,
        receipt: Receipt {
            engine: EngineChoice::Ort,
            version: runtime.library.version.clone(),
            requested: options.device,
            device,
            fallback,
            threads,
            parallel_runs: Some(parallel_runs),
            library: Some(runtime.library.clone()),
            nodes,
        },
    }))
}

/// The lanes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lanes {
    count: usize,
    /// Whether each has a session of its own; else they take those that there are for runs at a
    /// time.
    own: bool,
}

impl Lanes {
    /// Sessions of their own on the processor, as many as have room in memory, unless there are as
    /// many already.
    fn of(bytes: usize, device: Device, threads: usize, parallel_runs: usize) -> Self {
        let own = if device == Device::Cpu {
            (LANES_BYTES / bytes.max(1)).min(threads)
        } else {
            0
        };
        Self {
            count: own.max(parallel_runs),
            own: own > parallel_runs,
        }
    }
}

/// A session to be made.
struct Wanted<'a> {
    runtime: &'static Runtime,
    bytes: Cow<'a, [u8]>,
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
        let cuda_error = |reason: &dyn std::fmt::Display| EngineError::Cuda(one_line(reason));
        if !ep::CUDA::is_available().map_err(|error| cuda_error(&error))? {
            return Err(cuda_error(&format_args!(
                "`{}` is built without CUDA",
                self.runtime.library.path.display()
            )));
        }
        // TF32 is on by default and rounds inputs to 10 bits of mantissa: results would differ from
        // those on the processor in the third digit.
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
        let builder = Session::builder(&self.runtime.environment).map_err(load_error)?;
        let builder = builder
            .with_logger(placement.logger())
            .map_err(load_error)?;
        let builder = builder
            .with_log_level(LogLevel::Verbose)
            .map_err(load_error)?;
        // Threads that spin while they wait take the cores from those that prepare images.
        let builder = builder.with_intra_op_spinning(false).map_err(load_error)?;
        let mut builder = builder
            .with_intra_threads(self.threads)
            .map_err(load_error)?;
        if let Some(provider) = provider {
            let builder_with = builder.with_execution_providers([provider]);
            builder = builder_with.map_err(|error| EngineError::Cuda(one_line(&error)))?;
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
        self.runs.take().run(input, batch, outputs)
    }

    fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    fn lanes(&self) -> usize {
        self.lanes.count
    }

    fn lane(&self) -> Result<Box<dyn Lane + '_>, EngineError> {
        if self.lanes.own {
            Ok(Box::new(self.wanted.on_cpu()?.run))
        } else {
            Ok(Box::new(Shared(self)))
        }
    }
}

/// A lane that takes a session for each run.
struct Shared<'a>(&'a Ort);

impl Lane for Shared<'_> {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        self.0.chunks(images)
    }

    fn run(
        &mut self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        Engine::run(self.0, input, batch, outputs)
    }
}

impl Lane for Run {
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
        engine: EngineChoice::Ort,
        reason: one_line(&error),
    }
}

fn run_error(error: impl std::fmt::Display) -> EngineError {
    EngineError::Run {
        engine: EngineChoice::Ort,
        reason: one_line(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_as_many_as_there_are_sessions_or_room_for_more() {
        const MIB: usize = 1 << 20;
        let lanes = |mib: usize, parallel_runs| {
            let Lanes { count, own } = Lanes::of(mib * MIB, Device::Cpu, 8, parallel_runs);
            (count, own)
        };
        assert_eq!(
            [lanes(1, 1), lanes(100, 1), lanes(300, 1)],
            [(8, true), (2, true), (1, false)]
        );
        assert_eq!([lanes(1, 8), lanes(100, 8), lanes(300, 8)], [(8, false); 3]);
        assert_eq!(lanes(1, 3), (8, true));
        assert_eq!(
            Lanes::of(MIB, Device::Cuda, 8, 2),
            Lanes {
                count: 2,
                own: false
            }
        );
    }
}
