//! From images to results.

use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::sync::Arc;

use kiln_inference::{ImageSource, Picture, RawImage, RunError, StreamOptions, Unclassified};
use kiln_util::with_causes;

use crate::door::door;
use crate::error::{Error, Failure, Status};
use crate::model::Model;
use crate::pointers::{output, path, reference, slice};
use crate::results::Results;

/// An image: a file, the bytes of one, or pixels. Zero everything, then set what is there:
///
/// - a file: `path`;
/// - the bytes of an image file (PNG, JPEG, BMP, WebP, TIFF or GIF): `data` and `size`;
/// - pixels: all but `path`. They are bytes, rows from the top, pixels from the left, the channels of a pixel together, without
///   gaps, so that `size` is height x width x channels.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Image {
    /// Path of an image file.
    pub path: *const c_char,
    /// The bytes of an image file, or pixels.
    pub data: *const c_void,
    /// Number of bytes.
    pub size: usize,
    /// Height in pixels; 0 for a file.
    pub height: u32,
    /// Width in pixels; 0 for a file.
    pub width: u32,
    /// 1 (gray), 2 (gray, alpha), 3 (red, green, blue) or 4 (red, green, blue, alpha); 0 for a file.
    pub channels: u32,
}

/// Classifies an image file, and puts results of one image into `*results`.
///
/// # Safety
///
/// Pointers are as documented; `results` and `error` point to pointers that may be written, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_classify_file(
    model: *const Model,
    path: *const c_char,
    results: *mut *mut Results,
    error: *mut *mut Error,
) -> Status {
    // SAFETY: as the caller promises, of this pointer and those after it.
    let image = || Ok(ImageSource::Path(unsafe { self::path(path, "path") }?));
    // SAFETY: as above.
    unsafe { one(model, image, results, error) }
}

/// Classifies an image file in memory (PNG, JPEG, BMP, WebP, TIFF or GIF), and puts results of one image into `*results`.
///
/// # Safety
///
/// Pointers are as documented; `results` and `error` point to pointers that may be written, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_classify_bytes(
    model: *const Model,
    data: *const c_void,
    size: usize,
    results: *mut *mut Results,
    error: *mut *mut Error,
) -> Status {
    // SAFETY: as the caller promises, of this pointer and those after it.
    let image = || {
        Ok(ImageSource::Encoded(unsafe {
            slice(data.cast(), size, "data")
        }?))
    };
    // SAFETY: as above.
    unsafe { one(model, image, results, error) }
}

/// Classifies pixels, and puts results of one image into `*results`. They are `size` bytes, rows from the top, pixels from the
/// left, the channels of a pixel together, without gaps: height x width x channels of them. 1 channel is gray, 2 are gray and
/// alpha, 3 red, green and blue, 4 those and alpha. The image may have any size: it is resized as the model's record says.
///
/// # Safety
///
/// Pointers are as documented; `results` and `error` point to pointers that may be written, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_classify_pixels(
    model: *const Model,
    pixels: *const c_void,
    size: usize,
    height: u32,
    width: u32,
    channels: u32,
    results: *mut *mut Results,
    error: *mut *mut Error,
) -> Status {
    let image = || {
        Ok(ImageSource::Pixels(RawImage {
            // SAFETY: as the caller promises, of this pointer and those after it.
            pixels: unsafe { slice(pixels.cast(), size, "pixels") }?,
            height,
            width,
            channels,
        }))
    };
    // SAFETY: as above.
    unsafe { one(model, image, results, error) }
}

/// Classifies any number of images on all threads of the model, and puts as many results, in the order of the images, into
/// `*results`. An image that cannot be read or prepared does not end the call: its result has the reason.
///
/// # Safety
///
/// Pointers are as documented; `results` and `error` point to pointers that may be written, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_classify_batch(
    model: *const Model,
    images: *const Image,
    count: usize,
    results: *mut *mut Results,
    error: *mut *mut Error,
) -> Status {
    let work = || {
        // SAFETY: as the caller promises, of this pointer and those after it.
        let results = unsafe { output(results, "results") }?;
        // SAFETY: as above.
        let model = unsafe { reference(model, "model") }?;
        // SAFETY: as above.
        let images = unsafe { slice(images, count, "images") }?;
        let images = images
            .iter()
            .enumerate()
            // SAFETY: as above.
            .map(|(at, image)| unsafe { source(image, &format!("images[{at}]")) })
            .collect::<Result<Vec<_>, _>>()?;
        let mut found = Vec::with_capacity(images.len());
        let preprocessor = model.loaded.preprocessor();
        let prepare = |image: &ImageSource<'_>, out: &mut [f32]| image.prepare(preprocessor, out);
        let ended = model.loaded.stream(
            images.into_iter(),
            &StreamOptions::default(),
            prepare,
            |_, result| {
                found.push(match result {
                    Ok(classified) => Ok(classified.prediction()),
                    Err(Unclassified::Prepare(reason)) => Err(with_causes(&reason)),
                    Err(Unclassified::NotFinite(reason)) => Err(with_causes(&reason)),
                });
                ControlFlow::<()>::Continue(())
            },
        );
        // It never breaks.
        let _ = ended.map_err(|error| Failure::of(Status::Run, &error))?;
        results.give(Results::new(Arc::clone(&model.labels), found));
        Ok(())
    };
    // SAFETY: as the caller promises.
    unsafe { door(error, work) }
}

/// Classifies one image, which is looked at behind the door.
///
/// # Safety
///
/// As the exported functions.
unsafe fn one<'a>(
    model: *const Model,
    image: impl FnOnce() -> Result<ImageSource<'a>, Failure>,
    results: *mut *mut Results,
    error: *mut *mut Error,
) -> Status {
    let work = || {
        // SAFETY: as the caller promises, of this pointer and those after it.
        let results = unsafe { output(results, "results") }?;
        // SAFETY: as above.
        let model = unsafe { reference(model, "model") }?;
        let prediction = model
            .loaded
            .classify(&image()?)
            .map_err(|error| match error {
                RunError::Preprocess { reason, .. } => Failure::of(Status::Image, &reason),
                error => Failure::of(Status::Run, &error),
            })?;
        results.give(Results::new(Arc::clone(&model.labels), [Ok(prediction)]));
        Ok(())
    };
    // SAFETY: as above.
    unsafe { door(error, work) }
}

/// Which kind of image it is.
///
/// # Safety
///
/// Pointers are as documented.
unsafe fn source<'a>(image: &Image, name: &str) -> Result<ImageSource<'a>, Failure> {
    let Image {
        data,
        size,
        height,
        width,
        channels,
        ..
    } = *image;
    let sides = [height, width, channels];
    if !image.path.is_null() {
        if !data.is_null() || size > 0 || sides != [0; 3] {
            return Err(Failure::argument(format!(
                "`{name}` has a path and something else: expected a file, the bytes of one, or pixels"
            )));
        }
        // SAFETY: as the caller promises.
        return Ok(ImageSource::Path(unsafe { path(image.path, name) }?));
    }
    if data.is_null() {
        return Err(Failure::argument(format!(
            "`{name}` has neither a path nor data"
        )));
    }
    // SAFETY: as the caller promises.
    let bytes = unsafe { slice(data.cast::<u8>(), size, name) }?;
    if sides == [0; 3] {
        return Ok(ImageSource::Encoded(bytes));
    }
    Ok(ImageSource::Pixels(RawImage {
        pixels: bytes,
        height,
        width,
        channels,
    }))
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, CString};
    use std::ptr::{null, null_mut};

    use kiln_onnx::{Dim, GraphBuilder};

    use super::*;
    use crate::error::{kiln_error_free, kiln_error_message};
    use crate::model::{kiln_free, kiln_info, kiln_open, kiln_open_bytes, kiln_verify};
    use crate::options::Options;
    use crate::results::{kiln_results_count, kiln_results_free, kiln_results_get};

    const MODEL: &CStr = {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../inference/examples/digits.onnx\0"
        );
        match CStr::from_bytes_with_nul(path.as_bytes()) {
            Ok(path) => path,
            Err(_) => panic!("no NUL within it"),
        }
    };
    const DIGITS: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/digits/test"
    );

    /// A status with the message of the error, which is freed.
    fn outcome(call: impl FnOnce(*mut *mut Error) -> Status) -> (Status, String) {
        let mut error = null_mut();
        let status = call(&raw mut error);
        assert_eq!(status == Status::Ok, error.is_null());
        // SAFETY: an error of this library's or NULL, freed once.
        unsafe {
            let message = text(kiln_error_message(error));
            kiln_error_free(error);
            (status, message)
        }
    }

    fn text(pointer: *const c_char) -> String {
        // SAFETY: text of this library's.
        unsafe { CStr::from_ptr(pointer) }.to_str().unwrap().into()
    }

    fn open() -> *mut Model {
        let mut model = null_mut();
        // SAFETY: a path, no options, and places that may be written.
        let opened =
            outcome(|error| unsafe { kiln_open(MODEL.as_ptr(), null(), &raw mut model, error) });
        assert_eq!(opened, (Status::Ok, String::new()));
        model
    }

    /// The first image of a class.
    fn digit(class: &str) -> CString {
        let entries = std::fs::read_dir(format!("{DIGITS}/{class}")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        CString::new(paths[0].to_str().unwrap()).unwrap()
    }

    #[test]
    fn a_file_its_bytes_and_a_batch_have_the_same_prediction() {
        let model = open();
        let path = digit("7");
        let bytes = std::fs::read(path.to_str().unwrap()).unwrap();
        let decoded = kiln_inference::decode_image(&bytes)
            .unwrap()
            .image
            .into_luma8();
        let empty = Image {
            path: null(),
            data: null(),
            size: 0,
            height: 0,
            width: 0,
            channels: 0,
        };
        let images = [
            Image {
                path: path.as_ptr(),
                ..empty
            },
            Image {
                data: b"hello".as_ptr().cast(),
                size: 5,
                ..empty
            },
            Image {
                data: bytes.as_ptr().cast(),
                size: bytes.len(),
                ..empty
            },
            Image {
                data: decoded.as_ptr().cast(),
                size: decoded.len(),
                height: 28,
                width: 28,
                channels: 1,
                ..empty
            },
        ];
        let mut all = [null_mut(); 4];
        // SAFETY: everything points to what it says, and is freed once.
        unsafe {
            let [file, memory, pixels, batch] = all.each_mut().map(std::ptr::from_mut);
            let calls = [
                outcome(|error| kiln_classify_file(model, path.as_ptr(), file, error)),
                outcome(|error| {
                    kiln_classify_bytes(model, bytes.as_ptr().cast(), bytes.len(), memory, error)
                }),
                outcome(|error| {
                    let size = decoded.len();
                    kiln_classify_pixels(
                        model,
                        decoded.as_ptr().cast(),
                        size,
                        28,
                        28,
                        1,
                        pixels,
                        error,
                    )
                }),
                outcome(|error| kiln_classify_batch(model, images.as_ptr(), 4, batch, error)),
            ];
            assert_eq!(calls, [const { (Status::Ok, String::new()) }; 4]);
            let scores = |results: *const Results, image| {
                let found = &*kiln_results_get(results, image);
                assert_eq!((found.classes, found.index), (10, 7));
                assert_eq!((text(found.label), *found.ranking), ("7".into(), 7));
                assert_eq!((found.chosen_count, *found.chosen), (1, 7));
                assert!((found.probability - *found.probabilities.add(7)).abs() < f32::EPSILON);
                std::slice::from_raw_parts(found.scores, 10).to_vec()
            };
            let expected = scores(all[0], 0);
            assert!(expected == scores(all[1], 0) && expected == scores(all[2], 0));
            assert_eq!(kiln_results_count(all[3]), 4);
            for image in [0, 2, 3] {
                for (a, b) in scores(all[3], image).iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-4, "{a} {b}");
                }
            }
            let wrong = &*kiln_results_get(all[3], 1);
            assert!(
                text(wrong.error).contains("the data"),
                "{}",
                text(wrong.error)
            );
            assert!(wrong.label.is_null() && kiln_results_get(all[3], 4).is_null());
            // Results outlive their model.
            kiln_free(model);
            assert_eq!(text((*kiln_results_get(all[3], 0)).label), "7");
            for results in all {
                kiln_results_free(results);
            }
        }
    }

    #[test]
    fn what_is_no_argument_is_an_error() {
        let model = open();
        let path = digit("1");
        let mut results = null_mut();
        let place = &raw mut results;
        // SAFETY: NULL is what is tried, and nothing else is followed.
        unsafe {
            let none = |name: &str| (Status::InvalidArgument, format!("`{name}` is NULL"));
            let mut opened = null_mut();
            let calls = [
                outcome(|error| kiln_open(null(), null(), &raw mut opened, error)),
                outcome(|error| kiln_classify_file(null(), path.as_ptr(), place, error)),
                outcome(|error| kiln_classify_file(model, null(), place, error)),
                outcome(|error| kiln_verify(null(), null_mut(), error)),
                outcome(|error| kiln_classify_file(model, path.as_ptr(), null_mut(), error)),
            ];
            assert_eq!(
                calls,
                ["path", "model", "path", "model", "results"].map(none)
            );
            let calls = [
                outcome(|error| kiln_classify_bytes(model, null(), 3, place, error)),
                outcome(|error| kiln_classify_batch(model, null(), 2, place, error)),
                outcome(|error| kiln_classify_pixels(model, null(), 4, 2, 2, 1, place, error)),
            ];
            for (status, message) in calls {
                assert_eq!(status, Status::InvalidArgument);
                assert!(message.contains("is NULL: expected"), "{message}");
            }
            assert!(results.is_null() && opened.is_null());
            assert!(kiln_info(null()).is_null());
            assert_eq!(kiln_results_count(null()), 0);
            kiln_results_free(null_mut());
            kiln_error_free(null_mut());
            kiln_free(null_mut());
            kiln_free(model);
        }
    }

    #[test]
    fn bad_files_and_images_are_errors() {
        let model = open();
        let mut results = null_mut();
        let place = &raw mut results;
        let garbage = [7_u8; 100];
        let mut opened = null_mut();
        // SAFETY: everything points to what it says.
        unsafe {
            let calls = [
                outcome(|error| {
                    kiln_open(c"no/such.onnx".as_ptr(), null(), &raw mut opened, error)
                }),
                outcome(|error| {
                    kiln_open_bytes(garbage.as_ptr().cast(), 100, null(), &raw mut opened, error)
                }),
                outcome(|error| kiln_open_bytes(null(), 0, null(), &raw mut opened, error)),
            ];
            for (status, message) in calls {
                assert_eq!(status, Status::Load);
                assert!(message.starts_with("cannot load "), "{message}");
            }
            let calls = [
                outcome(|error| kiln_classify_file(model, c"no.png".as_ptr(), place, error)),
                outcome(|error| {
                    kiln_classify_bytes(model, garbage.as_ptr().cast(), 100, place, error)
                }),
                outcome(|error| kiln_classify_bytes(model, null(), 0, place, error)),
                outcome(|error| {
                    kiln_classify_pixels(model, garbage.as_ptr().cast(), 100, 9, 9, 1, place, error)
                }),
                outcome(|error| {
                    let side = u32::MAX;
                    let data = garbage.as_ptr().cast();
                    kiln_classify_pixels(model, data, 100, side, side, side, place, error)
                }),
            ];
            for (status, message) in calls {
                assert_eq!(status, Status::Image, "{message}");
            }
            assert!(results.is_null() && opened.is_null());
            kiln_free(model);
        }
    }

    #[test]
    fn a_model_tells_what_it_is_and_proves_itself() {
        let model = open();
        // SAFETY: a model that is freed once.
        unsafe {
            let info = &*kiln_info(model);
            assert_eq!((info.classes, info.channels), (10, 1));
            assert_eq!((info.height, info.width), (28, 28));
            assert_eq!(text(*info.labels.add(9)), "9");
            assert_eq!(text(info.channel_order), "gray");
            assert_eq!(text(info.engine), "tract");
            assert!(info.golden_vectors > 0 && info.thresholds.is_null());
            let mut difference = f64::NAN;
            let verified = outcome(|error| kiln_verify(model, &raw mut difference, error));
            assert_eq!(verified, (Status::Ok, String::new()));
            assert!((0.0..=1.0).contains(&difference), "{difference}");
            kiln_free(model);
        }
    }

    /// A model whose scores are sums of the means of an image's channels: a row of factors for each channel.
    fn means(factors: &[f32], classes: usize) -> Vec<u8> {
        let mut graph = GraphBuilder::new("means");
        graph
            .input("x", Dim::batched([3, 2, 2]))
            .output("y", Dim::batched([classes]));
        graph.initializer("factors", &[3, classes], factors.to_vec());
        graph.node("GlobalAveragePool", "pool", &["x"], "pool");
        graph.node("Flatten", "flat", &["pool"], "flat");
        graph.node("MatMul", "scores", &["flat", "factors"], "y");
        kiln_onnx::encode(&graph.finish().unwrap())
    }

    /// Opens such a model with settings, and classifies one pixel of red, green and blue.
    fn of_pixel(bytes: &[u8], settings: &[&CStr], pixel: [u8; 3]) -> (*mut Model, *mut Results) {
        let settings: Vec<_> = settings.iter().map(|text| text.as_ptr()).collect();
        let options = Options {
            size: size_of::<Options>(),
            engine: null(),
            device: null(),
            threads: 1,
            library: null(),
            settings: settings.as_ptr(),
            settings_count: settings.len(),
        };
        let (mut model, mut results) = (null_mut(), null_mut());
        // SAFETY: everything points to what it says.
        unsafe {
            let opened = outcome(|error| {
                let data = bytes.as_ptr().cast();
                let size = bytes.len();
                kiln_open_bytes(data, size, &raw const options, &raw mut model, error)
            });
            assert_eq!(opened, (Status::Ok, String::new()));
            let classified = outcome(|error| {
                let pixel = pixel.as_ptr().cast();
                kiln_classify_pixels(model, pixel, 3, 1, 1, 3, &raw mut results, error)
            });
            assert_eq!(classified, (Status::Ok, String::new()));
        }
        (model, results)
    }

    #[test]
    fn classes_by_themselves_are_chosen_by_their_thresholds() {
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let settings = [
            c"preprocess=raw",
            c"scale=0.01",
            c"output=sigmoid_logits",
            c"threshold=0.5,0.9,0.6",
            c"labels=[\"a\\u0000b\", \"c\", \"d\"]",
        ];
        let (model, results) = of_pixel(&means(&identity, 3), &settings, [100, 200, 0]);
        // SAFETY: what was made above, freed once.
        unsafe {
            let info = &*kiln_info(model);
            assert!(info.has_several);
            let thresholds = std::slice::from_raw_parts(info.thresholds, info.thresholds_count);
            assert_eq!(thresholds, [0.5, 0.9, 0.6]);
            let found = &*kiln_results_get(results, 0);
            let probabilities = std::slice::from_raw_parts(found.probabilities, 3);
            // Sigmoids of 1, 2 and 0.
            for (found, expected) in probabilities.iter().zip([0.731_058_6, 0.880_797, 0.5]) {
                assert!((found - expected).abs() < 1e-6, "{probabilities:?}");
            }
            assert_eq!(found.index, 1, "the most probable");
            let chosen = std::slice::from_raw_parts(found.chosen, found.chosen_count);
            assert_eq!(chosen, [0], "the only one over its threshold");
            assert_eq!(std::slice::from_raw_parts(found.ranking, 3), [1, 0, 2]);
            assert_eq!(text(*info.labels), "a\u{fffd}b");
            kiln_results_free(results);
            kiln_free(model);
        }
    }

    #[test]
    fn one_score_is_that_of_the_second_of_two_classes() {
        let settings = [c"preprocess=raw", c"scale=0.01", c"output=sigmoid_logits"];
        let (model, results) = of_pixel(&means(&[1.0, -1.0, 0.0], 1), &settings, [0, 100, 9]);
        // SAFETY: what was made above, freed once.
        unsafe {
            let info = &*kiln_info(model);
            assert_eq!((info.classes, info.thresholds_count), (2, 1));
            assert!(!info.has_several);
            let found = &*kiln_results_get(results, 0);
            let probabilities = std::slice::from_raw_parts(found.probabilities, 2);
            // The sigmoid of -1 is that of the second class.
            for (found, expected) in probabilities.iter().zip([0.731_058_6, 0.268_941_4]) {
                assert!((found - expected).abs() < 1e-6, "{probabilities:?}");
            }
            assert_eq!((found.index, found.chosen_count, *found.chosen), (0, 1, 0));
            kiln_results_free(results);
            kiln_free(model);
        }
    }

    #[test]
    fn of_a_model_of_features_the_scores_are_those() {
        let mut graph = GraphBuilder::new("features");
        graph
            .input("x", Dim::batched([3, 2, 2]))
            .output("y", Dim::batched([3]));
        graph.node("GlobalAveragePool", "pool", &["x"], "pool");
        graph.node("Flatten", "flat", &["pool"], "y");
        let bytes = kiln_onnx::encode(&graph.finish().unwrap());
        let (model, results) = of_pixel(&bytes, &[c"preprocess=raw"], [7, 8, 9]);
        // SAFETY: what was made above, freed once.
        unsafe {
            assert!((*kiln_info(model)).is_features);
            let found = &*kiln_results_get(results, 0);
            let features = std::slice::from_raw_parts(found.scores, found.classes);
            assert_eq!(features, [7.0, 8.0, 9.0]);
            kiln_results_free(results);
            kiln_free(model);
        }
    }
}
