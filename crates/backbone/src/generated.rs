//! The code that burn-onnx generated, and access to its layers, whose fields are private to it.

/// VGG16's convolution base: input `[batch, 3, height, width]`, output
/// `[batch, 512, floor(height / 32), floor(width / 32)]`.
pub mod vgg16 {
    #![allow(missing_docs, clippy::pedantic, reason = "generated code")]
    #![allow(dead_code, reason = "the whole network's `forward` is for tests; training goes layer by layer")]

    use crate::layout::{CONVS, POOLS};

    include!(concat!(env!("OUT_DIR"), "/vgg16.rs"));

    impl Model {
        /// The convolutions in order.
        pub fn convs_mut(&mut self) -> [&mut Conv2d; CONVS] {
            [
                &mut self.conv2d1,
                &mut self.conv2d2,
                &mut self.conv2d3,
                &mut self.conv2d4,
                &mut self.conv2d5,
                &mut self.conv2d6,
                &mut self.conv2d7,
                &mut self.conv2d8,
                &mut self.conv2d9,
                &mut self.conv2d10,
                &mut self.conv2d11,
                &mut self.conv2d12,
                &mut self.conv2d13,
            ]
        }

        /// The convolutions and the max-pooling layers in order.
        pub fn into_layers(self) -> ([Conv2d; CONVS], [MaxPool2d; POOLS]) {
            let convs = [
                self.conv2d1,
                self.conv2d2,
                self.conv2d3,
                self.conv2d4,
                self.conv2d5,
                self.conv2d6,
                self.conv2d7,
                self.conv2d8,
                self.conv2d9,
                self.conv2d10,
                self.conv2d11,
                self.conv2d12,
                self.conv2d13,
            ];
            let pools = [self.maxpool2d1, self.maxpool2d2, self.maxpool2d3, self.maxpool2d4, self.maxpool2d5];
            (convs, pools)
        }
    }
}
