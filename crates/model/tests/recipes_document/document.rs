//! What stands in docs/recipes.md.

use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../../../docs/recipes.md");

/// A line of a table of keys.
#[derive(Clone)]
pub struct Row {
    /// The types that it is about; empty where it is about all.
    pub types: Vec<String>,
    /// None where it says what the types are.
    pub key: Option<String>,
    pub value: String,
    pub default: String,
}

/// The TOML in it.
pub fn blocks() -> Vec<&'static str> {
    DOCUMENT
        .split("```toml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// The arguments of `--set` of each command that has some.
pub fn commands_with_settings() -> Vec<Vec<String>> {
    let commands = DOCUMENT
        .lines()
        .filter(|line| line.starts_with("kiln run recipe.toml --set"));
    let settings = |line: &str| {
        line.split(" --set ")
            .skip(1)
            .map(|setting| setting.replace('\'', ""))
            .collect()
    };
    commands.map(settings).collect()
}

/// What is in backquotes.
pub fn code(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_string)
        .collect()
}

/// The rows by what is in backquotes in the heading above them, without brackets.
pub fn sections() -> BTreeMap<String, Vec<Row>> {
    let mut sections: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let (mut section, mut typed) = (String::new(), 0);
    for line in DOCUMENT.lines() {
        if line.starts_with('#') {
            section = code(line)
                .first()
                .map_or("", |path| path.trim_matches(['[', ']']))
                .to_string();
        }
        let Some(line) = line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
        else {
            continue;
        };
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.contains(&"key") {
            typed = usize::from(cells[0] == "`type`");
            assert_eq!(cells[typed..], ["key", "value", "default", "meaning"]);
        } else if !cells[0].starts_with("---") {
            assert_eq!(cells.len(), typed + 4, "{line}");
            sections.entry(section.clone()).or_default().push(Row {
                types: if typed == 1 {
                    code(cells[0])
                } else {
                    Vec::new()
                },
                key: code(cells[typed]).pop(),
                value: cells[typed + 1].into(),
                default: cells[typed + 2].into(),
            });
        }
    }
    sections
}
