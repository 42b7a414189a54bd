//! `kiln doctor`.

use std::fs;

use crate::kiln::{kiln, mnist, online, onnxruntime, path, run};

fn findings(text: &str) -> Vec<serde_json::Value> {
    let report: serde_json::Value = serde_json::from_str(text).expect("valid JSON");
    let sections = report["sections"].as_array().unwrap().clone();
    sections
        .iter()
        .flat_map(|section| section["findings"].as_array().unwrap().clone())
        .collect()
}

fn find(findings: &[serde_json::Value], name: &str) -> serde_json::Value {
    findings
        .iter()
        .find(|finding| finding["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {findings:?}"))
        .clone()
}

#[test]
#[ignore = "downloads MNIST and ONNX Runtime"]
fn a_machine_with_everything_is_well() {
    mnist();
    onnxruntime();
    let ended = run(&mut online(&["doctor", "--json"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    let found = findings(&ended.stdout);
    for name in [
        "tract",
        "ONNX Runtime",
        "cpu",
        "CPU",
        "cores",
        "memory",
        "folder",
        "mnist",
        "onnxruntime",
    ] {
        assert_eq!(find(&found, name)["state"], "ok", "{name}");
    }
    assert!(
        find(&found, "ONNX Runtime")["found"]
            .as_str()
            .unwrap()
            .contains("CPUExecutionProvider")
    );
    // Whatever is missing says what to do.
    assert!(
        found
            .iter()
            .all(|finding| finding["state"] == "ok" || finding["fix"].is_string()),
        "{found:?}"
    );
    let text = run(&mut online(&["doctor"])).stdout;
    assert!(
        text.contains("  ok       tract") && text.contains("Nothing that kiln needs is broken."),
        "{text}"
    );
}

#[test]
fn an_empty_cache_is_no_fault() {
    let cache = tempfile::tempdir().unwrap();
    let ended = run(kiln(&["doctor", "--json"]).env("KILN_CACHE", cache.path()));
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    let finding = find(&findings(&ended.stdout), "mnist");
    assert_eq!(finding["state"], "missing");
    assert!(
        finding["fix"]
            .as_str()
            .unwrap()
            .starts_with("kiln fetch mnist")
    );
    assert_eq!(
        fs::read_dir(cache.path()).unwrap().count(),
        0,
        "looking leaves nothing behind"
    );
}

#[test]
#[ignore = "downloads MNIST"]
fn a_damaged_file_in_the_cache_is_a_fault() {
    let cache = tempfile::tempdir().unwrap();
    let from = mnist().to_str().unwrap();
    assert_eq!(
        run(kiln(&["fetch", "mnist", "--from", from]).env("KILN_CACHE", cache.path())).code,
        Some(0)
    );
    let file = cache.path().join("mnist/1/t10k-labels-idx1-ubyte");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let ended = run(kiln(&["doctor", "--json"]).env("KILN_CACHE", cache.path()));
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let finding = find(&findings(&ended.stdout), "mnist");
    assert_eq!(
        (&finding["state"], &finding["fix"]),
        (&"broken".into(), &"kiln fetch mnist".into())
    );
    assert!(
        finding["found"]
            .as_str()
            .unwrap()
            .contains("t10k-labels-idx1-ubyte")
    );
}

#[test]
fn a_library_that_was_named_must_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "libonnxruntime.so.1.99.0");
    fs::write(&file, "Dear reader, this is no library.").unwrap();
    let ended = run(kiln(&["doctor"]).env("KILN_ORT_LIB", &file));
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("BROKEN   ONNX Runtime") && ended.stdout.contains(&file),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_cache_that_cannot_be_written_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "file");
    fs::write(&file, "").unwrap();
    let ended = run(kiln(&["doctor"]).env("KILN_CACHE", path(folder.path(), "file/cache")));
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("BROKEN   folder") && ended.stdout.contains("KILN_CACHE"),
        "{}",
        ended.stdout
    );
}
