//! Samples of a data set, and what augmentation makes of them.

use std::sync::Arc;

use kiln_data::{Batch, Loader, Order, Samples, View};
use kiln_model::{Channels, Preprocessing, Recipe};
use kiln_preprocess::Preprocessor;
use kiln_report::{Picture, Tile, grid};

use super::{thumbnail, tile};

/// Samples of a class, where each class has a row.
const PER_CLASS: usize = 8;
/// Most classes with a row each.
const MAX_ROWS: usize = 16;
/// Most classes with one sample each.
const MAX_CLASSES: usize = 200;
/// Classes in a row with one sample each.
const COLUMNS: usize = 10;
/// Augmented images: so many rows,
const AUGMENTED: usize = 6;
/// of the image as it is and in so many epochs.
const EPOCHS: u64 = 7;

/// Images of every class: a row for each class, or one image each where there are many.
pub fn samples(view: &View) -> anyhow::Result<Picture> {
    let classes = view.dataset().classes();
    let mut members = vec![Vec::new(); classes.len()];
    for (&index, label) in view.indices().iter().zip(view.labels()) {
        members[label as usize].push(index);
    }
    let (columns, each) = if classes.len() <= MAX_ROWS {
        (PER_CLASS, PER_CLASS)
    } else {
        (COLUMNS, 1)
    };
    let mut tiles = Vec::new();
    for (class, members) in classes.iter().zip(members).take(MAX_CLASSES) {
        for number in 0..each {
            // Evenly from the first to the last.
            tiles.push(match members.get(number * members.len().max(each) / each) {
                Some(&index) => thumbnail(view.dataset(), index as usize, class)?,
                None => blank(),
            });
        }
    }
    Ok(grid(&tiles, columns)?)
}

/// A white tile, which keeps the rows in step.
fn blank() -> Tile {
    Tile {
        pixels: vec![255; 3],
        width: 1,
        height: 1,
        caption: String::new(),
    }
}

/// Training images, each in a row: as the model would see it unchanged, and in each of the first
/// epochs.
pub fn augmented(train: &View, recipe: &Recipe) -> anyhow::Result<Picture> {
    let record = recipe.preprocessing();
    // Colours in the order that pictures have.
    let channels = if record.channels == Channels::Gray {
        Channels::Gray
    } else {
        Channels::Rgb
    };
    let raw = Preprocessing {
        resize: record.resize,
        ..Preprocessing::raw(record.height, record.width, channels)
    };
    let seed = recipe.training.seed;
    let view = train.take(AUGMENTED, seed);
    let samples = Samples::images(view.clone(), Arc::new(Preprocessor::new(raw)?))
        .augmented(recipe.augmentation);
    let batch = |order| -> anyhow::Result<Batch> {
        let mut batches = Loader::new(samples.clone(), view.len(), order)?.iter();
        Ok(batches.next().transpose()?.expect("a batch of all images"))
    };
    let mut batches = vec![batch(Order::Sequential)?];
    for epoch in 1..=EPOCHS {
        batches.push(batch(Order::Shuffled { seed, epoch })?);
    }
    let columns = batches.len();
    let mut tiles = Vec::new();
    for (index, label) in view.indices().iter().zip(view.labels()) {
        for (epoch, batch) in batches.iter().enumerate() {
            let at = batch
                .indices
                .iter()
                .position(|other| other == index)
                .expect("every batch has all images");
            let [_, channels, height, width] = batch.shape;
            let size = channels * height * width;
            let caption = if epoch == 0 {
                view.dataset().classes()[label as usize].clone()
            } else {
                format!("epoch {epoch}")
            };
            tiles.push(tile(
                &batch.values[at * size..][..size],
                [channels, height, width],
                caption,
            ));
        }
    }
    Ok(grid(&tiles, columns)?)
}
