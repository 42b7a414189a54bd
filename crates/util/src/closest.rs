//! The word that was most likely meant.

/// Words of other tools with kiln's for the same.
const SYNONYMS: &[(&str, &str)] = &[
    ("acc", "val_accuracy"),
    ("accuracy", "val_accuracy"),
    ("average_pooling2d", "avg_pool"),
    ("batch_normalization", "batch_norm"),
    ("bn", "batch_norm"),
    ("bs", "batch_size"),
    ("conv", "conv2d"),
    ("fc", "dense"),
    ("global_average_pooling2d", "global_avg_pool"),
    ("global_max_pooling2d", "global_max_pool"),
    ("gpu", "cuda"),
    ("grayscale", "gray"),
    ("grey", "gray"),
    ("imagenet", "torch"),
    ("learning_rate", "lr"),
    ("linear", "dense"),
    ("loss", "val_loss"),
    ("lr", "learning_rate"),
    ("max_pooling2d", "max_pool"),
    ("swish", "silu"),
    ("torchvision", "torch"),
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
