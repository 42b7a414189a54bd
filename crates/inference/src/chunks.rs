//! Cutting a batch into the runs of an engine.

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
}
