//! The tables of a recipe as the parser knows them, found by asking it: each is given a key that
//! cannot be there, and the error names those that can.

use std::collections::BTreeSet;

use kiln_model::{
    Base, Channels, FileBase, FileProblem, FileRequest, FileSegment, Layout, Preprocessing, Recipe,
    References, Sweep,
};

const LAYERS: &str = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]";

/// The same with frozen features.
const FROZEN: &str = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]\n\
                      backbone.name = \"vgg16\"\n\
                      input = { height = 64, width = 64, preprocess = \"caffe\" }";

/// A valid value for each key that some table requires.
const REQUIRED: &[(&str, &str)] = &[
    ("name", "\"vgg16\""),
    ("weights", "\"vgg16\""),
    ("filters", "1"),
    ("kernel_size", "1"),
    ("rate", "0.5"),
    ("units", "10"),
    ("target_shape", "[1, 28, 28]"),
    ("height", "28"),
    ("width", "28"),
    ("activation", "\"relu\""),
    ("step_size", "1"),
    ("gamma", "0.5"),
    ("values", "[0.1]"),
    ("patience", "1"),
    ("layers", "[{type=\"relu\"}]"),
    ("branches", "[[], [{type=\"relu\"}]]"),
    ("join", "\"add\""),
];

/// Where a table can stand in a recipe.
#[derive(Clone)]
pub struct Table {
    /// As the document calls it, such as `training.phases`.
    pub name: String,
    /// As messages call it, such as `training.phases.1`.
    path: String,
    /// An argument of `--set` with `@` for what is in the table; `@` for the recipe itself.
    template: String,
}

/// What a table may have.
pub enum Known {
    /// Keys.
    Keys(BTreeSet<String>),
    /// A `type`, which says what keys it may have.
    Types(BTreeSet<String>),
}

impl Table {
    /// The recipe itself.
    pub fn root() -> Self {
        Self {
            name: String::new(),
            path: String::new(),
            template: "@".into(),
        }
    }

    /// A table under a key, or an array of tables; beside it, what this table requires.
    fn below(&self, key: &str, array: bool) -> Self {
        let join = |path: &str| {
            if path.is_empty() {
                key.to_string()
            } else {
                format!("{path}.{key}")
            }
        };
        let (number, mut inside) = if array {
            (".1", format!("{key}=[{{@}}]"))
        } else {
            ("", format!("{key}={{@}}"))
        };
        if !self.is_root() {
            let others = REQUIRED
                .iter()
                .map(|(other, _)| (*other, self.required(other)))
                // A last layer may do without what others need.
                .filter(|(other, _)| {
                    let mut whole = self.in_whole_recipes().into_iter();
                    other != &key && whole.any(|table| table.requires(other))
                });
            inside
                .extend(others.filter_map(|(other, value)| Some(format!(", {other}={}", value?))));
        }
        Self {
            name: join(&self.name),
            path: join(&self.path) + number,
            template: self.template.replace('@', &inside),
        }
    }

    fn is_root(&self) -> bool {
        self.name.is_empty()
    }

    /// The same table with this `type`.
    pub fn of_type(&self, kind: &str) -> Self {
        Self {
            template: self.template.replace('@', &format!("type=\"{kind}\", @")),
            ..self.clone()
        }
    }

    /// The same table in recipes that are complete: a layer may take images, or vectors.
    pub fn in_whole_recipes(&self) -> Vec<Self> {
        let Some(layer) = self
            .template
            .strip_prefix("layers=[")
            .and_then(|rest| rest.strip_suffix(']'))
        else {
            return vec![self.clone()];
        };
        let (flatten, dense) = ("{type=\"flatten\"}", "{type=\"dense\", units=10}");
        let templates = [
            format!("layers=[{layer}, {flatten}, {dense}]"),
            format!("layers=[{flatten}, {layer}, {dense}]"),
        ];
        templates
            .map(|template| Self {
                template,
                ..self.clone()
            })
            .into()
    }

    /// The resolved recipe, or the error, where the table has these keys and values, and whatever
    /// else it requires.
    pub fn parse(&self, content: &[(&str, &str)]) -> Result<String, String> {
        self.parse_without(content, None)
    }

    /// Whether the table must have this key.
    pub fn requires(&self, key: &str) -> bool {
        // The recipe has those that it requires.
        let removed = [(key, "")];
        let parsed = self.parse_without(if self.is_root() { &removed } else { &[] }, Some(key));
        parsed.is_err_and(|error| missing(&error) == Some(key))
    }

    /// A valid value of a key that it requires.
    fn required(&self, key: &str) -> Option<&'static str> {
        if self.name == "network" && key == "name" {
            return Some("\"resnet18\"");
        }
        let (_, value) = REQUIRED.iter().find(|(required, _)| *required == key)?;
        Some(value)
    }

    fn parse_without(
        &self,
        content: &[(&str, &str)],
        left_out: Option<&str>,
    ) -> Result<String, String> {
        let mut content = content.to_vec();
        loop {
            let parsed = self.parse_exactly(&content);
            let missing = parsed.as_ref().err().and_then(|error| missing(error));
            let Some(key) = missing.filter(|key| Some(*key) != left_out) else {
                return parsed;
            };
            let (required, _) = REQUIRED
                .iter()
                .find(|(required, _)| *required == key)
                .unwrap_or_else(|| panic!("`REQUIRED` has no value for `{key}`: add one"));
            content.push((required, self.required(key).expect("just found")));
        }
    }

    fn parse_exactly(&self, content: &[(&str, &str)]) -> Result<String, String> {
        let content: Vec<String> = content
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let mut overrides = if self.is_root() {
            content
        } else if content.is_empty() {
            vec![self.template.replace(", @", "").replace('@', "")]
        } else {
            vec![self.template.replace('@', &content.join(", "))]
        };
        if self.name.starts_with("sweep") {
            // One that varies nothing says so first.
            let varied = ["sweep.training.seed=[0, 1]".to_owned()];
            sweep(LAYERS, &[&overrides[..], &varied].concat())
        } else {
            // These are of scores by themselves.
            let keys = ["pos_weight=", "sigmoid=true", "threshold="];
            if keys.iter().any(|key| overrides[0].contains(key)) {
                overrides.push("training.loss=binary_crossentropy".into());
            }
            // L-BFGS trains one dense layer on frozen features.
            let is_lbfgs = overrides.iter().any(|text| text.contains("\"lbfgs\""));
            recipe(if is_lbfgs { FROZEN } else { LAYERS }, &overrides)
        }
    }

    /// The keys that it may have; none where it is no table with given keys.
    pub fn keys(&self) -> Option<BTreeSet<String>> {
        let error = self.parse(&[("zz", "[1]")]).unwrap_err();
        let place = if self.is_root() {
            String::new()
        } else {
            format!(" in `{}`", self.path)
        };
        let (_, keys) = error
            .split_once(&format!("unknown key `zz`{place}"))?
            .1
            .split_once("Valid keys: ")?;
        let mut keys = words(keys);
        if self.name == "sweep" {
            // Whatever a recipe has can be varied.
            let recipe = Self::root().keys()?;
            keys.retain(|key| !recipe.contains(key));
        }
        Some(keys)
    }

    fn known(&self) -> Option<Known> {
        if let Some(keys) = self.keys() {
            return Some(Known::Keys(keys));
        }
        let error = self.parse(&[("zz", "[1]")]).unwrap_err();
        let (_, types) =
            error.split_once(&format!("`{}` has no `type`: it is one of ", self.path))?;
        Some(Known::Types(words(types)))
    }

    /// This table and all that can stand in it, at any depth.
    pub fn with_all_below(self) -> Vec<(Self, Known)> {
        let Some(known) = self.known() else {
            return Vec::new();
        };
        let below = |table: &Self, keys: &BTreeSet<String>| -> Vec<(Self, Known)> {
            // Layers in layers are the same tables again.
            let holds_layers = |key: &&String| {
                table.name == "layers" && matches!(key.as_str(), "layers" | "shortcut" | "branches")
            };
            let tables = keys
                .iter()
                .filter(|key| !holds_layers(key))
                .flat_map(|key| [table.below(key, false), table.below(key, true)]);
            tables.flat_map(Self::with_all_below).collect()
        };
        let mut all = match &known {
            Known::Keys(keys) => below(&self, keys),
            Known::Types(types) => {
                let tables = types.iter().map(|kind| self.of_type(kind));
                tables
                    .filter_map(|table| Some(below(&table, &table.keys()?)))
                    .flatten()
                    .collect()
            }
        };
        all.push((self, known));
        all
    }
}

/// The key that an error says is missing.
fn missing(error: &str) -> Option<&str> {
    error.split_once("` is missing")?.0.rsplit('`').next()
}

/// What a backbone's file may hold.
fn file(request: &FileRequest<'_>) -> Result<Base, FileProblem> {
    let segment = FileSegment {
        name: "conv1".into(),
        value: "x".into(),
        output: Ok(vec![2, 28, 28]),
        parameters: 1,
        multiply_adds: 1,
        terms: 1,
        trained: Err("there is nothing in it".into()),
    };
    let file = FileBase {
        channels: 1,
        layout: Layout::Nchw,
        size: Some([28, 28]),
        preprocessing: Some(Preprocessing::tf(28, 28, Channels::Gray)),
        sha256: "ab".into(),
        segments: vec![segment],
    };
    Base::of_file(request.weights, file).map_err(|problem| FileProblem {
        is_output: false,
        problem,
        hint: None,
    })
}

/// The recipe with every value filled in.
pub fn recipe(text: &str, overrides: &[String]) -> Result<String, String> {
    let bases = [Base::vgg16()];
    let references = References::from(&bases).with_files(&file);
    Recipe::parse_with(text, "r", "r", overrides, references)
        .map(|recipe| recipe.to_toml())
        .map_err(|error| error.to_string())
}

/// All that a sweep says.
pub fn sweep(text: &str, overrides: &[String]) -> Result<String, String> {
    Sweep::parse_with(text, "r", "r", overrides, &[])
        .map(|sweep| format!("{sweep:?}"))
        .map_err(|error| error.to_string())
}

/// The words of a list in a message.
pub fn words(list: &str) -> BTreeSet<String> {
    list.split(", ").map(str::to_string).collect()
}
