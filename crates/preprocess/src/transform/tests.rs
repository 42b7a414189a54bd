use proptest::prelude::*;

use super::*;

fn run(transform: Transform, image: &[f32], size: [usize; 2]) -> Vec<f32> {
    let mut out = vec![f32::NAN; image.len()];
    transform.apply(image, size, &mut out);
    out
}

/// 0, 1, 2, …: `planes` planes of this height and width.
fn ramp([height, width]: [usize; 2], planes: usize) -> Vec<f32> {
    (0..planes * height * width)
        .map(|i| (i % 251) as f32)
        .collect()
}

#[test]
fn shifts_go_along_their_own_axis() {
    let image = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let right = Transform {
        shift: [0.0, 1.0],
        ..Transform::default()
    };
    assert_eq!(run(right, &image, [2, 3]), [1.0, 2.0, 2.0, 4.0, 5.0, 5.0]);
    let down = Transform {
        shift: [1.0, 0.0],
        ..Transform::default()
    };
    assert_eq!(run(down, &image, [2, 3]), [3.0, 4.0, 5.0, 3.0, 4.0, 5.0]);
}

#[test]
fn channels_are_transformed_alike() {
    let size = [4, 6];
    let transform = Transform {
        rotation: 20.0,
        zoom: [0.8, 1.3],
        horizontal_flip: true,
        ..Transform::default()
    };
    let image = ramp(size, 3);
    let one_by_one: Vec<f32> = image
        .chunks(24)
        .flat_map(|plane| run(transform, plane, size))
        .collect();
    assert_eq!(run(transform, &image, size), one_by_one);
}

#[test]
fn an_image_of_one_pixel_stays_one_pixel() {
    for fill_mode in [FillMode::Nearest, FillMode::Reflect, FillMode::Wrap] {
        let transform = Transform {
            rotation: 33.0,
            shift: [0.7, -5.2],
            fill_mode,
            ..Transform::default()
        };
        assert_eq!(run(transform, &[9.0], [1, 1]), [9.0]);
    }
}

proptest! {
    #[test]
    fn half_a_turn_is_both_flips(height in 1..9usize, width in 1..9usize) {
        let image = ramp([height, width], 1);
        let turned = run(Transform { rotation: 180.0, ..Transform::default() }, &image, [height, width]);
        let both = Transform { horizontal_flip: true, vertical_flip: true, ..Transform::default() };
        let flipped = run(both, &image, [height, width]);
        prop_assert!(turned.iter().zip(&flipped).all(|(a, b)| (a - b).abs() < 1e-3), "{:?} {:?}", turned, flipped);
    }

    #[test]
    fn nothing_leaves_the_range_of_the_image(
        rotation in -180.0..180.0, down in -20.0..20.0, across in -20.0..20.0, shear in -89.0..89.0, zoom in 0.1..4.0,
        brightness in prop::option::of(0.0..3.0f32), mode in 0..4usize, height in 1..9usize, width in 1..9usize,
    ) {
        let fill_mode = [FillMode::Nearest, FillMode::Constant, FillMode::Reflect, FillMode::Wrap][mode];
        let transform = Transform {
            rotation, shear, brightness, fill_mode, shift: [down, across], zoom: [zoom, 1.0], cval: 17.0,
            ..Transform::default()
        };
        let out = run(transform, &ramp([height, width], 2), [height, width]);
        prop_assert!(out.iter().all(|value| (0.0..=255.0).contains(value)), "{:?}", out);
    }
}
