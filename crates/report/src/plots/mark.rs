//! What tells the series of a plot apart.

use plotters::prelude::*;

use super::canvas::{Area, Drawn};

/// How a series is drawn: by colour and by shape, so that it is known without colours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// Blue, with discs.
    Training,
    /// Vermilion, with squares.
    Validation,
}

impl Mark {
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
        }
    }

    /// From the palette of Okabe and Ito (2008), made to be told apart by colour-blind readers.
    pub fn color(self) -> RGBColor {
        match self {
            Self::Training => RGBColor(0x00, 0x72, 0xb2),
            Self::Validation => RGBColor(0xd5, 0x5e, 0x00),
        }
    }

    pub fn draw(self, area: &Area<'_>, (x, y): (i32, i32)) -> Drawn {
        let style = self.color().filled();
        match self {
            Self::Training => area.draw(&Circle::new((x, y), 4, style)),
            Self::Validation => area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], style)),
        }
    }
}
