//! Which pixels stand for a place, inside of the image or beyond its edges.

use kiln_model::FillMode;

/// Two neighbors along an axis, and the weight of the second.
pub(super) type Pair = (usize, usize, f64);

/// The two pixels, of `length` along an axis, between which a position lies; none where it is
/// beyond the edge and nothing of the image is there. The rules are those of `map_coordinate` in
/// `ni_interpolation.c` of `scipy.ndimage`.
pub(super) fn neighbors(position: f64, length: usize, mode: FillMode) -> Option<Pair> {
    let last = (length - 1) as f64;
    if (0.0..=last).contains(&position) {
        return Some(within(position, length));
    }
    match mode {
        FillMode::Constant => None,
        FillMode::Nearest => Some(within(position.clamp(0.0, last), length)),
        FillMode::Reflect => {
            let below = position.floor();
            Some((
                mirrored(below, length),
                mirrored(below + 1.0, length),
                position - below,
            ))
        }
        // The last pixel lies upon the first one: the image repeats after one pixel less than it
        // has.
        FillMode::Wrap if length == 1 => Some((0, 0, 0.0)),
        FillMode::Wrap if position < 0.0 => Some(within(
            position + last * ((-position / last).floor() + 1.0),
            length,
        )),
        FillMode::Wrap => Some(within(position - last * (position / last).floor(), length)),
    }
}

/// The neighbors of a position from the first to the last pixel.
fn within(position: f64, length: usize) -> Pair {
    let below = (position as usize).min(length - 1);
    (below, (below + 1).min(length - 1), position - below as f64)
}

/// The pixel that a whole position shows where the image and its mirror image take turns.
fn mirrored(position: f64, length: usize) -> usize {
    let period = 2.0 * length as f64;
    let position = position.rem_euclid(period) as usize;
    if position < length {
        position
    } else {
        2 * length - 1 - position
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is seen at whole positions from -5 to 8 of an image `0123`.
    fn seen(mode: FillMode) -> String {
        let pixel = |position: i32| match neighbors(f64::from(position), 4, mode) {
            Some((below, above, weight)) => {
                char::from(b'0' + if weight < 0.5 { below } else { above } as u8)
            }
            None => 'k',
        };
        (-5..=8).map(pixel).collect()
    }

    #[test]
    fn edges_go_on_as_documented() {
        assert_eq!(seen(FillMode::Nearest), "00000012333333");
        assert_eq!(seen(FillMode::Constant), "kkkkk0123kkkkk");
        assert_eq!(seen(FillMode::Reflect), "33210012332100");
        // Where the last pixel lies upon the first one, the left shows the last and the right the
        // first.
        assert_eq!(seen(FillMode::Wrap), "12312012312012");
    }

    proptest! {
        #[test]
        fn every_position_has_pixels_of_the_image(position in -1e6..1e6, length in 1..50usize) {
            for mode in [FillMode::Nearest, FillMode::Constant, FillMode::Reflect, FillMode::Wrap] {
                let Some((below, above, weight)) = neighbors(position, length, mode) else {
                    prop_assert_eq!(mode, FillMode::Constant);
                    continue;
                };
                prop_assert!(below < length && above < length && below.abs_diff(above) <= 1);
                prop_assert!((0.0..=1.0).contains(&weight), "{}", weight);
            }
        }
    }
}
