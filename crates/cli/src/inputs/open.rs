//! From what was typed to images.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{anyhow, bail};
use kiln_data::{Dataset, Folder, ListReader, Listed, Listing, View, folder, images_below, is_idx};
use kiln_preprocess::ENDINGS;
use kiln_report::MAX_LABEL;
use kiln_util::{counted, first_few, shown};

use super::{Found, Image, Inputs, Labels, Source, Stdin};
use crate::commands::Context;
use crate::dataset::{self, Named};

/// Images with labels: a data set by its name, a folder of class folders (of one with subsets its
/// test images), a glob pattern of images in class folders, a CSV list or one on standard input
/// (`-`), or an IDX file of images with that of its labels beside it.
pub fn labelled(data: &str, classes: &[String], context: &Context<'_>) -> anyhow::Result<Inputs> {
    let (path, labels) = (Path::new(data), Labels::new(classes));
    if data == "-" {
        let list = ListReader::new(Path::new("standard input"), Stdin::default())?;
        return list_with_labels(list, Source::named("standard input"), Path::new(""), labels);
    }
    if path.is_dir() {
        let listing = match folder(path)? {
            Folder::Whole(all) => all,
            Folder::Divided {
                test: Some(test), ..
            } => test,
            Folder::Divided { test: None, .. } => {
                bail!(
                    "`{data}` has no folder `test` beside `train`: name the folder to evaluate, such as {data}/train"
                )
            }
        };
        if let Some(others) = dataset::passed_over(&listing) {
            context
                .terminal
                .status("Note", &format!("in `{data}`: {others}"));
        }
        return Ok(listed(listing.with_classes(classes)?));
    }
    if is_idx(path) {
        let labels = labels_beside(path)?;
        let dataset = Dataset::from_idx(data, path, &labels, classes.to_vec())?;
        return Ok(Inputs {
            source: Source::at(path),
            ..Inputs::of_view(&View::all(Arc::new(dataset)))
        });
    }
    if path.is_file() {
        return list_with_labels(
            ListReader::open(path)?,
            Source::at(path),
            parent(path),
            labels,
        );
    }
    if is_pattern(path.as_os_str()) {
        let images = pattern(data)?.map(move |path| {
            let path = path?;
            let class = path
                .parent()
                .and_then(Path::file_name)
                .and_then(OsStr::to_str)
                .unwrap_or_default();
            let label = labels.number(class, &format!("`{}`", path.display()))?;
            Ok((file(path), Some(label)))
        });
        return Ok(Inputs {
            has_labels: true,
            ..Inputs::new(Source::file(path), None, images)
        });
    }
    let Named::Subset(name, subset) = dataset::parse(data)? else {
        bail!("`{data}` went away while it was opened")
    };
    let dataset = dataset::load(name, subset, context)?;
    if dataset.classes() != classes {
        bail!(
            "the model has {}, but {} has {}: evaluate on the dataset that it was trained for",
            named(classes),
            dataset.name(),
            named(dataset.classes()),
        );
    }
    Ok(Inputs::of_view(&View::all(dataset)))
}

/// `3 classes (cat, dog, owl)`, the first of them if there are many.
fn named(classes: &[String]) -> String {
    let count = counted(classes.len() as u64, "class");
    let names = first_few(classes.iter().map(|class| shown(class, MAX_LABEL)), 10);
    format!("{count} ({names})")
}

/// Images with or without labels, of which only the images count: files, everything in and below
/// folders, what glob patterns match, CSV lists, IDX files, data sets by their names, and `-` for
/// an image on standard input; then the paths in `list`, one a line, `-` for standard input.
pub fn unlabelled(
    arguments: &[std::ffi::OsString],
    list: Option<&Path>,
    context: &Context<'_>,
) -> anyhow::Result<Inputs> {
    let mut parts = Vec::new();
    let stdin = arguments.iter().filter(|argument| *argument == "-").count()
        + usize::from(list == Some(Path::new("-")));
    if stdin > 1 {
        bail!("`-` was given twice: standard input can be read once");
    }
    for argument in arguments {
        parts.push(argument_images(argument, context)?);
    }
    if let Some(list) = list {
        parts.push(paths_in(list)?);
    }
    if parts.is_empty() {
        bail!("there is nothing to classify: name images, or a list of them with --list");
    }
    let source = Source::several(parts.iter().map(|part| part.source.clone()));
    let count = parts
        .iter()
        .try_fold(0, |sum, part| Some(sum + part.count?));
    let has_paths = parts.iter().all(|part| part.has_paths);
    let images = parts
        .into_iter()
        .flatten()
        .map(|input| input.map(|input| (input.image, None)));
    Ok(Inputs {
        has_paths,
        ..Inputs::new(source, count, images)
    })
}

fn argument_images(argument: &OsStr, context: &Context<'_>) -> anyhow::Result<Inputs> {
    let path = Path::new(argument);
    let name = path.display().to_string();
    let one =
        |source, image: Image| Inputs::new(source, Some(1), std::iter::once(Ok((image, None))));
    if argument == "-" {
        return Ok(one(Source::named("standard input"), Image::Stdin));
    }
    if path.is_dir() {
        let mut images = images_below(path).peekable();
        if images.peek().is_none() {
            bail!(
                "there is no image in {}: expected files ending in {}",
                path.display(),
                ENDINGS.join(", ")
            );
        }
        return Ok(Inputs::new(
            Source::at(path),
            None,
            images.map(|path| Ok((file(path?), None))),
        ));
    }
    if path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
        && path.is_file()
    {
        let (list, root) = (ListReader::open(path)?, Arc::from(parent(path)));
        let image = move |Listed { path, .. }| Image::File {
            root: Arc::clone(&root),
            path,
        };
        return Ok(Inputs::new(
            Source::at(path),
            None,
            list.map(move |entry| Ok((image(entry?), None))),
        ));
    }
    if is_idx(path) {
        let pixels = kiln_data::read_idx(path)?;
        let [count, height, width, ref channels @ ..] = pixels.dims[..] else {
            bail!(
                "`{name}` has axes {:?}: expected images (n, height, width): check the file",
                pixels.dims
            )
        };
        let shape = [height, width, channels.first().copied().unwrap_or(1)];
        let nothing = vec![0; count as usize];
        let dataset = Dataset::new(name, pixels.data, shape, nothing, vec![String::new()])?;
        return Ok(Inputs {
            source: Source::at(path),
            ..Inputs::of_view(&View::all(Arc::new(dataset)))
        });
    }
    if is_pattern(argument) {
        let text = argument
            .to_str()
            .ok_or_else(|| anyhow!("`{name}` is not UTF-8: name the files"))?;
        return Ok(Inputs::new(
            Source::file(path),
            None,
            pattern(text)?.map(|path| Ok((file(path?), None))),
        ));
    }
    // A name such as mnist:test; anything else is a file, which may turn out not to be there.
    match argument
        .to_str()
        .filter(|_| !path.exists())
        .map(dataset::parse)
    {
        Some(Ok(Named::Subset(name, subset))) => Ok(Inputs::of_view(&View::all(dataset::load(
            name, subset, context,
        )?))),
        _ => Ok(one(Source::file(path), file(path.into()))),
    }
}

/// The paths in a file, one a line.
fn paths_in(list: &Path) -> anyhow::Result<Inputs> {
    let (source, content): (_, Box<dyn Read + Send>) = if list == Path::new("-") {
        (Source::named("standard input"), Box::new(Stdin::default()))
    } else {
        let open = std::fs::File::open(list);
        let content = open.map_err(|error| {
            anyhow!(
                "cannot read the list {}: {error}: check the path",
                list.display()
            )
        })?;
        (Source::at(list), Box::new(content))
    };
    let shown = source.to_string();
    let lines = BufReader::new(content)
        .split(b'\n')
        .map(|line| line.map(without_return));
    let images = lines
        .filter(|line| !line.as_ref().is_ok_and(Vec::is_empty))
        .map(move |line| {
            let line = line.map_err(|error| {
                anyhow!("cannot read the list {shown}: {error}: check the file")
            })?;
            Ok((
                file(path_of(line).ok_or_else(|| {
                    anyhow!("the list {shown} has a path that is not UTF-8: rename it")
                })?),
                None,
            ))
        });
    Ok(Inputs::new(source, None, images))
}

/// A line without the carriage return that it may end in.
fn without_return(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    line
}

/// Names of files are any bytes on Unix.
#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "elsewhere not every line is a path"
)]
fn path_of(line: Vec<u8>) -> Option<PathBuf> {
    Some(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(line).into())
}

#[cfg(not(unix))]
fn path_of(line: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(line).ok().map(PathBuf::from)
}

fn list_with_labels(
    list: ListReader<impl Read + Send + 'static>,
    source: Source,
    root: &Path,
    labels: Labels,
) -> anyhow::Result<Inputs> {
    if !list.has_labels() {
        bail!("{source} has no column `label`: rename the column of the classes, or add one");
    }
    let root: Arc<Path> = root.into();
    let shown = source.to_string();
    let image = move |entry: Result<Listed, kiln_data::FilesError>| -> Found {
        let Listed { path, label, .. } = entry?;
        let label = labels.number(&label.unwrap_or_default(), &shown)?;
        Ok((
            Image::File {
                root: Arc::clone(&root),
                path,
            },
            Some(label),
        ))
    };
    Ok(Inputs {
        has_labels: true,
        ..Inputs::new(source, None, list.map(image))
    })
}

fn listed(listing: Listing) -> Inputs {
    let (source, count) = (Source::at(listing.root()), Some(listing.len() as u64));
    let root: Arc<Path> = listing.root().into();
    let images = listing.into_files().map(move |(path, label)| {
        Ok((
            Image::File {
                root: Arc::clone(&root),
                path,
            },
            Some(label),
        ))
    });
    Inputs {
        has_labels: true,
        ..Inputs::new(source, count, images)
    }
}

fn file(path: PathBuf) -> Image {
    Image::File {
        root: Path::new("").into(),
        path,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn is_pattern(text: &OsStr) -> bool {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[');
    text.as_encoded_bytes().iter().any(special) && !Path::new(text).exists()
}

/// The files that a pattern matches, sorted by path.
fn pattern(
    pattern: &str,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<PathBuf>> + Send + use<>> {
    let paths = glob::glob(pattern)
        .map_err(|error| anyhow!("`{pattern}` is not a valid pattern: {error}"))?;
    let mut files = paths.filter_map(|path| match path {
        Ok(path) => path.is_file().then_some(Ok(path)),
        Err(error) => Some(Err(anyhow!(
            "cannot read {}: {}",
            error.path().display(),
            error.error()
        ))),
    });
    let first = files
        .next()
        .ok_or_else(|| anyhow!("no file matches `{pattern}`: check the pattern"))?;
    Ok(std::iter::once(first).chain(files))
}

/// The labels of an IDX file of images, by MNIST's names: `…-labels-idx1-…` beside
/// `…-images-idx3-…`.
fn labels_beside(images: &Path) -> anyhow::Result<PathBuf> {
    let name = images
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    let labels = name
        .replace("images", "labels")
        .replace("idx3", "idx1")
        .replace("idx4", "idx1");
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels);
    let candidates = [
        images.with_file_name(&labels),
        images.with_file_name(plain),
        images.with_file_name(format!("{plain}.gz")),
    ];
    let found = candidates
        .into_iter()
        .find(|path| path != images && path.is_file());
    found.ok_or_else(|| {
        anyhow!(
            "`{}` has no file of labels beside it: expected `{plain}`, as `t10k-labels-idx1-ubyte` beside \
             `t10k-images-idx3-ubyte`: add it, or rename the files",
            images.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: impl Iterator<Item = anyhow::Result<PathBuf>>) -> Vec<String> {
        inputs
            .map(|path| path.unwrap().file_name().unwrap().to_string_lossy().into())
            .collect()
    }

    #[test]
    fn patterns_are_expanded_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png", "c.bmp"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(names(pattern(&text("*.png")).unwrap()), ["a.png", "b.png"]);
        assert!(
            pattern(&text("*.gif"))
                .err()
                .unwrap()
                .to_string()
                .contains("no file matches")
        );
        assert!(is_pattern(OsStr::new("?.png")) && !is_pattern(folder.path().as_os_str()));
    }

    #[test]
    fn labels_lie_beside_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("t10k-labels-idx1-ubyte"), "").unwrap();
        for images in ["t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"] {
            assert_eq!(
                labels_beside(&path(images)).unwrap(),
                path("t10k-labels-idx1-ubyte")
            );
        }
        assert!(labels_beside(&path("t10k-labels-idx1-ubyte")).is_err());
        assert!(
            labels_beside(&path("train-images-idx3-ubyte"))
                .unwrap_err()
                .to_string()
                .contains("train-labels-idx1")
        );
    }

    #[test]
    fn classes_are_found_by_name() {
        let labels = Labels::new(&["cat".into(), "dog".into()]);
        assert_eq!(labels.number("dog", "`x`").unwrap(), 1);
        assert!(
            labels
                .number("emu", "`x`")
                .unwrap_err()
                .to_string()
                .contains("`x` has the class `emu`: the model has cat, dog")
        );
    }
}
