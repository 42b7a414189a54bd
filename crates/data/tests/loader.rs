//! Batches as a training loop sees them.

use std::sync::Arc;

use kiln_data::{Batch, DataError, Dataset, Loader, Order, Samples, View};
use kiln_model::{Channels, Preprocessing};
use kiln_preprocess::Preprocessor;
use proptest::prelude::*;

/// `n` images of 2 by 3 pixels; those of image `i` are all `i % 251`, its label is `i % 3`.
fn view(n: usize) -> View {
    let images = (0..n).flat_map(|i| [(i % 251) as u8; 6]).collect();
    let labels = (0..n).map(|i| (i % 3) as u32).collect();
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    View::all(Arc::new(
        Dataset::new("numbers", images, [2, 3, 1], labels, classes).expect("a valid dataset"),
    ))
}

fn preprocessor(channels: Channels) -> Arc<Preprocessor> {
    Arc::new(Preprocessor::new(Preprocessing::raw(2, 3, channels)).expect("a valid record"))
}

fn batches(loader: &Loader) -> Vec<Batch> {
    loader
        .iter()
        .collect::<Result<_, _>>()
        .expect("valid images")
}

#[test]
fn sequential_batches_are_the_view_in_order() {
    let loader = Loader::new(
        Samples::images(view(10), preprocessor(Channels::Rgb)),
        4,
        Order::Sequential,
    )
    .expect("valid");
    let batches = batches(&loader);
    assert_eq!(batches.len(), loader.batches());
    assert_eq!(
        batches.iter().map(|b| b.shape).collect::<Vec<_>>(),
        [[4, 3, 2, 3], [4, 3, 2, 3], [2, 3, 2, 3]]
    );
    assert_eq!(batches[1].indices, [4, 5, 6, 7]);
    assert_eq!(batches[1].labels, [1, 2, 0, 1]);
    let expected: Vec<f32> = [4.0, 5.0, 6.0, 7.0]
        .iter()
        .flat_map(|&value| [value; 18])
        .collect();
    assert_eq!(batches[1].values, expected);
}

#[test]
fn a_loader_gives_the_same_batches_again() {
    let order = Order::Shuffled { seed: 5, epoch: 2 };
    let loader = Loader::new(
        Samples::images(view(100), preprocessor(Channels::Gray)),
        7,
        order,
    )
    .expect("valid");
    assert_eq!(batches(&loader), batches(&loader));
}

#[test]
fn dropping_early_ends_the_thread() {
    let preprocessor = preprocessor(Channels::Gray);
    let loader = Loader::new(
        Samples::images(view(10_000), Arc::clone(&preprocessor)),
        1,
        Order::Sequential,
    )
    .expect("valid");
    for used in [0, 1, 20] {
        let mut batches = loader.iter();
        assert_eq!(batches.by_ref().take(used).count(), used);
        drop(batches);
        // The thread held a third reference.
        assert_eq!(Arc::strong_count(&preprocessor), 2);
    }
}

#[test]
fn an_exhausted_iterator_stays_exhausted() {
    let loader = Loader::new(
        Samples::images(view(3), preprocessor(Channels::Gray)),
        2,
        Order::Sequential,
    )
    .expect("valid");
    let mut batches = loader.iter();
    assert_eq!(batches.by_ref().count(), 2);
    assert!(batches.next().is_none() && batches.next().is_none());
}

#[test]
fn an_empty_view_has_no_batches() {
    let loader = Loader::new(
        Samples::images(view(3).take(0, 0), preprocessor(Channels::Gray)),
        2,
        Order::Sequential,
    )
    .expect("valid");
    assert_eq!((loader.batches(), loader.iter().count()), (0, 0));
}

#[test]
fn images_that_cannot_be_preprocessed_are_found_at_once() {
    let long = Dataset::new(
        "long",
        vec![0; 40_000],
        [40_000, 1, 1],
        vec![0],
        vec!["a".to_owned()],
    )
    .expect("valid");
    let view = View::all(Arc::new(long));
    let error = Loader::new(
        Samples::images(view, preprocessor(Channels::Gray)),
        1,
        Order::Sequential,
    )
    .expect_err("too long");
    assert!(matches!(error, DataError::Image { index: 0, .. }));
    assert!(
        error
            .to_string()
            .starts_with("image 0 of dataset `long`: raw image is 40000x1"),
        "{error}"
    );
}

#[test]
fn a_batch_size_of_zero_is_refused() {
    let error = Loader::new(
        Samples::images(view(3), preprocessor(Channels::Gray)),
        0,
        Order::Sequential,
    )
    .err();
    assert!(matches!(error, Some(DataError::BatchSize)));
}

proptest! {
    #[test]
    fn every_sample_comes_once_with_its_own_label_and_pixels(
        n in 1..200usize, batch_size in 1..40usize, seed: u64, epoch: u64, shuffled: bool,
    ) {
        let order = if shuffled { Order::Shuffled { seed, epoch } } else { Order::Sequential };
        let loader = Loader::new(Samples::images(view(n), preprocessor(Channels::Gray)), batch_size, order).expect("valid");
        let batches = batches(&loader);
        let full = batches.iter().filter(|batch| batch.labels.len() == batch_size).count();
        prop_assert!(full >= batches.len() - 1);
        let mut seen = Vec::new();
        for batch in &batches {
            for ((&index, &label), pixels) in batch.indices.iter().zip(&batch.labels).zip(batch.values.chunks(6)) {
                prop_assert_eq!(label, index % 3);
                prop_assert_eq!(pixels, [(index % 251) as f32; 6]);
                seen.push(index);
            }
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..n as u32).collect::<Vec<_>>());
    }
}
