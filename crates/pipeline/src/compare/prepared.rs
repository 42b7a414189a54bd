//! A batch of images as both models take them.

use kiln_inference::Model;
use rayon::prelude::*;

use crate::inputs::{Input, Inputs};

/// Images and what the models get of them.
#[derive(Default)]
pub struct Prepared {
    /// Those that could be read, in order.
    pub images: Vec<Input>,
    /// What is wrong with the others.
    pub unreadable: Vec<String>,
    /// For each model; the second is empty where both want the same.
    values: [Vec<f32>; 2],
}

impl Prepared {
    /// The next images, at most so many, read and prepared on all threads; none at the end.
    pub fn next(inputs: &mut Inputs, most: usize, models: [&Model; 2]) -> anyhow::Result<Self> {
        let [a, b] = models.map(Model::preprocessor);
        let same = models[0].preprocessing() == models[1].preprocessing();
        let images = inputs.take(most).collect::<anyhow::Result<Vec<Input>>>()?;
        let prepare = |input: &Input| {
            let mut values = [
                vec![0.0; a.len()],
                vec![0.0; if same { 0 } else { b.len() }],
            ];
            input.prepare(a, &mut values[0])?;
            if !same {
                input.prepare(b, &mut values[1])?;
            }
            Ok(values)
        };
        let prepared: Vec<Result<_, kiln_preprocess::PreprocessError>> =
            images.par_iter().map(prepare).collect();
        let mut batch = Self::default();
        for (image, prepared) in images.into_iter().zip(prepared) {
            match prepared {
                Ok(values) => {
                    batch.images.push(image);
                    batch
                        .values
                        .iter_mut()
                        .zip(values)
                        .for_each(|(all, image)| all.extend(image));
                }
                Err(error) => batch.unreadable.push(error.to_string()),
            }
        }
        Ok(batch)
    }

    /// Whether there were no more images.
    pub fn is_end(&self) -> bool {
        self.images.is_empty() && self.unreadable.is_empty()
    }

    /// Rows of values, one for each image: the first model's and the second's.
    pub fn values(&self) -> [&[f32]; 2] {
        let [first, second] = &self.values;
        [first, if second.is_empty() { first } else { second }]
    }
}
