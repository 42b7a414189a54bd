//! Between Burn's tensors, channels first, and the kernels' slices, channels last.
//!
//! An operation's output lies in memory with channels last, and is seen by Burn through a permuted
//! view. The next operation permutes it back and finds its slice, without a copy; Burn's own
//! operations take the view as it is.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{Device, FloatTensor};
use burn::tensor::TensorData;
use kiln_kernels::nchw_to_nhwc;

type FlexTensor = FloatTensor<Flex>;

/// The values of images `[n, c, h, w]` with channels last, or of vectors `[n, features]`: a tensor
/// whose memory can be borrowed by [`slice`].
pub fn channels_last(tensor: FlexTensor) -> FlexTensor {
    let shape = tensor.shape();
    let &[n, c, h, w] = &shape[..] else {
        return contiguous(tensor);
    };
    let view = Flex::float_permute(tensor, &[0, 2, 3, 1]);
    if view.as_slice::<f32>().is_some() {
        return view;
    }
    let first = contiguous(Flex::float_permute(view, &[0, 3, 1, 2]));
    let mut last = vec![0.0; n * c * h * w];
    nchw_to_nhwc(n, h * w, c, slice(&first), &mut last);
    from_vec(last, [n, h, w, c])
}

/// The other way: what Burn sees of images `[n, h, w, c]`.
pub fn channels_first(tensor: FlexTensor) -> FlexTensor {
    Flex::float_permute(tensor, &[0, 3, 1, 2])
}

/// A dense layer's weights `[inputs, outputs]` as the kernels take them, `[outputs, inputs]`; or
/// the other way.
pub fn transposed(tensor: FlexTensor) -> FlexTensor {
    Flex::float_swap_dims(tensor, 0, 1)
}

/// The values in one piece.
pub fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The values of a tensor from [`contiguous`], [`channels_last`] or [`from_vec`].
///
/// # Panics
///
/// When it is not in one piece, or not f32.
pub fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a tensor of f32 in one piece")
}

/// A tensor of these values.
pub fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    Flex::float_from_data(TensorData::new(values, shape), &Device::<Flex>::default())
}
