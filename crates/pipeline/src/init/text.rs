//! The chosen recipe as text, with the reasons as comments.

use std::fmt::Write;

use super::choice::{Approach, Choice};
use super::survey::Survey;

/// Columns of comments.
const WIDTH: usize = 100;

/// Writes a recipe for images, with comments.
pub(super) fn text(found: &Survey, choice: &Choice) -> String {
    let mut text = String::new();
    for line in found.lines() {
        let _ = writeln!(text, "#   {line}");
    }
    let _ = writeln!(text, "\nname = \"{}\"\n", found.name);
    data(&mut text, found, choice);
    match choice.approach {
        Approach::SmallCnn => small_cnn(&mut text, found, choice),
        Approach::ResNet18 => resnet18(&mut text, found, choice),
        Approach::Pretrained => pretrained(&mut text, found, choice),
    }
    text
}

fn data(text: &mut String, found: &Survey, choice: &Choice) {
    comment(
        text,
        "The images; paths are relative to the folder that kiln is run in.",
    );
    let _ = write!(text, "[data]\n{}", found.source.to_toml());
    let split = |share: f64, what: &str| {
        let images = (found.train as f64 * share).round();
        // Standard error of an accuracy of 90 %.
        let error = (0.9 * 0.1 / images.max(1.0)).sqrt() * 100.0;
        format!("{what} = {share} # some {images} images: 90 % is then known to {error:.1} points")
    };
    if let Some(share) = choice.test_split {
        let _ = writeln!(text, "{}", split(share, "test_split"));
    }
    if let Some(share) = choice.validation_split {
        let of = if choice.test_split.is_some() {
            "of the rest, "
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "validation_split = {share} # {of}to choose the best epoch by"
        );
    }
    text.push('\n');
}

fn small_cnn(text: &mut String, found: &Survey, choice: &Choice) {
    comment(
        text,
        "Small gray images: a small network from scratch. Two such convolutions get 98.9 % of MNIST's test images right after \
         3 epochs of 4 seconds on two cores, and up to 99.2 % after 10, which leaves a larger network little to gain.",
    );
    input(text, choice, "preprocess = \"unit\" # pixel values 0 to 1");
    training(text, found, choice);
    text.push_str(CNN_LAYERS);
}

fn resnet18(text: &mut String, found: &Survey, choice: &Choice) {
    comment(
        text,
        "Small images in color: ResNet-18 from scratch, whose first convolution keeps the size of images of some 32 pixels; \
         networks trained on ImageNet expect some 224. Measured on 1,000 images of Fashion-MNIST in three channels: 78.6 % of \
         the test images are right after ten epochs of 15 seconds on two cores.",
    );
    input(
        text,
        choice,
        "preprocess = \"torch\" # minus ImageNet's mean, divided by its deviation",
    );
    text.push_str("[network]\nname = \"resnet18\" # as many outputs as there are classes\nstem = \"small\"\n\n");
    training(text, found, choice);
}

fn pretrained(text: &mut String, found: &Survey, choice: &Choice) {
    let [head, blocks] = choice.epochs;
    comment(
        text,
        "Photographs: EfficientNet-Lite0, trained on ImageNet's 1.3 million. Its file says how images are prepared: \
         shorter side to 256 pixels, then the center, 224 x 224. Measured on 3,068 photographs of clothing in 10 classes: 88 % of \
         the test photographs are right with a new last layer alone, 90 % after phase 2.",
    );
    text.push_str("[backbone]\nweights = \"efficientnet-lite0\"\n\n");
    comment(
        text,
        "Training images are mirrored and changed, in four views whose features are computed once. Measured there, 91 % in \
         place of 90 %, and a cross-entropy lower by a sixth; without these lines it takes half the time. Remove the first \
         of them where left and right differ in meaning, as in writing.",
    );
    text.push_str(
        "[augmentation]\nhorizontal_flip = true\ntrivial_augment_wide = true\nviews = 4\n\n",
    );
    let _ = writeln!(
        text,
        "[training]\nbatch_size = {}\n{}",
        choice.batch_size,
        loss(found)
    );
    comment(
        text,
        "Phase 1: the last layer alone. What the frozen network makes of the images is computed once and kept, so that \
         an epoch takes a second or less.",
    );
    let _ = writeln!(text, "[[training.phases]]\nepochs = {head}\n");
    comment(
        text,
        "Phase 2: the last three blocks with it, in small steps.",
    );
    let _ = writeln!(
        text,
        "[[training.phases]]\nepochs = {blocks}\nunfreeze = \"blocks_13..\"\n\
         optimizer = {{ type = \"adam\", learning_rate = 1e-4 }}\nschedule = \"cosine\"\n"
    );
    text.push_str(
        "[[layers]]\ntype = \"dropout\"\nrate = 0.2\n\n\
         [[layers]]\ntype = \"dense\" # as many units as there are classes\n",
    );
}

fn input(text: &mut String, choice: &Choice, values: &str) {
    text.push_str("[input]\n");
    if let Some([height, width]) = choice.size {
        let _ = writeln!(text, "height = {height}\nwidth = {width}");
    }
    let _ = writeln!(text, "channels = \"{}\"\n{values}\n", choice.channels);
}

fn training(text: &mut String, found: &Survey, choice: &Choice) {
    let [epochs, _] = choice.epochs;
    let _ = writeln!(
        text,
        "[training]\nepochs = {epochs} # the weights of the best one are kept\nbatch_size = {}\n\
         optimizer = {{ type = \"adam\", learning_rate = 0.001 }}\n{}",
        choice.batch_size,
        loss(found)
    );
}

/// The line of the loss, where it is not that of exclusive classes.
fn loss(found: &Survey) -> &'static str {
    if found.several {
        "loss = \"binary_crossentropy\" # each class by itself: an image can have several, or none\n"
    } else {
        ""
    }
}

/// Writes a comment, broken into lines.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

/// The report's network; batch normalization with a momentum for few steps.
const CNN_LAYERS: &str = r#"[[layers]]
type = "conv2d"
filters = 32
kernel_size = 3
activation = "relu"

[[layers]]
type = "batch_norm"
momentum = 0.9

[[layers]]
type = "max_pool"
pool_size = 2

[[layers]]
type = "dropout"
rate = 0.25

[[layers]]
type = "conv2d"
filters = 32
kernel_size = 3
activation = "relu"

[[layers]]
type = "batch_norm"
momentum = 0.9

[[layers]]
type = "max_pool"
pool_size = 2

[[layers]]
type = "dropout"
rate = 0.25

[[layers]]
type = "flatten"

[[layers]]
type = "dense"
units = 128
activation = "relu"

[[layers]]
type = "dense" # as many units as there are classes
"#;

#[cfg(test)]
mod tests {
    use kiln_model::{Classes, DataSource, Recipe, References};

    use super::*;
    use crate::init::choice::tests::found;

    #[test]
    fn every_recipe_can_be_read_and_says_what_was_chosen() {
        let name = "a \"b\" \\ #\u{7f}\n[c]";
        for (size, colored) in [
            ([8, 8], false),
            ([64, 40], false),
            ([16, 64], true),
            ([300, 400], true),
        ] {
            for images in [6, 400, 50_000] {
                for (validation, test) in [(None, None), (Some(9), None), (Some(9), Some(9))] {
                    let mut found = found(size, colored, images);
                    (found.validation, found.test) = (validation, test);
                    found.several = images == 400;
                    found.source = DataSource::Folder(name.into());
                    let choice = Choice::of(&found);
                    let text = text(&found, &choice);
                    let classes = Classes {
                        count: 2,
                        several: found.several,
                    };
                    let classes = |_: &DataSource| Some(classes);
                    let references = References::new(&[], &classes);
                    let recipe = match choice.approach {
                        // Whose file is not here.
                        Approach::Pretrained => {
                            Recipe::parse_outline(&text, "r", "r", &[], references)
                        }
                        Approach::SmallCnn | Approach::ResNet18 => {
                            Recipe::parse_with(&text, "r", "r", &[], references)
                        }
                    };
                    let recipe = recipe.unwrap_or_else(|error| panic!("{error}\n{text}"));
                    assert_eq!(recipe.data.dataset, found.source);
                    assert_eq!(recipe.data.test_split, choice.test_split);
                    assert_eq!(recipe.training.batch_size, choice.batch_size);
                    let epochs = recipe.training.phases.iter().map(|phase| phase.epochs);
                    let chosen = choice.epochs.into_iter().filter(|&epochs| epochs > 0);
                    assert!(epochs.eq(chosen), "{text}");
                    assert_eq!(recipe.model().classes(), 2);
                    let longest = text.lines().map(|line| line.chars().count()).max();
                    assert!(longest <= Some(WIDTH), "{text}");
                }
            }
        }
    }
}
