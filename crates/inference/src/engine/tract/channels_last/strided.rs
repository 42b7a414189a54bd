//! Loops over operands that lie anywhere in memory.

/// Where elements lie: floats to the first one, and from one to the next along each axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strided {
    pub offset: usize,
    pub strides: Vec<usize>,
}

impl Strided {
    /// One after another, the last axis contiguous.
    pub fn row_major(sizes: &[usize]) -> Self {
        let stride = |axis: usize| sizes[axis + 1..].iter().product();
        Self {
            offset: 0,
            strides: (0..sizes.len()).map(stride).collect(),
        }
    }
}

/// An operation of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Maximum,
    Minimum,
}

/// Calls `row` with the place of each row along the last axis, in two operands, and its number.
fn rows(sizes: &[usize], a: &Strided, b: &Strided, mut row: impl FnMut(usize, usize, usize)) {
    let outer = sizes.len().saturating_sub(1);
    let count: usize = sizes[..outer].iter().product();
    let mut index = vec![0; outer];
    let (mut at_a, mut at_b) = (a.offset, b.offset);
    for number in 0..count {
        row(number, at_a, at_b);
        for axis in (0..outer).rev() {
            index[axis] += 1;
            at_a += a.strides[axis];
            at_b += b.strides[axis];
            if index[axis] < sizes[axis] {
                break;
            }
            index[axis] = 0;
            at_a -= a.strides[axis] * sizes[axis];
            at_b -= b.strides[axis] * sizes[axis];
        }
    }
}

/// Copies elements of these sizes from where they lie to where they belong.
pub fn copy(sizes: &[usize], (from, from_at): (&[f32], &Strided), to: &mut [f32], to_at: &Strided) {
    let (sizes, from_at, to_at) = innermost(sizes, from_at, to_at);
    let last = sizes.len() - 1;
    let (length, step, to_step) = (sizes[last], from_at.strides[last], to_at.strides[last]);
    rows(&sizes, &from_at, &to_at, |_, start, to_start| {
        if (step, to_step) == (1, 1) {
            to[to_start..to_start + length].copy_from_slice(&from[start..start + length]);
        } else {
            for at in 0..length {
                to[to_start + at * to_step] = from[start + at * step];
            }
        }
    });
}

/// Elements below which a row costs more than what is in it.
const SHORT: usize = 8;

/// The same without axes of size 1, and with the one last whose elements are nearest in what is written, or next to nearest
/// where those are few: the channels of an image are too short a row. At least one axis.
fn innermost(sizes: &[usize], from: &Strided, to: &Strided) -> (Vec<usize>, Strided, Strided) {
    let mut axes: Vec<_> = (0..sizes.len()).filter(|&axis| sizes[axis] > 1).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(to.strides[axis]));
    if let [.., next, last] = &mut axes[..]
        && sizes[*last] < SHORT
    {
        std::mem::swap(next, last);
    }
    let picked = |of: &[usize]| -> Vec<usize> {
        let picked: Vec<_> = axes.iter().map(|&axis| of[axis]).collect();
        if picked.is_empty() { vec![1] } else { picked }
    };
    let strided = |of: &Strided| Strided {
        offset: of.offset,
        strides: picked(&of.strides),
    };
    (picked(sizes), strided(from), strided(to))
}

/// Combines two operands of these sizes; a stride of 0 repeats an element. `output` is row-major.
pub fn combine(
    operation: Binary,
    sizes: &[usize],
    (a, a_at): (&[f32], &Strided),
    (b, b_at): (&[f32], &Strided),
    output: &mut [f32],
) {
    match operation {
        Binary::Add => combine_by(sizes, (a, a_at), (b, b_at), output, |a, b| a + b),
        Binary::Subtract => combine_by(sizes, (a, a_at), (b, b_at), output, |a, b| a - b),
        Binary::Multiply => combine_by(sizes, (a, a_at), (b, b_at), output, |a, b| a * b),
        Binary::Divide => combine_by(sizes, (a, a_at), (b, b_at), output, |a, b| a / b),
        Binary::Maximum => combine_by(sizes, (a, a_at), (b, b_at), output, f32::max),
        Binary::Minimum => combine_by(sizes, (a, a_at), (b, b_at), output, f32::min),
    }
}

fn combine_by(
    sizes: &[usize],
    (a, a_at): (&[f32], &Strided),
    (b, b_at): (&[f32], &Strided),
    output: &mut [f32],
    operation: impl Fn(f32, f32) -> f32,
) {
    let Some(&length) = sizes.last() else {
        output[0] = operation(a[a_at.offset], b[b_at.offset]);
        return;
    };
    let step = |of: &Strided| of.strides.last().copied().unwrap_or_default();
    let steps = (step(a_at), step(b_at));
    rows(sizes, a_at, b_at, |row, a_start, b_start| {
        let output = &mut output[row * length..][..length];
        match steps {
            (1, 1) => {
                let pairs = a[a_start..][..length].iter().zip(&b[b_start..][..length]);
                for (to, (&a, &b)) in output.iter_mut().zip(pairs) {
                    *to = operation(a, b);
                }
            }
            (1, 0) => {
                let b = b[b_start];
                for (to, &a) in output.iter_mut().zip(&a[a_start..][..length]) {
                    *to = operation(a, b);
                }
            }
            (a_step, b_step) => {
                for (at, to) in output.iter_mut().enumerate() {
                    *to = operation(a[a_start + at * a_step], b[b_start + at * b_step]);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three planes to pixels, as every image comes in: whichever loop is inside.
    #[test]
    fn planes_become_pixels_and_back() {
        let from: Vec<f32> = (0..3 * 5 * 20).map(|value| value as f32).collect();
        let sizes = [3, 5, 20];
        let (planes, pixels) = (Strided::row_major(&sizes), vec![1, 60, 3]);
        let pixels = Strided {
            offset: 0,
            strides: pixels,
        };
        let (mut there, mut back) = (vec![0.0; 300], vec![0.0; 300]);
        copy(&sizes, (&from, &planes), &mut there, &pixels);
        for (at, pixel) in there.chunks_exact(3).enumerate() {
            let expected = [at, at + 100, at + 200].map(|value| value as f32);
            assert_eq!(pixel, expected);
        }
        copy(&sizes, (&there, &pixels), &mut back, &planes);
        assert_eq!(back, from);
    }

    #[test]
    fn a_matrix_is_transposed_and_cut() {
        let from: Vec<f32> = (0..12).map(|value| value as f32).collect();
        // Columns 1 and 2 of [3, 4], transposed to [2, 3].
        let turned = Strided {
            offset: 1,
            strides: vec![1, 4],
        };
        let mut to = [0.0; 6];
        copy(
            &[2, 3],
            (&from, &turned),
            &mut to,
            &Strided::row_major(&[2, 3]),
        );
        assert_eq!(to[..], [1.0, 5.0, 9.0, 2.0, 6.0, 10.0]);
        let mut back = [0.0; 12];
        copy(
            &[2, 3],
            (&to, &Strided::row_major(&[2, 3])),
            &mut back,
            &turned,
        );
        assert_eq!(back[..8], [0.0, 1.0, 2.0, 0.0, 0.0, 5.0, 6.0, 0.0]);
        let mut one = [0.0];
        copy(
            &[1, 1],
            (&from[7..], &Strided::row_major(&[1, 1])),
            &mut one,
            &Strided::row_major(&[1, 1]),
        );
        assert_eq!(one[..], [7.0]);
    }

    #[test]
    fn operands_are_repeated_along_axes() {
        let (a, column) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 20.0]);
        let by = |operation, b: &[f32], strides: [usize; 2]| {
            let mut output = [0.0; 6];
            let strided = Strided {
                offset: 0,
                strides: strides.to_vec(),
            };
            let rows = Strided::row_major(&[2, 3]);
            combine(operation, &[2, 3], (&a, &rows), (b, &strided), &mut output);
            output.to_vec()
        };
        assert_eq!(
            by(Binary::Add, &column, [1, 0]),
            [11.0, 12.0, 13.0, 24.0, 25.0, 26.0]
        );
        assert_eq!(
            by(Binary::Multiply, &a, [0, 1]),
            [1.0, 4.0, 9.0, 4.0, 10.0, 18.0]
        );
        assert_eq!(by(Binary::Subtract, &a, [3, 1]), [0.0; 6]);
        assert_eq!(
            by(Binary::Maximum, &[3.5], [0, 0]),
            [3.5, 3.5, 3.5, 4.0, 5.0, 6.0]
        );
        let scalars = Strided::row_major(&[]);
        let mut output = [0.0];
        combine(
            Binary::Divide,
            &[],
            (&[1.0], &scalars),
            (&[4.0], &scalars),
            &mut output,
        );
        assert_eq!(output[..], [0.25]);
    }
}
