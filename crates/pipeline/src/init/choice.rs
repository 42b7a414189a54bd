//! Which recipe suits images: the rules, as a function of what was found.

use kiln_model::{Channels, Data};

use super::survey::Survey;

/// How images are to be classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approach {
    /// A network of two convolutions from scratch, for small gray images.
    SmallCnn,
    /// ResNet-18 with the stem for small images, from scratch, for small images in color.
    ResNet18,
    /// EfficientNet-Lite0 with the weights of `ImageNet`: a new last layer, then the last blocks with it.
    Pretrained,
}

/// What a recipe has that depends on the images.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Choice {
    /// The network and how it is trained.
    pub approach: Approach,
    /// Height and width of the input in pixels; none where the network's file says so.
    pub size: Option<[u32; 2]>,
    /// The input's channels.
    pub channels: Channels,
    /// Share of the images that is set aside for testing; none if there are test images.
    pub test_split: Option<f64>,
    /// Share of the training images that is set aside for validation; none if there are validation images.
    pub validation_split: Option<f64>,
    /// Images per step.
    pub batch_size: usize,
    /// Epochs of each phase.
    pub epochs: [usize; 2],
}

/// Images with sides of up to so many pixels are small.
const SMALL: u32 = 64;

/// Shares are twice the default for fewer images than this: of 999, 200 are for testing.
const FEW: usize = 1000;

/// An epoch has at least so many steps, as long as batches are not smaller than
/// [`SMALLEST_BATCH`].
const STEPS: usize = 10;
const SMALLEST_BATCH: usize = 8;

impl Choice {
    /// Chooses by what was found.
    pub fn of(found: &Survey) -> Self {
        let [height, width] = found.sizes.median;
        let approach = match (height.max(width) <= SMALL, found.is_colored()) {
            (true, false) => Approach::SmallCnn,
            (true, true) => Approach::ResNet18,
            (false, _) => Approach::Pretrained,
        };
        let share = if found.images() < FEW {
            2.0 * Data::DEFAULT_SPLIT
        } else {
            Data::DEFAULT_SPLIT
        };
        let test_split = found.test.is_none().then_some(share);
        let validation_split = found.validation.is_none().then_some(share);
        let rest = 1.0 - test_split.unwrap_or(0.0);
        let rest = rest * (1.0 - validation_split.unwrap_or(0.0));
        let images = (found.train as f64 * rest).round() as usize;
        let batch_size = batch_size(images, approach.batch_size());
        let steps = images.div_ceil(batch_size).max(1);
        Self {
            approach,
            size: approach
                .smallest()
                .map(|least| [height, width].map(|side| side.max(least))),
            channels: match approach {
                Approach::SmallCnn => Channels::Gray,
                Approach::ResNet18 | Approach::Pretrained => Channels::Rgb,
            },
            test_split,
            validation_split,
            batch_size,
            epochs: approach.epochs(steps),
        }
    }

    /// Says in a line what was chosen.
    pub fn describe(&self) -> String {
        let [first, second] = self.epochs;
        let size = self.size.map_or_else(String::new, |[height, width]| {
            format!(", {height} x {width} pixels")
        });
        match self.approach {
            Approach::SmallCnn => {
                format!("a small convolutional network from scratch{size}, {first} epochs")
            }
            Approach::ResNet18 => {
                format!("ResNet-18 for small images, from scratch{size}, {first} epochs")
            }
            Approach::Pretrained => format!(
                "EfficientNet-Lite0, pretrained on ImageNet: {first} epochs of a new last layer, then {second} with the last \
                 blocks"
            ),
        }
    }
}

impl Approach {
    /// Images per step where there are enough.
    const fn batch_size(self) -> usize {
        match self {
            Self::SmallCnn => 128,
            Self::ResNet18 => 64,
            Self::Pretrained => 32,
        }
    }

    /// The smallest side that the network takes; smaller images are enlarged.
    const fn smallest(self) -> Option<u32> {
        match self {
            // Those of MNIST, for which it was made.
            Self::SmallCnn => Some(28),
            // Those of CIFAR: three of its stages halve the sides.
            Self::ResNet18 => Some(32),
            Self::Pretrained => None,
        }
    }

    /// Epochs of each phase, with so many steps in each: more where they are short.
    fn epochs(self, steps: usize) -> [usize; 2] {
        let enough = |wanted: usize, least, most| wanted.div_ceil(steps).clamp(least, most);
        match self {
            Self::SmallCnn => [enough(1000, 10, 40), 0],
            Self::ResNet18 => [enough(500, 10, 30), 0],
            Self::Pretrained => [enough(400, 10, 40), enough(100, 5, 10)],
        }
    }
}

/// The largest power of two, up to the usual batch, with which an epoch has enough steps.
fn batch_size(images: usize, usual: usize) -> usize {
    let most = (images / STEPS).max(1);
    let power = 1_usize << most.ilog2();
    power.clamp(SMALLEST_BATCH, usual)
}

#[cfg(test)]
pub(super) mod tests {
    use kiln_model::DataSource;

    use super::Approach::{Pretrained, ResNet18, SmallCnn};
    use super::*;
    use crate::init::survey::Sizes;

    /// Images of one size, which are colored or not, without subsets.
    pub fn found(size: [u32; 2], colored: bool, images: usize) -> Survey {
        Survey {
            source: DataSource::Folder("photos".into()),
            name: "photos".into(),
            classes: vec!["cat".into(), "dog".into()],
            several: false,
            train: images,
            class_counts: vec![images / 2, images - images / 2],
            validation: None,
            test: None,
            looked_at: 100,
            colored: if colored { 100 } else { 0 },
            sizes: Sizes {
                smallest: size,
                median: size,
                largest: size,
            },
            unreadable: 0,
            unreadable_example: None,
        }
    }

    #[test]
    fn the_network_goes_by_size_and_color() {
        let chosen = |size, colored| {
            let choice = Choice::of(&found(size, colored, 10_000));
            (choice.approach, choice.size, choice.channels)
        };
        assert_eq!(
            chosen([28, 28], false),
            (SmallCnn, Some([28, 28]), Channels::Gray)
        );
        assert_eq!(
            chosen([8, 64], false),
            (SmallCnn, Some([28, 64]), Channels::Gray)
        );
        assert_eq!(
            chosen([32, 48], true),
            (ResNet18, Some([32, 48]), Channels::Rgb)
        );
        for (size, colored) in [([65, 20], true), ([20, 65], false), ([3000, 4000], true)] {
            assert_eq!(
                chosen(size, colored),
                (Pretrained, None, Channels::Rgb),
                "{size:?}"
            );
        }
    }

    #[test]
    fn a_few_colored_images_among_gray_ones_do_not_count() {
        let mut images = found([28, 28], false, 10_000);
        images.colored = 1;
        assert_eq!(Choice::of(&images).approach, SmallCnn);
        images.colored = 2;
        assert_eq!(Choice::of(&images).approach, ResNet18);
    }

    #[test]
    fn the_size_is_that_of_most_images() {
        let mut images = found([40, 40], true, 10_000);
        images.sizes.largest = [2000, 2000];
        assert_eq!(Choice::of(&images).size, Some([40, 40]));
    }

    #[test]
    fn subsets_of_their_own_are_kept() {
        let mut images = found([300, 400], true, 3_068);
        let splits = |images: &Survey| {
            let choice = Choice::of(images);
            (choice.test_split, choice.validation_split)
        };
        assert_eq!(splits(&images), (Some(0.1), Some(0.1)));
        images.test = Some(372);
        assert_eq!(splits(&images), (None, Some(0.1)));
        images.validation = Some(341);
        assert_eq!(splits(&images), (None, None));
        assert_eq!(
            splits(&found([300, 400], true, 999)),
            (Some(0.2), Some(0.2))
        );
    }

    #[test]
    fn few_images_make_smaller_batches_and_more_epochs() {
        let steps = |images| {
            let choice = Choice::of(&found([300, 400], true, images));
            (choice.batch_size, choice.epochs)
        };
        assert_eq!(steps(100_000), (32, [10, 5]));
        assert_eq!(steps(400), (16, [25, 7]));
        assert_eq!(steps(6), (8, [40, 10]));
        let cnn = Choice::of(&found([28, 28], false, 70_000));
        assert_eq!((cnn.batch_size, cnn.epochs[0]), (128, 10));
        assert_eq!(batch_size(0, 128), 8);
    }
}
