//! The images that the model was surest about and got wrong.

use std::io::Cursor;

use anyhow::bail;
use image::{ExtendedColorType, ImageFormat};
use kiln_data::Subset;
use kiln_eval::Tile;
use kiln_preprocess::RawImage;
use kiln_run::RunFile;

use crate::assets::Assets;
use crate::commands::{Prediction, predictions};
use crate::dataset;
use crate::record::RunRecord;
use crate::terminal::percent;

/// Most that are shown.
const SHOWN: usize = 24;

/// All mistakes on the test images, and pictures of the surest ones.
pub struct Mistakes {
    pub count: usize,
    pub tiles: Vec<Tile>,
}

/// Of a run that has predictions; nothing of others.
pub fn mistakes(record: &RunRecord, assets: &Assets<'_>) -> anyhow::Result<Option<Mistakes>> {
    let path = record.run.file(RunFile::Predictions);
    if !path.exists() {
        return Ok(None);
    }
    let predictions = predictions::read(&record.run.read(RunFile::Predictions)?)
        .map_err(|error| anyhow::anyhow!("{}: {error}: run the recipe again", path.display()))?;
    let mut wrong: Vec<Prediction> = predictions.into_iter().filter(|p| p.label != p.predicted).collect();
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let count = wrong.len();
    wrong.truncate(SHOWN);
    let images = dataset::load(record.recipe.data.dataset, Subset::Test, assets)?;
    let tile = |mistake: &Prediction| {
        if mistake.index >= images.len() {
            let (at, last) = (mistake.index, images.len() - 1);
            bail!("{}: found image {at}, expected 0 to {last}: run the recipe again", path.display());
        }
        let Prediction { index, label, predicted, probability } = mistake;
        Ok(Tile {
            png: png(images.image(*index))?,
            description: format!("image {index}: {label}, taken for {predicted}"),
            lines: vec![format!("true {label}"), format!("{predicted}: {}", percent(*probability))],
        })
    };
    Ok(Some(Mistakes { count, tiles: wrong.iter().map(tile).collect::<anyhow::Result<_>>()? }))
}

/// An image of a data set as a PNG file.
fn png(image: RawImage<'_>) -> anyhow::Result<Vec<u8>> {
    let color = match image.channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let mut file = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut file, image.pixels, image.width, image.height, color, ImageFormat::Png)?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_become_files_of_their_colours() {
        for channels in 1..=4 {
            let pixels: Vec<u8> = (0..6 * channels as u8).collect();
            let file = png(RawImage { pixels: &pixels, height: 2, width: 3, channels }).unwrap();
            let back = image::load_from_memory(&file).unwrap();
            assert_eq!((back.width(), back.height(), u32::from(back.color().channel_count())), (3, 2, channels));
            assert_eq!(back.as_bytes(), pixels);
        }
    }
}
