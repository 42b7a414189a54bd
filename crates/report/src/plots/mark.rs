//! What tells the series of a plot apart.

use plotters::prelude::*;

use super::canvas::{Area, Drawn};

/// How a series is drawn: by color and by shape, so that it is known without colors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// As the first series.
    Training,
    /// As the second series.
    Validation,
    /// One of several series of the same kind, by its index, below [`COUNT`](Self::COUNT).
    Series(usize),
}

/// The palette of Okabe and Ito (2008), made to be told apart by color-blind readers, with a shape
/// for each.
const LOOKS: [(RGBColor, Shape); Mark::COUNT] = [
    (RGBColor(0x00, 0x72, 0xb2), Shape::Disc),
    (RGBColor(0xd5, 0x5e, 0x00), Shape::Square),
    (RGBColor(0x00, 0x9e, 0x73), Shape::Triangle),
    (RGBColor(0xcc, 0x79, 0xa7), Shape::Diamond),
    (RGBColor(0xe6, 0x9f, 0x00), Shape::Wedge),
    (RGBColor(0x56, 0xb4, 0xe9), Shape::Bar),
];

#[derive(Clone, Copy)]
enum Shape {
    Disc,
    Square,
    Triangle,
    Diamond,
    /// A triangle that points down.
    Wedge,
    /// An upright rectangle.
    Bar,
}

impl Mark {
    /// Number of series that can be told apart.
    pub const COUNT: usize = 6;

    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Series(_) => "",
        }
    }

    const fn look(self) -> (RGBColor, Shape) {
        match self {
            Self::Training => LOOKS[0],
            Self::Validation => LOOKS[1],
            Self::Series(index) => LOOKS[index % Self::COUNT],
        }
    }

    pub const fn color(self) -> RGBColor {
        self.look().0
    }

    pub fn draw(self, area: &Area<'_>, (x, y): (i32, i32)) -> Drawn {
        let (color, shape) = self.look();
        let style = color.filled();
        let polygon = |points: &[(i32, i32)]| {
            let points: Vec<_> = points.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            area.draw(&Polygon::new(points, style))
        };
        match shape {
            Shape::Disc => area.draw(&Circle::new((x, y), 4, style)),
            Shape::Square => area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], style)),
            Shape::Triangle => polygon(&[(0, -5), (5, 4), (-5, 4)]),
            Shape::Diamond => polygon(&[(0, -6), (6, 0), (0, 6), (-6, 0)]),
            Shape::Wedge => polygon(&[(0, 5), (5, -4), (-5, -4)]),
            Shape::Bar => area.draw(&Rectangle::new([(x - 2, y - 6), (x + 2, y + 6)], style)),
        }
    }
}
