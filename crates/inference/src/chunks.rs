//! Cutting a batch into the runs of an engine, and putting their outputs together again.

use crate::engine::error::EngineError;

/// One run of an engine: a range of the images of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The first image.
    pub start: usize,
    /// Number of images.
    pub images: usize,
    /// Batch size of the run: `images`, or more where the graph's batch size is fixed.
    pub batch: usize,
}

/// Returns runs of exactly `batch` images, the last one padded.
pub fn fixed(images: usize, batch: usize) -> Vec<Chunk> {
    (0..images)
        .step_by(batch)
        .map(|start| Chunk {
            start,
            images: batch.min(images - start),
            batch,
        })
        .collect()
}

/// Returns runs of at most `limit` images.
#[allow(
    dead_code,
    reason = "which are used depends on the engines of the build"
)]
pub fn at_most(images: usize, limit: usize) -> Vec<Chunk> {
    let mut chunks = fixed(images, limit);
    for chunk in &mut chunks {
        chunk.batch = chunk.images;
    }
    chunks
}

/// Returns runs whose sizes are all among `sizes` (descending, down to 1): each takes the largest that is
/// no more than a thread's share of the images, so that no thread has to compute more than that
/// share while others have nothing.
#[allow(
    dead_code,
    reason = "which are used depends on the engines of the build"
)]
pub fn among(images: usize, threads: usize, sizes: &[usize]) -> Vec<Chunk> {
    let share = images.div_ceil(threads.max(1));
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < images {
        let room = share.min(images - start);
        let images = sizes
            .iter()
            .copied()
            .find(|&size| size <= room)
            .unwrap_or(1);
        chunks.push(Chunk {
            start,
            images,
            batch: images,
        });
        start += images;
    }
    chunks
}

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
    use proptest::prelude::*;

    use super::*;

    fn check(chunks: &[Chunk], images: usize) -> Result<(), TestCaseError> {
        let mut next = 0;
        for chunk in chunks {
            prop_assert_eq!(chunk.start, next);
            prop_assert!(0 < chunk.images && chunk.images <= chunk.batch);
            next += chunk.images;
        }
        prop_assert_eq!(next, images);
        Ok(())
    }

    proptest! {
        #[test]
        fn chunks_cover_every_image_once(images in 0_usize..500, limit in 1_usize..80) {
            let fixed = fixed(images, limit);
            check(&fixed, images)?;
            prop_assert!(fixed.iter().all(|chunk| chunk.batch == limit));
        }

        #[test]
        fn limited_chunks_are_not_padded(images in 0_usize..500, limit in 1_usize..80) {
            let chunks = at_most(images, limit);
            check(&chunks, images)?;
            prop_assert!(chunks.iter().all(|chunk| chunk.batch == chunk.images && chunk.images <= limit));
        }

        #[test]
        fn chunks_have_allowed_sizes_and_no_more_than_the_share_of_a_thread(images in 0_usize..500, threads in 1_usize..20) {
            let chunks = among(images, threads, &[8, 4, 1]);
            check(&chunks, images)?;
            prop_assert!(chunks.iter().all(|chunk| [8, 4, 1].contains(&chunk.batch)));
            let share = images.div_ceil(threads);
            prop_assert!(chunks.iter().all(|chunk| chunk.images <= share), "{share}");
            // Of the sizes that a share has room for it is the largest, until what is left is less.
            let largest = [8, 4, 1].into_iter().find(|&size| size <= share);
            prop_assert!(chunks.iter().all(|chunk| Some(chunk.images) == largest || images - chunk.start < largest.unwrap_or(0)));
        }
    }

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
