//! A chain of segments.

use crate::Layout;

use super::classifier;
use super::segment::Segment;
use super::size::Dims;

/// A network as a chain of segments: the image is the first one's input, and each of the others
/// takes what the one before it gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The input.
    pub image: Image,
    /// The segments, from the image to the scores.
    pub segments: Vec<Segment>,
    /// The segment with which the classifier begins: what it takes are the features. None where
    /// no classifier is found: then the scores are the features.
    pub classifier: Option<usize>,
}

/// The input of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The file's name of it.
    pub name: String,
    /// The order of its axes.
    pub layout: Layout,
    /// The number of channels, where the file has it.
    pub channels: Option<usize>,
    /// Height and width in pixels, where the file has them or the caller does.
    pub size: Option<[usize; 2]>,
    /// Its shape, where channels and size are known.
    pub shape: Option<Dims>,
}

impl Graph {
    /// Returns the file's name of the features: what the classifier takes, or the scores where
    /// there is none.
    pub fn features(&self) -> &str {
        let count = self.classifier.unwrap_or(self.segments.len());
        let last = count.checked_sub(1).and_then(|at| self.segments.get(at));
        last.map_or(&self.image.name, |segment| &segment.output)
    }
}

impl Graph {
    /// Puts segments together and finds where the classifier begins.
    pub fn new(image: Image, segments: Vec<Segment>) -> Self {
        let classifier = classifier::find(&segments);
        Self {
            image,
            segments,
            classifier,
        }
    }
}
