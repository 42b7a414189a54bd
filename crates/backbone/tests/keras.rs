//! Keras's VGG16 and its ImageNet weights, out of the file that `kiln fetch vgg16` brings.

use kiln_assets::{Asset, Cache, Fetcher, Silent};
use kiln_model::Base;

/// Mean, minimum and maximum.
fn statistics(values: &[f32]) -> (f64, f32, f32) {
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
    (
        mean,
        values.iter().copied().fold(f32::INFINITY, f32::min),
        values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
    )
}

#[test]
#[ignore = "downloads VGG16"]
fn the_fetched_file_holds_keras_weights() {
    let cancel = kiln_util::CancelToken::new();
    let fetcher = Fetcher::new(Cache::from_env().unwrap(), &Silent, &cancel);
    let folder = fetcher
        .fetch(&Asset::vgg16())
        .unwrap_or_else(|error| panic!("{error}"))
        .folder;
    let model = kiln_onnx::load(folder.join("vgg16.onnx")).unwrap();
    let parameters =
        kiln_import::weights(&Base::vgg16(), &model).unwrap_or_else(|error| panic!("{error}"));
    let bias = parameters.last().unwrap();
    assert_eq!(bias.name, "block5_conv3.bias");
    // Of `keras.applications.VGG16(include_top=False)`, layer `block5_conv3`.
    let (mean, min, max) = statistics(&bias.values);
    assert!((mean - 0.149_863_69).abs() < 1e-7, "{mean}");
    assert_eq!((min, max), (-0.500_367_46, 9.431_553));
}
