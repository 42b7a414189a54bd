//! What was fetched and kept.

use std::path::Path;

use kiln_assets::{Asset, Cache, FileState};
use kiln_util::bytes;

use super::finding::Finding;
use super::machine::program;
use crate::hints;

/// Less free space than this will not hold what kiln fetches and keeps.
const LITTLE: u64 = 1 << 30;

/// The folder, each asset in it, what else is there, and what fetches assets.
pub fn findings(cache: &Cache) -> Vec<Finding> {
    let mut findings = vec![folder(cache.root())];
    findings.extend(space(cache.root()));
    findings.extend(Asset::NAMES.map(|name| asset(cache, name)));
    findings.extend(others(cache.root()));
    findings.push(clients());
    findings
}

fn folder(root: &Path) -> Finding {
    // The folder need not exist yet: then the nearest one above it counts.
    let nearest = root
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(root);
    let shown = root.display().to_string();
    match tempfile::tempfile_in(nearest) {
        Ok(_) => Finding::ok("folder", format!("{shown}, writable")),
        Err(error) => Finding::broken(
            "folder",
            format!("{shown} cannot be written: {error}"),
            "export KILN_CACHE=FOLDER, another one that you can write to",
        ),
    }
}

/// Free space of the file system.
#[cfg(unix)]
fn space(root: &Path) -> Option<Finding> {
    let nearest = root.ancestors().find(|folder| folder.exists())?;
    let system = rustix::fs::statvfs(nearest).ok()?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let found = format!("{} free", bytes(free));
    Some(if free < LITTLE {
        Finding::missing(
            "disk",
            found,
            format!(
                "make room, or `export KILN_CACHE=FOLDER` on another disk ({})",
                root.display()
            ),
        )
    } else {
        Finding::ok("disk", found)
    })
}

#[cfg(not(unix))]
fn space(_: &Path) -> Option<Finding> {
    None
}

/// Whether an asset is there, by its checksums.
fn asset(cache: &Cache, name: &str) -> Finding {
    let asset = match Asset::named(name) {
        Ok(asset) => asset,
        Err(error) => {
            let fix = hints::assets(&error).unwrap_or_else(|| error.to_string());
            return Finding::missing(name, "not for this platform", fix);
        }
    };
    let files = cache.inspect(&asset);
    let damaged = files.iter().find_map(|(path, state)| match state {
        FileState::Damaged(why) => Some(format!("{}: {why}", path.display())),
        FileState::Missing | FileState::Right => None,
    });
    if let Some(damaged) = damaged {
        return Finding::broken(name, damaged, format!("kiln fetch {name}"));
    }
    let missing = files
        .iter()
        .filter(|(_, state)| *state == FileState::Missing)
        .count();
    if missing > 0 {
        let found = if missing == files.len() {
            "not fetched yet".to_owned()
        } else {
            format!("{missing} files missing")
        };
        return Finding::missing(
            name,
            found,
            format!("kiln fetch {name} ({})", bytes(asset.size())),
        );
    }
    Finding::ok(
        name,
        format!(
            "{}, checksums right, version {}",
            bytes(asset.size()),
            asset.version
        ),
    )
}

/// Folders that are no asset's, such as features that were kept.
fn others(root: &Path) -> Option<Finding> {
    let entries = std::fs::read_dir(root).ok()?.flatten();
    let mut others: Vec<(String, u64)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (!Asset::NAMES.contains(&name.as_str()) && entry.path().is_dir())
                .then(|| (name, size(&entry.path())))
        })
        .collect();
    others.sort();
    let shown: Vec<String> = others
        .iter()
        .map(|(name, size)| format!("{name} {}", bytes(*size)))
        .collect();
    (!shown.is_empty()).then(|| Finding::ok("also kept", shown.join(", ")))
}

/// Bytes of all files below a folder; links are not followed.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.into_iter().filter_map(|entry| {
        let metadata = entry.path().symlink_metadata().ok()?;
        Some(if metadata.is_dir() {
            size(&entry.path())
        } else {
            metadata.len()
        })
    });
    sizes.sum()
}

/// The programs that fetch packages: one of them is enough for most assets.
fn clients() -> Finding {
    let there: Vec<&str> = ["npm", "pip", "pip3"]
        .into_iter()
        .filter(|name| program(name).is_some())
        .collect();
    if there.is_empty() {
        let fix = "sudo apt install python3-pip, or `kiln fetch ASSET --from FILE` with a copy of your own";
        return Finding::missing(
            "fetching",
            "neither npm nor pip is on the PATH: only web servers are left",
            fix,
        );
    }
    Finding::ok(
        "fetching",
        format!("by {} and from web servers", there.join(", ")),
    )
}
