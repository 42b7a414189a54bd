//! How a camera was held: the orientation tag of a photograph, and turning its pixels upright.

/// The value of the Exif tag `Orientation` (0x0112): which sides of the picture as it is seen are
/// the first row and the first column of the pixels as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Orientation {
    /// 1: stored as it is seen.
    #[default]
    Upright,
    /// 2: mirrored left to right.
    Mirrored,
    /// 3: turned by 180 degrees.
    UpsideDown,
    /// 4: mirrored top to bottom.
    Flipped,
    /// 5: rows and columns are exchanged.
    Transposed,
    /// 6: to be turned clockwise by 90 degrees.
    Clockwise,
    /// 7: rows and columns are exchanged, and both reversed.
    Transversed,
    /// 8: to be turned counterclockwise by 90 degrees.
    Counterclockwise,
}

impl Orientation {
    /// All orientations, in the order of the tag's values.
    pub const ALL: [Self; 8] = [
        Self::Upright,
        Self::Mirrored,
        Self::UpsideDown,
        Self::Flipped,
        Self::Transposed,
        Self::Clockwise,
        Self::Transversed,
        Self::Counterclockwise,
    ];

    /// Returns the orientation of a tag's value; none beyond 1 to 8, which readers treat as 1.
    pub fn from_exif(value: u16) -> Option<Self> {
        usize::from(value)
            .checked_sub(1)
            .and_then(|index| Self::ALL.get(index).copied())
    }

    /// The tag's value, 1 to 8.
    pub const fn exif(self) -> u16 {
        match self {
            Self::Upright => 1,
            Self::Mirrored => 2,
            Self::UpsideDown => 3,
            Self::Flipped => 4,
            Self::Transposed => 5,
            Self::Clockwise => 6,
            Self::Transversed => 7,
            Self::Counterclockwise => 8,
        }
    }

    /// Whether height and width are exchanged.
    pub const fn swaps_sides(self) -> bool {
        match self {
            Self::Upright | Self::Mirrored | Self::UpsideDown | Self::Flipped => false,
            Self::Transposed | Self::Clockwise | Self::Transversed | Self::Counterclockwise => true,
        }
    }

    /// The height and width of an upright picture whose stored pixels have these.
    pub const fn upright_size(self, [height, width]: [u32; 2]) -> [u32; 2] {
        if self.swaps_sides() {
            [width, height]
        } else {
            [height, width]
        }
    }

    /// Returns the upright picture of pixels `[height, width, channels]`, as
    /// `PIL.ImageOps.exif_transpose` does. The result is
    /// `[width, height, channels]` where [`swaps_sides`](Self::swaps_sides).
    ///
    /// `pixels` has `height * width * channels` bytes.
    pub(crate) fn turn(self, pixels: Vec<u8>, [height, width]: [u32; 2], channels: u32) -> Vec<u8> {
        match channels {
            1 => self.turn_pixels::<1>(pixels, height as usize, width as usize),
            2 => self.turn_pixels::<2>(pixels, height as usize, width as usize),
            3 => self.turn_pixels::<3>(pixels, height as usize, width as usize),
            _ => self.turn_pixels::<4>(pixels, height as usize, width as usize),
        }
    }

    fn turn_pixels<const N: usize>(
        self,
        mut pixels: Vec<u8>,
        height: usize,
        width: usize,
    ) -> Vec<u8> {
        match self {
            Self::Upright => pixels,
            Self::Mirrored => {
                for row in pixels.chunks_exact_mut(width * N) {
                    row.as_chunks_mut::<N>().0.reverse();
                }
                pixels
            }
            Self::UpsideDown => {
                pixels.as_chunks_mut::<N>().0.reverse();
                pixels
            }
            Self::Flipped => pixels.rchunks_exact(width * N).flatten().copied().collect(),
            Self::Transposed => transposed::<N>(&pixels, height, width, false, false),
            Self::Clockwise => transposed::<N>(&pixels, height, width, true, false),
            Self::Transversed => transposed::<N>(&pixels, height, width, true, true),
            Self::Counterclockwise => transposed::<N>(&pixels, height, width, false, true),
        }
    }
}

/// Output row `x` is source column `x`; rows of the source are taken from the last one where
/// `from_bottom`, columns where `from_right`.
///
/// In tiles, so that neither side jumps through memory: reading whole columns of a photograph
/// misses the cache at every pixel.
fn transposed<const N: usize>(
    pixels: &[u8],
    height: usize,
    width: usize,
    from_bottom: bool,
    from_right: bool,
) -> Vec<u8> {
    const TILE: usize = 32;
    let (source, _) = pixels.as_chunks::<N>();
    let mut turned = vec![0; pixels.len()];
    let (target, _) = turned.as_chunks_mut::<N>();
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            for x in left..(left + TILE).min(width) {
                let column = if from_right { width - 1 - x } else { x };
                for y in top..(top + TILE).min(height) {
                    let row = if from_bottom { height - 1 - y } else { y };
                    target[x * height + y] = source[row * width + column];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture `ab / cd / ef` as each orientation makes it of its pixels.
    #[test]
    fn pictures_are_turned_as_by_pillow() {
        // Of `ImageOps.exif_transpose` in Pillow 13.0, rows one after another.
        let expected = [
            "abcdef", "badcfe", "fedcba", "efcdab", "acebdf", "ecafdb", "fdbeca", "bdface",
        ];
        for (orientation, expected) in Orientation::ALL.into_iter().zip(expected) {
            let turned = orientation.turn(b"abcdef".to_vec(), [3, 2], 1);
            assert_eq!(
                String::from_utf8_lossy(&turned),
                expected,
                "{orientation:?}"
            );
        }
    }

    #[test]
    fn the_samples_of_a_pixel_stay_together() {
        let [height, width] = [70, 41];
        let gray: Vec<u8> = (0..height * width).map(|i| (i % 251) as u8).collect();
        for orientation in Orientation::ALL {
            let turned = orientation.turn(gray.clone(), [height, width], 1);
            for channels in 2..=4 {
                let spread = |pixels: &[u8]| -> Vec<u8> {
                    let sample = |&p: &u8| (0..channels as u8).map(move |c| p.wrapping_add(c));
                    pixels.iter().flat_map(sample).collect()
                };
                assert_eq!(
                    orientation.turn(spread(&gray), [height, width], channels),
                    spread(&turned),
                    "{orientation:?} {channels}"
                );
            }
        }
    }

    #[test]
    fn values_of_the_tag_are_one_to_eight() {
        for (value, orientation) in (1..).zip(Orientation::ALL) {
            assert_eq!(Orientation::from_exif(value), Some(orientation));
            assert_eq!(orientation.exif(), value);
        }
        assert_eq!(Orientation::from_exif(0), None);
        assert_eq!(Orientation::from_exif(9), None);
    }
}
