//! The operators of the test model, written down as ONNX defines them, in f64. Images are
//! `[channels, height, width]`.

/// An image.
#[derive(Debug, Clone)]
pub struct Image {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub data: Vec<f64>,
}

impl Image {
    fn at(&self, c: usize, y: usize, x: usize) -> f64 {
        self.data[(c * self.height + y) * self.width + x]
    }

    fn build(
        channels: usize,
        height: usize,
        width: usize,
        value: impl Fn(usize, usize, usize) -> f64,
    ) -> Self {
        let mut data = Vec::with_capacity(channels * height * width);
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    data.push(value(c, y, x));
                }
            }
        }
        Self {
            channels,
            height,
            width,
            data,
        }
    }
}

/// `Conv` with a 3x3 kernel `[out, in, 3, 3]` and zero padding of 1.
pub fn conv3x3(image: &Image, weight: &[f32], bias: &[f32]) -> Image {
    Image::build(bias.len(), image.height, image.width, |o, y, x| {
        let mut sum = f64::from(bias[o]);
        for c in 0..image.channels {
            for (i, row) in (y..y + 3)
                .enumerate()
                .filter(|&(_, row)| row > 0 && row <= image.height)
            {
                for (j, column) in (x..x + 3)
                    .enumerate()
                    .filter(|&(_, column)| column > 0 && column <= image.width)
                {
                    let weight = weight[((o * image.channels + c) * 3 + i) * 3 + j];
                    sum += f64::from(weight) * image.at(c, row - 1, column - 1);
                }
            }
        }
        sum
    })
}

/// `Relu`.
pub fn relu(image: &Image) -> Image {
    Image {
        data: image.data.iter().map(|value| value.max(0.0)).collect(),
        ..image.clone()
    }
}

/// `MaxPool` with a 2x2 kernel and stride 2; an odd last row or column is left out.
pub fn max_pool(image: &Image) -> Image {
    Image::build(
        image.channels,
        image.height / 2,
        image.width / 2,
        |c, y, x| {
            let at = |dy, dx| image.at(c, 2 * y + dy, 2 * x + dx);
            at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1))
        },
    )
}

/// `BatchNormalization` in inference form.
pub fn batch_normalization(
    image: &Image,
    [scale, bias, mean, variance]: [&[f32]; 4],
    epsilon: f64,
) -> Image {
    Image::build(image.channels, image.height, image.width, |c, y, x| {
        let normal =
            (image.at(c, y, x) - f64::from(mean[c])) / (f64::from(variance[c]) + epsilon).sqrt();
        normal * f64::from(scale[c]) + f64::from(bias[c])
    })
}

/// `Gemm` of a flattened image with a weight `[out, in]` (`transB=1`).
pub fn gemm(input: &[f64], weight: &[f32], bias: &[f32]) -> Vec<f64> {
    let rows = weight.chunks_exact(input.len()).zip(bias);
    rows.map(|(row, &b)| {
        f64::from(b)
            + row
                .iter()
                .zip(input)
                .map(|(&w, x)| f64::from(w) * x)
                .sum::<f64>()
    })
    .collect()
}
