//! Every engine computes what the naive operators compute.

#[cfg(feature = "ort")]
use kiln_inference::EngineId;
use kiln_inference::{Model, Options};
use kiln_onnx::{Dim, encode};

use crate::model::{CLASSES, FILTERS, IMAGE, bytes, expected, finish, graph, noise};
use crate::{engines, with_concurrent_runs};

/// Sums of some 50 products of values around 1, in f32: an error of 1e-5 would be 80 units in the
/// last place.
const TOLERANCE: f64 = 1e-5;

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(found) - expected).abs();
        assert!(
            difference < TOLERANCE,
            "{what}: value {i} is {found}, expected {expected}"
        );
    }
}

fn check(model: &Model, images: usize, seed: u32) {
    let pixels = noise(seed, images * IMAGE);
    let [logits, pool]: [Vec<f64>; 2] = {
        let all: Vec<_> = pixels.chunks_exact(IMAGE).map(expected).collect();
        [0, 1].map(|i| all.iter().flat_map(|outputs| outputs[i].clone()).collect())
    };
    let what = format!("{} with {images} images", model.runtime().engine);
    let scores = model.run(&pixels, images).unwrap();
    assert_close(&scores.data, &logits, &what);
    assert_eq!(scores.rows().len(), images);
    let outputs = model.run_named(&pixels, images).unwrap();
    assert_eq!(
        outputs
            .iter()
            .map(|output| output.name.as_str())
            .collect::<Vec<_>>(),
        ["logits", "pool"]
    );
    assert_eq!(outputs[0].shape, [images, CLASSES]);
    assert_eq!(outputs[1].shape, [images, FILTERS, 4, 3]);
    assert_close(&outputs[1].data, &pool, &what);
}

#[test]
fn any_batch_size_and_any_number_of_threads() {
    for engine in engines() {
        for threads in [None, Some(1), Some(3)] {
            let model = Model::from_bytes(
                &bytes(),
                &Options::default().with_engine(engine).with_threads(threads),
            )
            .unwrap();
            for images in [1, 2, 7, 33] {
                check(&model, images, images as u32);
            }
        }
    }
}

#[test]
fn a_bound_on_the_batch_changes_no_result() {
    for engine in engines() {
        for max_batch in [Some(1), Some(5), Some(1000)] {
            let options = Options::default()
                .with_engine(engine)
                .with_max_batch(max_batch);
            check(&Model::from_bytes(&bytes(), &options).unwrap(), 33, 3);
        }
    }
}

#[test]
fn a_graph_with_a_fixed_batch_takes_any_number_of_images() {
    for engine in engines() {
        for batch in [1, 4] {
            let file = encode(&finish(graph(&Dim::Fixed(batch))));
            let model = Model::from_bytes(&file, &Options::default().with_engine(engine)).unwrap();
            for images in [1, 4, 6] {
                check(&model, images, images as u32);
            }
        }
    }
}

#[test]
fn threads_share_a_model() {
    for engine in engines() {
        for concurrent_runs in [None, Some(1), Some(3)] {
            let options = with_concurrent_runs(
                Options::default().with_engine(engine).with_threads(2),
                concurrent_runs,
            );
            let model = Model::from_bytes(&bytes(), &options).unwrap();
            std::thread::scope(|scope| {
                for seed in 1..9 {
                    let model = &model;
                    scope.spawn(move || (1..8).for_each(|images| check(model, images, seed)));
                }
            });
        }
    }
}

/// Sessions with fewer threads each: only ONNX Runtime has them.
#[test]
#[cfg(feature = "ort")]
#[ignore = "downloads ONNX Runtime"]
fn concurrent_runs_of_onnx_runtime_change_no_bit() {
    engines();
    let scores = |concurrent_runs| {
        let options = with_concurrent_runs(
            Options::default()
                .with_engine(EngineId::ORT)
                .with_threads(4),
            concurrent_runs,
        );
        let model = Model::from_bytes(&bytes(), &options).unwrap();
        let ort = model.runtime().ort.as_ref().unwrap();
        assert_eq!(ort.concurrent_runs, concurrent_runs);
        let scores = |seed| model.run(&noise(seed, 20 * IMAGE), 20).unwrap().data;
        (1..5)
            .flat_map(scores)
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    assert_eq!(scores(1), scores(4));
}

#[test]
fn no_images_no_scores() {
    for engine in engines() {
        let model = Model::from_bytes(&bytes(), &Options::default().with_engine(engine)).unwrap();
        assert!(model.run(&[], 0).unwrap().data.is_empty());
        assert!(
            model
                .classify_batch::<kiln_inference::image::DynamicImage>(&[])
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn the_runtime_info_names_what_is_in_use() {
    for engine in engines() {
        let options = Options::default().with_engine(engine).with_threads(2);
        let model = Model::from_bytes(&bytes(), &options).unwrap();
        let runtime = model.runtime();
        assert_eq!((runtime.engine, runtime.threads), (engine, 2));
        assert!(runtime.version.is_some());
        #[cfg(feature = "ort")]
        {
            let Some(ort) = &runtime.ort else {
                assert_ne!(engine, EngineId::ORT);
                continue;
            };
            assert_eq!(engine, EngineId::ORT);
            // Six operators, of which ONNX Runtime may have merged some before it shared them out.
            let [share] = ort.nodes.as_slice() else {
                panic!("{runtime:?}")
            };
            assert_eq!(
                (share.provider.as_str(), ort.concurrent_runs),
                ("CPUExecutionProvider", 1)
            );
            assert!((3..=6).contains(&share.nodes), "{runtime:?}");
            assert_eq!(
                ort.library.providers.last().map(String::as_str),
                Some("CPUExecutionProvider")
            );
        }
    }
}
