//! Damaged files: an error or an answer, never a crash, a hang or memory without bound.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kiln_inference::{Model, ModelOverrides, ModelSpec, Options};
use kiln_onnx::{Dim, GraphBuilder, Metadata, check_structure, decode, encode, replace_metadata};

use crate::engines;
use crate::model::{CLASSES, IMAGE, SHAPE, bytes, finish, noise};
use crate::mutation;

const MUTATIONS: u32 = 10_000;
/// Each takes an engine some milliseconds.
const RUNS: u32 = 400;
/// Far more than any takes on a machine that is busy with other things.
const LONGEST: Duration = Duration::from_secs(20);
/// For the whole test program; the library of ONNX Runtime alone takes a tenth of it.
const MOST_MEMORY_KIB: u64 = 2 << 20;

/// The test model's file with damage that depends on the seed: one to four changes of bits, bytes
/// and lengths.
fn mutated(seed: u32) -> Vec<u8> {
    let mut file = bytes();
    let mut random = noise(seed, 20).into_iter();
    // From -1 to 1 to a whole number below `bound`.
    let mut below = |bound: usize| {
        let share = f32::midpoint(random.next().unwrap(), 1.0);
        ((share * bound as f32) as usize).min(bound.saturating_sub(1))
    };
    for _ in 0..=below(4) {
        if file.is_empty() {
            return file;
        }
        let at = below(file.len());
        match below(7) {
            0 => file[at] ^= 1 << below(8),
            1 => file[at] = below(256) as u8,
            2 => file.truncate(at),
            3 => drop(file.drain(at..(at + 1 + below(40)).min(file.len()))),
            4 => file
                .splice(at..at, (0..=below(20)).map(|_| 0))
                .for_each(drop),
            // Numbers as large as they can be written.
            5 => file[at..]
                .iter_mut()
                .take(1 + below(10))
                .for_each(|byte| *byte = 0xff),
            _ => {
                let piece = file[at..(at + 1 + below(60)).min(file.len())].to_vec();
                file.splice(at..at, piece);
            }
        }
    }
    file
}

/// What kiln reads before an engine sees the file.
fn read(file: &[u8]) -> Option<ModelSpec> {
    let model = decode(file).ok()?;
    check_structure(model.graph.as_ref()?).ok()?;
    let _ = (model.parameters(), model.operators(), model.outputs());
    assert!(
        replace_metadata(file, &Metadata::default()).is_ok(),
        "what can be decoded can be edited"
    );
    let contract = ModelSpec::new(&model, &ModelOverrides::default()).ok()?;
    contract.preprocessing.check().unwrap();
    assert!(!contract.labels.is_empty() && contract.batch != Some(0));
    Some(contract)
}

/// The most memory that this process has taken, where the system says it.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    })
}

fn timed<T>(seed: u32, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    assert!(
        start.elapsed() < LONGEST,
        "seed {seed} took {:?}",
        start.elapsed()
    );
    result
}

#[test]
fn ten_thousand_damaged_files_are_read_or_refused() {
    let (mut whole, mut refused) = (0, 0);
    for seed in 0..MUTATIONS {
        match timed(seed, || read(&mutated(seed))) {
            Some(_) => whole += 1,
            None => refused += 1,
        }
    }
    // Damage that hits weights only leaves a model; damage elsewhere does not. The test sees both.
    assert!(
        whole > MUTATIONS / 20 && refused > MUTATIONS / 20,
        "{whole} read, {refused} refused"
    );
    assert!(
        peak_kib().is_none_or(|peak| peak < MOST_MEMORY_KIB),
        "{:?} KiB",
        peak_kib()
    );
}

#[test]
fn damaged_files_are_run_or_refused_by_every_engine() {
    for engine in engines() {
        let mut run = 0;
        for seed in 0..RUNS {
            timed(seed, || {
                let options = Options::default().with_engine(engine).with_threads(1);
                let Ok(model) = Model::from_bytes(&mutated(seed), &options) else {
                    return;
                };
                let images = noise(seed, 2 * model.preprocessor().len());
                if let Ok(scores) = model.run(&images, 2) {
                    assert!(scores.data.iter().all(|score| score.is_finite()));
                    run += 1;
                }
            });
        }
        assert!(run > 0, "{engine}: no damaged file could be run");
        assert!(
            peak_kib().is_none_or(|peak| peak < MOST_MEMORY_KIB),
            "{engine}: {:?} KiB",
            peak_kib()
        );
    }
}

/// Writes mutated models to the folder of the variable, of the seeds `FROM..TO`, for `scripts/fuzz/models`.
#[test]
#[ignore = "writes files for a script"]
fn mutated_models_are_written_for_other_programs() {
    let Some(folder) = std::env::var_os("KILN_MUTATION_FOLDER").map(PathBuf::from) else {
        return;
    };
    let seeds = std::env::var("KILN_MUTATION_SEEDS").unwrap();
    let (from, to) = seeds.split_once("..").unwrap();
    for seed in from.parse::<u64>().unwrap()..to.parse().unwrap() {
        let location = format!("{seed}.bin");
        let (model, data) = mutation::mutated_in_files(seed, &location);
        std::fs::write(folder.join(format!("{seed}.onnx")), model).unwrap();
        if !data.is_empty() {
            std::fs::write(folder.join(location), data).unwrap();
        }
    }
}

#[test]
fn mutated_models_are_run_or_refused_by_every_engine() {
    for engine in engines() {
        let (mut run, mut refused) = (0, 0);
        for seed in 0..RUNS {
            let file = mutation::mutated(seed.into());
            timed(seed, || {
                let options = Options::default().with_engine(engine).with_threads(1);
                let Ok(model) = Model::from_bytes(&file, &options) else {
                    refused += 1;
                    return;
                };
                let images = noise(seed, 2 * model.preprocessor().len());
                run += u32::from(model.run(&images, 2).is_ok());
            });
        }
        assert!(
            run > 0 && refused > 0,
            "{engine}: {run} run, {refused} refused"
        );
        assert!(
            peak_kib().is_none_or(|peak| peak < MOST_MEMORY_KIB),
            "{engine}: {:?} KiB",
            peak_kib()
        );
    }
}

/// Bytes that ONNX Runtime takes for its own format unless told otherwise: kiln would check one model
/// and the library run another.
#[test]
fn the_model_that_is_checked_is_the_one_that_is_run() {
    let mut model = decode(&bytes()).unwrap();
    model.producer_name = "ORTM and more".into();
    let file = encode(&model);
    assert_eq!(&file[4..8], b"ORTM");
    for engine in engines() {
        let options = Options::default().with_engine(engine);
        let model = Model::from_bytes(&file, &options).unwrap();
        assert_eq!(model.run(&noise(1, IMAGE), 1).unwrap().data.len(), CLASSES);
    }
}

/// Height and width that the file leaves open are known once the preprocessing is.
#[test]
fn sizes_are_checked_again_for_the_image_that_is_fed() {
    let open = |name: &str| Dim::Symbol(name.into());
    let mut graph = GraphBuilder::new("open");
    graph
        .input(
            "input",
            [open("n"), Dim::Fixed(SHAPE[0]), open("h"), open("w")],
        )
        .output("logits", Dim::batched([SHAPE[0]]));
    graph.initializer("times", &[4], vec![1_i64, 1, 4000, 4000]);
    graph.node("Tile", "tile", &["input", "times"], "tile");
    graph.node("GlobalAveragePool", "pool", &["tile"], "pool");
    graph.node("Flatten", "flatten", &["pool"], "logits");
    let file = encode(&finish(graph));
    assert!(decode(&file).is_ok());
    for engine in engines() {
        let mut options = Options::default().with_engine(engine);
        options.declared.labels = Some((0..SHAPE[0]).map(|class| format!("{class}")).collect());
        let message = Model::from_bytes(&file, &options).unwrap_err().to_string();
        assert!(
            message.contains("node `tile` (Tile) makes `tile` of shape [1, 3, 36000, 28000]"),
            "{message}"
        );
    }
}

/// tract optimizes in a time that grows with the square of the nodes.
#[test]
fn tract_takes_a_bounded_number_of_nodes() {
    let mut model = decode(&bytes()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let relu = graph.node.iter().position(|node| node.op_type == "Relu");
    let relu = graph.node[relu.unwrap()].clone();
    for at in 0..25_000 {
        let mut more = relu.clone();
        more.name = format!("more{at}");
        more.output = vec![more.name.clone()];
        graph.node.push(more);
    }
    let tract = engines()
        .into_iter()
        .find(|engine| engine.name() == "tract");
    let Some(tract) = tract else { return };
    let error = Model::from_bytes(&encode(&model), &Options::default().with_engine(tract));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("the graph has 25006 nodes"), "{message}");
}

#[test]
fn not_a_number_is_refused_wherever_it_comes_in() {
    for engine in engines() {
        let model = Model::from_bytes(&bytes(), &Options::default().with_engine(engine)).unwrap();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut pixels = noise(1, 3 * IMAGE);
            pixels[2 * IMAGE] = value;
            let message = model.run(&pixels, 3).unwrap_err().to_string();
            assert!(
                message.contains("in image 2 of the batch: every value must be finite"),
                "{message}"
            );
        }
        assert!(model.run(&[], 0).unwrap().data.is_empty());
    }
    let mut scale = Options::default();
    scale.declared.scale = Some(f32::NAN);
    let message = Model::from_bytes(&bytes(), &scale).unwrap_err().to_string();
    assert!(
        message.contains("`scale` is NaN: it must be a finite number other than 0"),
        "{message}"
    );
}
