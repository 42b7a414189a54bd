//! Typed access to the tree: an error names the key, what was expected and what was found.

use std::ops::RangeInclusive;

use kiln_util::{closest, equivalent};

use super::{Node, Place, RecipeError, Value};

/// Limit of counts, beyond all networks; products of two such counts fit into 64 bits.
pub(crate) const MAX_COUNT: i64 = 1 << 31;

/// A document, for messages about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The file's name.
    pub origin: &'a str,
    /// Its sections with their keys, to suggest where a misplaced key belongs.
    pub sections: &'static [(&'static str, &'static [&'static str])],
}

impl Source<'_> {
    /// The full path of a key that is in another section than this one.
    fn elsewhere(&self, key: &str, path: &str) -> Option<String> {
        if path.starts_with("layers.") {
            return None;
        }
        self.sections.iter().find_map(|(section, keys)| {
            equivalent(key, keys)
                .filter(|_| *section != path)
                .map(|key| join(section, key))
        })
    }
}

/// A kind of thing that a table's `type` chooses.
pub(crate) struct Tagged<T: 'static> {
    /// The `type`.
    pub kind: &'static str,
    /// Valid keys, `type` included.
    pub keys: &'static [&'static str],
    /// Reads the rest of the table.
    pub parse: fn(&Section<'_>) -> Result<T, RecipeError>,
}

/// A table of which only known keys may be used.
pub(crate) struct Section<'a> {
    source: Source<'a>,
    path: String,
    place: Place,
    entries: &'a [(String, Node)],
    keys: &'static [&'static str],
}

/// A value with its key.
pub(crate) struct Field<'a> {
    source: Source<'a>,
    path: String,
    node: &'a Node,
}

impl<'a> Section<'a> {
    /// The document itself.
    pub fn root(
        source: Source<'a>,
        node: &'a Node,
        keys: &'static [&'static str],
    ) -> Result<Self, RecipeError> {
        Field {
            source,
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
            source: self.source,
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
                self.source.origin,
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
                source: self.source,
                path: join(&self.path, key),
                place: self.place.clone(),
                entries: &[],
                keys,
            }),
        }
    }

    /// An error about the section as a whole.
    pub fn error(&self, problem: impl Into<String>) -> RecipeError {
        RecipeError::new(self.source.origin, self.place.clone(), problem)
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

    /// One number for both axes, or `[height, width]`, with a default.
    pub fn pair_or(
        &self,
        key: &'static str,
        default: [usize; 2],
        range: RangeInclusive<i64>,
    ) -> Result<[usize; 2], RecipeError> {
        self.get(key).map_or(Ok(default), |field| field.pair(range))
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
    pub fn new(source: Source<'a>, path: &str, node: &'a Node) -> Self {
        Self {
            source,
            path: path.into(),
            node,
        }
    }

    /// The document.
    pub fn source(&self) -> Source<'a> {
        self.source
    }

    /// The value as it is, with its place.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// An error about this value.
    pub fn error(&self, problem: impl Into<String>) -> RecipeError {
        RecipeError::new(self.source.origin, self.node.place.clone(), problem)
    }

    /// The path for messages.
    pub fn path(&self) -> String {
        as_written(&self.path, &self.node.place)
    }

    /// An error about a value of another kind than the one expected.
    pub fn mismatch(&self, expected: &str) -> RecipeError {
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
                self.source.origin,
                node.place.clone(),
                unknown(key, &path, keys, &self.source),
            ));
        }
        let place = self.node.place.clone();
        Ok(Section {
            source: self.source,
            path: self.path.clone(),
            place,
            entries,
            keys,
        })
    }

    /// A table with these keys and no others; `true` stands for one without any, `false` for none.
    pub fn section_or_switch(
        &self,
        keys: &'static [&'static str],
    ) -> Result<Option<Section<'a>>, RecipeError> {
        match &self.node.value {
            Value::Boolean(false) => Ok(None),
            Value::Boolean(true) => Ok(Some(self.empty(keys))),
            Value::Table(_) => self.section(keys).map(Some),
            _ => Err(self.mismatch("a table, `true` or `false`")),
        }
    }

    /// A table without any of its keys, in this place.
    fn empty(&self, keys: &'static [&'static str]) -> Section<'a> {
        Section {
            source: self.source,
            path: self.path.clone(),
            place: self.node.place.clone(),
            entries: &[],
            keys,
        }
    }

    /// A table whose `type` chooses which other keys it may have; what was read of it, and the
    /// table for keys that all types have.
    pub fn tagged<T>(&self, known: &'static [Tagged<T>]) -> Result<(T, Section<'a>), RecipeError> {
        let Value::Table(entries) = &self.node.value else {
            return Err(self.mismatch("a table with a `type`"));
        };
        let Some((_, kind)) = entries.iter().find(|(key, _)| key == "type") else {
            return Err(self.error(format!(
                "`{}` has no `type`: it is one of {}",
                self.path(),
                list(&types(known))
            )));
        };
        let kind = Field {
            source: self.source,
            path: join(&self.path, "type"),
            node: kind,
        };
        let tagged = kind.one_of(known)?;
        read(tagged, self.section(tagged.keys)?)
    }

    /// As [`tagged`](Self::tagged), but a string alone is the `type`, as in Keras, and a table
    /// without one has the type `default`, where there is one.
    pub fn tagged_or_word<T>(
        &self,
        known: &'static [Tagged<T>],
        default: Option<&str>,
    ) -> Result<(T, Section<'a>), RecipeError> {
        let default = known.iter().find(|tagged| Some(tagged.kind) == default);
        match (&self.node.value, default) {
            (Value::String(_), _) => {
                let tagged = self.one_of(known)?;
                read(tagged, self.empty(tagged.keys))
            }
            (Value::Table(entries), Some(tagged))
                if !entries.iter().any(|(key, _)| key == "type") =>
            {
                let valid = |key: &str| tagged.keys.contains(&key);
                match entries.iter().find(|(key, _)| !valid(key)) {
                    // It may be a key of another type as well as a slip.
                    Some((key, node)) => {
                        let path = as_written(&self.path, &node.place);
                        let (name, types) = (tagged.kind, list(&types(known)));
                        let problem = format!(
                            "`{key}` is not a key of `{name}`, and `{path}` has no `type`: it is one of {types}"
                        );
                        Err(RecipeError::new(
                            self.source.origin,
                            node.place.clone(),
                            problem,
                        ))
                    }
                    None => read(tagged, self.section(tagged.keys)?),
                }
            }
            _ => self.tagged(known),
        }
    }

    /// The kind that this string names.
    fn one_of<T>(&self, known: &'static [Tagged<T>]) -> Result<&'static Tagged<T>, RecipeError> {
        let name = self.string()?;
        known
            .iter()
            .find(|tagged| tagged.kind == name)
            .ok_or_else(|| self.error(unknown_value(&self.path(), name, &types(known))))
    }

    /// A table with any keys: each with its value.
    pub fn entries(&self) -> Result<Vec<(&'a str, Field<'a>)>, RecipeError> {
        let Value::Table(entries) = &self.node.value else {
            return Err(self.mismatch("a table"));
        };
        let field = |(key, node): &'a (String, Node)| {
            let field = Field {
                source: self.source,
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
            source: self.source,
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

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// Whether it is a string.
    pub fn is_string(&self) -> bool {
        matches!(self.node.value, Value::String(_))
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

fn types<T>(known: &[Tagged<T>]) -> Vec<&'static str> {
    known.iter().map(|tagged| tagged.kind).collect()
}

fn read<'a, T>(tagged: &Tagged<T>, section: Section<'a>) -> Result<(T, Section<'a>), RecipeError> {
    Ok(((tagged.parse)(&section)?, section))
}

/// The message for a key that is not valid here.
pub(crate) fn unknown(key: &str, path: &str, keys: &[&str], source: &Source<'_>) -> String {
    let place = if path.is_empty() {
        String::new()
    } else {
        format!(" in `{path}`")
    };
    let meant = equivalent(key, keys)
        .map(str::to_owned)
        .or_else(|| source.elsewhere(key, path))
        .or_else(|| closest(key, keys).map(str::to_owned));
    format!(
        "unknown key `{key}`{place}{} Valid keys: {}",
        did_you_mean(meant.as_deref()),
        list(keys)
    )
}

/// The message for a word that is not one of those allowed.
fn unknown_value(path: &str, found: &str, words: &[&str]) -> String {
    format!(
        "`{path}` cannot be {found:?}{} Valid values: {}",
        did_you_mean(closest(found, words)),
        list(words)
    )
}

fn did_you_mean(word: Option<&str>) -> String {
    word.map_or_else(|| ".".into(), |word| format!(": did you mean `{word}`?"))
}
