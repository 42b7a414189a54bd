//! Bench.
use kiln_kernels::*;
use std::time::Instant;

fn best(mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let start = Instant::now();
    let mut n = 0;
    while n < 5 || start.elapsed().as_secs_f64() < 0.7 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
        n += 1;
    }
    best
}
fn main() {
    let c = |input, f, k, p| Conv2d::new(input, f, [k, k]).padded(p).checked().unwrap();
    for (name, s) in [
        ("conv1", c([128, 28, 28, 1], 32, 3, 0)),
        ("conv2 5x5", c([128, 13, 13, 32], 64, 5, 0)),
        ("conv2 3x3", c([128, 13, 13, 32], 64, 3, 0)),
        ("dense", c([1024, 1, 1, 1024], 1024, 1, 0)),
        ("vgg1_1", c([32, 32, 32, 3], 64, 3, 1)),
        ("vgg1_2", c([32, 32, 32, 64], 64, 3, 1)),
        ("vgg2_2", c([32, 16, 16, 128], 128, 3, 1)),
        ("vgg3_2", c([32, 8, 8, 256], 256, 3, 1)),
        ("vgg4_2", c([32, 4, 4, 512], 512, 3, 1)),
        ("vgg5", c([32, 2, 2, 512], 512, 3, 1)),
    ] {
        let x: Vec<f32> = (0..s.input_len()).map(|i| (i % 17) as f32 * 0.1).collect();
        let w: Vec<f32> = (0..s.weights_len()).map(|i| (i % 13) as f32 * 0.1).collect();
        let b = vec![0.1; s.filters];
        let mut y = vec![0.0; s.output_len()];
        let pack = best(|| {
            std::hint::black_box(PackedFilters::new(&s, &w));
        });
        let p = PackedFilters::new(&s, &w);
        let t = best(|| conv2d_forward_packed(&s, &x, &p, Some(&b), Activation::Relu, &mut y));
        println!("{name:10} {:8.3} ms {:7.1} GFLOP/s pack {:.3}", t * 1e3, 2e-9 * s.multiply_adds() as f64 / t, pack * 1e3);
    }
}
