//! TOML that people write, a recipe or a sidecar, as a tree of values that remember where they were
//! written: a line, or a `--set` argument.

mod error;
mod section;

use toml::de::{DeArray, DeTable, DeValue};

use crate::naming::{MAX_REPEAT, layer_names, repeated_names};

pub(crate) use error::Place;
pub use error::{Hint, RecipeError};
pub(crate) use section::{Bound, Field, MAX_COUNT, Section, Source, Tagged, unknown};

/// Tables for which a string may stand: it is then their `type`.
const TYPED: [&str; 3] = ["optimizer", "schedule", "kernel_initializer"];

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub value: Value,
    pub place: Place,
}

impl Node {
    /// Makes a string the table that it stands for, so that there is room for other keys.
    fn spell_out(&mut self) {
        if let Value::String(word) = &mut self.value {
            let kind = Self {
                value: Value::String(std::mem::take(word)),
                place: self.place.clone(),
            };
            self.value = Value::Table(vec![("type".into(), kind)]);
        }
    }

    /// The last table of this `type` in the array that a table has under a key, and its place there.
    pub(crate) fn last_of_type(&self, array: &str, kind: &str) -> Option<(usize, &Self)> {
        let Value::Table(entries) = &self.value else {
            return None;
        };
        entries.iter().find_map(|(name, node)| match &node.value {
            Value::Array(nodes) if name == array => {
                let at = nodes
                    .iter()
                    .rposition(|node| node.text("type") == Some(kind))?;
                Some((at, &nodes[at]))
            }
            _ => None,
        })
    }

    /// Adds an entry to the table at a place of the array that a table has under a key.
    pub(crate) fn add_to(&mut self, array: &str, at: usize, key: &str, value: Value) {
        let Value::Table(entries) = &mut self.value else {
            return;
        };
        let found = entries
            .iter_mut()
            .find_map(|(name, node)| match &mut node.value {
                Value::Array(nodes) if name == array => nodes.get_mut(at),
                _ => None,
            });
        if let Some(Self {
            value: Value::Table(entries),
            place,
        }) = found
        {
            let place = place.clone();
            entries.push((key.into(), Self { value, place }));
        }
    }

    /// Adds an entry to a table.
    pub(crate) fn add(&mut self, key: &str, node: Self) {
        if let Value::Table(entries) = &mut self.value {
            entries.push((key.into(), node));
        }
    }

    /// Takes an entry out of a table.
    pub(crate) fn take(&mut self, key: &str) -> Option<Self> {
        let Value::Table(entries) = &mut self.value else {
            return None;
        };
        let at = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.remove(at).1)
    }

    /// Whether it is a table with this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        matches!(&self.value, Value::Table(entries) if entries.iter().any(|(name, _)| name == key))
    }

    /// The positive number that a table has under a key, as far as one can be that repeats a layer.
    fn count(&self, key: &str) -> Option<usize> {
        let Value::Table(entries) = &self.value else {
            return None;
        };
        entries.iter().find_map(|(name, node)| match node.value {
            Value::Integer(count @ 1..=MAX_REPEAT) if name == key => usize::try_from(count).ok(),
            _ => None,
        })
    }

    /// The string that a table has under a key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let Value::Table(entries) = &self.value else {
            return None;
        };
        entries.iter().find_map(|(name, node)| match &node.value {
            Value::String(text) if name == key => Some(text.as_str()),
            _ => None,
        })
    }
}

/// The values that documents are made of.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(String),
    Datetime,
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Value {
    /// For messages: what was found.
    pub fn describe(&self) -> String {
        match self {
            Self::Boolean(b) => b.to_string(),
            Self::Integer(i) => i.to_string(),
            // With an exponent where zeros would be many; a whole number without a point.
            Self::Float(x) if x.abs() < 1e15 && x.fract() == 0.0 => x.to_string(),
            Self::Float(x) => format!("{x:?}"),
            Self::String(s) => format!("{s:?}"),
            Self::Datetime => "a date".into(),
            Self::Array(_) => "an array".into(),
            Self::Table(_) => "a table".into(),
        }
    }

    /// The value as a person would write it down, strings without quotes.
    pub fn plain(&self) -> String {
        match self {
            Self::String(text) => text.clone(),
            // With an exponent where zeros would be many.
            Self::Float(x) => format!("{x:?}"),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| item.value.plain()).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, node)| format!("{key} = {}", node.value.plain()))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
            other => other.describe(),
        }
    }
}

/// Parses TOML and applies the overrides, in order.
pub(crate) fn read(text: &str, origin: &str, overrides: &[String]) -> Result<Node, RecipeError> {
    let lines = Lines::new(text);
    let table = DeTable::parse(text).map_err(|error| {
        let place = error
            .span()
            .map_or(Place::Whole, |span| lines.place(span.start));
        RecipeError::new(
            origin,
            place,
            format!("not valid TOML: {}", error.message().trim()),
        )
    })?;
    let converter = Converter { lines, origin };
    let mut root = Node {
        value: converter.table(table.get_ref())?,
        place: Place::Whole,
    };
    for argument in overrides {
        set(&mut root, argument).map_err(|problem| {
            RecipeError::new(origin, Place::Override(argument.clone()), problem)
        })?;
    }
    Ok(root)
}

/// Byte offsets at which lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(
            std::iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect(),
        )
    }

    fn place(&self, offset: usize) -> Place {
        Place::Line(self.0.partition_point(|&start| start <= offset))
    }
}

struct Converter<'a> {
    lines: Lines,
    origin: &'a str,
}

impl Converter<'_> {
    fn table(&self, table: &DeTable<'_>) -> Result<Value, RecipeError> {
        // In the order of the file: the order in which a sweep varies its values is the reader's.
        let mut written: Vec<_> = table.iter().collect();
        written.sort_by_key(|(key, _)| key.span().start);
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in written {
            // A table's own span may be its header's or empty; the key always has a place.
            let place = self.lines.place(key.span().start);
            entries.push((
                key.get_ref().to_string(),
                Node {
                    value: self.value(value.get_ref(), &place)?,
                    place,
                },
            ));
        }
        Ok(Value::Table(entries))
    }

    fn array(&self, array: &DeArray<'_>, place: &Place) -> Result<Value, RecipeError> {
        let nodes = array.iter().map(|item| {
            let place = if item.span().is_empty() {
                place.clone()
            } else {
                self.lines.place(item.span().start)
            };
            Ok(Node {
                value: self.value(item.get_ref(), &place)?,
                place,
            })
        });
        nodes.collect::<Result<_, RecipeError>>().map(Value::Array)
    }

    fn value(&self, value: &DeValue<'_>, place: &Place) -> Result<Value, RecipeError> {
        Ok(match value {
            DeValue::Boolean(b) => Value::Boolean(*b),
            DeValue::Integer(i) => {
                Value::Integer(i64::from_str_radix(i.as_str(), i.radix()).map_err(|_| {
                    RecipeError::new(
                        self.origin,
                        place.clone(),
                        format!("{i} is out of range for a whole number"),
                    )
                })?)
            }
            DeValue::Float(x) => Value::Float(x.as_str().parse().map_err(|_| {
                RecipeError::new(
                    self.origin,
                    place.clone(),
                    format!("{x} is out of range for a number"),
                )
            })?),
            DeValue::String(s) => Value::String(s.to_string()),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(array) => self.array(array, place)?,
            DeValue::Table(table) => self.table(table)?,
        })
    }
}

/// Most layers that a message names.
const MOST_NAMES: usize = 40;

/// Applies one `key=value`; `key=` takes the key away.
fn set(root: &mut Node, argument: &str) -> Result<(), String> {
    let (path, value) = argument
        .split_once('=')
        .ok_or("expected KEY=VALUE, such as training.epochs=3")?;
    let place = Place::Override(argument.to_string());
    let keys = keys(path)?;
    if value.trim().is_empty() {
        return remove(root, &keys);
    }
    assign(
        root,
        &keys,
        Node {
            value: literal(value.trim(), &place),
            place,
        },
    )
}

/// The keys along a path such as `layers.conv2d_1.filters`.
pub(crate) fn keys(path: &str) -> Result<Vec<&str>, String> {
    let keys: Vec<&str> = path.split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err("the key has an empty part: write it as training.epochs".into());
    }
    Ok(keys)
}

/// Puts a value where the keys lead; tables on the way are made if they are not there.
pub(crate) fn assign(root: &mut Node, keys: &[&str], new: Node) -> Result<(), String> {
    let mut node = root;
    for (depth, key) in keys.iter().enumerate() {
        if keys[..depth]
            .last()
            .is_some_and(|name| TYPED.contains(name))
        {
            node.spell_out();
        }
        node = match &mut node.value {
            Value::Table(entries) => {
                let at = entries
                    .iter()
                    .position(|(name, _)| name == key)
                    .unwrap_or_else(|| {
                        let table = Node {
                            value: Value::Table(Vec::new()),
                            place: new.place.clone(),
                        };
                        entries.push(((*key).to_string(), table));
                        entries.len() - 1
                    });
                &mut entries[at].1
            }
            Value::Array(items) => {
                let at = find(items, key)
                    .ok_or_else(|| no_entry(&keys[..depth].join("."), key, items))?;
                &mut items[at]
            }
            other => {
                return Err(format!(
                    "`{}` is {}, it has no keys",
                    keys[..depth].join("."),
                    other.describe()
                ));
            }
        };
    }
    *node = new;
    Ok(())
}

/// Takes a key away, so that its default counts.
fn remove(root: &mut Node, keys: &[&str]) -> Result<(), String> {
    let missing = || format!("`{}` is not there to be removed", keys.join("."));
    let (last, parents) = keys.split_last().ok_or_else(missing)?;
    let mut node = root;
    for key in parents {
        node = match &mut node.value {
            Value::Table(entries) => {
                &mut entries
                    .iter_mut()
                    .find(|(name, _)| name == key)
                    .ok_or_else(missing)?
                    .1
            }
            Value::Array(items) => {
                let at = find(items, key).ok_or_else(missing)?;
                &mut items[at]
            }
            _ => return Err(missing()),
        };
    }
    match &mut node.value {
        Value::Table(entries) => {
            let at = entries
                .iter()
                .position(|(name, _)| name == last)
                .ok_or_else(missing)?;
            entries.remove(at);
        }
        Value::Array(items) => {
            let at = find(items, last).ok_or_else(missing)?;
            items.remove(at);
        }
        _ => return Err(missing()),
    }
    Ok(())
}

/// An entry by its number from 1, or by the name that the layer has or gets (`conv2d_1`).
fn find(items: &[Node], key: &str) -> Option<usize> {
    if let Ok(number) = key.parse::<usize>() {
        return number.checked_sub(1).filter(|&at| at < items.len());
    }
    names(items).iter().position(|names| names.own == key)
}

/// What an entry is called.
struct Names {
    /// The name that it has or gets; of a layer that is repeated, the one that it is written with, or that of the first.
    own: String,
    /// The names of its repetitions.
    repeated: Vec<String>,
}

/// The names that layers have or get, each that of the first where it is repeated.
pub(crate) fn layer_keys(items: &[Node]) -> Vec<String> {
    names(items).into_iter().map(|names| names.own).collect()
}

/// The names that layers have or get.
fn names(items: &[Node]) -> Vec<Names> {
    let repeated: Vec<Vec<Option<String>>> = items
        .iter()
        .map(|item| match (item.text("name"), item.count("repeat")) {
            (name, None) => vec![name.map(str::to_owned)],
            (Some(name), Some(count)) => repeated_names(name, count).map(Some).collect(),
            (None, Some(count)) => vec![None; count],
        })
        .collect();
    let of_type = |(item, names): (&Node, &Vec<Option<String>>)| {
        vec![item.text("type").unwrap_or_default().to_owned(); names.len()]
    };
    let types: Vec<String> = items.iter().zip(&repeated).flat_map(of_type).collect();
    let given = repeated.iter().flatten().map(Option::as_deref);
    let given: Vec<_> = types.iter().map(String::as_str).zip(given).collect();
    let mut all = layer_names(&given).into_iter();
    let of_item = |(item, names): (&Node, &Vec<Option<String>>)| {
        let names: Vec<String> = all.by_ref().take(names.len()).collect();
        let first = || names.first().cloned().unwrap_or_default();
        Names {
            own: item.text("name").map_or_else(first, str::to_owned),
            repeated: if item.has("repeat") {
                names
            } else {
                Vec::new()
            },
        }
    };
    items.iter().zip(&repeated).map(of_item).collect()
}

/// The message for an entry that is not there.
fn no_entry(path: &str, key: &str, items: &[Node]) -> String {
    let numbers = format!(
        "`{path}` has no entry `{key}`: use its number, from 1 to {}",
        items.len()
    );
    if items.iter().any(|item| item.text("type").is_none()) {
        return numbers;
    }
    let names = names(items);
    let is_repetition = |names: &&Names| names.repeated.iter().any(|name| name == key);
    if let Some(Names { own, .. }) = names.iter().find(is_repetition) {
        return format!(
            "`{path}.{key}` is a repetition of `{path}.{own}`: a key of that one is a key of all its repetitions"
        );
    }
    let shown = names.iter().take(MOST_NAMES);
    let shown: Vec<&str> = shown.map(|names| names.own.as_str()).collect();
    let more = if names.len() > shown.len() {
        ", …"
    } else {
        ""
    };
    format!("{numbers}, or its name: {}{more}", shown.join(", "))
}

/// The value of an override: TOML where it is TOML, else a string, so that quotes may be left out.
fn literal(text: &str, place: &Place) -> Value {
    let plain = || Value::String(text.to_string());
    let Ok(value) = DeValue::parse(text) else {
        return plain();
    };
    let converter = Converter {
        lines: Lines::new(text),
        origin: "",
    };
    let Ok(mut value) = converter.value(value.get_ref(), place) else {
        return plain();
    };
    relocate(&mut value, place);
    value
}

/// Lines inside an override mean nothing; its place is the argument.
fn relocate(value: &mut Value, place: &Place) {
    let nodes: Box<dyn Iterator<Item = &mut Node>> = match value {
        Value::Array(items) => Box::new(items.iter_mut()),
        Value::Table(entries) => Box::new(entries.iter_mut().map(|(_, node)| node)),
        _ => return,
    };
    for node in nodes {
        node.place = place.clone();
        relocate(&mut node.value, place);
    }
}
