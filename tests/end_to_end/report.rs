//! Pages: everything inside, and the figures of the run.

use std::fs;

use crate::kiln::{error, kiln, ok, path, trained};

fn page() -> String {
    fs::read_to_string(trained().join("report.html")).unwrap()
}

/// The values of an attribute, wherever it occurs.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn every_picture_is_inside_and_nothing_is_fetched() {
    let page = page();
    assert_eq!(page.matches("<svg ").count(), 4, "loss, accuracy, two confusion matrices");
    let images = attributes(&page, "src");
    assert!(!images.is_empty() && images.len() <= 24, "{}", images.len());
    assert!(images.iter().all(|image| image.starts_with("data:image/png;base64,iVBORw0KGgo")), "{images:?}");
    assert_eq!(attributes(&page, "href"), ["data:,"]);
    assert!(!page.contains("<script") && !page.contains("url(") && !page.contains("@import"));
    // What is left are the names of the SVG documents' vocabulary.
    let addresses = page.matches("http").count();
    assert_eq!(
        addresses,
        page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count() + page.matches("http-equiv").count()
    );
}

#[test]
fn the_figures_are_those_of_the_run() {
    let page = page();
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(trained().join("eval.json")).unwrap()).unwrap();
    let tract = &json[0];
    let accuracy = format!("<dt>Test accuracy</dt><dd>{:.2} %</dd>", tract["accuracy"].as_f64().unwrap() * 100.0);
    let loss = format!("<dt>Test loss</dt><dd>{:.4}</dd>", tract["loss"].as_f64().unwrap());
    assert!(page.contains(&accuracy) && page.contains(&loss), "{accuracy} {loss}");
    for class in tract["classes"].as_array().unwrap() {
        let [precision, recall, f1] = ["precision", "recall", "f1"].map(|score| class[score].as_f64().unwrap());
        let (label, support) = (class["label"].as_str().unwrap(), &class["support"]);
        let cell = "</td><td class=\"number\">";
        let row = format!("<td>{label}{cell}{precision:.4}{cell}{recall:.4}{cell}{f1:.4}{cell}{support}</td>");
        assert!(page.contains(&row), "{row}");
    }
    let wrong: u64 = 10_000 - (tract["accuracy"].as_f64().unwrap() * 10_000.0).round() as u64;
    let thousands = format!("{},{:03}", wrong / 1000, wrong % 1000);
    assert!(page.contains(&format!(" of {}", thousands.trim_start_matches("0,"))), "{wrong} mistakes");
    let counts = tract["confusion"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    for count in counts {
        assert!(page.contains(&format!(">{count}</text>")), "{count} is not in the confusion matrix");
    }
    assert!(page.contains("113,642") && page.contains("conv2d_1 (conv2d)"), "the parameter table");
    let parity = fs::read_to_string(trained().join("parity.json")).unwrap();
    let rows = parity.matches("\"reference\"").count();
    assert_eq!(page.matches("Burn and tract</td>").count(), 3, "{rows} comparisons");
}

#[test]
fn a_page_is_written_again_from_the_run_s_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "page.html");
    let ended = ok(&["report", trained().to_str().unwrap(), "-o", &file]);
    assert_eq!(ended.stdout.trim(), file);
    assert_eq!(fs::read_to_string(&file).unwrap(), page());
}

#[test]
fn what_is_no_run_or_has_no_epoch_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = error(&mut kiln(&["report", folder.path().to_str().unwrap()]));
    assert!(message.contains("is not a run directory"), "{message}");
    fs::copy(trained().join("recipe.toml"), folder.path().join("recipe.toml")).unwrap();
    let message = error(&mut kiln(&["report", folder.path().to_str().unwrap()]));
    assert!(message.contains("has no epoch to report"), "{message}");
    let message = error(&mut kiln(&["report", trained().to_str().unwrap(), "-o", folder.path().to_str().unwrap()]));
    assert!(message.contains("cannot write"), "{message}");
}
