//! Typed access to the tree: every mismatch says the key, what was expected and what was found.

use std::ops::RangeInclusive;

use super::{Node, Place, RecipeError, Value};

/// A table of which only known keys may be used.
pub(crate) struct Section<'a> {
    origin: &'a str,
    path: String,
    place: Place,
    entries: &'a [(String, Node)],
    keys: &'static [&'static str],
}

/// A value with its key.
pub(crate) struct Field<'a> {
    origin: &'a str,
    path: String,
    node: &'a Node,
}

impl<'a> Section<'a> {
    /// The document itself.
    pub fn root(
        origin: &'a str,
        node: &'a Node,
        keys: &'static [&'static str],
    ) -> Result<Self, RecipeError> {
        Field {
            origin,
            path: String::new(),
            node,
        }
        .section(keys)
    }

    /// The value of a key, where there is one.
    pub fn get(&self, key: &'static str) -> Option<Field<'a>> {
        debug_assert!(
            self.keys.contains(&key),
            "{key} is read but not among the valid keys"
        );
        let (_, node) = self.entries.iter().find(|(name, _)| name == key)?;
        Some(Field {
            origin: self.origin,
            path: join(&self.path, key),
            node,
        })
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &'static str) -> Result<Field<'a>, RecipeError> {
        self.get(key).ok_or_else(|| {
            let place = self.place.clone();
            let of = if self.path.is_empty() {
                String::new()
            } else {
                format!(" in `{}`", self.path)
            };
            RecipeError::new(
                self.origin,
                place,
                format!("`{key}` is missing{of}: add it"),
            )
        })
    }

    /// A table below this one; an absent one reads as empty.
    pub fn sub(
        &self,
        key: &'static str,
        keys: &'static [&'static str],
    ) -> Result<Self, RecipeError> {
        match self.get(key) {
            Some(field) => field.section(keys),
            None => Ok(Self {
                origin: self.origin,
                path: join(&self.path, key),
                place: self.place.clone(),
                entries: &[],
                keys,
            }),
        }
    }

    /// An error about the section as a whole.
    pub fn error(&self, problem: impl Into<String>) -> RecipeError {
        RecipeError::new(self.origin, self.place.clone(), problem)
    }

    /// A whole number with a default.
    pub fn integer_or<T: TryFrom<i64>>(
        &self,
        key: &'static str,
        default: T,
        range: RangeInclusive<i64>,
    ) -> Result<T, RecipeError> {
        self.get(key)
            .map_or(Ok(default), |field| field.integer(range))
    }

    /// A switch with a default.
    pub fn boolean_or(&self, key: &'static str, default: bool) -> Result<bool, RecipeError> {
        self.get(key).map_or(Ok(default), |field| field.boolean())
    }

    /// A choice with a default.
    pub fn choice_or<T: Copy>(
        &self,
        key: &'static str,
        default: T,
        of: &[(&str, T)],
    ) -> Result<T, RecipeError> {
        self.get(key).map_or(Ok(default), |field| field.choice(of))
    }

    /// A number with a default.
    pub fn number_or(
        &self,
        key: &'static str,
        default: f64,
        bound: Bound,
    ) -> Result<f64, RecipeError> {
        self.get(key)
            .map_or(Ok(default), |field| field.number(bound))
    }
}

/// What a number must satisfy.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// More than 0.
    Positive,
    /// 0 or more.
    NonNegative,
    /// 0 or more, less than 1.
    Fraction,
    /// More than 0, less than 1.
    OpenFraction,
    /// 0 to this, both included.
    UpTo(f64),
    /// Any number that is one.
    Finite,
}

impl<'a> Field<'a> {
    /// A value under a key.
    pub fn new(origin: &'a str, path: &str, node: &'a Node) -> Self {
        Self {
            origin,
            path: path.into(),
            node,
        }
    }

    /// The file's name for messages.
    pub fn origin(&self) -> &'a str {
        self.origin
    }

    /// The value as it is, with its place.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// An error about this value.
    pub fn error(&self, problem: impl Into<String>) -> RecipeError {
        RecipeError::new(self.origin, self.node.place.clone(), problem)
    }

    /// The path for messages.
    fn path(&self) -> String {
        as_written(&self.path, &self.node.place)
    }

    fn mismatch(&self, expected: &str) -> RecipeError {
        let what = if self.path.is_empty() {
            "the document".into()
        } else {
            format!("`{}`", self.path())
        };
        self.error(format!(
            "{what} must be {expected}, found {}",
            self.node.value.describe()
        ))
    }

    /// A table with these keys and no others.
    pub fn section(&self, keys: &'static [&'static str]) -> Result<Section<'a>, RecipeError> {
        let Value::Table(entries) = &self.node.value else {
            return Err(self.mismatch("a table"));
        };
        if let Some((key, node)) = entries
            .iter()
            .find(|(key, _)| !keys.contains(&key.as_str()))
        {
            let path = as_written(&self.path, &node.place);
            return Err(RecipeError::new(
                self.origin,
                node.place.clone(),
                unknown(key, &path, keys),
            ));
        }
        let place = self.node.place.clone();
        Ok(Section {
            origin: self.origin,
            path: self.path.clone(),
            place,
            entries,
            keys,
        })
    }

    /// A table whose `type` chooses which other keys it may have.
    pub fn tagged(
        &self,
        keys_of: impl Fn(&str) -> Option<&'static [&'static str]>,
        types: &[&str],
    ) -> Result<(String, Section<'a>), RecipeError> {
        let Value::Table(entries) = &self.node.value else {
            return Err(self.mismatch("a table with a `type`"));
        };
        let Some((_, kind)) = entries.iter().find(|(key, _)| key == "type") else {
            return Err(self.error(format!(
                "`{}` has no `type`: it is one of {}",
                self.path(),
                list(types)
            )));
        };
        let kind = Field {
            origin: self.origin,
            path: join(&self.path, "type"),
            node: kind,
        };
        let name = kind.string()?;
        let Some(keys) = keys_of(name) else {
            return Err(kind.error(unknown_value(&kind.path(), name, types)));
        };
        Ok((name.to_string(), self.section(keys)?))
    }

    /// As [`tagged`](Self::tagged), but a string alone is the `type`, as in Keras, and a table
    /// without one has the type `default`, where there is one.
    pub fn tagged_or_word(
        &self,
        keys_of: impl Fn(&str) -> Option<&'static [&'static str]>,
        types: &[&str],
        default: Option<&str>,
    ) -> Result<(String, Section<'a>), RecipeError> {
        match (&self.node.value, default) {
            (Value::String(name), _) => {
                let keys = keys_of(name)
                    .ok_or_else(|| self.error(unknown_value(&self.path(), name, types)))?;
                let (origin, path, place) =
                    (self.origin, self.path.clone(), self.node.place.clone());
                Ok((
                    name.clone(),
                    Section {
                        origin,
                        path,
                        place,
                        entries: &[],
                        keys,
                    },
                ))
            }
            (Value::Table(entries), Some(name))
                if !entries.iter().any(|(key, _)| key == "type") =>
            {
                let keys = keys_of(name).unwrap_or_default();
                match entries
                    .iter()
                    .find(|(key, _)| !keys.contains(&key.as_str()))
                {
                    // It may be a key of another type as well as a slip.
                    Some((key, node)) => {
                        let (path, types) = (as_written(&self.path, &node.place), list(types));
                        let problem = format!(
                            "`{key}` is no key of `{name}`, and `{path}` has no `type`: it is one of {types}"
                        );
                        Err(RecipeError::new(self.origin, node.place.clone(), problem))
                    }
                    None => Ok((name.to_owned(), self.section(keys)?)),
                }
            }
            _ => self.tagged(keys_of, types),
        }
    }

    /// A table with any keys: each with its value.
    pub fn entries(&self) -> Result<Vec<(&'a str, Field<'a>)>, RecipeError> {
        let Value::Table(entries) = &self.node.value else {
            return Err(self.mismatch("a table"));
        };
        let field = |(key, node): &'a (String, Node)| {
            let field = Field {
                origin: self.origin,
                path: join(&self.path, key),
                node,
            };
            (key.as_str(), field)
        };
        Ok(entries.iter().map(field).collect())
    }

    /// The entries of an array.
    pub fn array(&self) -> Result<Vec<Field<'a>>, RecipeError> {
        let Value::Array(items) = &self.node.value else {
            return Err(self.mismatch("an array"));
        };
        let field = |(at, node): (usize, &'a Node)| Field {
            origin: self.origin,
            path: format!("{}.{}", self.path, at + 1),
            node,
        };
        Ok(items.iter().enumerate().map(field).collect())
    }

    /// A string.
    pub fn string(&self) -> Result<&'a str, RecipeError> {
        match &self.node.value {
            Value::String(s) => Ok(s),
            _ => Err(self.mismatch("a string")),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool, RecipeError> {
        match self.node.value {
            Value::Boolean(b) => Ok(b),
            _ => Err(self.mismatch("true or false")),
        }
    }

    /// A whole number within a range.
    pub fn integer<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Result<T, RecipeError> {
        let expected = || match (*range.start(), *range.end()) {
            (start, i64::MAX) => format!("a whole number of at least {start}"),
            (start, end) => format!("a whole number from {start} to {end}"),
        };
        let found = match self.node.value {
            Value::Integer(i) if range.contains(&i) => T::try_from(i).ok(),
            _ => None,
        };
        found.ok_or_else(|| self.mismatch(&expected()))
    }

    /// A number within a bound.
    pub fn number(&self, bound: Bound) -> Result<f64, RecipeError> {
        let expected = match bound {
            Bound::Positive => "a number above 0",
            Bound::NonNegative => "a number of at least 0",
            Bound::Fraction => "a number of at least 0 and below 1",
            Bound::OpenFraction => "a number above 0 and below 1",
            Bound::UpTo(max) => &format!("a number from 0 to {max}"),
            Bound::Finite => "a number",
        };
        let x = match self.node.value {
            Value::Float(x) => x,
            Value::Integer(i) => i as f64,
            _ => return Err(self.mismatch(expected)),
        };
        let ok = match bound {
            Bound::Positive => x > 0.0 && x.is_finite(),
            Bound::NonNegative => x >= 0.0 && x.is_finite(),
            // Computed with in f32, where what is next to 1 is 1.
            Bound::Fraction => x >= 0.0 && (x as f32) < 1.0,
            Bound::OpenFraction => x > 0.0 && (x as f32) < 1.0,
            Bound::UpTo(max) => (0.0..=max).contains(&x),
            // Computed with in f32.
            Bound::Finite => (x as f32).is_finite(),
        };
        if ok {
            Ok(x)
        } else {
            Err(self.mismatch(expected))
        }
    }

    /// A range `[low, high]` of numbers within a bound, the lower one first.
    pub fn range(&self, bound: Bound) -> Result<[f64; 2], RecipeError> {
        let items = self.array().map_err(|_| self.mismatch("[low, high]"))?;
        let [low, high] = items.as_slice() else {
            return Err(self.error(format!(
                "`{}` must be [low, high], found {} numbers",
                self.path(),
                items.len()
            )));
        };
        let (low, high) = (low.number(bound)?, high.number(bound)?);
        if low > high {
            return Err(self.error(format!(
                "`{}` must be [low, high], found {low} before {high}",
                self.path()
            )));
        }
        Ok([low, high])
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        matches!(self.node.value, Value::Array(_))
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, of: &[(&str, T)]) -> Result<T, RecipeError> {
        let found = self.string()?;
        of.iter()
            .find(|(word, _)| *word == found)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let words: Vec<&str> = of.iter().map(|(word, _)| *word).collect();
                self.error(unknown_value(&self.path(), found, &words))
            })
    }

    /// One number for both axes, or `[height, width]`.
    pub fn pair(&self, range: RangeInclusive<i64>) -> Result<[usize; 2], RecipeError> {
        match &self.node.value {
            Value::Array(items) => match self.array()?.as_slice() {
                [height, width] => Ok([height.integer(range.clone())?, width.integer(range)?]),
                _ => Err(self.error(format!(
                    "`{}` must be one number or [height, width], found {} numbers",
                    self.path(),
                    items.len()
                ))),
            },
            Value::Integer(_) => self.integer(range).map(|n| [n, n]),
            _ => Err(self.mismatch("a whole number or [height, width]")),
        }
    }
}

/// A path with the names by which a `--set` argument calls what has a number in it:
/// `layers.conv2d.filters`.
fn as_written(path: &str, place: &Place) -> String {
    let Place::Override(argument) = place else {
        return path.into();
    };
    let mut written = argument
        .split('=')
        .next()
        .unwrap_or_default()
        .split('.')
        .map(str::trim);
    let mut agree = true;
    let parts = path
        .split('.')
        .map(|part| match written.next().filter(|_| agree) {
            Some(name) if name == part || part.parse::<usize>().is_ok() => name,
            _ => {
                agree = false;
                part
            }
        });
    parts.collect::<Vec<_>>().join(".")
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.into()
    } else {
        format!("{path}.{key}")
    }
}

fn list(words: &[&str]) -> String {
    words.join(", ")
}

/// The message for a key that is not valid here.
pub(crate) fn unknown(key: &str, path: &str, keys: &[&str]) -> String {
    let place = if path.is_empty() {
        String::new()
    } else {
        format!(" in `{path}`")
    };
    format!(
        "unknown key `{key}`{place}{} Valid keys: {}",
        did_you_mean(key, keys),
        list(keys)
    )
}

/// The message for a word that is not one of those allowed.
fn unknown_value(path: &str, found: &str, words: &[&str]) -> String {
    format!(
        "`{path}` cannot be {found:?}{} Valid values: {}",
        did_you_mean(found, words),
        list(words)
    )
}

/// The nearest valid word, where one is near enough to be meant.
fn did_you_mean(found: &str, words: &[&str]) -> String {
    let near = words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(found, word), word))
        .min();
    match near {
        Some((distance, word)) if distance <= 1 + word.len() / 3 => {
            format!(": did you mean `{word}`?")
        }
        _ => ".".into(),
    }
}
