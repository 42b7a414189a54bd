//! Golden vectors of an exported file: test images with the scores that Burn computes for them.

use std::borrow::Cow;

use kiln_data::View;
use kiln_metrics::argmax;
use kiln_model::Preprocessing;
use kiln_onnx::{Golden, GoldenVector};
use kiln_preprocess::{Preprocessor, RawImage, to_pixels};

use crate::context::Context;
use crate::error::Result;
use crate::error::training::ExportRunError;
use crate::event::Task;
use crate::export::TrainedModel;
use crate::tolerance::tolerance;

/// Most images of a file: one of each class where there are not more.
const MOST: usize = 10;

/// Most bytes of pixels in a file, a third more as base64: ten color images of 114 x 114 pixels.
const BYTES: usize = 384 << 10;

/// Computes the golden vectors of a model as it will be exported, from the first test image of each
/// class. Returns `None` if `stop` says so before one of them.
pub fn vectors(
    trained: &TrainedModel,
    images: &View,
    data: &str,
    context: &Context<'_>,
    stop: impl Fn() -> bool,
) -> Result<Option<Golden>> {
    let burn = trained.burn()?;
    let preparation = Preparation::new(trained)?;
    let tolerance = tolerance(&trained.model);
    let chosen = first_of_each_class(images);
    let room = BYTES / chosen.len().max(1);
    let mut vectors: Vec<GoldenVector> = Vec::with_capacity(chosen.len());
    let task = context.task(Task::Golden, Some(chosen.len() as u64));
    for index in chosen {
        if stop() {
            return Ok(None);
        }
        let image = images.dataset().image(index as usize)?;
        // A vector has no Exif tag: its pixels are upright where the model's are.
        let image = if trained.model.preprocessing().orientation {
            image.upright()
        } else {
            image
        };
        let (image, cut) = middle(image.as_raw(), room);
        let logits = burn.logits(&preparation.run(image.borrow())?)?;
        // The logarithm of a probability is a logit less a sum of logits' exponentials: it moves by
        // both.
        let mut tolerance = tolerance.of(&logits);
        if trained.recipe.export.probabilities() {
            tolerance *= 2.0;
        }
        // The probability that one logit stands for is more than a half where it is above 0.
        let best = match logits.as_slice() {
            [only] if only.is_nan() => None,
            [only] => Some(usize::from(*only > 0.0)),
            several => argmax(several),
        };
        let best = best.ok_or(ExportRunError::NotFinite)?;
        let scores = trained.scores(logits);
        vectors.push(GoldenVector {
            source: format!(
                "{data}, image {index}{}",
                if cut { ", its middle" } else { "" }
            ),
            height: image.height,
            width: image.width,
            channels: image.channels,
            pixels: image.pixels.into_owned(),
            label: trained.labels[best].clone(),
            tolerance,
            scores,
        });
        task.advance(1);
    }
    Ok(Some(Golden {
        computed_by: format!("kiln {}, {}", kiln_util::VERSION, burn.describe()),
        vectors,
    }))
}

/// Numbers in the dataset of the first image of each class, or each set of classes where an image can have several, in
/// the view's order.
fn first_of_each_class(images: &View) -> Vec<u32> {
    let mut seen = vec![false; images.dataset().label_sets().count()];
    let pairs = images.indices().iter().zip(images.labels());
    let first = pairs.filter(|&(_, label)| !std::mem::replace(&mut seen[label as usize], true));
    first.map(|(&index, _)| index).take(MOST).collect()
}

/// From pixels to the model's input.
struct Preparation {
    /// What the record says; for a graph of pixels, what the graph does itself.
    model: Preprocessor,
    /// For a graph of pixels: what makes them.
    pixels: Option<Preprocessor>,
}

impl Preparation {
    fn new(trained: &TrainedModel) -> Result<Self> {
        let record: &Preprocessing = trained.model.preprocessing();
        let pixels = trained
            .uint8_input
            .then(|| Preprocessor::new(record.pixels_only()))
            .transpose()?;
        let model = if trained.uint8_input {
            record.values_only()
        } else {
            record.clone()
        };
        Ok(Self {
            model: Preprocessor::new(model)?,
            pixels,
        })
    }

    fn run(&self, image: RawImage<'_>) -> Result<Vec<f32>> {
        let mut input = vec![0.0; self.model.len()];
        let Some(preprocessor) = &self.pixels else {
            self.model.raw(image, &mut input)?;
            return Ok(input);
        };
        // What goes into the graph has 8 bits, rounded after resizing; the model's own
        // preprocessing does the rest.
        let mut resized = vec![0.0; preprocessor.len()];
        preprocessor.raw(image, &mut resized)?;
        let pixels = to_pixels(&resized, preprocessor.shape());
        let [channels, height, width] = preprocessor.shape().map(|size| size as u32);
        self.model.raw(
            RawImage {
                pixels: &pixels,
                height,
                width,
                channels,
            },
            &mut input,
        )?;
        Ok(input)
    }
}

/// An image or a part of one.
struct Part<'a> {
    pixels: Cow<'a, [u8]>,
    height: u32,
    width: u32,
    channels: u32,
}

impl Part<'_> {
    fn borrow(&self) -> RawImage<'_> {
        let Self {
            pixels,
            height,
            width,
            channels,
        } = self;
        RawImage {
            pixels,
            height: *height,
            width: *width,
            channels: *channels,
        }
    }
}

/// The middle of an image, of as many pixels as fit into so many bytes, and whether that is not all
/// of it.
fn middle(image: RawImage<'_>, bytes: usize) -> (Part<'_>, bool) {
    let RawImage {
        pixels, channels, ..
    } = image;
    if pixels.len() <= bytes {
        let part = Part {
            pixels: Cow::Borrowed(pixels),
            height: image.height,
            width: image.width,
            channels,
        };
        return (part, false);
    }
    // A square, unless the image is narrower than that.
    let room = (bytes / channels as usize).max(1);
    let narrow = image.height.min(image.width).min(room.isqrt() as u32);
    let long = |size: u32| size.min(room as u32 / narrow);
    let [height, width] = if image.height <= image.width {
        [narrow, long(image.width)]
    } else {
        [long(image.height), narrow]
    };
    let [top, left] =
        [(image.height - height) / 2, (image.width - width) / 2].map(|skipped| skipped as usize);
    let channels_of = |pixels: u32| pixels as usize * channels as usize;
    let rows = pixels
        .chunks_exact(channels_of(image.width))
        .skip(top)
        .take(height as usize);
    let row = |row: &'_ [u8]| row[left * channels as usize..][..channels_of(width)].to_vec();
    let pixels: Vec<u8> = rows.flat_map(row).collect();
    (
        Part {
            pixels: Cow::Owned(pixels),
            height,
            width,
            channels,
        },
        true,
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use kiln_assets::Cache;
    use kiln_data::Dataset;
    use kiln_inference::{Model, Options};
    use kiln_model::Recipe;
    use kiln_trainer::initial_weights;

    use super::*;
    use crate::CachedAssets;

    #[test]
    fn the_first_image_of_each_class_is_taken() {
        let classes = (0..3).map(|class| class.to_string()).collect();
        let dataset =
            Dataset::new("d", vec![0; 5], [1, 1, 1], vec![2, 2, 0, 2, 1], classes).unwrap();
        let view = View::all(Arc::new(dataset));
        assert_eq!(first_of_each_class(&view), [0, 2, 4]);
        assert_eq!(first_of_each_class(&view.skip(1)), [1, 2, 4]);
    }

    #[test]
    fn of_a_large_image_the_middle_is_taken() {
        let pixels: Vec<u8> = (0..3 * 260 * 2)
            .map(|i| (i / 2 % 260 % 251) as u8)
            .collect();
        let image = RawImage {
            pixels: &pixels,
            height: 3,
            width: 260,
            channels: 2,
        };
        let (part, cut) = middle(image, 3 * 256 * 2 + 5);
        assert_eq!(
            (cut, part.height, part.width, part.pixels.len()),
            (true, 3, 256, 3 * 256 * 2)
        );
        assert_eq!(part.pixels[..4], [2, 2, 3, 3]);
        assert_eq!(part.pixels[512..516], [2, 2, 3, 3]);
        let small = RawImage {
            pixels: &pixels[..6],
            height: 1,
            width: 3,
            channels: 2,
        };
        let (part, cut) = middle(small, 6);
        assert_eq!((cut, part.borrow()), (false, small));
        let size = |height, width, bytes| {
            let pixels = vec![0; (height * width) as usize];
            let image = RawImage {
                pixels: &pixels,
                height,
                width,
                channels: 1,
            };
            let part = middle(image, bytes).0;
            [part.height, part.width]
        };
        assert_eq!(size(300, 400, 10_100), [100, 101]);
        assert_eq!(size(400, 300, 10_000), [100, 100]);
        assert_eq!(size(400, 3, 300), [100, 3]);
        assert_eq!(size(5, 4, 0), [1, 1]);
    }

    /// A small network whose weights are not those of a beginner.
    fn trained(input: &str, uint8_input: bool) -> TrainedModel {
        let text = format!(
            "layers = [{{ type = \"conv2d\", filters = 3, kernel_size = 3, activation = \"relu\" }}, {{ type = \"flatten\" }}, \
         {{ type = \"dense\", units = 10, activation = \"softmax\" }}]\nexport.softmax = true\n\
         [input]\nheight = 11\nwidth = 9\n{input}"
        );
        let recipe = Recipe::parse(&text, "small.toml", "small", &[])
            .unwrap_or_else(|error| panic!("{error}"));
        let model = recipe.model().clone();
        let mut weights = initial_weights(&model, 3);
        // Pixels up to 255 would saturate the softmax otherwise, and hide differences.
        let strength = if input.contains("raw") || input.contains("caffe") {
            1.0 / 64.0
        } else {
            1.0
        };
        for (_, tensor) in &mut weights {
            tensor.data.iter_mut().for_each(|x| *x *= strength);
        }
        let mut trained = TrainedModel::new(recipe, model, weights);
        if uint8_input {
            trained.take_pixels();
        }
        trained
    }

    /// The vectors, or none if stopped before one more than so many.
    fn up_to(most: usize, trained: &TrainedModel, images: &View) -> Option<Golden> {
        let assets = CachedAssets::new(Cache::at("no-cache"), true);
        let asked = Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) == most;
        let context = Context::new(&assets, &());
        vectors(trained, images, "made up", &context, stop).unwrap()
    }

    fn load(trained: &TrainedModel, images: &View) -> Model {
        let mut proto = trained.export().unwrap().proto;
        let mut metadata = proto.metadata().unwrap();
        metadata.golden = up_to(usize::MAX, trained, images);
        proto.set_metadata(&metadata);
        Model::from_bytes(&kiln_onnx::encode(&proto), &Options::default()).unwrap()
    }

    /// Ten images of a size, one of each class.
    fn images(height: u32, width: u32, channels: u32) -> View {
        let pixels = (0..10 * height * width * channels)
            .map(|i| (i * 97 % 251) as u8 ^ (i / 640) as u8)
            .collect();
        let classes = (0..10).map(|class| class.to_string()).collect();
        let dataset = Dataset::new(
            "made up",
            pixels,
            [height, width, channels],
            (0..10).collect(),
            classes,
        )
        .unwrap();
        View::all(Arc::new(dataset))
    }

    const PREPROCESSING: [&str; 6] = [
        "preprocess = \"unit\"",
        "preprocess = \"unit\"\nchannels = \"bgr\"",
        "preprocess = \"raw\"\nchannels = \"rgb\"",
        "preprocess = \"caffe\"",
        "preprocess = \"torch\"",
        "preprocess = \"tf\"\nchannels = \"rgb\"\nantialias = true",
    ];

    #[test]
    fn every_class_has_its_vector_however_large_the_images() {
        let trained = trained("preprocess = \"unit\"\nchannels = \"rgb\"", false);
        let images = images(300, 200, 3);
        assert!(up_to(9, &trained, &images).is_none());
        let golden = up_to(10, &trained, &images).unwrap();
        assert_eq!(golden.vectors.len(), 10);
        let bytes: usize = golden.vectors.iter().map(|v| v.pixels.len()).sum();
        assert!(bytes <= BYTES && bytes > BYTES * 9 / 10, "{bytes}");
        assert!(golden.vectors[9].source.ends_with(", its middle"));
    }

    #[test]
    fn what_burn_computes_is_what_the_file_gives_for_images_of_any_size() {
        for input in PREPROCESSING {
            for uint8_input in [false, true] {
                for (height, width, channels) in [(11, 9, 3), (30, 17, 1), (5, 300, 4)] {
                    let verification = load(
                        &trained(input, uint8_input),
                        &images(height, width, channels),
                    )
                    .verify()
                    .unwrap();
                    assert!(
                        verification.passed(),
                        "{input}, uint8 {uint8_input}: {verification}"
                    );
                    assert!(
                        verification.worst().difference < 1e-5,
                        "{input}, uint8 {uint8_input}: {verification}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_graph_of_pixels_gives_what_the_graph_of_values_gives() {
        let images = images(11, 9, 3);
        for input in PREPROCESSING {
            let [values, pixels] = [false, true].map(|uint8| load(&trained(input, uint8), &images));
            let all: Vec<_> = (0..10)
                .map(|index| images.dataset().image(index).unwrap())
                .collect();
            let raw: Vec<RawImage<'_>> = all.iter().map(kiln_data::Image::as_raw).collect();
            let [values, pixels] =
                [values, pixels].map(|model| model.classify_raw_batch(&raw).unwrap());
            for (a, b) in values
                .iter()
                .zip(&pixels)
                .flat_map(|(a, b)| a.probabilities.iter().zip(&b.probabilities))
            {
                assert!((a - b).abs() < 1e-5, "{input}: {a} {b}");
            }
            // Answers that are the same whatever goes in would hide what happens to it.
            let changed = values[0]
                .probabilities
                .iter()
                .zip(&values[1].probabilities)
                .any(|(a, b)| (a - b).abs() > 1e-3);
            assert!(
                changed && values[0].probability < 0.9999,
                "{input}: {values:?}"
            );
        }
    }
}
