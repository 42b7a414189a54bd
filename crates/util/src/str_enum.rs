//! Enums whose values are words on the command line and in files.

/// A word that is not a value of the enum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, found `{found}`: use one of these words")]
pub struct ParseEnumError {
    expected: String,
    found: String,
}

impl ParseEnumError {
    /// The word found, and those that were expected.
    pub fn new(expected: &[&str], found: &str) -> Self {
        let expected: Vec<String> = expected.iter().map(|word| format!("`{word}`")).collect();
        Self {
            expected: expected.join(", "),
            found: found.to_owned(),
        }
    }
}

/// Gives a field-less enum its words: `ALL`, `WORDS`, `as_str`, `Display` and `FromStr`.
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
                found.ok_or_else(|| $crate::ParseEnumError::new(&Self::ALL.map(Self::as_str), word))
            }
        }
    };
}
