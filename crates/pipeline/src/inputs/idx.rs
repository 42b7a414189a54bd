//! Images in MNIST's format, without their labels.

use std::path::PathBuf;

use kiln_data::Dataset;

use crate::error::Result;
use crate::error::images::InputsError;

/// Reads IDX files of images of one size, one after another, into a dataset of one class without a name.
pub fn pixels(name: &str, files: &[PathBuf]) -> Result<Dataset> {
    let mut shape = [0; 3];
    let mut all = Vec::new();
    let mut images = 0;
    for (at, path) in files.iter().enumerate() {
        let pixels = kiln_data::read_idx(path)?;
        let not_images = || InputsError::NotImages {
            path: path.clone(),
            found: pixels.dims.clone(),
        };
        let [count, height, width, ref channels @ ..] = pixels.dims[..] else {
            return Err(not_images().into());
        };
        let found = [height, width, channels.first().copied().unwrap_or(1)];
        if at > 0 && found != shape {
            return Err(not_images().into());
        }
        shape = found;
        images += count as usize;
        all.extend(pixels.data);
    }
    Ok(Dataset::new(
        name,
        all,
        shape,
        vec![0; images],
        vec![String::new()],
    )?)
}
