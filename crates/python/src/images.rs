//! Images as Python programs have them.

use std::path::PathBuf;

pub use kiln_inference::ImageSource as Image;
use kiln_inference::RawImage;
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// An image whose memory Python keeps.
pub enum Owner<'py> {
    Path(PathBuf),
    /// An encoded file.
    Encoded(PyBackedBytes),
    /// Pixels of 8 bits: `[height, width]` or `[height, width, channels]`.
    Pixels(PyReadonlyArrayDyn<'py, u8>),
}

impl<'py> Owner<'py> {
    fn new(object: &Bound<'py, PyAny>, index: usize) -> PyResult<Self> {
        if let Ok(bytes) = object.extract::<PyBackedBytes>() {
            return Ok(Self::Encoded(bytes));
        }
        if let Ok(pixels) = object.extract::<PyReadonlyArrayDyn<'_, u8>>() {
            return Ok(Self::Pixels(pixels));
        }
        object.extract().map(Self::Path).map_err(|_| {
            let kind = object.get_type();
            let kind = kind.name().map_or_else(|_| "?".into(), |name| name.to_string());
            PyTypeError::new_err(format!(
                "image {index}: expected a path, the bytes of an image file, a PIL image, or pixels as a uint8 array of height x \
                 width x channels, found {kind}"
            ))
        })
    }

    /// Collects images, so that their memory stays where it is.
    pub fn collect(images: &Bound<'py, PyAny>) -> PyResult<Vec<Self>> {
        let images = images.try_iter()?.enumerate();
        images
            .map(|(index, image)| Self::new(&image?, index))
            .collect()
    }

    /// The image without its owner, for threads that do not hold Python's global lock.
    pub fn borrow(&self, index: usize) -> PyResult<Image<'_>> {
        Ok(match self {
            Self::Path(path) => Image::Path(path),
            Self::Encoded(bytes) => Image::Encoded(bytes),
            Self::Pixels(array) => {
                let wrong = |text: String| PyValueError::new_err(format!("image {index}: {text}"));
                let (height, width, channels) = match *array.shape() {
                    [height, width] => (height, width, 1),
                    [height, width, channels] => (height, width, channels),
                    ref shape => {
                        return Err(wrong(format!(
                            "expected height x width x channels, found the shape {shape:?}"
                        )));
                    }
                };
                let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
                let pixels = array.as_slice().map_err(|_| {
                    wrong("the array is not contiguous: use numpy.ascontiguousarray".into())
                })?;
                Image::Pixels(RawImage {
                    pixels,
                    height: side(height),
                    width: side(width),
                    channels: side(channels),
                })
            }
        })
    }
}
