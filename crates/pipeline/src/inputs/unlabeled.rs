//! Images of which only the pixels count.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_data::{ListReader, Listed, View, images_below, is_idx};

use super::idx;
use super::input::{Image, Inputs};
use super::pattern::{self, is_pattern};
use super::source::Source;
use super::stdin::Stdin;
use crate::context::Context;
use crate::dataset::{self, DatasetRef};
use crate::error::Result;
use crate::error::images::InputsError;

/// Opens images whose labels, if any, do not count: files, everything in and below folders, what
/// glob patterns match, CSV lists, IDX files, datasets by their names, and `-` for an image on
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
    let images = parts
        .into_iter()
        .flatten()
        .map(|input| input.map(|input| (input.image, None)));
    Ok(Inputs {
        has_paths,
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
    if path.is_dir() {
        let mut images = images_below(path).peekable();
        if images.peek().is_none() {
            return Err(InputsError::NoImage { path: path.into() }.into());
        }
        let images = images.map(|path| Ok((Image::at(path?), None)));
        return Ok(Inputs::new(Source::at(path), None, images));
    }
    let is_list = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    if is_list && path.is_file() {
        let list = ListReader::open(path)?;
        let root: Arc<Path> = path.parent().unwrap_or(Path::new("")).into();
        let images = list.map(move |entry| {
            let Listed { path, .. } = entry?;
            let root = Arc::clone(&root);
            Ok((Image::File { root, path }, None))
        });
        return Ok(Inputs::new(Source::at(path), None, images));
    }
    if is_idx(path) {
        return idx::unlabeled(path);
    }
    if is_pattern(argument) {
        let text = argument
            .to_str()
            .ok_or_else(|| InputsError::PatternPath { path: path.into() })?;
        let images = pattern::files(text)?.map(|path| Ok((Image::at(path?), None)));
        return Ok(Inputs::new(Source::file(path), None, images));
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
    let lines = BufReader::new(reader)
        .split(b'\n')
        .map(|line| line.map(without_return));
    let images = lines
        .filter(|line| !line.as_ref().is_ok_and(Vec::is_empty))
        .map(move |line| {
            let line = line.map_err(|source| InputsError::ReadList {
                list: name.clone(),
                source,
            })?;
            let path =
                path_of(line).ok_or_else(|| InputsError::ListedPath { list: name.clone() })?;
            Ok((Image::at(path), None))
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

    #[test]
    fn paths_come_one_a_line_from_any_reader() {
        let inputs = Inputs::from_paths("my list", &b"a.png\r\n\nb c.png"[..]);
        let paths: Vec<String> = inputs
            .map(|input| input.unwrap().path().unwrap().into_owned())
            .collect();
        assert_eq!(paths, ["a.png", "b c.png"]);
    }
}
