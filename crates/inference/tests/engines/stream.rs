//! Many images through a model.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_inference::{
    Model, NotFinite, Options, RunError, StreamOptions, StreamSummary, Unclassified,
};
use kiln_onnx::{Dim, GraphBuilder, encode};
use kiln_util::CancelToken;

use crate::model::{CLASSES, IMAGE, SHAPE, bytes, finish, graph, noise};
use crate::{engines, with_concurrent_runs};

const IMAGES: u32 = 103;

/// Every seventh image cannot be prepared.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as a stream calls it")]
fn prepare(seed: &u32, out: &mut [f32]) -> Result<(), String> {
    if seed % 7 == 3 {
        return Err(format!("no {seed}"));
    }
    out.copy_from_slice(&noise(*seed, IMAGE));
    Ok(())
}

/// An input and its scores.
type Delivered = (u32, Result<Vec<f32>, String>);

/// What each image gave, in the order in which it was delivered.
fn collect(model: &Model, options: &StreamOptions) -> (Vec<Delivered>, StreamSummary) {
    let mut found = Vec::new();
    let each = |seed, result: Result<kiln_inference::Classified<'_>, Unclassified<String>>| {
        let result = result.map(|classified| classified.scores.to_vec());
        found.push((seed, result.map_err(|error| error.to_string())));
        ControlFlow::<()>::Continue(())
    };
    let ControlFlow::Continue(summary) = model.stream(0..IMAGES, options, prepare, each).unwrap()
    else {
        panic!("nothing breaks")
    };
    (found, summary)
}

fn check(model: &Model, options: &StreamOptions) -> StreamSummary {
    let (found, summary) = collect(model, options);
    assert_eq!(found.len(), IMAGES as usize);
    for ((seed, result), expected) in found.iter().zip(0..) {
        assert_eq!(*seed, expected, "{options:?}");
        let mut pixels = vec![0.0; IMAGE];
        match (prepare(seed, &mut pixels), result) {
            (Err(expected), Err(found)) => assert_eq!(&expected, found),
            (Ok(()), Ok(found)) => {
                for (found, expected) in found.iter().zip(model.run(&pixels, 1).unwrap().data) {
                    assert!(
                        (found - expected).abs() < 1e-5,
                        "image {seed}: {found} {expected}"
                    );
                }
            }
            (expected, found) => panic!("image {seed}: {expected:?} {found:?}"),
        }
    }
    assert_eq!((summary.images, summary.failed), (88, 15));
    summary
}

#[test]
fn every_image_comes_in_order_with_its_own_scores() {
    for engine in engines() {
        for threads in [1, 3] {
            let model = Model::from_bytes(
                &bytes(),
                &Options::default().with_engine(engine).with_threads(threads),
            )
            .unwrap();
            for batch_size in [Some(1), Some(5), None, Some(1000)] {
                for warm_up in [false, true] {
                    let summary = check(
                        &model,
                        &StreamOptions::default()
                            .with_batch_size(batch_size)
                            .with_warm_up(warm_up),
                    );
                    assert_eq!(summary.batch_size, batch_size.unwrap_or(64));
                    // Of more sessions than batches some had nothing to do.
                    let batches = (IMAGES as usize).div_ceil(summary.batch_size);
                    assert_eq!(
                        summary.sessions,
                        threads.min(batches),
                        "{engine}: {batch_size:?}, {warm_up}"
                    );
                    assert!(summary.inference > std::time::Duration::ZERO);
                }
            }
        }
    }
}

/// The sessions of concurrent runs serve a stream too.
#[test]
fn a_stream_may_take_the_sessions_that_there_are() {
    for engine in engines() {
        let options =
            with_concurrent_runs(Options::default().with_engine(engine).with_threads(3), 3);
        let model = Model::from_bytes(&bytes(), &options).unwrap();
        for warm_up in [false, true] {
            assert_eq!(
                check(
                    &model,
                    &StreamOptions::default()
                        .with_batch_size(5)
                        .with_warm_up(warm_up)
                )
                .sessions,
                3
            );
        }
    }
}

#[test]
fn a_cancelled_stream_ends_before_the_next_run() {
    for engine in engines() {
        let options = Options::default().with_engine(engine).with_threads(2);
        let model = Model::from_bytes(&bytes(), &options).unwrap();
        // Before the warm-up, and in the middle of the first batches.
        for after in [0, 9] {
            let cancel = CancelToken::new();
            if after == 0 {
                cancel.cancel();
            }
            let prepared = AtomicUsize::new(0);
            let prepare = |seed: &u32, out: &mut [f32]| {
                if prepared.fetch_add(1, Ordering::Relaxed) + 1 == after {
                    cancel.cancel();
                }
                prepare(seed, out)
            };
            let options = StreamOptions::default()
                .with_batch_size(16)
                .with_warm_up(true)
                .with_cancel(cancel.clone());
            let mut told = 0;
            let ended = model.stream(0..IMAGES, &options, prepare, |_, _| {
                told += 1;
                ControlFlow::<()>::Continue(())
            });
            assert!(matches!(ended, Err(RunError::Cancelled)), "{engine}");
            // Each thread may have been in a batch, and one of them done with it.
            assert!(
                told <= 32 && prepared.into_inner() <= 64,
                "{engine}: {told}"
            );
        }
    }
}

#[test]
fn the_time_of_preparing_is_that_of_all_threads_together() {
    const WAIT: std::time::Duration = std::time::Duration::from_millis(5);
    let model = Model::from_bytes(&bytes(), &Options::default().with_threads(3)).unwrap();
    let slow = |seed: &u32, out: &mut [f32]| {
        std::thread::sleep(WAIT);
        prepare(seed, out)
    };
    for (batch_size, warm_up) in [(Some(4), false), (Some(4), true), (Some(64), false)] {
        let options = StreamOptions::default()
            .with_batch_size(batch_size)
            .with_warm_up(warm_up);
        let ended = model
            .stream(
                0..24,
                &options,
                slow,
                |_, _| ControlFlow::<()>::Continue(()),
            )
            .unwrap();
        let ControlFlow::Continue(summary) = ended else {
            panic!("nothing breaks")
        };
        assert!(summary.prepare >= WAIT * 24, "{summary:?}");
    }
}

#[test]
fn an_image_without_finite_scores_is_told_and_the_others_are_computed() {
    // The inverse of an average: infinite for an image of zeros, as all of a warm-up are.
    let mut model = GraphBuilder::new("inverse");
    model
        .input("input", Dim::batched(SHAPE))
        .output("logits", Dim::batched([CLASSES]));
    model.node("GlobalAveragePool", "pool", &["input"], "pooled");
    model
        .node("Flatten", "flatten", &["pooled"], "flat")
        .int("axis", 1);
    let weights = vec![1.0 / SHAPE[0] as f32; SHAPE[0] * CLASSES];
    model.initializer("weights", &[SHAPE[0], CLASSES], weights);
    model.node("MatMul", "average", &["flat", "weights"], "average");
    model.node("Reciprocal", "inverse", &["average"], "logits");
    let file = encode(&finish(model));
    for engine in engines() {
        let options = Options::default().with_engine(engine).with_threads(2);
        let model = Model::from_bytes(&file, &options).unwrap();
        for (batch_size, warm_up) in [(Some(2), true), (Some(2), false), (Some(64), false)] {
            let options = StreamOptions::default()
                .with_batch_size(batch_size)
                .with_warm_up(warm_up);
            let prepare = |number: &u32, out: &mut [f32]| {
                out.fill(*number as f32);
                if *number == 5 { Err("five") } else { Ok(()) }
            };
            let mut found = Vec::new();
            let each = |number: u32, result: Result<kiln_inference::Classified<'_>, _>| {
                // Whole and half numbers, within rounding.
                let first = |classified: kiln_inference::Classified<'_>| {
                    (classified.scores[0] * 100.0).round() / 100.0
                };
                found.push((number, result.map(first)));
                ControlFlow::<()>::Continue(())
            };
            let numbers = [2, 0, 5, 4, 0, 1].into_iter();
            let ended = model.stream(numbers, &options, prepare, each).unwrap();
            let infinite = Unclassified::NotFinite(NotFinite {
                output: "logits".to_owned(),
                value: "inf".to_owned(),
            });
            let expected = [
                (2, Ok(0.5)),
                (0, Err(infinite.clone())),
                (5, Err(Unclassified::Prepare("five"))),
                (4, Ok(0.25)),
                (0, Err(infinite)),
                (1, Ok(1.0)),
            ];
            assert_eq!(found, expected, "{engine}");
            let ControlFlow::Continue(summary) = ended else {
                panic!("nothing breaks")
            };
            assert_eq!((summary.images, summary.failed), (3, 3));
        }
    }
}

#[test]
fn a_fixed_batch_size_is_kept_to() {
    let file = encode(&finish(graph(&Dim::Fixed(4))));
    for engine in engines() {
        let model = Model::from_bytes(
            &file,
            &Options::default().with_engine(engine).with_threads(2),
        )
        .unwrap();
        assert_eq!(check(&model, &StreamOptions::default()).batch_size, 4);
        check(&model, &StreamOptions::default().with_batch_size(6));
    }
}

#[test]
fn memory_is_bounded_and_a_break_ends_endless_inputs() {
    for engine in engines() {
        let model = Model::from_bytes(
            &bytes(),
            &Options::default().with_engine(engine).with_threads(2),
        )
        .unwrap();
        let taken = AtomicUsize::new(0);
        let mut delivered = 0;
        let inputs = (0_u32..).inspect(|_| {
            taken.fetch_add(1, Ordering::Relaxed);
        });
        let prepare = |_: &u32, out: &mut [f32]| -> Result<(), String> {
            out.fill(0.5);
            Ok(())
        };
        let ended = model.stream(
            inputs,
            &StreamOptions::default()
                .with_batch_size(2)
                .with_warm_up(false),
            prepare,
            |seed, _| {
                // At most four batches are handed out and not delivered.
                assert!(
                    taken.load(Ordering::Relaxed) <= delivered / 2 * 2 + 4 * 2,
                    "{delivered}"
                );
                delivered += 1;
                if seed == 40 {
                    ControlFlow::Break(seed)
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        assert!(matches!(ended.unwrap(), ControlFlow::Break(40)));
    }
}

/// As from a program that writes the next path when it has read the result of the last.
#[test]
fn results_do_not_wait_for_a_slow_source() {
    const INPUTS: u32 = 40;
    for engine in engines() {
        let model = Model::from_bytes(
            &bytes(),
            &Options::default().with_engine(engine).with_threads(3),
        )
        .unwrap();
        let (sender, delivered) = std::sync::mpsc::channel();
        let inputs = (0..INPUTS).map_while(move |seed| {
            let is_delivered = seed == 0
                || delivered
                    .recv_timeout(std::time::Duration::from_secs(10))
                    .is_ok();
            is_delivered.then_some(seed)
        });
        let options = StreamOptions::default()
            .with_batch_size(1)
            .with_warm_up(false);
        let mut count = 0;
        let ended = model.stream(inputs, &options, prepare, |_, _| {
            count += 1;
            // Nobody listens any more after the last input.
            let _ = sender.send(());
            ControlFlow::<()>::Continue(())
        });
        assert!(ended.is_ok());
        assert_eq!(count, INPUTS, "{engine}");
    }
}

#[test]
#[should_panic(expected = "a scoped thread panicked")]
fn a_panic_ends_the_stream() {
    let model = Model::from_bytes(&bytes(), &Options::default().with_threads(2)).unwrap();
    let prepare = |seed: &u32, _: &mut [f32]| -> Result<(), String> {
        assert!(*seed != 5, "this one");
        Ok(())
    };
    let options = StreamOptions::default()
        .with_batch_size(1)
        .with_warm_up(false);
    let _ = model.stream(0.., &options, prepare, |_, _| {
        ControlFlow::<()>::Continue(())
    });
}

#[test]
fn no_inputs_are_no_error() {
    let model = Model::from_bytes(&bytes(), &Options::default()).unwrap();
    for warm_up in [false, true] {
        let options = StreamOptions::default().with_warm_up(warm_up);
        let ended = model
            .stream(0..0, &options, prepare, |_, _| {
                ControlFlow::<()>::Continue(())
            })
            .unwrap();
        assert!(matches!(
            ended,
            ControlFlow::Continue(StreamSummary {
                images: 0,
                failed: 0,
                ..
            })
        ));
    }
}
