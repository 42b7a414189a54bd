//! Images of which only the pixels count.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_data::{ListReader, Listed, ListedFiles, View, images_below};
use kiln_util::TextReader;

use super::findings::{AllFindings, Findings};
use super::input::{Image, Inputs};
use super::pattern::{self, is_pattern};
use super::records;
use super::source::Source;
use super::stdin::Stdin;
use crate::context::Context;
use crate::dataset::{self, DatasetRef};
use crate::error::Result;
use crate::error::images::InputsError;

/// Opens images whose labels, if any, do not count: files, everything in and below folders, what
/// glob patterns match, CSV lists, Parquet, tar, CIFAR's and IDX files, datasets by their names, and `-` for an image on
/// standard input; then the paths in `list`, one a line, `-` for standard input.
pub fn unlabeled(
    arguments: &[OsString],
    list: Option<&Path>,
    context: &Context<'_>,
) -> Result<Inputs> {
    let stdin = arguments.iter().filter(|argument| *argument == "-").count()
        + usize::from(list == Some(Path::new("-")));
    if stdin > 1 {
        return Err(InputsError::StdinTwice.into());
    }
    if list.is_none()
        && let Some((source, files)) = records::find_all(arguments)?
    {
        return records::unlabeled(source, &files);
    }
    let mut parts = Vec::with_capacity(arguments.len() + 1);
    for argument in arguments {
        parts.push(images(argument, context)?);
    }
    if let Some(list) = list {
        parts.push(paths_in(list, context)?);
    }
    if parts.is_empty() {
        return Err(InputsError::Nothing.into());
    }
    let source = Source::several(parts.iter().map(|part| part.source.clone()));
    let count = parts
        .iter()
        .try_fold(0, |sum, part| Some(sum + part.count?));
    let has_paths = parts.iter().all(|part| part.has_paths);
    let findings = AllFindings::join(parts.iter().map(|part| part.findings.clone()));
    let images = parts
        .into_iter()
        .flatten()
        .map(|input| input.map(|input| (input.image, None)));
    Ok(Inputs {
        has_paths,
        findings,
        ..Inputs::new(source, count, images)
    })
}

/// Opens what one argument names.
pub(super) fn images(argument: &OsStr, context: &Context<'_>) -> Result<Inputs> {
    let path = Path::new(argument);
    if argument == "-" {
        let image = Image::reader(Stdin::new(context.cancel.clone()));
        return Ok(one(Source::named("standard input"), image));
    }
    if let Some((source, files)) = records::find_all(&[argument.to_owned()])? {
        return records::unlabeled(source, &files);
    }
    if path.is_dir() {
        return below(path);
    }
    let is_list = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    if is_list && path.is_file() {
        let list = ListReader::open(path)?;
        let root: Arc<Path> = path.parent().unwrap_or(Path::new("")).into();
        let files = ListedFiles::new(path, &root);
        let called: Arc<str> = path.display().to_string().into();
        let images = list.map(move |entry| {
            let Listed { path, line, .. } = entry?;
            let image = Image::below(&root, files.find(path));
            Ok((image.listed(&called, line), None))
        });
        return Ok(Inputs::new(Source::at(path), None, images));
    }
    if is_pattern(argument) {
        let text = argument
            .to_str()
            .ok_or_else(|| InputsError::PatternPath { path: path.into() })?;
        let findings = Findings::default();
        let images = pattern::files(text, findings.clone())?;
        let images = images.map(|path| Ok((Image::at(path?), None)));
        return Ok(Inputs::new(Source::file(path), None, images).finding(findings));
    }
    // A name such as mnist:test; anything else is a file, which may turn out not to be there.
    match argument
        .to_str()
        .filter(|_| !path.exists())
        .map(DatasetRef::parse)
    {
        Some(Ok(DatasetRef::Named(name, subset))) => {
            let dataset = dataset::load(name, subset, context)?;
            Ok(Inputs::of_view(&View::all(dataset)))
        }
        Some(Ok(DatasetRef::Files(_)) | Err(_)) | None => {
            Ok(one(Source::file(path), Image::at(path.into())))
        }
    }
}

/// Opens the images in and below a folder.
fn below(path: &Path) -> Result<Inputs> {
    let mut walk = images_below(path);
    let Some(first) = walk.next() else {
        return Err(InputsError::NoImage { path: path.into() }.into());
    };
    let findings = Findings::default();
    let told = findings.clone();
    let mut first = Some(first);
    let images = std::iter::from_fn(move || {
        let path = first.take().or_else(|| walk.next());
        if path.is_none() {
            told.set_skipped(walk.skipped());
        }
        path.map(|path| Ok((Image::at(path?), None)))
    });
    Ok(Inputs::new(Source::at(path), None, images).finding(findings))
}

fn one(source: Source, image: Image) -> Inputs {
    Inputs::new(source, Some(1), std::iter::once(Ok((image, None))))
}

/// Opens the list of paths in a file, or on standard input.
fn paths_in(list: &Path, context: &Context<'_>) -> Result<Inputs> {
    if list == Path::new("-") {
        let stdin = Stdin::new(context.cancel.clone());
        return Ok(Inputs::from_paths("standard input", stdin));
    }
    let file = std::fs::File::open(list).map_err(|source| InputsError::ReadList {
        list: list.display().to_string(),
        source,
    })?;
    Ok(paths(Source::at(list), file))
}

impl Inputs {
    /// Reads paths of images, one a line, from any reader; `name` is what messages call the list.
    pub fn from_paths(name: &str, reader: impl Read + Send + 'static) -> Self {
        paths(Source::named(name), reader)
    }
}

fn paths(source: Source, reader: impl Read + Send + 'static) -> Inputs {
    let name = source.to_string();
    let files = ListedFiles::new(Path::new(&source.name()), Path::new(""));
    let called: Arc<str> = source.name().into();
    let lines = BufReader::new(TextReader::new(reader))
        .split(b'\n')
        .map(|line| line.map(without_return));
    let images = (1..)
        .zip(lines)
        .filter(|(_, line)| !line.as_ref().is_ok_and(Vec::is_empty))
        .map(move |(number, line)| {
            let line = line.map_err(|source| InputsError::ReadList {
                list: name.clone(),
                source,
            })?;
            let path = path_of(line).ok_or_else(|| InputsError::ListedPath {
                list: name.clone(),
                line: number,
            })?;
            Ok((Image::at(files.find(path)).listed(&called, number), None))
        });
    Inputs::new(source, None, images)
}

/// Removes the carriage return that a line may end in.
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
    Some(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(line).into())
}

#[cfg(not(unix))]
fn path_of(line: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(line).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn paths_come_one_a_line_from_any_reader() {
        let inputs = Inputs::from_paths("my list", &b"a.png\r\n\nb c.png"[..]);
        let paths: Vec<String> = inputs
            .map(|input| input.unwrap().path().unwrap().into_owned())
            .collect();
        assert_eq!(paths, ["a.png", "b c.png"]);
    }

    #[test]
    fn paths_may_be_of_another_system() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        std::fs::write(folder.path().join("x/1.png"), "").unwrap();
        let expected = folder.path().join("x/1.png");
        let written = format!("{}\\x\\1.png\r\n", folder.path().display());
        let utf16 = std::iter::once(0xFEFF).chain(written.encode_utf16());
        let utf16: Vec<u8> = utf16.flat_map(u16::to_le_bytes).collect();
        for bytes in [written.into_bytes(), utf16] {
            let inputs = Inputs::from_paths("my list", std::io::Cursor::new(bytes));
            let paths: Vec<String> = inputs
                .map(|input| input.unwrap().path().unwrap().into_owned())
                .collect();
            assert_eq!(paths, [expected.display().to_string()]);
        }
    }

    #[test]
    fn what_lies_beside_images_is_told_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "IMG_1.HEIC", "b.md", "noending", ".hidden"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let told = std::sync::Mutex::new(Vec::new());
        let observer = |event: &Event<'_>| {
            if let Event::FilesSkipped { skipped, .. } = event {
                told.lock().unwrap().push((*skipped).clone());
            }
        };
        let assets = crate::assets::CachedAssets::new(kiln_assets::Cache::at("no-cache"), true);
        let context = Context::new(&assets, &observer);
        let argument = folder.path().as_os_str().to_owned();
        let mut inputs = unlabeled(&[argument], None, &context).unwrap();
        assert_eq!(inputs.by_ref().flatten().count(), 1);
        inputs.findings.tell(&context);
        inputs.findings.tell(&context);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1, "once");
        let endings: Vec<&str> = told[0].endings.keys().map(String::as_str).collect();
        assert_eq!((endings, told[0].hidden), (vec!["", "heic", "md"], 1));
    }
}
