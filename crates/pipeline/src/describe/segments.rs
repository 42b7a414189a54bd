//! A model's graph as a chain of segments, to choose where a backbone ends.

use kiln_model::graph::Segment;
use kiln_report::text_table;
use kiln_util::{shown, thousands};
use serde::Serialize;

use super::Described;
use crate::error::Result;
use crate::error::models::DescribeError;

/// Longest name in a table.
const LONGEST: usize = 48;

/// The segments of a model, from the image to the scores: between two of them lies a value that every
/// path passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentList {
    /// The segments in order.
    pub segments: Vec<SegmentRecord>,
    /// Number of those before the classifier; all, if there is no classifier.
    pub backbone: usize,
}

/// A segment of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentRecord {
    /// Its name, which `output` of a recipe's `[backbone]` takes.
    pub name: String,
    /// What it is in a word: an operator, `residual`, `attention`.
    pub kind: String,
    /// The shape of its output, such as `[N, 1280]`; none where it is not known.
    pub shape: Option<String>,
    /// Number of values in its tensors.
    pub parameters: usize,
}

impl SegmentList {
    /// Reads the segments of a model. The size of its images is as specified, where the graph leaves
    /// it open.
    pub fn new(described: &Described) -> Result<Self> {
        let size = described.spec.as_ref().ok().map(|spec| {
            let record = &spec.preprocessing;
            [record.height as usize, record.width as usize]
        });
        let graph = kiln_import::graph(described.proto(), size).map_err(|error| {
            DescribeError::Segments {
                source: Box::new(error),
            }
        })?;
        let record = |segment: &Segment| SegmentRecord {
            name: segment.name.clone(),
            kind: segment.kind().to_owned(),
            shape: segment.shape().map(ToString::to_string),
            parameters: segment.parameter_count(),
        };
        Ok(Self {
            backbone: graph.classifier.unwrap_or(graph.segments.len()),
            segments: graph.segments.iter().map(record).collect(),
        })
    }

    /// Makes a table with a line for each segment.
    pub fn to_text(&self) -> String {
        let rows = self.segments.iter().enumerate().map(|(at, segment)| {
            let part = if at < self.backbone { "" } else { "classifier" };
            [
                shown(&segment.name, LONGEST),
                shown(&segment.kind, LONGEST),
                segment.shape.clone().unwrap_or_else(|| "?".into()),
                part.to_owned(),
                thousands(segment.parameters),
            ]
        });
        let header = ["segment", "operation", "output shape", "", "parameters"];
        format!("{}\n", text_table(header, rows, 4))
    }
}
