//! Everything that can be wrong with the figures and images given to this crate.

/// Figures that cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Nothing to draw.
    #[error("found no {what}, expected at least one: check that the data is not empty")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// Another number of labels than of classes.
    #[error("found {found} labels, expected {expected}: give one label per class")]
    LabelCount {
        /// Number of classes.
        expected: usize,
        /// Number of labels.
        found: usize,
    },
    /// A picture whose number of bytes does not fit its size.
    #[error(
        "picture of {width}x{height} pixels has {found} bytes: expected three for each pixel, and at least one pixel"
    )]
    Tile {
        /// Width of the picture.
        width: u32,
        /// Height of the picture.
        height: u32,
        /// Number of bytes found.
        found: usize,
    },
    /// A picture that is too large.
    #[error(
        "the picture has {width}x{height} pixels: expected at most {max} in all: draw less in it"
    )]
    PictureSize {
        /// Width of the picture.
        width: u64,
        /// Height of the picture.
        height: u64,
        /// Most pixels that a picture may have.
        max: u64,
    },
    /// More series than a plot can tell apart.
    #[error("found {found} series to draw, expected at most {most}: draw fewer in one plot")]
    TooManySeries {
        /// Number of series found.
        found: usize,
        /// Most that the plot can tell apart.
        most: usize,
    },
    /// The plotting library gave up.
    #[error("cannot draw the plot: {reason}; please report this with the data that was plotted")]
    Drawing {
        /// Message of the plotting library.
        reason: String,
    },
}
