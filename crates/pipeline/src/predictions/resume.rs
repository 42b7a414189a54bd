//! Predictions and the images that they still lack.

use std::cmp::Ordering;
use std::path::Path;

use kiln_inference::Model;
use kiln_util::counted;

use super::file::PredictionsFile;
use super::origin::Origin;
use super::row::Row;
use crate::context::Context;
use crate::error::Result;
use crate::error::predictions::PredictionsError;
use crate::event::Event;
use crate::inputs::{Input, Inputs};

/// Resumes a file of predictions with its `origin`, which must be that of `inputs` and of `model`:
/// each line must be of the image that has its place, and `each` hears of it. Returns the images
/// that have no line yet.
pub fn resume(
    path: &Path,
    origin: &Origin,
    model: &Model,
    mut inputs: Inputs,
    context: &Context<'_>,
    each: &mut dyn FnMut(&Row<'_>) -> Result<()>,
) -> Result<(PredictionsFile, Inputs)> {
    let mut last = 0;
    let mut gap = 0;
    let mut follow = |row: &Row<'_>| {
        let input = take_at(&mut inputs, row.index, &mut gap)?;
        same_image(row, &input, &inputs, model.labels())?;
        last = row.index;
        each(row)
    };
    let (mut file, lines) = PredictionsFile::resume(path, origin, &mut follow)?;
    if lines > 0 {
        if gap > 0 && !context.files.skips_unreadable() {
            return Err(PredictionsError::Gap {
                images: counted(gap, "image"),
                data: inputs.source.to_string(),
                last,
            }
            .into());
        }
        context.emit(&Event::ResumingPredictions {
            path,
            images: lines,
        });
    }
    file.gap = gap;
    inputs.resumed = lines;
    Ok((file, inputs))
}

/// Takes the image that has this place, and counts those before it in `gap`, which are found, not
/// read. They must be in order.
fn take_at(inputs: &mut Inputs, index: u64, gap: &mut u64) -> Result<Input> {
    while let Some(input) = inputs.next() {
        let input = input?;
        inputs.count = inputs.count.map(|count| count.saturating_sub(1));
        match input.index.cmp(&index) {
            Ordering::Less => *gap += 1,
            Ordering::Equal => return Ok(input),
            Ordering::Greater => {
                return Err(PredictionsError::Order {
                    index,
                    found: input.index,
                    data: inputs.source.to_string(),
                }
                .into());
            }
        }
    }
    let data = inputs.source.to_string();
    Err(PredictionsError::Missing { index, data }.into())
}

/// Checks that an image is the one that the line names.
fn same_image(
    row: &Row<'_>,
    input: &Input,
    inputs: &Inputs,
    classes: &[String],
) -> Result<(), PredictionsError> {
    let label = input.label_name(classes).filter(|_| inputs.has_labels);
    for (what, expected, found) in [
        ("is", row.path.as_deref(), input.path().as_deref()),
        ("has the label", row.label.as_deref(), label.as_deref()),
    ] {
        if let (Some(expected), Some(found)) = (expected, found)
            && expected != found
        {
            return Err(PredictionsError::Image {
                index: row.index,
                what,
                expected: expected.into(),
                found: found.into(),
                data: inputs.source.to_string(),
            });
        }
    }
    Ok(())
}
