//! Enums whose values are words on the command line and in files, and the valid word that was meant by
//! another.

use std::fmt;

/// A word that is not a value of the enum.
///
/// Displayed as what was expected, for places that show the word found beside it, as clap does:
/// ``expected one of `raw`, `torch`; did you mean `torch`?``
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseEnumError {
    words: &'static [&'static str],
    found: String,
}

impl ParseEnumError {
    /// The word found, and those that were expected.
    pub fn new(words: &'static [&'static str], found: &str) -> Self {
        Self {
            words,
            found: found.to_owned(),
        }
    }

    /// Returns the word that was found.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// Returns the valid word that was most likely meant, if any is likely.
    pub fn suggestion(&self) -> Option<&'static str> {
        closest(&self.found, self.words)
    }

    /// Lists the valid words, for messages: `` `raw`, `torch` ``.
    pub fn expected(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    }
}

impl fmt::Display for ParseEnumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected one of {}", self.expected())?;
        match self.suggestion() {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseEnumError {}

/// Gives a field-less enum its words: `ALL`, `WORDS`, `as_str`, `Display` and `FromStr`; with
/// `: Serialize` or `: Serialize + Deserialize` after its name, those traits of serde too.
///
/// ```
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// enum Fit {
///     Crop,
///     Stretch,
/// }
///
/// kiln_util::str_enum!(Fit { Crop = "crop", Stretch = "stretch" });
///
/// assert_eq!("crop".parse(), Ok(Fit::Crop));
/// assert_eq!(Fit::Stretch.to_string(), "stretch");
/// ```
#[macro_export]
macro_rules! str_enum {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every value.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// Every value with its word.
            pub const WORDS: [(&'static str, Self); Self::ALL.len()] = [$(($word, Self::$variant)),+];

            /// The word used on the command line, in files and in results.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::ParseEnumError;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.into_iter().find(|value| value.as_str() == word);
                found.ok_or_else(|| $crate::ParseEnumError::new(&[$($word),+], word))
            }
        }
    };
    ($name:ident: Serialize { $($words:tt)+ }) => {
        $crate::str_enum!($name { $($words)+ });

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
    ($name:ident: Serialize + Deserialize { $($words:tt)+ }) => {
        $crate::str_enum!($name: Serialize { $($words)+ });

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <::std::string::String as ::serde::Deserialize>::deserialize(deserializer)?;
                word.parse().map_err(|error: $crate::ParseEnumError| {
                    ::serde::de::Error::custom(::std::format_args!(
                        "expected one of {}, found `{}`",
                        error.expected(),
                        error.found()
                    ))
                })
            }
        }
    };
}

/// Words of other tools with kiln's for the same.
const SYNONYMS: &[(&str, &str)] = &[
    ("acc", "val_accuracy"),
    ("accuracy", "val_accuracy"),
    ("average_pooling2d", "avg_pool"),
    ("batch_normalization", "batch_norm"),
    ("bn", "batch_norm"),
    ("bs", "batch_size"),
    ("center", "shorter"),
    ("conv", "conv2d"),
    ("crop", "crop_to_aspect_ratio"),
    ("densenet", "torch"),
    ("f1", "val_macro_f1"),
    ("densenet121", "torch"),
    ("fc", "dense"),
    ("global_average_pooling2d", "global_avg_pool"),
    ("global_max_pooling2d", "global_max_pool"),
    ("gpu", "cuda"),
    ("grayscale", "gray"),
    ("grey", "gray"),
    ("imagenet", "torch"),
    ("inception_v3", "tf"),
    ("keep_aspect_ratio", "crop_to_aspect_ratio"),
    ("lanczos3", "lanczos"),
    ("learning_rate", "lr"),
    ("linear", "dense"),
    ("loss", "val_loss"),
    ("lr", "learning_rate"),
    ("max_pooling2d", "max_pool"),
    ("mobilenet", "tf"),
    ("mobilenet_v2", "tf"),
    ("none", "raw"),
    ("rescale", "unit"),
    ("rescaling", "unit"),
    ("resnet", "caffe"),
    ("resnet50", "caffe"),
    ("resnet_v2", "tf"),
    ("squash", "stretch"),
    ("swish", "silu"),
    ("vgg16", "caffe"),
    ("vgg19", "caffe"),
    ("xception", "tf"),
    ("yolo", "ultralytics"),
];

/// Finds the valid word that was most likely meant: the same but for case and punctuation, another
/// tool's word for it, or one with few letters different.
///
/// ```
/// assert_eq!(kiln_util::closest("AdamW", &["adam", "adamw"]), Some("adamw"));
/// assert_eq!(kiln_util::closest("imagenet", &["raw", "torch"]), Some("torch"));
/// assert_eq!(kiln_util::closest("filtres", &["filters", "strides"]), Some("filters"));
/// assert_eq!(kiln_util::closest("resnet", &["conv2d", "dense"]), None);
/// ```
pub fn closest<'a>(found: &str, words: &[&'a str]) -> Option<&'a str> {
    equivalent(found, words).or_else(|| {
        words
            .iter()
            .map(|word| (strsim::damerau_levenshtein(found, word), *word))
            .min()
            .filter(|(distance, word)| *distance <= 1 + word.len() / 3)
            .map(|(_, word)| word)
    })
}

/// Finds the valid word that means the same: equal but for case and punctuation, or kiln's for
/// another tool's word.
pub fn equivalent<'a>(found: &str, words: &[&'a str]) -> Option<&'a str> {
    let same = |a: &str, b: &str| plain(a).eq(plain(b));
    let synonym = |word: &str| {
        SYNONYMS
            .iter()
            .any(|(other, ours)| *ours == word && same(other, found))
    };
    let equal = words.iter().find(|word| same(word, found));
    equal
        .or_else(|| words.iter().find(|word| synonym(word)))
        .copied()
}

/// The letters and digits in lower case.
fn plain(word: &str) -> impl Iterator<Item = char> {
    word.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Scaling {
        Raw,
        Torch,
    }

    str_enum!(Scaling { Raw = "raw", Torch = "torch" });

    #[test]
    fn an_error_says_what_was_expected_and_what_is_close() {
        assert_eq!(Scaling::WORDS.map(|(word, _)| word), ["raw", "torch"]);
        let message = |word: &str| word.parse::<Scaling>().unwrap_err().to_string();
        assert_eq!(message("zz"), "expected one of `raw`, `torch`");
        assert_eq!(
            message("imagenet"),
            "expected one of `raw`, `torch`; did you mean `torch`?"
        );
    }

    #[test]
    fn case_and_punctuation_do_not_matter() {
        assert_eq!(closest("BatchNorm", &["batch_norm"]), Some("batch_norm"));
        assert_eq!(closest("MaxPooling2D", &["max_pool"]), Some("max_pool"));
    }

    #[test]
    fn words_for_the_same_go_both_ways() {
        assert_eq!(closest("lr", &["learning_rate"]), Some("learning_rate"));
        assert_eq!(closest("learning_rate", &["lr"]), Some("lr"));
    }
}
