//! Outputs of a graph, put together from the runs of a batch.

use crate::chunks::Chunk;
use crate::engine::error::EngineError;

/// An output of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The output's name.
    pub name: String,
    /// Shape, the batch first.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub data: Vec<f32>,
}

/// Puts the outputs of the runs together along the first axis. All parts have the same outputs.
pub fn concatenate(parts: Vec<Vec<NamedTensor>>) -> Result<Vec<NamedTensor>, EngineError> {
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_default();
    for part in parts {
        for (all, more) in whole.iter_mut().zip(part) {
            if all.shape[1..] != more.shape[1..] {
                return Err(EngineError::Ragged {
                    output: more.name,
                    shapes: [all.shape.clone(), more.shape],
                });
            }
            all.shape[0] += more.shape[0];
            all.data.extend_from_slice(&more.data);
        }
    }
    Ok(whole)
}

impl NamedTensor {
    /// Checks that the first axis is the run's batch, and drops what padding gave.
    pub(crate) fn keep(mut self, chunk: &Chunk) -> Result<Self, EngineError> {
        if self.shape.first() != Some(&chunk.batch)
            || self.data.len() != self.shape.iter().product::<usize>()
        {
            return Err(EngineError::NotBatched {
                output: self.name,
                batch: chunk.batch,
                shape: self.shape,
            });
        }
        self.data
            .truncate(self.data.len() / chunk.batch * chunk.images);
        self.shape[0] = chunk.images;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], data: &[f32]) -> NamedTensor {
        NamedTensor {
            name: "y".into(),
            shape: shape.to_vec(),
            data: data.to_vec(),
        }
    }

    #[test]
    fn outputs_are_joined_along_the_batch() {
        let parts = vec![
            vec![tensor(&[2, 1], &[1.0, 2.0])],
            vec![tensor(&[1, 1], &[3.0])],
        ];
        assert_eq!(
            concatenate(parts).unwrap(),
            [tensor(&[3, 1], &[1.0, 2.0, 3.0])]
        );
        let ragged = vec![
            vec![tensor(&[1, 1], &[1.0])],
            vec![tensor(&[1, 2], &[3.0, 4.0])],
        ];
        assert!(matches!(
            concatenate(ragged),
            Err(EngineError::Ragged { .. })
        ));
    }

    #[test]
    fn padding_is_dropped() {
        let chunk = Chunk {
            start: 0,
            images: 1,
            batch: 2,
        };
        assert_eq!(
            tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).keep(&chunk).unwrap(),
            tensor(&[1, 2], &[1.0, 2.0])
        );
        assert!(matches!(
            tensor(&[1, 2], &[1.0, 2.0]).keep(&chunk),
            Err(EngineError::NotBatched { .. })
        ));
        assert!(matches!(
            tensor(&[], &[1.0]).keep(&chunk),
            Err(EngineError::NotBatched { .. })
        ));
    }
}
