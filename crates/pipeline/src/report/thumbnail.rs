//! Pictures: images of a data set as small ones, and the files that pictures are written to.

mod evaluation;
mod file;
mod samples;

use kiln_data::Dataset;
use kiln_model::{Channels, Preprocessing, Resize};
use kiln_preprocess::{Preprocessor, RawImage};
use kiln_report::Tile;

pub use evaluation::evaluation;
pub use file::{check, prepare_folder, write, write_all};
pub use samples::{augmented, samples};

/// Longest side, to which larger images are shrunk.
const SIDE: u32 = 112;

/// An image in its own colours, made smaller where it is large.
pub fn thumbnail(dataset: &Dataset, index: usize, caption: &str) -> anyhow::Result<Tile> {
    let image = dataset.image(index)?;
    let RawImage { height, width, .. } = image.as_raw();
    let longest = height.max(width).max(SIDE);
    let shrunk = |side: u32| (side * SIDE / longest).max(1).min(side);
    let (height, width) = if longest > SIDE {
        (shrunk(height), shrunk(width))
    } else {
        (height, width)
    };
    let resize = Resize { antialias: true };
    let preprocessor = Preprocessor::new(Preprocessing {
        resize,
        ..Preprocessing::raw(height, width, Channels::Rgb)
    })?;
    let mut values = vec![0.0; preprocessor.len()];
    preprocessor.raw(image.as_raw(), &mut values)?;
    Ok(tile(&values, preprocessor.shape(), caption.into()))
}

/// Planes of values of 0 to 255, one or three, as a picture.
fn tile(values: &[f32], [channels, height, width]: [usize; 3], caption: String) -> Tile {
    let area = height * width;
    let byte = |pixel: usize, channel: usize| {
        values[channel.min(channels - 1) * area + pixel].round() as u8
    };
    let pixels = (0..area)
        .flat_map(|pixel| [0, 1, 2].map(|channel| byte(pixel, channel)))
        .collect();
    Tile {
        pixels,
        width: width as u32,
        height: height as u32,
        caption,
    }
}
