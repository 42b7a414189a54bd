use super::gradient::OutputGradient;
use super::input_gradient::InputGradient;
use super::panels;
use super::problem::Layout;
use super::shape::Conv2dShape;
use super::split::Split;
use super::weight_tiles::{LaidOut, WeightTiles};
use crate::level::Level;
use crate::micro::Kernels;
use crate::parallel::Shared;
use crate::scratch::Scratch;

/// Where a convolution's gradients go; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct Conv2dGradients<'a> {
    /// `[batch, height, width, channels]`.
    pub input: Option<&'a mut [f32]>,
    /// `[filters, channels / groups, kernel rows, kernel columns]`.
    pub weights: Option<&'a mut [f32]>,
    /// `[filters]`.
    pub bias: Option<&'a mut [f32]>,
}

/// Gradients of [`conv2d_forward`](crate::conv2d_forward), overwriting what `gradients` names.
///
/// One pass over the images: a group of them at a time is masked by its activation into a buffer
/// that stays in cache for the bias, weight and input gradients.
///
/// # Panics
///
/// When a slice is not of the shape's length.
pub fn conv2d_backward(
    shape: &Conv2dShape,
    input: &[f32],
    weights: &[f32],
    gradient: &OutputGradient,
    gradients: Conv2dGradients,
) {
    assert_eq!(input.len(), shape.input_len(), "conv2d: input");
    assert_eq!(weights.len(), shape.weights_len(), "conv2d: weights");
    gradient.assert_shape(shape);
    let level = Level::current();
    let kernels = Kernels::of(level);

    let Conv2dGradients {
        input: to_input,
        weights: to_weights,
        bias: to_bias,
    } = gradients;
    let tiles = WeightTiles::new(shape, &kernels);
    let panels = panels::transposed(shape, &kernels);
    let split = Split::new(
        input.len() + shape.output_len(),
        weights.len(),
        shape.batch,
        tiles.count().min(panels.count()),
    );
    let to_input =
        to_input.map(|to| InputGradient::new(shape, &kernels, weights, panels, &split, to));
    let layout = to_input
        .as_ref()
        .map_or(plain_layout(shape), |to| to.plan.layout);

    // Each share of the images has sums of its own; what divides the weights divides one share's
    // sums.
    let mut weight_sums = Scratch::any(if to_weights.is_some() {
        tiles.len() * split.images
    } else {
        0
    });
    let mut bias_sums = vec![0.0_f64; shape.filters * split.images];
    let all_weight_sums = to_weights.is_some().then(|| Shared::new(&mut weight_sums));
    let all_bias_sums = Shared::new(&mut bias_sums);

    let image = input.len() / shape.batch;
    let step = images_at_a_time(image + layout.image, shape.output());
    let group = to_input
        .as_ref()
        .map_or(1, |to| {
            to.plan.group(&kernels, shape.batch.div_ceil(split.images))
        })
        .max(step);
    split.run(|task| {
        let range = task.part_of(tiles.count());
        let weight_sums =
            all_weight_sums.map(|all| all.part(task.index * tiles.len(), tiles.len()));
        let mut image_sums = Scratch::any(shape.filters);
        // A panel more: the last pixel's vectors may reach beyond it.
        let mut buffer = Scratch::any(group * layout.image + kernels.columns());
        for first in task.images.clone().step_by(group) {
            let count = group.min(task.images.end - first);
            for (image, buffer) in (first..first + count).zip(buffer.chunks_exact_mut(layout.image))
            {
                gradient.write_image(level, shape, image, layout, buffer, &mut image_sums);
                if task.part == 0 {
                    // SAFETY: of the tasks with these images, only this one is part 0.
                    let sums =
                        unsafe { all_bias_sums.slice(task.index * shape.filters, shape.filters) };
                    sums.iter_mut()
                        .zip(image_sums.iter())
                        .for_each(|(total, &sum)| *total += f64::from(sum));
                }
            }
            if let Some(sums) = weight_sums {
                for offset in (0..count).step_by(step) {
                    let images = step.min(count - offset);
                    let gradient = LaidOut {
                        values: &buffer[offset * layout.image..],
                        layout,
                    };
                    let input = &input[(first + offset) * image..];
                    let accumulate = first + offset > task.images.start;
                    // SAFETY: tasks have different images, and sums of their own, or different
                    // rows.
                    unsafe { tiles.run(range.clone(), input, gradient, images, sums, accumulate) }
                }
            }
            if let Some(to) = &to_input {
                // SAFETY: tasks write different images or panels.
                unsafe { to.run(&kernels, &buffer, &task, (first, count)) }
            }
        }
    });

    if let Some(to) = to_weights {
        tiles.unpack(shape, &weight_sums, to);
    }
    if let Some(to) = to_bias {
        assert_eq!(to.len(), shape.filters, "conv2d: bias gradient");
        for (filter, to) in to.iter_mut().enumerate() {
            *to = bias_sums[filter..]
                .iter()
                .step_by(shape.filters)
                .sum::<f64>() as f32;
        }
    }
}

/// The gradient's layout where no input gradient asks for another.
fn plain_layout(shape: &Conv2dShape) -> Layout {
    let [rows, columns] = shape.output();
    let row = columns * shape.filters;
    Layout {
        image: rows * row,
        row,
        before: 0,
    }
}

/// Images over which all weight tiles pass at a time: few enough to stay in cache, enough that the
/// sums are long.
fn images_at_a_time(floats: usize, [rows, columns]: [usize; 2]) -> usize {
    const BYTES: usize = 128 * 1024;
    const PIXELS: usize = 256;
    (BYTES / (floats * size_of::<f32>())).max(PIXELS.div_ceil(rows * columns))
}
