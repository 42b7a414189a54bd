//! Turning, moving, shearing and zooming.

use kiln_model::FillMode;

use super::Transform;
use super::fill::{Pair, neighbors};

/// Where in the source each output pixel lies: `position = linear * pixel + offset`, x before y.
pub(super) struct Affine {
    linear: [[f64; 2]; 2],
    offset: [f64; 2],
    size: [usize; 2],
}

impl Affine {
    /// The map of a transform, for images of this height and width; none where it moves nothing.
    pub fn new(transform: &Transform, size: [usize; 2]) -> Option<Self> {
        let Transform {
            rotation,
            shift: [down, across],
            shear,
            zoom: [zoom_y, zoom_x],
            ..
        } = *transform;
        let still = Transform::default();
        if (rotation, transform.shift, shear, transform.zoom)
            == (still.rotation, still.shift, still.shear, still.zoom)
        {
            return None;
        }
        let (sin, cos) = rotation.to_radians().sin_cos();
        let (shear_sin, shear_cos) = shear.to_radians().sin_cos();
        // Rotation times shear times zoom.
        let linear = [
            [cos * zoom_x, (-cos * shear_sin - sin * shear_cos) * zoom_y],
            [sin * zoom_x, (-sin * shear_sin + cos * shear_cos) * zoom_y],
        ];
        let shift = [cos * across - sin * down, sin * across + cos * down];
        let center = [size[1], size[0]].map(|side| side as f64 / 2.0 - 0.5);
        let offset = [0, 1].map(|axis| {
            let [x, y] = linear[axis];
            center[axis] + shift[axis] - (x * center[0] + y * center[1])
        });
        Some(Self {
            linear,
            offset,
            size,
        })
    }

    /// The pixels that make an output pixel, given by its row and column; none where nothing of the
    /// image is there.
    pub fn taps(&self, [row, column]: [usize; 2], mode: FillMode) -> Option<Taps> {
        let (x, y) = (column as f64, row as f64);
        let position =
            |axis: usize| self.linear[axis][0] * x + self.linear[axis][1] * y + self.offset[axis];
        let [height, width] = self.size;
        Some(Taps {
            y: neighbors(position(1), height, mode)?,
            x: neighbors(position(0), width, mode)?,
            width,
        })
    }
}

/// Four neighbors with their weights.
#[derive(Clone, Copy)]
pub(super) struct Taps {
    y: Pair,
    x: Pair,
    width: usize,
}

impl Taps {
    /// The value that they make of a plane.
    pub fn sum(&self, plane: &[f32]) -> f64 {
        let ((top, bottom, down), (left, right, across)) = (self.y, self.x);
        let row = |y: usize| {
            let row = &plane[y * self.width..][..self.width];
            f64::from(row[left]) * (1.0 - across) + f64::from(row[right]) * across
        };
        row(top) * (1.0 - down) + row(bottom) * down
    }
}
