//! Pictures: shapes in drawing order, to be written as SVG or PNG.

mod png;
mod recorder;
mod svg;

pub(crate) use png::encode;
pub(crate) use recorder::Recorder;

use crate::ReportError;

/// A drawing on a white ground.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    width: u32,
    height: u32,
    /// Pixels of a PNG file for each pixel of the drawing, along each side.
    density: u32,
    shapes: Vec<Shape>,
}

impl Picture {
    /// Creates a drawing of so many pixels, whose PNG file has `density` times as many along each side.
    pub(crate) fn new([width, height]: [u32; 2], density: u32, shapes: Vec<Shape>) -> Self {
        Self {
            width,
            height,
            density,
            shapes,
        }
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns whether images are part of it.
    pub fn has_images(&self) -> bool {
        self.shapes
            .iter()
            .any(|shape| matches!(shape, Shape::Image { .. }))
    }

    /// Writes it as an SVG document; the viewer chooses the font.
    pub fn to_svg(&self) -> String {
        svg::write(self)
    }

    /// Draws it as a PNG file. Plots have two pixels for each of the drawing's, so that they are sharp on
    /// paper and on dense screens; letters are those of a font with Latin, Greek and Cyrillic,
    /// others become `?` in a box.
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        png::write(self)
    }
}

/// Red, green and blue.
pub(crate) type Color = [u8; 3];

/// One thing on a picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Rectangle {
        /// The upper left corner.
        at: [i32; 2],
        /// Width and height.
        size: [u32; 2],
        paint: Paint,
    },
    Circle {
        center: [i32; 2],
        radius: u32,
        paint: Paint,
    },
    /// From point to point.
    Line {
        points: Vec<[i32; 2]>,
        color: Color,
        width: u32,
    },
    /// Filled; its last point is joined to the first.
    Polygon {
        points: Vec<[i32; 2]>,
        color: Color,
    },
    Text(Text),
    /// Pixels, each enlarged to a square.
    Image {
        /// The upper left corner.
        at: [u32; 2],
        /// Pixels of the picture that a pixel of the image takes along each side.
        scale: u32,
        /// Width and height of the image.
        size: [u32; 2],
        /// Red, green and blue of each pixel, row by row.
        pixels: Vec<u8>,
    },
}

/// Style of an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Filled(Color),
    /// Its edge, so many pixels wide.
    Outlined(Color, u32),
}

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    pub line: String,
    /// Where it begins, has its middle or ends.
    pub at: [f32; 2],
    /// How far below that point its baseline is, as a share of its size.
    pub drop: f32,
    pub anchor: Anchor,
    /// Its size in pixels.
    pub size: f32,
    pub color: Color,
    /// Turned by a quarter to the left around `at`.
    pub turned: bool,
}

/// Alignment of a text at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Color = [255, 0, 0];

    fn decode(picture: &Picture) -> image::RgbImage {
        image::load_from_memory(&picture.to_png().unwrap())
            .unwrap()
            .into_rgb8()
    }

    /// The smallest rectangle, left, top, right and bottom, around what is not white.
    fn inked(image: &image::RgbImage) -> [u32; 4] {
        let dark = || {
            image
                .enumerate_pixels()
                .filter(|(_, _, pixel)| pixel.0[1] < 128)
        };
        let (columns, rows) = (|| dark().map(|(x, _, _)| x), || dark().map(|(_, y, _)| y));
        [columns().min(), rows().min(), columns().max(), rows().max()]
            .map(|edge| edge.expect("something is drawn"))
    }

    fn rectangle(at: [i32; 2], size: [u32; 2]) -> Shape {
        Shape::Rectangle {
            at,
            size,
            paint: Paint::Filled(RED),
        }
    }

    fn word(at: [f32; 2], anchor: Anchor, turned: bool) -> Shape {
        Shape::Text(Text {
            line: "word".into(),
            at,
            drop: 0.26,
            anchor,
            size: 16.0,
            color: [0; 3],
            turned,
        })
    }

    #[test]
    fn shapes_lie_where_they_should_at_any_density() {
        for density in [1, 2, 3] {
            let image = decode(&Picture::new(
                [20, 10],
                density,
                vec![rectangle([3, 2], [5, 4])],
            ));
            assert_eq!(image.dimensions(), (20 * density, 10 * density));
            assert_eq!(
                inked(&image),
                [3 * density, 2 * density, 8 * density - 1, 6 * density - 1]
            );
            assert_eq!(image.get_pixel(4 * density, 3 * density).0, RED);
        }
        let disc = Shape::Circle {
            center: [10, 5],
            radius: 3,
            paint: Paint::Filled(RED),
        };
        assert_eq!(
            inked(&decode(&Picture::new([20, 10], 2, vec![disc]))),
            [14, 4, 25, 15]
        );
        let line = Shape::Line {
            points: vec![[2, 5], [18, 5]],
            color: RED,
            width: 2,
        };
        assert_eq!(
            inked(&decode(&Picture::new([20, 10], 1, vec![line]))),
            [2, 4, 17, 5]
        );
    }

    #[test]
    fn text_lies_beside_its_point_and_turns_around_it() {
        let inked = |anchor, turned| {
            inked(&decode(&Picture::new(
                [100, 100],
                1,
                vec![word([50.0, 50.0], anchor, turned)],
            )))
        };
        let [start, middle, end] =
            [Anchor::Start, Anchor::Middle, Anchor::End].map(|anchor| inked(anchor, false));
        assert!(start[0] >= 50 && end[2] <= 50, "{start:?} {end:?}");
        assert!((middle[0] + middle[2]).abs_diff(100) <= 3, "{middle:?}");
        assert!(
            start[1] > 40 && start[3] < 60 && start[2] - start[0] > 25,
            "{start:?}"
        );
        // It reads upwards, from the point on.
        let turned = inked(Anchor::Start, true);
        let [length, upright] = [start[2] - start[0], turned[3] - turned[1]];
        assert!(
            turned[3] <= 50 && length.abs_diff(upright) <= 2,
            "{turned:?} {start:?}"
        );
    }

    #[test]
    fn images_are_enlarged_to_squares() {
        let pixels = vec![255, 0, 0, 255, 255, 255, 0, 0, 255, 0, 0, 0];
        let picture = Picture::new(
            [9, 9],
            2,
            vec![Shape::Image {
                at: [1, 2],
                scale: 3,
                size: [2, 2],
                pixels,
            }],
        );
        let image = decode(&picture);
        for (at, expected) in [
            ([2, 4], RED),
            ([7, 9], RED),
            ([8, 4], [255; 3]),
            ([2, 10], [0, 0, 255]),
            ([13, 15], [0; 3]),
        ] {
            assert_eq!(image.get_pixel(at[0], at[1]).0, expected, "{at:?}");
        }
        assert!(
            picture
                .to_svg()
                .contains("width=\"6\" height=\"6\" image-rendering=\"pixelated\" href=\"data:")
        );
    }

    #[test]
    fn letters_that_the_font_lacks_are_shown_as_such() {
        let picture = |line: &str| {
            let Shape::Text(text) = word([2.0, 12.0], Anchor::Start, false) else {
                unreachable!("a word is text")
            };
            let text = Text {
                line: line.into(),
                ..text
            };
            decode(&Picture::new([100, 20], 1, vec![Shape::Text(text)]))
        };
        for text in ["größe", "ёж", "猫"] {
            inked(&picture(text));
        }
        assert!(picture("猫") == picture("犬"));
        assert!(picture("a") != picture("b"));
    }

    #[test]
    fn what_would_be_too_large_is_drawn_smaller_or_refused() {
        let large = Picture::new([6000, 6000], 2, Vec::new());
        assert_eq!(decode(&large).dimensions(), (6000, 6000));
        let error = Picture::new([60_000, 60_000], 2, Vec::new())
            .to_png()
            .unwrap_err();
        assert!(error.to_string().contains("60000x60000"), "{error}");
    }
}
