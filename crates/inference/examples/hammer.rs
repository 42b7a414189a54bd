//! Hammers one loaded model from many threads and compares every answer with that of one thread:
//! `cargo run --release --example hammer -- MODEL.onnx [SECONDS] [THREADS]`
//!
//! Prints, for each engine that is there: images, answers that differ, and the memory in use at
//! each fifth of the time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kiln_inference::{EngineId, Model, Options, RawImage};

const IMAGES: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a model: name it")?;
    let seconds = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let threads = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let mut wrong = 0;
    for engine in EngineId::all() {
        let options = Options::default().with_engine(engine);
        if let Err(reason) = engine.info().probe(&options) {
            println!(
                "{engine}: skipped: {}",
                reason.to_string().lines().next().unwrap_or_default()
            );
            continue;
        }
        let model = Model::open_with(&path, &options)?;
        wrong += hammer(&model, Duration::from_secs(seconds), threads)?;
    }
    if wrong == 0 {
        Ok(())
    } else {
        Err(format!("{wrong} answers differ").into())
    }
}

/// Returns the number of answers that differ from those of one thread.
fn hammer(
    model: &Model,
    time: Duration,
    threads: usize,
) -> Result<u64, Box<dyn std::error::Error>> {
    let [channels, height, width] = model.preprocessor().shape().map(|size| size as u32);
    let size = (channels * height * width) as usize;
    let noise: Vec<u8> = (0..IMAGES * size)
        .map(|i| (i * i % 65_521 * 31 % 251) as u8)
        .collect();
    let images: Vec<RawImage<'_>> = noise
        .chunks_exact(size)
        .map(|pixels| RawImage {
            pixels,
            height,
            width,
            channels,
        })
        .collect();
    // Each answer twice: in a batch, and alone. How a batch is cut may change the last bit, so that
    // each is compared with its own kind.
    let batch = |at: usize| &images[at * 16 % IMAGES..][..16];
    let alone = |at: usize| &images[at % IMAGES..][..1];
    let answers = |images: &[RawImage<'_>]| -> Result<Vec<Vec<f32>>, kiln_inference::RunError> {
        Ok(model
            .classify_raw_batch(images)?
            .into_iter()
            .map(|prediction| prediction.probabilities)
            .collect())
    };
    let expected: Vec<_> = (0..IMAGES)
        .map(|at| Ok([answers(batch(at))?, answers(alone(at))?]))
        .collect::<Result<_, kiln_inference::RunError>>()?;

    let (count, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (expected, count, wrong, answers) = (&expected, &count, &wrong, &answers);
            scope.spawn(move || {
                for at in (0..IMAGES).cycle().skip(thread * 7) {
                    if start.elapsed() >= time {
                        break;
                    }
                    for (images, expected) in [batch(at), alone(at)].into_iter().zip(&expected[at])
                    {
                        let differ = answers(images).map_or(images.len(), |found| {
                            found
                                .iter()
                                .zip(expected)
                                .filter(|(found, expected)| found != expected)
                                .count()
                        });
                        wrong.fetch_add(differ as u64, Relaxed);
                        count.fetch_add(images.len() as u64, Relaxed);
                    }
                }
            });
        }
        for fifth in 1..=5 {
            std::thread::sleep((time * fifth / 5).saturating_sub(start.elapsed()));
            memory.extend(resident());
        }
    });
    let (count, wrong) = (count.into_inner(), wrong.into_inner());
    let runtime = model.runtime();
    println!(
        "{} {}: {threads} threads, {:.0} s, {count} images, {wrong} different answers, resident memory in kB {memory:?}",
        runtime.engine,
        runtime.version.as_deref().unwrap_or("?"),
        start.elapsed().as_secs_f64(),
    );
    Ok(wrong)
}

/// Memory of this process that is in use, in kB, by Linux's account.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
