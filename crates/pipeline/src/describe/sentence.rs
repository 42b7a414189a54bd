//! The steps of a preprocessing in words.

use kiln_model::{Arithmetic, Channels, CropRounding, Filter, Fit, Preprocessing, Resize};

/// Writes all steps as one sentence; `values` is the formula of a pixel value.
pub fn sentence(record: &Preprocessing, values: &str) -> String {
    let turned = record.orientation.then(|| "turned by Exif".to_owned());
    let background = record.background.map(|color| format!("on {}", rgb(color)));
    let channels = match record.channels {
        Channels::Gray => "gray",
        Channels::Rgb => "RGB",
        Channels::Bgr => "BGR",
    };
    let steps = [
        turned,
        background,
        Some(resized(record)),
        cut(record),
        Some(channels.to_owned()),
        Some(values.to_owned()),
    ];
    let text = steps.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let first = text.chars().next().map(char::to_uppercase);
    let rest = text.chars().skip(1);
    first.into_iter().flatten().chain(rest).collect()
}

/// What is resized, and how.
fn resized(record: &Preprocessing) -> String {
    let [height, width] = record.resized_size();
    let to = match record.resize.fit {
        Fit::Stretch => format!("stretched to {height}x{width}"),
        Fit::Shorter if height == width => format!("shorter side to {height}"),
        Fit::Shorter => format!("enlarged or shrunk to cover {height}x{width}"),
        Fit::Longer if height == width => format!("longer side to {height}"),
        Fit::Longer => format!("enlarged or shrunk to fit into {height}x{width}"),
        Fit::CropToAspectRatio => {
            format!("cropped to the aspect ratio, resized to {height}x{width}")
        }
    };
    let reduced = match record.resize.reducing_gap {
        0 => String::new(),
        1 => "divided by 2, 4, 8 down to no less than what follows, ".to_owned(),
        gap => format!("divided by 2, 4, 8 down to no less than {gap} times what follows, "),
    };
    format!("{reduced}{to} ({})", filter(&record.resize))
}

/// The filter, and whose arithmetic it is computed in.
pub fn filter(resize: &Resize) -> String {
    let name = match resize.arithmetic {
        Arithmetic::TensorFlow => "TensorFlow",
        Arithmetic::Torch => "PyTorch",
        Arithmetic::Pillow => "Pillow",
    };
    let antialias = match (resize.filter, resize.arithmetic, resize.antialias) {
        // As those two usually do.
        (Filter::Nearest, _, _)
        | (_, Arithmetic::Pillow, true)
        | (_, Arithmetic::TensorFlow | Arithmetic::Torch, false) => "",
        (_, Arithmetic::TensorFlow | Arithmetic::Torch, true) => ", antialiased",
        (_, Arithmetic::Pillow, false) => ", not antialiased",
    };
    format!("{}{antialias}, {name}", resize.filter)
}

/// What is cropped or padded, if anything can be.
fn cut(record: &Preprocessing) -> Option<String> {
    let Preprocessing { height, width, .. } = *record;
    let [to_height, to_width] = record.resized_size();
    let rounding = match record.resize.crop_rounding {
        CropRounding::Even => "",
        CropRounding::Down => " (odd pixels rounded down)",
    };
    let crop = format!("center crop {height}x{width}{rounding}");
    let pad = || {
        format!(
            "padded to {height}x{width} with {}",
            rgb(record.resize.padding)
        )
    };
    let larger = to_height > height || to_width > width;
    let smaller = to_height < height || to_width < width;
    match record.resize.fit {
        Fit::Stretch | Fit::CropToAspectRatio if !larger && !smaller => None,
        Fit::Stretch | Fit::CropToAspectRatio | Fit::Shorter if !smaller => Some(crop),
        Fit::Longer if !larger => Some(pad()),
        Fit::Stretch | Fit::CropToAspectRatio | Fit::Shorter | Fit::Longer => {
            Some(format!("{crop}, {}", pad()))
        }
    }
}

/// A color, for people.
pub fn rgb(color: [u8; 3]) -> String {
    match color {
        [0, 0, 0] => "black".into(),
        [255, 255, 255] => "white".into(),
        [red, green, blue] => format!("rgb({red}, {green}, {blue})"),
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::{Preprocess, Steps};

    use super::*;

    #[test]
    fn a_sentence_has_all_steps() {
        let timm = Preprocess::Timm.record(224, 224, Channels::Rgb);
        assert_eq!(
            sentence(&timm, "(p / 255 - mean) / std"),
            "Turned by Exif, shorter side to 256 (bicubic, Pillow), center crop 224x224, RGB, (p / 255 - mean) / std"
        );
        let plain = Preprocessing::unit(28, 30, Channels::Gray);
        assert_eq!(
            sentence(&plain, "p / 255"),
            "Stretched to 28x30 (bilinear, TensorFlow), gray, p / 255"
        );
        let reduced = Steps {
            reducing_gap: Some(2),
            ..Steps::default()
        };
        assert_eq!(
            sentence(&reduced.apply(plain), "p / 255"),
            "Divided by 2, 4, 8 down to no less than 2 times what follows, stretched to 28x30 (bilinear, TensorFlow), gray, p / 255"
        );
        let padded = Steps {
            background: Some(Some([255; 3]).into()),
            resize: Some(Fit::Longer),
            padding: Some([114; 3]),
            antialias: Some(true),
            arithmetic: Some(Arithmetic::Torch),
            ..Steps::default()
        };
        assert_eq!(
            sentence(
                &padded.apply(Preprocessing::raw(64, 64, Channels::Bgr)),
                "p"
            ),
            "On white, longer side to 64 (bilinear, antialiased, PyTorch), padded to 64x64 with rgb(114, 114, 114), BGR, p"
        );
    }
}
