//! Transposes before the first convolution: exporters from Keras and TensorFlow take NHWC images.

use crate::chain::Chain;
use crate::error::GraphError;

/// Goes past transposes that together leave the axes as they are or turn NHWC into NCHW.
pub fn to_nchw(chain: &mut Chain<'_>) -> Result<(), GraphError> {
    // Axis `i` is axis `axes[i]` of the input.
    let mut axes = vec![0, 1, 2, 3];
    let mut last = None;
    while let Some(place) = chain.take_if("Transpose")? {
        // ONNX: without `perm` the axes are reversed.
        let perm = place.ints("perm").unwrap_or(&[3, 2, 1, 0]);
        let moved = perm
            .iter()
            .map(|&axis| axes.get(usize::try_from(axis).ok()?).copied());
        let moved: Option<Vec<i64>> = moved.collect();
        axes = moved.unwrap_or_else(|| perm.to_vec());
        last = Some(place);
    }
    match last {
        Some(place) if axes != [0, 1, 2, 3] => {
            place.require("perm", &[0, 3, 1, 2][..], axes.as_slice())
        }
        _ => Ok(()),
    }
}
