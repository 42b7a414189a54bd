//! A model in ONNX Runtime.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::ort::ep::{self, ExecutionProvider};
use ::ort::session::Session;
use ::ort::value::TensorRef;

use super::runtime::{self, Runtime};
use crate::chunks::{self, Chunk};
use crate::engine::{Engine, EngineError, Lane, NamedTensor, Source};
use crate::input::Input;
use crate::options::{Device, EngineChoice, Options};
use crate::receipt::Receipt;

/// Largest batch of one run where the graph leaves it open: beyond it speed no longer grows, memory does.
const LARGEST_RUN: usize = 256;

/// Most bytes of models in lanes: beyond, there are fewer lanes with more threads each.
const LANES_BYTES: usize = 256 << 20;

/// A session whose runs take turns: each uses every thread. For streams more sessions are made, since `ort` runs one graph at
/// a time per session; a thread for each graph is faster than many threads for one.
struct Ort {
    session: Mutex<Run>,
    runtime: &'static Runtime,
    lanes: usize,
    /// Of the file, where there is more than one lane.
    bytes: Vec<u8>,
    receipt: Receipt,
}

/// A session and the shape of what it takes.
struct Run {
    session: Session,
    shape: [usize; 3],
    batch: Option<usize>,
}

/// Loads a model.
pub fn load(source: &Source<'_>, options: &Options, threads: usize) -> Result<Box<dyn Engine>, EngineError> {
    let runtime = runtime::get(options)?;
    let (session, device, fallback) = match options.device {
        Device::Cpu => (on_cpu(runtime, source.bytes, threads)?, Device::Cpu, None),
        Device::Cuda => (on_cuda(runtime, source, threads)?, Device::Cuda, None),
        Device::Auto => match on_cuda(runtime, source, threads) {
            Ok(session) => (session, Device::Cuda, None),
            Err(error) => (on_cpu(runtime, source.bytes, threads)?, Device::Cpu, Some(error.to_string())),
        },
    };
    let lanes = if device == Device::Cpu { (LANES_BYTES / source.bytes.len().max(1)).clamp(1, threads) } else { 1 };
    Ok(Box::new(Ort {
        runtime,
        session: Mutex::new(Run { session, shape: source.shape, batch: source.batch }),
        lanes,
        bytes: if lanes > 1 { source.bytes.to_vec() } else { Vec::new() },
        receipt: Receipt {
            engine: EngineChoice::Ort,
            version: runtime.library.version.clone(),
            requested: options.device,
            device,
            fallback,
            threads,
            library: Some(runtime.library.clone()),
        },
    }))
}

fn on_cpu(runtime: &Runtime, bytes: &[u8], threads: usize) -> Result<Session, EngineError> {
    let builder = Session::builder(&runtime.environment).map_err(load_error)?;
    let builder = builder.with_intra_threads(threads).map_err(load_error)?;
    // Threads that spin while they wait take the cores from those that prepare images.
    let mut builder = builder.with_intra_op_spinning(false).map_err(load_error)?;
    builder.commit_from_memory(bytes).map_err(load_error)
}

fn on_cuda(runtime: &Runtime, source: &Source<'_>, threads: usize) -> Result<Session, EngineError> {
    let cuda_error = |reason: &dyn std::fmt::Display| EngineError::Cuda(one_line(reason));
    if !ep::CUDA::is_available().map_err(|error| cuda_error(&error))? {
        return Err(cuda_error(&format_args!("`{}` is built without CUDA", runtime.library.path.display())));
    }
    // TF32 is on by default and rounds inputs to 10 bits of mantissa: results would differ from those on the processor
    // in the third digit.
    let cuda = ep::CUDA::default().with_tf32(false).build().error_on_failure();
    let builder = Session::builder(&runtime.environment).map_err(load_error)?;
    let builder = builder.with_intra_threads(threads).map_err(load_error)?;
    let mut builder = builder.with_execution_providers([cuda]).map_err(|error| cuda_error(&error))?;
    builder.commit_from_memory(source.bytes).map_err(load_error)
}

impl Engine for Ort {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        self.session().chunks(images)
    }

    fn run(&self, input: &Input<'_>, batch: usize) -> Result<Vec<NamedTensor>, EngineError> {
        self.session().run(input, batch)
    }

    fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn lane(&self) -> Result<Box<dyn Lane + '_>, EngineError> {
        if self.lanes == 1 {
            return Ok(Box::new(Shared(self)));
        }
        let session = on_cpu(self.runtime, &self.bytes, self.receipt.threads / self.lanes)?;
        let Run { shape, batch, .. } = *self.session();
        Ok(Box::new(Run { session, shape, batch }))
    }
}

impl Ort {
    fn session(&self) -> MutexGuard<'_, Run> {
        // A run that panicked leaves nothing half-done in the session that the next one would use.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The only lane.
struct Shared<'a>(&'a Ort);

impl Lane for Shared<'_> {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        self.0.chunks(images)
    }

    fn run(&mut self, input: &Input<'_>, batch: usize) -> Result<Vec<NamedTensor>, EngineError> {
        Engine::run(self.0, input, batch)
    }
}

impl Lane for Run {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        match self.batch {
            Some(batch) => chunks::fixed(images, batch),
            None => chunks::at_most(images, LARGEST_RUN),
        }
    }

    fn run(&mut self, input: &Input<'_>, batch: usize) -> Result<Vec<NamedTensor>, EngineError> {
        let [a, b, c] = self.shape;
        let shape = [batch, a, b, c];
        let input = match input {
            Input::F32(values) => TensorRef::from_array_view((shape, &values[..])).map(TensorRef::into_dyn),
            Input::U8(pixels) => TensorRef::from_array_view((shape, &pixels[..])).map(TensorRef::into_dyn),
        };
        let outputs = self.session.run(::ort::inputs![input.map_err(run_error)?]).map_err(run_error)?;
        outputs.iter().map(|(name, value)| named(name, &value)).collect()
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
