//! Enums whose values are words on the command line and in files.

use std::fmt;

use crate::closest;

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

#[cfg(test)]
mod tests {
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
}
