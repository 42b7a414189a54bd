//! docs/recipes.md agrees with the parser: its examples parse; its keys, words, ranges and
//! defaults are the parser's, and no key is missing.

mod document;
mod tables;

use std::collections::BTreeSet;

use document::{Row, code, sections};
use kiln_model::LayerKind;
use tables::{Known, Table, recipe, sweep, words};

#[test]
fn its_examples_parse() {
    let blocks = document::blocks();
    assert!(blocks.len() >= 3);
    for block in &blocks {
        let parsed = if block.contains("[sweep]") {
            sweep(block, &[])
        } else {
            recipe(block, &[])
        };
        parsed.unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
    let commands = document::commands_with_settings();
    assert!(commands.len() >= 3);
    for settings in commands {
        recipe(blocks[0], &settings).unwrap_or_else(|error| panic!("{error}\n{settings:?}"));
    }
}

#[test]
fn it_has_every_key_and_no_other() {
    let documented = sections();
    let mut left: BTreeSet<&String> = documented.keys().collect();
    for (table, known) in Table::root().with_all_below() {
        let name = section(&table);
        let rows = documented
            .get(&name)
            .unwrap_or_else(|| panic!("docs/recipes.md has no table for `{name}`"));
        left.remove(&name);
        match known {
            Known::Keys(expected) => {
                assert_eq!(
                    keys(rows, None),
                    expected,
                    "keys of `{name}` in docs/recipes.md and of the parser"
                );
            }
            Known::Types(expected) => {
                let about_types = rows.iter().filter(|row| row.key.is_none());
                let types: BTreeSet<String> =
                    about_types.flat_map(|row| row.types.clone()).collect();
                assert_eq!(
                    types, expected,
                    "types of `{name}` in docs/recipes.md and of the parser"
                );
                for kind in &types {
                    let mut found = keys(rows, Some(kind));
                    found.insert("type".into());
                    let expected = table
                        .of_type(kind)
                        .keys()
                        .unwrap_or_else(|| panic!("{kind} has no keys"));
                    assert_eq!(
                        found, expected,
                        "keys of `{kind}` in docs/recipes.md and of the parser"
                    );
                }
            }
        }
    }
    assert!(
        left.is_empty(),
        "docs/recipes.md has tables of keys that no recipe has: {left:?}"
    );
}

#[test]
fn it_has_every_kind_of_layer() {
    let documented = sections();
    let rows = &documented["layers"];
    for (kind, expected) in LayerKind::KEYS {
        let mut found = keys(rows, Some(kind));
        found.insert("type".into());
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "keys of `{kind}` in docs/recipes.md");
        let described = rows.iter().any(|row| row.types.iter().any(|t| t == kind));
        assert!(described, "docs/recipes.md has no row for `{kind}`");
    }
}

/// Phases have the tables of `[training]`.
fn section(table: &Table) -> String {
    table.name.replace("training.phases.", "training.")
}

/// The documented keys, those of this `type` included.
fn keys(rows: &[Row], kind: Option<&str>) -> BTreeSet<String> {
    let about = |row: &&Row| {
        row.types.is_empty() || kind.is_some_and(|kind| row.types.iter().any(|t| t == kind))
    };
    rows.iter()
        .filter(about)
        .filter_map(|row| row.key.clone())
        .collect()
}

#[test]
fn its_words_and_ranges_are_the_parsers() {
    let (mut choices, mut ranges) = (0, 0);
    for Place { table, key, row } in places() {
        let error = |value| {
            table
                .parse(&[beside(&key, &table), vec![(&key, value)]].concat())
                .err()
                .unwrap_or_default()
        };
        if let Some((_, valid)) = error("\"zz\"").split_once("Valid values: ") {
            let found: BTreeSet<String> = code(&row.value).into_iter().collect();
            let valid = words(valid.split(';').next().unwrap());
            assert_eq!(
                found, valid,
                "values of `{key}` in `{}` of docs/recipes.md and of the parser",
                table.name
            );
            choices += 1;
        }
        let error = error("{ zz = 1 }");
        let Some((_, expected)) = error.split_once(&format!("{key}` must be ")) else {
            continue;
        };
        let (expected, _) = expected.split_once(", found ").unwrap();
        if ["number", "true", "low"]
            .iter()
            .any(|word| expected.contains(word))
        {
            // Counts without a meaningful end are described once, in the introduction.
            let expected = expected
                .trim_start_matches("a ")
                .trim_end_matches(" to 2147483648");
            let expected = if expected.ends_with("[height, width]") {
                "pair"
            } else {
                expected
            };
            let found = row.value.replace('`', "");
            assert!(
                found
                    .strip_prefix(expected)
                    .is_some_and(|more| more.is_empty() || more.starts_with([',', ' '])),
                "`{key}` in `{}` of docs/recipes.md is {found:?}, but the parser wants {expected:?}",
                table.name
            );
            ranges += 1;
        }
    }
    assert!(choices >= 10 && ranges >= 50, "{choices} {ranges}");
}

#[test]
fn its_defaults_are_the_parsers() {
    let mut checked = 0;
    for Place { table, key, row } in places() {
        let place = format!("`{key}` in `{}` of docs/recipes.md", table.name);
        let required = row.default == "**required**";
        if !row.default.contains("**required**") || required {
            assert_eq!(
                table.requires(&key),
                required,
                "whether {place} is required"
            );
        }
        let default = match code(&row.default).as_slice() {
            [default] if row.default == format!("`{default}`") => default.clone(),
            _ => continue,
        };
        let is_word =
            default.starts_with(char::is_alphabetic) && default != "true" && default != "false";
        let default = if is_word {
            format!("{default:?}")
        } else {
            default
        };
        let parse = |content: &[(&str, &str)]| {
            let parsed: Vec<_> = table
                .in_whole_recipes()
                .iter()
                .map(|table| table.parse(content))
                .collect();
            parsed
                .iter()
                .find_map(|parsed| parsed.clone().ok())
                .unwrap_or_else(|| panic!("{place}: {parsed:?}"))
        };
        let without = beside(&key, &table);
        let with = [without.clone(), vec![(key.as_str(), default.as_str())]].concat();
        assert_eq!(
            parse(&with),
            parse(&without),
            "the default of {place} and of the parser"
        );
        checked += 1;
    }
    assert!(checked >= 40, "{checked}");
}

/// A documented key in one of the tables that it is documented for.
struct Place {
    table: Table,
    key: String,
    row: Row,
}

fn places() -> Vec<Place> {
    let documented = sections();
    let mut places = Vec::new();
    for (table, known) in Table::root().with_all_below() {
        let rows = documented.get(&table.name).into_iter().flatten();
        for (row, key) in rows.filter_map(|row| Some((row, row.key.clone()?))) {
            let place = |table: Table| Place {
                table,
                key: key.clone(),
                row: row.clone(),
            };
            match known {
                Known::Keys(_) => places.push(place(table.clone())),
                Known::Types(_) => {
                    places.extend(row.types.iter().map(|kind| place(table.of_type(kind))));
                }
            }
        }
    }
    places
}

/// What must stand beside a key for it to be valid at all.
fn beside(key: &str, table: &Table) -> Vec<(&'static str, &'static str)> {
    match (table.name.as_str(), key) {
        ("augmentation", "cval") => vec![("rotation_range", "1"), ("fill_mode", "\"constant\"")],
        ("augmentation", "rotation_range") => vec![("shear_range", "1")],
        ("augmentation", _) => vec![("rotation_range", "1")],
        ("augmentation.color_jitter", "brightness") => vec![("contrast", "1")],
        ("augmentation.color_jitter", _) => vec![("brightness", "1")],
        ("data", "test_split") => vec![("csv", "\"a.csv\"")],
        _ => Vec::new(),
    }
}
