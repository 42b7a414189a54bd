//! Everything that can be wrong with the numbers given to this crate.

/// Most classes that a confusion matrix is kept for: its counts then take 2 GiB.
pub(crate) const MAX_CLASSES: usize = 1 << 20;

/// Numbers that do not fit together or cannot be computed with.
///
/// `image` counts from 0 over all the images given so far, not within one batch.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// No classes, or more than a confusion matrix can be kept for.
    #[error(
        "found {found} classes, expected 1 to {MAX_CLASSES}: give one label per class of the model's output"
    )]
    Classes {
        /// Number of classes found.
        found: usize,
    },
    /// A threshold for other than two classes.
    #[error("a threshold decides between 2 classes, found {classes}")]
    TwoClasses {
        /// Number of classes.
        classes: usize,
    },
    /// The number of values is not images times classes.
    #[error(
        "found {values} values for {images} images of {classes} classes, expected {}: give one row of {classes} values \
         per image",
        images.saturating_mul(*classes)
    )]
    Shape {
        /// Number of values found.
        values: usize,
        /// Number of images, by the labels given.
        images: usize,
        /// Number of classes.
        classes: usize,
    },
    /// The number of values is not a multiple of the number of classes.
    #[error(
        "found {values} values, expected a multiple of {classes}: give one row of {classes} values per image"
    )]
    PartialRow {
        /// Number of values found.
        values: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Two outputs to be compared have different lengths.
    #[error(
        "found {left} values on one side and {right} on the other: compare outputs of the same images and classes"
    )]
    Lengths {
        /// Number of values on the first side.
        left: usize,
        /// Number of values on the second side.
        right: usize,
    },
    /// A true label that no class has.
    #[error(
        "image {image} has label {label}, expected 0 to {}: check that dataset and model have the same classes",
        classes.saturating_sub(1)
    )]
    Label {
        /// The image, counted from 0.
        image: u64,
        /// The label found.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// NaN or an infinity in a model's output.
    #[error(
        "image {image}, class {class}: the model's output is {value}, expected a finite number: check the weights"
    )]
    NotFinite {
        /// The image, counted from 0.
        image: u64,
        /// The class, counted from 0.
        class: usize,
        /// The value found.
        value: f32,
    },
    /// A value that is not a probability.
    #[error(
        "image {image}, class {class}: found {value}, expected a probability of 0 to 1: if the model ends without \
         softmax, evaluate its output as logits"
    )]
    Probability {
        /// The image, counted from 0.
        image: u64,
        /// The class, counted from 0.
        class: usize,
        /// The value found.
        value: f32,
    },
    /// Probabilities that do not add up.
    #[error(
        "image {image}: the probabilities add up to {sum}, expected 1: if the model ends without softmax, evaluate its \
         output as logits"
    )]
    ProbabilitySum {
        /// The image, counted from 0.
        image: u64,
        /// Their sum.
        sum: f64,
    },
    /// Nothing to compute with.
    #[error("found no {what}, expected at least one: check that the data is not empty")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// Evaluations of different classes cannot be merged.
    #[error("the evaluations to merge have different classes: merge only evaluations of one model")]
    DifferentClasses,
    /// A confusion matrix with a row of another length.
    #[error(
        "row {row} of the confusion matrix has {found} counts, expected {expected}: give as many columns as rows"
    )]
    NotSquare {
        /// The row, counted from 0.
        row: usize,
        /// Number of rows.
        expected: usize,
        /// Number of counts in that row.
        found: usize,
    },
    /// A count of a class that the confusion matrix does not have.
    #[error("the confusion matrix has {classes} classes, but a count of class {class}")]
    OutsideMatrix {
        /// The class, counted from 0.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Counts whose sum does not fit.
    #[error(
        "the counts of the confusion matrix add up to more than {}: check where they come from",
        u64::MAX
    )]
    CountOverflow,
}
