use std::sync::Arc;

use kiln_data::Dataset;
use kiln_inference::{Model, Options};
use kiln_model::Recipe;
use kiln_trainer::initial_weights;

use super::*;

#[test]
fn the_first_image_of_each_class_is_taken() {
    let classes = (0..3).map(|class| class.to_string()).collect();
    let dataset = Dataset::new("d", vec![0; 5], [1, 1, 1], vec![2, 2, 0, 2, 1], classes).unwrap();
    let view = View::all(Arc::new(dataset));
    assert_eq!(first_of_each_class(&view), [0, 2, 4]);
    assert_eq!(first_of_each_class(&view.skip(1)), [1, 2, 4]);
}

#[test]
fn of_a_large_image_the_middle_is_taken() {
    let pixels: Vec<u8> = (0..3 * 260 * 2)
        .map(|i| (i / 2 % 260 % 251) as u8)
        .collect();
    let (part, cut) = middle(RawImage {
        pixels: &pixels,
        height: 3,
        width: 260,
        channels: 2,
    });
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
    let (part, cut) = middle(small);
    assert_eq!((cut, part.borrow()), (false, small));
}

/// A small network whose weights are not those of a beginner.
fn trained(input: &str, uint8_input: bool) -> TrainedModel {
    let text = format!(
        "layers = [{{ type = \"conv2d\", filters = 3, kernel_size = 3, activation = \"relu\" }}, {{ type = \"flatten\" }}, \
         {{ type = \"dense\", units = 10, activation = \"softmax\" }}]\nexport.softmax = true\n\
         [input]\nheight = 11\nwidth = 9\n{input}"
    );
    let recipe =
        Recipe::parse(&text, "small.toml", "small", &[]).unwrap_or_else(|error| panic!("{error}"));
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

fn load(trained: &TrainedModel, images: &View) -> Model {
    let mut proto = trained.export().unwrap().proto;
    let mut metadata = proto.metadata().unwrap();
    metadata.golden = Some(vectors(trained, images, "made up").unwrap());
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
