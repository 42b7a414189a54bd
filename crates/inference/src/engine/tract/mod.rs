//! tract: pure Rust. A batch is cut into runs for the cores, each on one thread; a run alone has the cores to itself, as far as
//! kiln's kernels compute it.

mod channels_last;
mod pick;
mod plan;
mod quantized;

use std::sync::Arc;
use std::time::Instant;

use kiln_kernels::{Ceilings, on_one_thread};
use kiln_onnx::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::ensure;

use self::plan::{Plans, guarded};
use super::error::EngineError;
use super::interface::{Availability, Engine, EngineInfo, Outputs, Session, Source};
use crate::choice::{Device, EngineId, RuntimeInfo};
use crate::chunks::{self, Chunk, NamedTensor};
use crate::input::{Input, InputKind};
use crate::options::Options;
use crate::profile::Profile;

impl EngineId {
    /// tract: pure Rust, CPU only, nothing to install.
    pub const TRACT: Self = Self::new("tract", "tract");
}

pub const INFO: EngineInfo = EngineInfo {
    id: EngineId::TRACT,
    summary: "pure Rust, built in",
    devices: &[Device::Cpu, Device::Auto],
    // Its dense layers give float32 whatever they take.
    floats: &[],
    is_configured: |_| false,
    probe: |_| {
        Ok(Availability {
            version: Some(VERSION.to_owned()),
            details: Vec::new(),
        })
    },
    load,
};

/// The version of tract that is built in, as far as it is known here: an embedding program's
/// Cargo.lock has the rest of it.
const VERSION: &str = "0.23";

/// Batch sizes of runs where the graph leaves the size open. Each takes a plan of its own, hence
/// few.
///
/// Programs of kiln's kernels choose themselves how many images of a run they take together. Of what stays tract's,
/// convolutions take the same time per image at every size up to 8; beyond, the columns that tract makes of images (200 kB
/// each for a layer of 32 to 64 channels, 5x5, on 8x8) outgrow the cache of a core. Wide dense layers gain from larger
/// runs, because their weights are read once for each; 8 is most of it.
const CHUNK_SIZES: [usize; 3] = [8, 4, 1];

/// Multiplications with an addition each from which on several threads are worth while for a single run: half a
/// millisecond of one, where waking the others takes some twenty microseconds.
const MANY: u64 = 20_000_000;

/// Most nodes of a graph. tract's optimizer takes a time that grows with their square: 20,000 take it 24
/// seconds, networks have some thousands.
const MAX_NODES: usize = 25_000;

/// A graph and its plans.
struct Tract {
    plans: Plans,
    /// Names of the graph's outputs.
    outputs: Vec<String>,
    shape: [usize; 3],
    batch: Option<usize>,
    /// Batch sizes of runs where the graph leaves it open, descending to 1.
    sizes: Vec<usize>,
    /// Whether a run that is alone is shared by threads, where there are several: with one, each caller's own computes its run.
    is_shared: bool,
    runtime: RuntimeInfo,
}

fn load(
    source: &Source<'_>,
    options: &Options,
    threads: usize,
) -> Result<Arc<dyn Engine>, EngineError> {
    check_operators(source.proto)?;
    let graph = guarded(|| {
        // What the file says about shapes in between is not needed, and would contradict plans for
        // other batch sizes.
        let onnx = tract_onnx::onnx().with_ignore_value_info(true);
        let proto = onnx.proto_model_for_read(&mut &*source.bytes)?;
        let parsed = onnx.parse(&proto, source.weights_folder)?;
        ensure!(
            parsed.unresolved_inputs.is_empty(),
            "no node makes {:?}",
            parsed.unresolved_inputs
        );
        Ok(parsed.model)
    });
    let graph = graph.map_err(load_error)?;
    let allowed = |size: &usize| *size <= options.max_batch.unwrap_or(usize::MAX);
    let open = || CHUNK_SIZES.into_iter().filter(allowed).collect();
    let sizes = source.batch.map_or_else(open, |batch| vec![batch]);
    let datum_type = match source.input {
        InputKind::Values => f32::datum_type(),
        InputKind::Pixels => u8::datum_type(),
    };
    let plans = Plans::new(
        graph,
        datum_type,
        source.shape,
        options.budget.bytes_per_value,
        &sizes,
    );
    let smallest = plans.get(source.batch.unwrap_or(1))?;
    Ok(Arc::new(Tract {
        plans,
        outputs: source
            .proto
            .outputs()
            .into_iter()
            .map(|output| output.name)
            .collect(),
        shape: source.shape,
        batch: source.batch,
        sizes,
        is_shared: threads > 1 && smallest.multiply_adds >= MANY,
        runtime: RuntimeInfo {
            version: Some(VERSION.to_owned()),
            fallback: (options.device == Device::Auto)
                .then(|| "tract runs on the CPU only".to_owned()),
            ..RuntimeInfo::new(EngineId::TRACT, options.device, threads)
        },
    }))
}

/// Checks that tract knows every operator, and that there are not too many nodes. It does find out
/// itself, but later, and without naming the node.
fn check_operators(model: &ModelProto) -> Result<(), EngineError> {
    let nodes = model.graph.as_ref().map_or(0, |graph| graph.node.len());
    if nodes > MAX_NODES {
        return Err(load_error(format!(
            "the graph has {nodes} nodes, of which tract would take minutes to optimize more than {MAX_NODES}"
        )));
    }
    let known = tract_onnx::onnx().op_register.0;
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        let own = node.is_onnx();
        if own && known.contains_key(&node.op_type) {
            continue;
        }
        let operator = if own {
            node.op_type.clone()
        } else {
            format!("{}::{}", node.domain, node.op_type)
        };
        return Err(EngineError::Operator {
            engine: EngineId::TRACT,
            node: node.label().to_owned(),
            operator,
        });
    }
    Ok(())
}

impl Tract {
    fn chunks_for(&self, images: usize, threads: usize) -> Vec<Chunk> {
        match self.batch {
            Some(batch) => chunks::fixed(images, batch),
            None => chunks::among(images, threads, &self.sizes),
        }
    }
}

impl Tract {
    /// A run on the threads of the current pool.
    fn run_here(
        &self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        let plan = self.plans.get(batch)?;
        let [a, b, c] = self.shape;
        let shape = [batch, a, b, c];
        let computed = guarded(|| {
            let input = match input {
                Input::F32(values) => Tensor::from_shape(&shape, values)?,
                Input::U8(pixels) => Tensor::from_shape(&shape, pixels)?,
            };
            plan.graph.run(tvec!(input.into_tvalue()))
        });
        let computed = computed.map_err(run_error)?;
        self.outputs
            .iter()
            .zip(&computed)
            .take(outputs.limit())
            .map(|(name, value)| named(name, value))
            .collect()
    }
}

/// Seconds for which each of the machine's rates is measured.
const CEILING_SECONDS: f64 = 0.3;

impl Tract {
    /// Profiles runs on the threads of the current pool.
    fn profile_here(
        &self,
        input: &Input<'_>,
        batch: usize,
        runs: usize,
        threads: usize,
    ) -> Result<Profile, EngineError> {
        let plan = self.plans.get(batch)?;
        let programs = channels_last::programs(plan.graph.model());
        // The first one reserves memory.
        self.run_here(input, batch, Outputs::First)?;
        let ceilings = Ceilings::measure(CEILING_SECONDS);
        let mut best = Profile {
            images: batch,
            threads,
            seconds: f64::INFINITY,
            steps: Vec::new(),
            peak_multiply_adds: ceilings.multiply_adds,
            peak_bytes: ceilings.bytes,
        };
        for _ in 0..runs {
            for program in &programs {
                program.measure();
            }
            let start = Instant::now();
            self.run_here(input, batch, Outputs::First)?;
            let seconds = start.elapsed().as_secs_f64();
            let steps = programs.iter().flat_map(|program| program.measured());
            if seconds < best.seconds {
                best.steps = steps.collect();
                best.seconds = seconds;
            }
        }
        Ok(best)
    }
}

impl Engine for Tract {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        self.chunks_for(images, self.runtime.threads)
    }

    fn run(
        &self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        if self.is_shared {
            self.run_here(input, batch, outputs)
        } else {
            self.run_beside_others(input, batch, outputs)
        }
    }

    fn run_beside_others(
        &self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        on_one_thread(|| self.run_here(input, batch, outputs))
    }

    fn profile(
        &self,
        input: &Input<'_>,
        batch: usize,
        runs: usize,
    ) -> Option<Result<Profile, EngineError>> {
        Some(if self.is_shared {
            self.profile_here(input, batch, runs, self.runtime.threads)
        } else {
            on_one_thread(|| self.profile_here(input, batch, runs, 1))
        })
    }

    fn runs_in_pool(&self) -> bool {
        self.is_shared
    }

    fn runtime(&self) -> &RuntimeInfo {
        &self.runtime
    }

    fn max_sessions(&self) -> usize {
        self.runtime.threads
    }

    fn session(self: Arc<Self>) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(OneThread(self)))
    }
}

/// A run at a time: its plans and weights are those of the engine.
struct OneThread(Arc<Tract>);

impl Session for OneThread {
    fn chunks(&self, images: usize) -> Vec<Chunk> {
        self.0.chunks_for(images, 1)
    }

    fn run(
        &mut self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        self.0.run_beside_others(input, batch, outputs)
    }
}

fn named(name: &str, value: &TValue) -> Result<NamedTensor, EngineError> {
    let value = value
        .cast_to::<f32>()
        .map_err(|error| run_error(format!("output `{name}`: {error:#}")))?;
    let view = value
        .to_plain_array_view::<f32>()
        .map_err(|error| run_error(format!("output `{name}`: {error:#}")))?;
    Ok(NamedTensor {
        name: name.to_owned(),
        shape: view.shape().to_vec(),
        data: view.iter().copied().collect(),
    })
}

fn load_error(reason: String) -> EngineError {
    EngineError::Load {
        engine: EngineId::TRACT,
        reason,
    }
}

fn run_error(reason: String) -> EngineError {
    EngineError::Run {
        engine: EngineId::TRACT,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::VERSION;

    #[test]
    fn the_version_is_that_of_the_dependency() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        // Outside of kiln's own repository another file, or none, locks the dependency.
        let Ok(lock) = std::fs::read_to_string(path) else {
            return;
        };
        let (_, entry) = lock
            .split_once("name = \"tract-onnx\"\nversion = \"")
            .unwrap();
        assert!(
            entry.starts_with(&format!("{VERSION}.")),
            "{}",
            entry.lines().next().unwrap()
        );
    }
}
