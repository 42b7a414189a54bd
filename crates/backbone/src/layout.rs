//! The layers of VGG16's convolution base, for the build script and for the reader of weights alike.

/// Convolutions and filters of each block (Simonyan and Zisserman, 2014, table 1, configuration D).
const BLOCKS: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

/// Number of convolutions.
pub const CONVS: usize = 13;

/// Number of max-pooling layers.
pub const POOLS: usize = BLOCKS.len();

/// One layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// A 3x3 convolution with bias, stride 1 and one row or column of zeros on each side, then `Relu`.
    Conv {
        /// Its block, counted from 1.
        block: usize,
        /// Its place in the block, counted from 1.
        index: usize,
        /// Number of input channels.
        channels: usize,
        /// Number of output channels.
        filters: usize,
    },
    /// 2x2 max pooling with stride 2.
    Pool {
        /// The block that it ends, counted from 1.
        block: usize,
    },
}

impl Layer {
    /// Keras's name of the layer: `block1_conv1`, `block1_pool`.
    pub fn name(self) -> String {
        match self {
            Self::Conv { block, index, .. } => format!("block{block}_conv{index}"),
            Self::Pool { block } => format!("block{block}_pool"),
        }
    }
}

/// All layers in order.
pub fn layers() -> Vec<Layer> {
    let mut layers = Vec::with_capacity(CONVS + POOLS);
    let mut channels = 3;
    for (block, (convs, filters)) in (1..).zip(BLOCKS) {
        for index in 1..=convs {
            layers.push(Layer::Conv { block, index, channels, filters });
            channels = filters;
        }
        layers.push(Layer::Pool { block });
    }
    layers
}
