//! Notes on images: what turned out about them, and what lies beside them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use kiln_data::{NumberedFolders, Repeated, SkippedFiles};
use kiln_pipeline::Event;
use kiln_util::{Thousands, counted, first_few, shown};

/// Returns the note that an event on images is; none for other events, and where there is nothing to tell.
pub fn text(event: &Event<'_>) -> Option<String> {
    match event {
        Event::FilesSkipped { folder, skipped } => {
            skipped_files(skipped).map(|text| format!("in `{folder}`: {text}"))
        }
        Event::RepeatedFiles { list, count, lines } => Some(repeated_files(list, *count, lines)),
        Event::NumberedClasses { data, example } => Some(numbered_classes(data, example)),
        Event::SmallClasses {
            dataset,
            validation,
            test,
        } => Some(small_classes(dataset, validation, test)),
        Event::ColorsIgnored {
            dataset,
            images,
            total,
        } => Some(format!(
            "{} of {} in `{dataset}` are in color, and the model takes gray ones: `channels = \"rgb\"` in [input] keeps \
             the colors",
            Thousands(*images),
            counted(*total, "image")
        )),
        Event::OrientationIgnored { images } => Some(format!(
            "{} stored turned, and the model takes them as stored: --orientation turns photographs upright by their Exif \
             tag",
            if *images == 1 {
                "1 image is".into()
            } else {
                format!("{} images are", Thousands(*images))
            }
        )),
        // What is not about images is drawn elsewhere.
        _ => None,
    }
}

/// Most endings, folders or classes that are named.
const NAMED: usize = 10;

/// `3 other files skipped: .txt 2, .gif 1; 1 hidden file skipped`, and what else was skipped; nothing
/// if there is nothing to tell.
fn skipped_files(skipped: &SkippedFiles) -> Option<String> {
    let mut parts = Vec::new();
    let counts = |counts: &BTreeMap<String, u64>, name: &dyn Fn(&str) -> String| {
        let mut counts: Vec<(&String, &u64)> = counts.iter().collect();
        // Stable, so that equally frequent ones are in the order of their names.
        counts.sort_by_key(|(_, count)| Reverse(**count));
        let named = counts.iter();
        let named = named.map(|(text, count)| format!("{} {}", name(text), Thousands(**count)));
        first_few(named, NAMED)
    };
    let all: u64 = skipped.endings.values().sum();
    if all > 0 {
        let ending = |ending: &str| match ending {
            "" => "without an ending".to_owned(),
            ending => format!(".{ending}"),
        };
        let files = counted(all, "other file");
        let named = counts(&skipped.endings, &ending);
        parts.push(format!("{files} skipped: {named}"));
    }
    if skipped.loose > 0 {
        let images = counted(skipped.loose, "image");
        parts.push(format!("{images} beside the class folders skipped"));
    }
    for (count, what) in [
        (skipped.hidden, "hidden file"),
        (skipped.dead_links, "dead link"),
    ] {
        if count > 0 {
            parts.push(format!("{} skipped", counted(count, what)));
        }
    }
    if !skipped.folders.is_empty() {
        let named = counts(&skipped.folders, &|name| name.to_owned());
        parts.push(format!("folders skipped: {named}"));
    }
    for (subset, images) in &skipped.unused_subsets {
        let images = counted(*images, "image");
        parts.push(format!(
            "`{subset}` looks like a subset and is not used ({images})"
        ));
    }
    for class in &skipped.subset_classes {
        parts.push(format!(
            "`{class}` looks like a subset and is taken for a class"
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Names the lines of a list that do not count.
fn repeated_files(list: &str, count: u64, lines: &[Repeated]) -> String {
    let named: Vec<String> = lines
        .iter()
        .take(NAMED)
        .map(|Repeated { line, first }| format!("line {line} is line {first}"))
        .collect();
    let more = if count > named.len() as u64 {
        ", …"
    } else {
        ""
    };
    format!(
        "{} of `{list}` {} the image of another line, which counts once: {}{more}",
        counted(count, "line"),
        if count == 1 { "repeats" } else { "repeat" },
        named.join(", ")
    )
}

/// Says that classes were matched by number.
fn numbered_classes(data: &str, example: &NumberedFolders) -> String {
    let NumberedFolders {
        folder,
        class,
        sorted_as_text,
    } = example;
    let otherwise = sorted_as_text.map_or_else(String::new, |place| {
        format!("; sorted as text, as some programs number folders, it would be class {place} (--labels FILE.txt)")
    });
    format!(
        "the classes in `{data}` are numbers, and matched as such: `{folder}` is class {class}, counted from 0{otherwise}"
    )
}

/// Names the classes that are not in every subset.
fn small_classes(dataset: &str, validation: &[String], test: &[String]) -> String {
    let name = |classes: &[String], subset: &str| {
        let named = first_few(
            classes
                .iter()
                .map(|class| format!("`{}`", shown(class, 40))),
            NAMED,
        );
        let count = counted(classes.len() as u64, "class");
        (!classes.is_empty()).then(|| format!("{count} without a {subset} image: {named}"))
    };
    let parts = [name(validation, "validation"), name(test, "test")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("`{dataset}` has {}", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_images_are_counted_by_ending() {
        let mut skipped = SkippedFiles::default();
        assert_eq!(skipped_files(&skipped), None);
        skipped.endings = [("", 1), ("gif", 1), ("txt", 2)]
            .map(|(ending, count)| (ending.to_owned(), count))
            .into();
        assert_eq!(
            skipped_files(&skipped).unwrap(),
            "4 other files skipped: .txt 2, without an ending 1, .gif 1"
        );
        skipped.endings.clear();
        (skipped.hidden, skipped.loose, skipped.dead_links) = (1, 3, 2);
        skipped.folders = [("@eaDir".to_owned(), 2)].into();
        skipped.unused_subsets = [("test1".to_owned(), 20)].into();
        skipped.subset_classes = vec!["val".into()];
        assert_eq!(
            skipped_files(&skipped).unwrap(),
            "3 images beside the class folders skipped; 1 hidden file skipped; 2 dead links skipped; \
             folders skipped: @eaDir 2; `test1` looks like a subset and is not used (20 images); `val` \
             looks like a subset and is taken for a class"
        );
    }

    #[test]
    fn lines_classes_and_numbers_are_named() {
        let lines = [(3, 2), (4, 2)].map(|(line, first)| Repeated { line, first });
        assert_eq!(
            repeated_files("list.csv", 7, &lines),
            "7 lines of `list.csv` repeat the image of another line, which counts once: line 3 is line 2, line 4 is \
             line 2, …"
        );
        let test = ["a".to_owned()];
        assert_eq!(
            small_classes("few", &[], &test),
            "`few` has 1 class without a test image: `a`"
        );
    }
}
