//! Times single layers of today's convolutional networks, forward and with all gradients.
//!
//! `cargo run --release --example layers [SECONDS [FILTER]]`: each line runs for so long (default
//! 0.3), and the least of its times counts; FILTER is a part of the line's name. `RAYON_NUM_THREADS`
//! bounds the threads.

use std::time::Instant;

use kiln_kernels::{
    Activation, Conv2d, Conv2dGradients, Epilogue, OutputGradient, ShapeError, conv2d_backward,
    conv2d_forward,
};

/// How long each line runs, and which lines do.
struct Timer {
    seconds: f64,
    filter: String,
}

impl Timer {
    /// Prints the least time of `work` in milliseconds.
    fn line(&self, name: &str, mut work: impl FnMut()) {
        if !name.contains(&self.filter) {
            return;
        }
        let start = Instant::now();
        let mut least = f64::INFINITY;
        for run in 0.. {
            let begin = Instant::now();
            work();
            least = least.min(begin.elapsed().as_secs_f64());
            if run >= 3 && start.elapsed().as_secs_f64() > self.seconds {
                break;
            }
        }
        println!("{name:48} {:9.3} ms", least * 1e3);
    }
}

/// Numbers in [-0.5, 0.5).
fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5)
        .collect()
}

fn main() -> Result<(), ShapeError> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok());
    let timer = Timer {
        seconds: seconds.unwrap_or(0.3),
        filter: arguments.next().unwrap_or_default(),
    };
    println!("least of {} s each\n", timer.seconds);
    for (input, kernel, stride) in [
        ([32, 32, 32, 96], 3, 1),
        ([32, 32, 32, 96], 3, 2),
        ([32, 16, 16, 192], 3, 1),
        ([32, 16, 16, 192], 3, 2),
        ([32, 4, 4, 960], 3, 1),
        ([32, 4, 4, 960], 3, 2),
        ([32, 8, 8, 480], 5, 1),
        ([32, 8, 8, 480], 5, 2),
        ([32, 14, 14, 384], 7, 1),
        ([32, 56, 56, 144], 3, 1),
    ] {
        depthwise(&timer, input, kernel, stride)?;
    }
    Ok(())
}

fn depthwise(
    timer: &Timer,
    input: [usize; 4],
    kernel: usize,
    stride: usize,
) -> Result<(), ShapeError> {
    let shape = Conv2d {
        stride: [stride; 2],
        groups: input[3],
        ..Conv2d::new(input, input[3], [kernel; 2]).padded(kernel / 2)
    };
    let shape = shape.checked()?;
    let (x, weights, bias) = (
        numbers(shape.input_len()),
        numbers(shape.weights_len()),
        numbers(shape.filters),
    );
    let (mut y, gradient) = (vec![0.0; shape.output_len()], numbers(shape.output_len()));
    let (mut to_x, mut to_weights, mut to_bias) = (x.clone(), weights.clone(), bias.clone());
    let epilogue = Epilogue {
        bias: Some(&bias),
        activation: Activation::Relu6,
        ..Epilogue::default()
    };
    let name = format!("depthwise {kernel}x{kernel} s{stride} {input:?}");
    timer.line(&format!("{name} forward"), || {
        conv2d_forward(&shape, &x, &weights, &epilogue, &mut y);
    });
    timer.line(&format!("{name} step"), || {
        conv2d_forward(&shape, &x, &weights, &epilogue, &mut y);
        let gradients = Conv2dGradients {
            input: Some(&mut to_x),
            weights: Some(&mut to_weights),
            bias: Some(&mut to_bias),
        };
        let from = OutputGradient::Activated {
            activation: Activation::Relu6,
            gradient: &gradient,
            output: &y,
        };
        conv2d_backward(&shape, &x, &weights, &from, gradients);
    });
    Ok(())
}
