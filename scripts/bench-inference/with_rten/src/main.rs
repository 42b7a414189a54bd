//! Runs a model with rten over prepared arrays and prints images per second for each batch size, or over random numbers and
//! prints milliseconds.
//!
//! Usage: `with-rten MODEL.onnx IDX-IMAGES THREADS ROUNDS BATCH...`. The model takes `[batch, 1,
//! height, width]` of pixel values 0 to 1.
//!
//! Or: `with-rten MODEL.onnx CHANNELSxHEIGHTxWIDTH THREADS SECONDS BATCH...`: the median time of a batch.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, images, threads, rounds, batches @ ..] = args.as_slice() else {
        return Err("usage: with-rten MODEL.onnx IDX-IMAGES THREADS ROUNDS BATCH...".into());
    };
    let model = Model::load_file(model)?;
    let sizes: Option<Vec<usize>> = images.split('x').map(|size| size.parse().ok()).collect();
    if let Some(sizes) = sizes {
        return random(&model, &sizes, threads.parse()?, rounds.parse()?, batches);
    }
    let file = std::fs::read(images)?;
    let size = |axis: usize| u32::from_be_bytes(file[4 + 4 * axis..][..4].try_into().expect("four bytes")) as usize;
    let [count, height, width] = [size(0), size(1), size(2)];
    let pixels: Vec<f32> = file[16..].iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let options = RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(threads.parse()?))));
    for batch in batches {
        let batch: usize = batch.parse()?;
        let inputs: Vec<_> = pixels
            .chunks(batch * height * width)
            .map(|chunk| NdTensor::from_data([chunk.len() / (height * width), 1, height, width], chunk.to_vec()))
            .collect();
        let run = |input: &NdTensor<f32, 4>| model.run_one(input.view().into(), Some(options.clone()));
        run(&inputs[0])?;
        for _ in 0..rounds.parse()? {
            let start = Instant::now();
            for input in &inputs {
                run(input)?;
            }
            println!("{batch} {}", count as f64 / start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Prints each batch size and the median of its times in milliseconds.
fn random(model: &Model, sizes: &[usize], threads: usize, seconds: f64, batches: &[String]) -> Result<(), Box<dyn Error>> {
    let options = RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(threads))));
    for batch in batches {
        let images: usize = batch.parse()?;
        let [channels, height, width] = sizes else {
            return Err("three sizes: CHANNELSxHEIGHTxWIDTH".into());
        };
        let shape = [images, *channels, *height, *width];
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 255) as f32).collect();
        let input: NdTensor<f32, 4> = NdTensor::from_data(shape, numbers);
        let run = || model.run_one(input.view().into(), Some(options.clone()));
        run()?;
        let (mut times, begin) = (Vec::new(), Instant::now());
        while times.len() < 3 || begin.elapsed().as_secs_f64() < seconds {
            let start = Instant::now();
            run()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!("{batch} {}", times[times.len() / 2]);
    }
    Ok(())
}
