//! The input of a network, and the shapes that a file declares.

use std::collections::HashMap;

use kiln_model::Layout;
use kiln_model::graph::{Dims, Image, Size};
use kiln_onnx::{Dim, GraphProto, ModelProto, TensorInfo};

use crate::attributes::Place;
use crate::error::GraphError;

/// Shapes that a file declares.
#[derive(Debug, Default)]
pub struct Declared<'a> {
    /// The size of the batch, where the file fixes it.
    pub batch: Option<usize>,
    shapes: HashMap<&'a str, Dims>,
}

impl<'a> Declared<'a> {
    /// Returns the shape of a value whose only open axis is its first, the batch.
    pub fn shape(&self, name: &str) -> Option<Dims> {
        self.shapes.get(name).cloned()
    }

    /// Collects the shapes of all values, beside an image whose batch is `batch`.
    pub fn new(model: &'a ModelProto, batch: &Dim) -> Self {
        let mut shapes = HashMap::new();
        if let Some(graph) = &model.graph {
            for info in graph.value_info.iter().chain(&graph.output) {
                let shape = TensorInfo::from(info).shape;
                let dims = shape.filter(|dims| dims.len() <= Dims::MAX_RANK);
                if let Some(dims) = dims.and_then(|dims| batched(&dims, batch)) {
                    shapes.insert(info.name.as_str(), dims);
                }
            }
        }
        Self {
            batch: batch.fixed(),
            shapes,
        }
    }
}

/// The shape of a value whose first axis is the batch and whose others are fixed.
fn batched(dims: &[Dim], batch: &Dim) -> Option<Dims> {
    let (first, rest) = dims.split_first()?;
    if first != batch || *first == Dim::Unknown {
        return None;
    }
    let rest: Option<Vec<Size>> = rest
        .iter()
        .map(|dim| dim.fixed().map(Size::Fixed))
        .collect();
    let dims: Dims = std::iter::once(Size::Batch(1)).chain(rest?).collect();
    dims.count().is_some().then_some(dims)
}

/// What the first convolution of a network tells about its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct First {
    /// The number of channels.
    channels: Option<usize>,
    /// Whether channels were moved from the last axis.
    moved: bool,
}

impl First {
    /// Follows an image through what changes single values to the first convolution.
    pub fn of(graph: &GraphProto, image: &str) -> Self {
        const POINTWISE: [&str; 10] = [
            "Identity",
            "Cast",
            "Sub",
            "Div",
            "Mul",
            "Add",
            "Pad",
            "Clip",
            "Transpose",
            "BatchNormalization",
        ];
        let (mut value, mut first) = (image, Self::default());
        // In the order of the nodes, each of which comes after those whose outputs it takes.
        for node in &graph.node {
            if !node.is_onnx() || !node.input.iter().any(|input| input == value) {
                continue;
            }
            let place = Place(node);
            if node.op_type == "Conv" {
                let weight = node.input.get(1);
                let weight = weight
                    .and_then(|name| graph.initializer.iter().find(|it| it.name == *name))
                    .and_then(|tensor| tensor.dims.get(1));
                let groups = place.int("group", 1);
                first.channels = weight
                    .and_then(|&depth| usize::try_from(depth.checked_mul(groups)?).ok())
                    .filter(|&channels| channels > 0);
                return first;
            }
            if !POINTWISE.contains(&node.op_type.as_str()) {
                return first;
            }
            first.moved |= place.ints("perm") == Some(&[0, 3, 1, 2]);
            value = node.output.first().map_or("", String::as_str);
        }
        first
    }
}

/// Describes the input of a network, before whose first convolution comes `first`. `size` is its
/// height and width where the file leaves them open. Also returns the batch as the file declares it.
pub fn describe(info: &TensorInfo, first: First, size: Option<[usize; 2]>) -> (Image, Dim) {
    let image = |layout, channels, size, shape| Image {
        name: info.name.clone(),
        layout,
        channels,
        size,
        shape,
    };
    let axes = match info.shape.as_deref() {
        None => return (image(Layout::Nchw, None, size, None), Dim::Unknown),
        Some([batch, a, b, c]) => (batch, [a, b, c]),
        Some(dims) => {
            // Not an image, but a network all the same.
            let batch = dims.first().cloned().unwrap_or(Dim::Unknown);
            let rest: Option<Vec<usize>> = dims.iter().skip(1).map(Dim::fixed).collect();
            let shape = rest
                .filter(|_| (1..=Dims::MAX_RANK).contains(&dims.len()))
                .map(Dims::batched)
                .filter(|dims| dims.count().is_some());
            return (image(Layout::Nchw, None, None, shape), batch);
        }
    };
    let (batch, axes) = axes;
    let few = |dim: &Dim| dim.fixed().is_some_and(|size| matches!(size, 1 | 3 | 4));
    let open = axes[0].fixed().is_none() && axes[2].fixed().is_none();
    let layout = if !few(axes[0]) && few(axes[2]) || open && first.moved {
        Layout::Nhwc
    } else {
        Layout::Nchw
    };
    let (channels, pixels) = match layout {
        Layout::Nchw => (axes[0], [axes[1], axes[2]]),
        Layout::Nhwc => (axes[2], [axes[0], axes[1]]),
    };
    let pixels = [0, 1].map(|at| pixels[at].fixed().or(size.map(|size| size[at])));
    let size = match pixels {
        [Some(height), Some(width)] => Some([height, width]),
        _ => None,
    };
    let channels = channels.fixed().or(first.channels);
    let shape = channels.zip(size).map(|(channels, [height, width])| {
        Dims::batched(layout.image_shape([channels, height, width]))
    });
    let shape = shape.filter(|dims| dims.count().is_some());
    (image(layout, channels, size, shape), batch.clone())
}

/// Checks that an image can have the height and width that the caller specifies.
pub fn check_size(image: &Image, size: Option<[usize; 2]>) -> Result<(), GraphError> {
    let sizes = image
        .size
        .into_iter()
        .flatten()
        .zip(size.into_iter().flatten());
    let mut both = ["height", "width"].into_iter().zip(sizes);
    match both.find(|(_, (expected, found))| expected != found) {
        None => Ok(()),
        Some((axis, (expected, found))) => Err(GraphError::ImageSize {
            axis,
            expected,
            found,
        }),
    }
}
