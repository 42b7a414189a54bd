//! Names of folders and of classes: what they stand for, however they are written.

use std::collections::HashMap;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// What a folder holds by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubsetRole {
    /// `train`, `training`, `training_set`, …: images to train on.
    Train,
    /// `val`, `valid`, `validation`, `dev`, …: validation images.
    Validation,
    /// `test`, `testing`, `test_set`, …: test images.
    Test,
    /// A subset that a dataset of kiln's does not have: `eval`, `holdout`, `unlabeled`, …
    Other,
}

/// Words that stand for a subset.
const ROLES: [(&str, SubsetRole); 11] = [
    ("train", SubsetRole::Train),
    ("val", SubsetRole::Validation),
    ("valid", SubsetRole::Validation),
    ("validation", SubsetRole::Validation),
    ("dev", SubsetRole::Validation),
    ("test", SubsetRole::Test),
    ("eval", SubsetRole::Other),
    ("evaluation", SubsetRole::Other),
    ("holdout", SubsetRole::Other),
    ("unlabeled", SubsetRole::Other),
    ("unlabelled", SubsetRole::Other),
];

/// Words that may stand beside such a word and say nothing more, as in `seg_train`, `test_set` and
/// `train_images`.
const FILLERS: [&str; 11] = [
    "set", "data", "dataset", "split", "images", "image", "imgs", "img", "photos", "pictures",
    "seg",
];

/// Endings of a word that stands for a subset: `testing`, `trainset`, `traindata`.
const ENDINGS: [&str; 5] = ["ing", "set", "data", "images", "imgs"];

/// Returns which subset a folder of this name usually holds: upper and lower case, words such as
/// `set` and `data`, and numbers, as in `train2017`, do not matter.
pub fn subset_role(name: &str) -> Option<SubsetRole> {
    let name = name.to_lowercase();
    let mut found = None;
    let words = name.split(|c: char| !c.is_alphabetic());
    for word in words.filter(|word| !word.is_empty()) {
        match role_of_word(word) {
            Some(_) if found.is_some() => return None,
            Some(role) => found = Some(role),
            None if FILLERS.contains(&word) => (),
            None => return None,
        }
    }
    found
}

fn role_of_word(word: &str) -> Option<SubsetRole> {
    let known = |word: &str| {
        let role = ROLES.iter().find(|(known, _)| *known == word);
        role.map(|(_, role)| *role)
    };
    let mut word = word;
    loop {
        if let Some(role) = known(word) {
            return Some(role);
        }
        word = ENDINGS
            .iter()
            .find_map(|ending| word.strip_suffix(ending))?;
    }
}

/// Returns a name in Unicode's composed form (NFC): file systems and editors write `é` as one
/// character or as two.
pub(crate) fn composed(name: &str) -> String {
    match is_nfc_quick(name.chars()) {
        IsNormalized::Yes => name.to_owned(),
        IsNormalized::No | IsNormalized::Maybe => name.nfc().collect(),
    }
}

/// Returns a name in Unicode's decomposed form (NFD).
pub(crate) fn decomposed(name: &str) -> String {
    name.nfd().collect()
}

/// Returns the number that a name is: digits alone.
fn number(name: &str) -> Option<u64> {
    let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok()).flatten()
}

/// Which class a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassMatch {
    /// The class of this name.
    Name(u32),
    /// The name is a number: the class of this index, or the one whose name is the same number
    /// written otherwise, as `07` and `7`.
    Number(u32),
    /// Classes of these indices, and perhaps others, are all called so.
    Ambiguous([u32; 2]),
    /// No class.
    None,
}

/// The classes of a model or a dataset, to be found by their names.
///
/// Names that differ only in their Unicode normal form are the same, unless two classes differ in
/// nothing else. A number that is no class's name stands for the class of the same number: the one
/// whose name is equal as a number, or where no class is named by a number, the one of this index.
#[derive(Debug, Clone)]
pub struct ClassNames {
    names: Vec<String>,
    /// First and last index of each name.
    exact: HashMap<String, [u32; 2]>,
    /// Likewise, in composed form.
    composed: HashMap<String, [u32; 2]>,
    /// Likewise, of names that are numbers.
    numbers: HashMap<u64, [u32; 2]>,
}

impl ClassNames {
    /// Takes names in the order of their indices.
    pub fn new(names: &[String]) -> Self {
        let mut classes = Self {
            names: names.to_vec(),
            exact: HashMap::with_capacity(names.len()),
            composed: HashMap::with_capacity(names.len()),
            numbers: HashMap::new(),
        };
        for (index, name) in (0..).zip(names) {
            note(&mut classes.exact, name.clone(), index);
            note(&mut classes.composed, composed(name), index);
            if let Some(number) = number(name) {
                note(&mut classes.numbers, number, index);
            }
        }
        classes
    }

    /// Returns the names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Finds the class that a name stands for.
    pub fn find(&self, name: &str) -> ClassMatch {
        match self.by_name(name) {
            ClassMatch::None => self.by_number(name),
            found => found,
        }
    }

    /// Finds the class that has a name.
    pub(crate) fn by_name(&self, name: &str) -> ClassMatch {
        let found = self.exact.get(name);
        match found.or_else(|| self.composed.get(&composed(name))) {
            Some(&[first, last]) if first == last => ClassMatch::Name(first),
            Some(&both) => ClassMatch::Ambiguous(both),
            None => ClassMatch::None,
        }
    }

    fn by_number(&self, name: &str) -> ClassMatch {
        let Some(number) = number(name) else {
            return ClassMatch::None;
        };
        match self.numbers.get(&number) {
            Some(&[first, last]) if first == last => ClassMatch::Number(first),
            Some(&both) => ClassMatch::Ambiguous(both),
            None if self.numbers.is_empty() && number < self.names.len() as u64 => {
                ClassMatch::Number(number as u32)
            }
            None => ClassMatch::None,
        }
    }
}

fn note<K: std::hash::Hash + Eq>(map: &mut HashMap<K, [u32; 2]>, key: K, index: u32) {
    map.entry(key).or_insert([index; 2])[1] = index;
}

/// How folders that are named by numbers were matched with classes, where that could be done in
/// another way too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedFolders {
    /// The name of one of the folders.
    pub folder: String,
    /// Index of the class that its images have.
    pub class: u32,
    /// The place of this folder, from 0, when the folders are sorted as text, as many programs number
    /// them; none where the two orders agree.
    pub sorted_as_text: Option<u32>,
}

impl NumberedFolders {
    /// Describes folders, sorted as text, and the classes that they were found to be: all by name or all
    /// by number. None where nothing else would have been possible.
    pub(crate) fn of(
        folders: &[&str],
        matches: &[ClassMatch],
        classes: &ClassNames,
    ) -> Option<Self> {
        let numbers: Vec<u64> = folders.iter().map(|f| number(f)).collect::<Option<_>>()?;
        let mut ascending = numbers.clone();
        ascending.sort_unstable();
        let moved = (0..numbers.len()).find(|&at| numbers[at] != ascending[at]);
        let index = |at: usize| match matches[at] {
            ClassMatch::Name(index) | ClassMatch::Number(index) => Some(index),
            ClassMatch::Ambiguous(_) | ClassMatch::None => None,
        };
        // Names in another order than that of the numbers are somebody's choice.
        let unnamed = || {
            let mut names = classes.names.iter().enumerate();
            names.all(|(at, name)| *name == at.to_string())
        };
        let by_number = matches
            .iter()
            .position(|found| matches!(found, ClassMatch::Number(_)));
        let at = match (by_number, moved) {
            (Some(_), Some(moved)) => moved,
            (Some(at), None) => at,
            (None, Some(moved)) if unnamed() => moved,
            (None, _) => return None,
        };
        Some(Self {
            folder: folders[at].to_owned(),
            class: index(at)?,
            sorted_as_text: moved.map(|moved| moved as u32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_have_many_names() {
        let roles = [
            (
                SubsetRole::Train,
                "train Train TRAIN training training_set Training-Set trainset train_data traindata \
                 train1 train2017 seg_train train_images TrainingSet",
            ),
            (
                SubsetRole::Validation,
                "val Val valid validation VALIDATION validation_set valset val2017 dev devset",
            ),
            (
                SubsetRole::Test,
                "test Test testing test_set testset test1 seg_test test-images",
            ),
            (SubsetRole::Other, "eval holdout unlabeled evaluation_set"),
        ];
        for (role, names) in roles {
            for name in names.split(' ') {
                assert_eq!(subset_role(name), Some(role), "{name}");
            }
        }
        for name in [
            "tested",
            "trainer",
            "valley",
            "cat",
            "sets",
            "data",
            "set",
            "device",
            "train_test",
            "train station",
            "",
            "2017",
            "ing",
            "contest",
        ] {
            assert_eq!(subset_role(name), None, "{name}");
        }
    }

    fn names(names: &[&str]) -> ClassNames {
        ClassNames::new(&names.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn accents_are_one_character_or_two() {
        let classes = names(&["th\u{e9}", "cafe\u{301}", "eau"]);
        assert_eq!(classes.find("caf\u{e9}"), ClassMatch::Name(1));
        assert_eq!(classes.find("the\u{301}"), ClassMatch::Name(0));
        assert_eq!(classes.find("cafe"), ClassMatch::None);
        // Two classes that differ in nothing else are two.
        let both = names(&["caf\u{e9}", "cafe\u{301}"]);
        assert_eq!(both.find("caf\u{e9}"), ClassMatch::Name(0));
        assert_eq!(both.find("cafe\u{301}"), ClassMatch::Name(1));
    }

    #[test]
    fn numbers_are_names_before_they_are_indices() {
        let digits = names(&["2", "1", "0"]);
        assert_eq!(digits.find("2"), ClassMatch::Name(0));
        assert_eq!(digits.find("02"), ClassMatch::Number(0));
        assert_eq!(digits.find("3"), ClassMatch::None);
        let animals = names(&["cat", "dog"]);
        assert_eq!(animals.find("1"), ClassMatch::Number(1));
        assert_eq!(animals.find("2"), ClassMatch::None);
        assert_eq!(animals.find("-1"), ClassMatch::None);
        // A class may be called by a number for other reasons.
        assert_eq!(names(&["a380", "747"]).find("1"), ClassMatch::None);
        assert_eq!(
            names(&["7", "07"]).find("007"),
            ClassMatch::Ambiguous([0, 1])
        );
    }

    #[test]
    fn another_order_is_told_where_it_matters() {
        let told = |folders: &[&str], classes: &ClassNames| {
            let matches: Vec<ClassMatch> = folders.iter().map(|f| classes.find(f)).collect();
            NumberedFolders::of(folders, &matches, classes)
        };
        let numbers = |count: u32| {
            let names: Vec<String> = (0..count).map(|at| at.to_string()).collect();
            ClassNames::new(&names)
        };
        assert_eq!(told(&["0", "1", "2"], &numbers(3)), None);
        assert_eq!(
            told(&["0", "1", "10", "2"], &numbers(11)),
            Some(NumberedFolders {
                folder: "10".into(),
                class: 10,
                sorted_as_text: Some(2)
            })
        );
        // Whoever named the classes in the order of the text knows what they do.
        let sorted = names(&["0", "1", "10", "2"]);
        assert_eq!(told(&["0", "1", "10", "2"], &sorted), None);
        assert_eq!(
            told(&["1"], &names(&["cat", "dog"])),
            Some(NumberedFolders {
                folder: "1".into(),
                class: 1,
                sorted_as_text: None
            })
        );
        assert_eq!(told(&["cat"], &names(&["cat", "dog"])), None);
    }
}
