//! A pool of threads that share one model: `find photos -name '*.jpg' | cargo run --release
//! --example pool -- model.onnx`
//!
//! Reads paths from standard input, one a line, and prints a line for each as soon as it is
//! classified.

use std::io::BufRead;
use std::sync::{Mutex, PoisonError, mpsc};

use kiln_inference::{Model, open_image};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::open(std::env::args().nth(1).ok_or("expected a model: name it")?)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Short, so that memory does not grow with the number of paths.
    let (sender, receiver) = mpsc::sync_channel::<String>(2 * threads);
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The lock is held while waiting for a path, not while classifying.
                while let Ok(path) = {
                    receiver
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv()
                } {
                    match classify(&model, &path) {
                        Ok(label) => println!("{path}\t{label}"),
                        Err(error) => eprintln!("{path}: {error}"),
                    }
                }
            });
        }
        for path in std::io::stdin().lock().lines() {
            sender.send(path?)?;
        }
        drop(sender);
        Ok(())
    })
}

fn classify(model: &Model, path: &str) -> Result<String, Box<dyn std::error::Error>> {
    Ok(model.classify(&open_image(path)?)?.label)
}
