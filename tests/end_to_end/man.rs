//! `kiln man`.

use std::fs;

use crate::kiln::{error, kiln, ok, path};

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = path(folder.path(), "man1");
    let printed = ok(&["man", &pages]).stdout;
    assert!(printed.contains("kiln.1"), "{printed}");
    let page = |name: &str| fs::read_to_string(path(pages.as_ref(), name)).unwrap();
    assert!(page("kiln.1").contains(".TH kiln 1"), "{}", page("kiln.1"));
    let help = ok(&["--help"]).stdout;
    let commands = help.split("Commands:").nth(1).unwrap();
    let commands = commands.split("Options:").next().unwrap().lines();
    // A line for each, and others that continue it.
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let mut count = 0;
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        assert!(page(&format!("kiln-{name}.1")).contains(name), "{name}");
        count += 1;
    }
    assert!(count > 15, "{help}");
    assert!(
        page("kiln-run.1").contains("dry\\-run"),
        "{}",
        page("kiln-run.1")
    );

    let file = path(folder.path(), "file");
    fs::write(&file, "").unwrap();
    let message = error(&mut kiln(&["man", &file]));
    assert!(
        message.contains("cannot write manual pages into"),
        "{message}"
    );
}
