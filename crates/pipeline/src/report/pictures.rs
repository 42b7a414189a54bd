//! Pictures of a dataset's images and of an evaluation.

use std::sync::Arc;

use kiln_data::{Batch, Dataset, Loader, Order, Samples, View};
use kiln_metrics::Evaluation;
use kiln_model::{Channels, Preprocessing, Recipe, Resize};
use kiln_preprocess::{Preprocessor, RawImage};
use kiln_report::{Figure, Picture, Tile, grid, overlay, plot_confusion, plot_reliability};

use crate::error::Result;
use crate::explain::{Explanation, Places};
use crate::inputs::Input;

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

/// Images of every class: a row for each class, or one image each where there are many. They are drawn
/// as they are, or as a model with this record sees them: turned, cropped, padded, in its colors.
pub fn samples(view: &View, record: Option<&Preprocessing>) -> Result<Picture> {
    let seen = record
        .map(|record| Preprocessor::new(record.pixels_only()))
        .transpose()?;
    let drawn = |index: usize, class: &str| match &seen {
        Some(preprocessor) => prepared(view.dataset(), index, preprocessor, class),
        None => thumbnail(view.dataset(), index, class),
    };
    let classes = view.dataset().classes();
    let mut members = vec![Vec::new(); classes.len()];
    for &index in view.indices() {
        for &class in view.dataset().classes_of(index as usize) {
            members[class as usize].push(index);
        }
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
                Some(&index) => drawn(index as usize, class)?,
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
pub fn augmented(train: &View, recipe: &Recipe) -> Result<Picture> {
    let raw = recipe.preprocessing().pixels_only();
    let seed = recipe.training.seed;
    let view = train.take(AUGMENTED, seed);
    let samples = Samples::images(view.clone(), Arc::new(Preprocessor::new(raw)?))
        .augmented(recipe.augmentation);
    let batch = |order| -> Result<Batch> {
        let mut batches = Loader::new(samples.clone(), view.len(), order)?.iter();
        Ok(batches.next().transpose()?.expect("a batch of all images"))
    };
    let mut batches = vec![batch(Order::Sequential)?];
    for epoch in 1..=EPOCHS {
        batches.push(batch(Order::Shuffled { seed, epoch })?);
    }
    let columns = batches.len();
    let mut tiles = Vec::new();
    for index in view.indices() {
        for (epoch, batch) in batches.iter().enumerate() {
            let at = batch
                .indices
                .iter()
                .position(|other| other == index)
                .expect("every batch has all images");
            let [_, channels, height, width] = batch.shape;
            let size = channels * height * width;
            let caption = if epoch == 0 {
                let dataset = view.dataset();
                let classes = dataset.classes_of(*index as usize).iter();
                let names = classes.map(|&class| dataset.classes()[class as usize].as_str());
                names.collect::<Vec<_>>().join(", ")
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

/// The confusion matrix in counts and in shares, and the reliability diagram.
pub fn evaluation_figures(evaluation: &Evaluation) -> Result<Vec<Figure>> {
    let labels = evaluation.labels();
    let confusion = |name: &str, normalized, caption: &str| -> Result<Figure> {
        let picture = plot_confusion(&evaluation.confusion, &labels, normalized)?;
        Ok(Figure {
            name: name.into(),
            picture,
            caption: caption.into(),
        })
    };
    let mut figures = vec![
        confusion("confusion", false, "Confusion matrix: number of images")?,
        confusion(
            "confusion-normalized",
            true,
            "Confusion matrix: share of the true class",
        )?,
    ];
    if let Some(calibration) = &evaluation.calibration {
        figures.push(Figure {
            name: "reliability".into(),
            picture: plot_reliability(calibration)?,
            caption: format!(
                "Reliability: accuracy by confidence, the probability of the predicted class; expected calibration error {:.4}",
                calibration.ece
            ),
        });
    }
    Ok(figures)
}

/// Longest side, to which larger images are shrunk.
const SIDE: u32 = 112;

/// An image as a preprocessor of pixels makes it, made smaller where that is large.
fn prepared(
    dataset: &Dataset,
    index: usize,
    preprocessor: &Preprocessor,
    caption: &str,
) -> Result<Tile> {
    let mut values = vec![0.0; preprocessor.len()];
    dataset.prepare(index, preprocessor, None, &mut values)?;
    let whole = tile(&values, preprocessor.shape(), caption.into());
    shrunk_tile(&whole, SIDE)
}

/// Longest side of an image that is explained, to which larger ones are shrunk.
const EXPLAINED_SIDE: u32 = 448;

/// Images as a model sees them: turned, cropped, padded, in its colors; each with a caption.
pub struct Seen {
    preprocessor: Preprocessor,
    tiles: Vec<Tile>,
}

impl Seen {
    /// Most images that are drawn.
    pub const MOST: usize = 96;

    /// Creates a picture without images, for a model with this record.
    pub fn new(record: &Preprocessing) -> Result<Self> {
        Ok(Self {
            preprocessor: Preprocessor::new(record.pixels_only())?,
            tiles: Vec::new(),
        })
    }

    /// Adds an image, which is read again; nothing where there are [as many](Self::MOST) already.
    pub fn push(&mut self, input: &Input, caption: &str) -> Result<()> {
        if self.tiles.len() < Self::MOST {
            let whole = self.whole(input, caption)?;
            self.tiles.push(shrunk_tile(&whole, SIDE)?);
        }
        Ok(())
    }

    /// Adds an image, which is read again, and beside it the same with the [map](Places::map) of its explanation
    /// over it; nothing where there are [as many](Self::MOST) already. The strongest color is the map's largest
    /// value of either sign, if that is no [negligible](Places::negligible) one.
    pub fn push_explained(
        &mut self,
        input: &Input,
        caption: &str,
        explanation: &Explanation,
        places: &Places,
    ) -> Result<()> {
        if self.tiles.len() >= Self::MOST {
            return Ok(());
        }
        let whole = self.whole(input, caption)?;
        let map = places.map(&explanation.values);
        let least = places.negligible().max(f32::MIN_POSITIVE);
        let most = map.iter().fold(least, |most, value| most.max(value.abs()));
        let explained = Tile {
            caption: match (places, explanation.decisive(places)) {
                (Places::Patches(_), Some((_, drop))) => format!(
                    "up to {:.2} points less\nwhere orange is covered\n(blue: more)",
                    100.0 * drop
                ),
                (Places::Patches(_), None) => "no single place decides".into(),
                (Places::Cells(_), Some(_)) => "orange speaks for it".into(),
                (Places::Cells(_), None) => "no place speaks for it".into(),
            },
            ..overlay(&whole, &map, most)?
        };
        for tile in [whole, explained] {
            self.tiles.push(shrunk_tile(&tile, EXPLAINED_SIDE)?);
        }
        Ok(())
    }

    /// An image at the model's size.
    fn whole(&self, input: &Input, caption: &str) -> Result<Tile> {
        let mut values = vec![0.0; self.preprocessor.len()];
        input.prepare(&self.preprocessor, &mut values)?;
        Ok(tile(&values, self.preprocessor.shape(), caption.into()))
    }

    /// Draws the images in rows of eight; none where there are no images.
    pub fn draw(&self) -> Result<Option<Picture>> {
        if self.tiles.is_empty() {
            return Ok(None);
        }
        let columns = self.tiles.len().min(PER_CLASS);
        Ok(Some(grid(&self.tiles, columns)?))
    }
}

/// A tile, made smaller where it is larger than `side` pixels.
fn shrunk_tile(whole: &Tile, side: u32) -> Result<Tile> {
    let image = RawImage {
        pixels: &whole.pixels,
        height: whole.height,
        width: whole.width,
        channels: 3,
    };
    shrunk(image, side, &whole.caption)
}

/// An image in its own colors, made smaller where it is large.
pub fn thumbnail(dataset: &Dataset, index: usize, caption: &str) -> Result<Tile> {
    shrunk(dataset.image(index)?.upright().as_raw(), SIDE, caption)
}

fn shrunk(image: RawImage<'_>, most: u32, caption: &str) -> Result<Tile> {
    let RawImage { height, width, .. } = image;
    let longest = height.max(width).max(most);
    let shorter = |side: u32| (side * most / longest).max(1).min(side);
    let (height, width) = if longest > most {
        (shorter(height), shorter(width))
    } else {
        (height, width)
    };
    let resize = Resize {
        antialias: true,
        ..Resize::default()
    };
    let preprocessor = Preprocessor::new(Preprocessing {
        resize,
        ..Preprocessing::raw(height, width, Channels::Rgb)
    })?;
    let mut values = vec![0.0; preprocessor.len()];
    preprocessor.raw(image, &mut values)?;
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
