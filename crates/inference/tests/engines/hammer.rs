//! Many threads, one model.

use image::{DynamicImage, Rgb, RgbImage};
use kiln_inference::{Model, Options, Prediction};

use crate::engines;
use crate::model::{SHAPE, bytes};

const THREADS: usize = 8;
/// Runs of each thread.
const RUNS: usize = 60;

fn picture(seed: usize) -> DynamicImage {
    let pixel = |x: u32, y: u32| {
        Rgb([(x * 31) as u8, (y * 17) as u8, seed as u8].map(|p| p.wrapping_mul(seed as u8 | 1)))
    };
    // Every other image has to be resized.
    let [width, height] = [SHAPE[2], SHAPE[1]].map(|side| (side * (1 + seed % 2)) as u32);
    RgbImage::from_fn(width, height, pixel).into()
}

fn probabilities(predictions: Vec<Prediction>) -> Vec<Vec<f32>> {
    predictions
        .into_iter()
        .map(|prediction| prediction.probabilities)
        .collect()
}

#[test]
fn eight_threads_give_the_answers_of_one() {
    let images: Vec<_> = (0..24).map(picture).collect();
    for engine in engines() {
        let model = Model::from_bytes(&bytes(), &Options::default().with_engine(engine)).unwrap();
        // Batches of every size, in turns: what a run is cut into must not matter to the last bit.
        let batch = |run: usize| &images[run % 7..][..=run * 5 % 16];
        let expected: Vec<_> = (0..RUNS)
            .map(|run| probabilities(model.classify_batch(batch(run)).unwrap()))
            .collect();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (model, expected) = (&model, &expected);
                scope.spawn(move || {
                    for run in (0..RUNS).map(|run| (run + thread * 11) % RUNS) {
                        let found = probabilities(model.classify_batch(batch(run)).unwrap());
                        assert_eq!(found, expected[run], "{engine}: thread {thread}, run {run}");
                    }
                });
            }
        });
    }
}
