//! Places of a layer's feature maps.

use std::ops::Range;

use serde::Serialize;

/// The places of a layer's feature maps, each of which stands for a rectangle of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cells {
    /// The layer's name.
    pub layer: String,
    /// Height of the model's input in pixels.
    pub height: usize,
    /// Its width in pixels.
    pub width: usize,
    /// Rows of places.
    pub rows: usize,
    /// Places in each row.
    pub columns: usize,
}

impl Cells {
    /// Returns the number of places, at least 1.
    pub const fn count(&self) -> usize {
        self.rows * self.columns
    }

    /// Returns the rows and columns of pixels of a place, by its number from 0, counted row by row: its share of
    /// the image, and the pixels that it has in part.
    pub fn place(&self, number: usize) -> [Range<usize>; 2] {
        let share = |at: usize, count: usize, side: usize| {
            let start = at * side / count;
            start..((at + 1) * side).div_ceil(count).max(start + 1)
        };
        [
            share(number / self.columns, self.rows, self.height),
            share(number % self.columns, self.columns, self.width),
        ]
    }

    /// Returns the value of each pixel, `[height, width]`, from that of each place: bilinear between the centers
    /// of places, and that of the nearest one beyond them.
    pub fn map(&self, values: &[f32]) -> Vec<f32> {
        let rows = between(self.height, self.rows);
        let columns = between(self.width, self.columns);
        let at = |row: usize, column: usize| values[row * self.columns + column];
        let mut map = Vec::with_capacity(self.height * self.width);
        for (upper, lower, down) in rows {
            for &(left, right, over) in &columns {
                let across = |row| at(row, left) + (at(row, right) - at(row, left)) * over;
                map.push(across(upper) + (across(lower) - across(upper)) * down);
            }
        }
        map
    }
}

/// For each of `pixels`, the two of `places` between whose centers it is, and how far it is from the first to the
/// second, 0 to 1.
fn between(pixels: usize, places: usize) -> Vec<(usize, usize, f32)> {
    let last = places - 1;
    (0..pixels)
        .map(|pixel| {
            let at = (pixel as f32 + 0.5) * places as f32 / pixels as f32 - 0.5;
            let at = at.clamp(0.0, last as f32);
            let first = at as usize;
            (first, (first + 1).min(last), at - first as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells([height, width]: [usize; 2], [rows, columns]: [usize; 2]) -> Cells {
        Cells {
            layer: "conv2d".into(),
            height,
            width,
            rows,
            columns,
        }
    }

    #[test]
    fn a_place_is_its_share_of_the_image() {
        let cells = cells([224, 28], [7, 5]);
        assert_eq!(cells.place(0), [0..32, 0..6]);
        // 5.6 pixels each: the seventh is in two of them.
        assert_eq!(cells.place(1), [0..32, 5..12]);
        assert_eq!(cells.place(34), [192..224, 22..28]);
    }

    /// The right values are those of `cv2.resize` with `INTER_LINEAR`, and of PyTorch's `interpolate` with
    /// `mode="bilinear", align_corners=False`.
    #[test]
    fn pixels_between_centers_are_blended() {
        let cells = cells([4, 8], [1, 4]);
        let row = [0.0, 1.0, 3.0, 6.0, 10.0, 12.0, 12.0, 12.0];
        assert_eq!(cells.map(&[0.0, 4.0, 12.0, 12.0]), row.repeat(4));
        assert_eq!(cells.map(&[1.0, 1.0, 1.0, 1.0]), [1.0; 32]);
    }

    fn sizes() -> impl Strategy<Value = (Cells, Vec<f32>)> {
        (1_usize..40, 1_usize..40, 1_usize..9, 1_usize..9).prop_flat_map(
            |(height, width, rows, columns)| {
                let values = proptest::collection::vec(0.0_f32..9.0, rows * columns);
                (Just(cells([height, width], [rows, columns])), values)
            },
        )
    }

    proptest! {
        #[test]
        fn a_map_stays_between_the_values((cells, values) in sizes()) {
            let map = cells.map(&values);
            prop_assert_eq!(map.len(), cells.height * cells.width);
            let [least, most] = [f32::min, f32::max].map(|of| values.iter().copied().reduce(of).unwrap());
            for value in map {
                prop_assert!(value >= least - 1e-4 && value <= most + 1e-4, "{}", value);
            }
        }

        #[test]
        fn places_cover_the_image((cells, _) in sizes()) {
            let mut covered = vec![false; cells.height * cells.width];
            for number in 0..cells.count() {
                let [rows, columns] = cells.place(number);
                prop_assert!(rows.end <= cells.height && columns.end <= cells.width);
                for row in rows {
                    covered[row * cells.width..][columns.clone()].fill(true);
                }
            }
            prop_assert!(covered.iter().all(|&it| it));
        }
    }
}
