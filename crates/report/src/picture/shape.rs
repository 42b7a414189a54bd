//! What pictures are made of. Positions are pixels from the upper left corner, to the right and
//! down.

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

/// How an area is shown.
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

/// Which end of a text is at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}
