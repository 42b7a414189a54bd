//! Pages: everything inside, and the figures of the run.

use std::fs;

use crate::kiln::{error, kiln, ok, path, trained};

fn page() -> String {
    fs::read_to_string(trained().join("report.html")).unwrap()
}

/// The values of an attribute, wherever it occurs.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start)
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect()
}

#[test]
fn every_picture_is_inside_and_nothing_is_fetched() {
    let page = page();
    assert_eq!(
        page.matches("<svg ").count(),
        7,
        "loss, accuracy, two confusion matrices, reliability, explained mistakes, samples"
    );
    let images = attributes(&page, "src");
    // The mistakes, and four images of each of five pairs of classes.
    let most = 24 + 5 * 4;
    assert!(
        !images.is_empty() && images.len() <= most,
        "{}",
        images.len()
    );
    assert!(
        images
            .iter()
            .all(|image| image.starts_with("data:image/png;base64,iVBORw0KGgo")),
        "{images:?}"
    );
    let addresses = attributes(&page, "href");
    assert_eq!(addresses[0], "data:,");
    // Twelve mistakes with a map each, and eight of each digit.
    let samples = &addresses[1..];
    assert_eq!(samples.len(), 2 * 12 + 80);
    assert!(
        samples
            .iter()
            .all(|image| image.starts_with("data:image/png;base64,iVBORw0KGgo")),
        "{samples:?}"
    );
    assert!(!page.contains("<script") && !page.contains("url(") && !page.contains("@import"));
    // What is left are the names of the SVG documents' vocabulary.
    let addresses = page.matches("http").count();
    assert_eq!(
        addresses,
        page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count()
            + page.matches("http-equiv").count()
    );
}

#[test]
fn the_figures_are_those_of_the_run() {
    let page = page();
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(trained().join("eval.json")).unwrap()).unwrap();
    let tract = &json[0];
    let accuracy = format!(
        "<dt>Test accuracy</dt><dd>{:.2} %</dd>",
        tract["accuracy"].as_f64().unwrap() * 100.0
    );
    let loss = format!(
        "<dt>Test loss</dt><dd>{:.4}</dd>",
        tract["loss"].as_f64().unwrap()
    );
    assert!(
        page.contains(&accuracy) && page.contains(&loss),
        "{accuracy} {loss}"
    );
    for class in tract["classes"].as_array().unwrap() {
        let [precision, recall, f1] =
            ["precision", "recall", "f1"].map(|score| class[score].as_f64().unwrap());
        let (label, support) = (class["label"].as_str().unwrap(), &class["support"]);
        let cell = "</td><td class=\"number\">";
        let row = format!(
            "<td>{label}{cell}{precision:.4}{cell}{recall:.4}{cell}{f1:.4}{cell}{support}</td>"
        );
        assert!(page.contains(&row), "{row}");
    }
    let wrong: u64 = 100 - (tract["accuracy"].as_f64().unwrap() * 100.0).round() as u64;
    assert!(page.contains(&format!(" of {wrong}:")), "{wrong} mistakes");
    // The pair of classes with most images, and as many images of it as there are, up to four.
    let rows = tract["confusion"].as_array().unwrap();
    let most = rows.iter().enumerate().flat_map(|(truth, row)| {
        let counts = row.as_array().unwrap().iter().enumerate();
        let counts =
            counts.map(move |(predicted, count)| (count.as_u64().unwrap(), truth, predicted));
        counts.filter(|(_, truth, predicted)| truth != predicted)
    });
    let (count, truth, predicted) = most
        .max_by_key(|&(count, truth, predicted)| (count, std::cmp::Reverse((truth, predicted))))
        .unwrap();
    let pair = format!(
        "<p>{truth} predicted as {predicted}: {count} of {} images",
        tract["classes"][truth]["support"]
    );
    let section = page.split(&pair).nth(1).unwrap_or_else(|| panic!("{pair}"));
    let cards = section.split("</div>").next().unwrap();
    assert_eq!(cards.matches("<img ").count() as u64, count.min(4));
    let counts = tract["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap());
    for count in counts {
        assert!(
            page.contains(&format!(">{count}</text>")),
            "{count} is not in the confusion matrix"
        );
    }
    assert!(
        page.contains("113,642") && page.contains("conv2d_1 (conv2d)"),
        "the parameter table"
    );
    let parity = fs::read_to_string(trained().join("parity.json")).unwrap();
    let rows = parity.matches("\"reference\"").count();
    assert_eq!(
        page.matches("Burn and tract</td>").count(),
        3,
        "{rows} comparisons"
    );
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
fn every_picture_of_the_page_is_written_as_png_and_svg() {
    let folder = tempfile::tempdir().unwrap();
    let (page, pictures) = (
        path(folder.path(), "page.html"),
        path(folder.path(), "a/pictures"),
    );
    let ended = ok(&[
        "report",
        trained().to_str().unwrap(),
        "-o",
        &page,
        "--pictures",
        &pictures,
    ]);
    let names = [
        "loss",
        "accuracy",
        "confusion",
        "confusion-normalized",
        "reliability",
        "mistakes",
        "explained",
        "confused-1",
        "confused-2",
        "confused-3",
        "confused-4",
        "confused-5",
        "samples",
    ];
    let files = names
        .iter()
        .flat_map(|name| ["png", "svg"].map(|ending| format!("{pictures}/{name}.{ending}")));
    let expected: Vec<String> = std::iter::once(page).chain(files).collect();
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), expected);
    let size = |name: &str| {
        let image = image::open(path(pictures.as_ref(), name))
            .unwrap()
            .into_rgb8();
        assert!(
            image
                .pixels()
                .any(|pixel| pixel.0 != image.get_pixel(0, 0).0),
            "{name} is blank"
        );
        image.dimensions()
    };
    // Plots have two pixels for each of the SVG's, image grids one.
    assert_eq!([size("loss.png"), size("accuracy.png")], [(1000, 800); 2]);
    assert_eq!(size("reliability.png"), (1760, 928));
    assert_eq!(size("samples.png"), (8 * 124 + 12, 10 * 143 + 12));
    assert_eq!(size("mistakes.png"), (6 * 124 + 12, 4 * 175 + 12));
    assert_eq!(size("confusion.png").1, size("confusion-normalized.png").1);
    let mistakes = fs::read_to_string(path(pictures.as_ref(), "mistakes.svg")).unwrap();
    // The most confident one, by the predictions of the run.
    let predictions = fs::read_to_string(trained().join("predictions.csv")).unwrap();
    assert!(predictions.starts_with("index,path,label,predicted,probability,"));
    let wrong = predictions
        .lines()
        .skip(1)
        .map(|line| line.split(',').skip(1).collect::<Vec<_>>());
    let probability = |cells: &Vec<&str>| cells[3].parse::<f64>().unwrap();
    let wrong = wrong.filter(|cells| cells[1] != cells[2]);
    let surest = wrong
        .max_by(|a, b| probability(a).total_cmp(&probability(b)))
        .unwrap();
    let text = |line: String| {
        mistakes
            .find(&format!(">{line}</text>"))
            .unwrap_or_else(|| panic!("no {line}"))
    };
    let first = text(format!(
        "{}: {:.2} %",
        surest[2],
        probability(&surest) * 100.0
    ));
    assert!(
        mistakes[..first].matches("<image").count() == 1
            && text(format!("true {}", surest[1])) < first
    );
    let file = path(pictures.as_ref(), "mistakes.svg");
    let message = error(&mut kiln(&[
        "report",
        trained().to_str().unwrap(),
        "--quiet",
        "--pictures",
        &file,
    ]));
    assert!(
        message.contains("mistakes.svg") && message.contains("cannot write"),
        "{message}"
    );
}

#[test]
fn what_is_no_run_or_has_no_epoch_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = error(&mut kiln(&["report", folder.path().to_str().unwrap()]));
    assert!(message.contains("is not a run directory"), "{message}");
    fs::copy(
        trained().join("recipe.toml"),
        folder.path().join("recipe.toml"),
    )
    .unwrap();
    let message = error(&mut kiln(&["report", folder.path().to_str().unwrap()]));
    assert!(message.contains("has no epoch to report"), "{message}");
    let message = error(&mut kiln(&[
        "report",
        trained().to_str().unwrap(),
        "--quiet",
        "-o",
        folder.path().to_str().unwrap(),
    ]));
    assert!(message.contains("cannot write"), "{message}");
}
