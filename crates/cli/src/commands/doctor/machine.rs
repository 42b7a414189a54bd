//! CPU and memory, and the files in which the system tells of them and of its libraries and programs.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use kiln_util::{bytes, counted};

use super::finding::Finding;

/// Instruction sets that the kernels of kiln, tract or ONNX Runtime have paths for, by the names
/// that Linux has for them.
const FEATURES: [&str; 13] = [
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "asimd",
    "asimddp",
    "sve",
];

/// Below this a training can be expected to run out of memory.
const LITTLE: u64 = 1 << 30;

pub fn findings() -> Vec<Finding> {
    vec![cpu(), cores(), memory()]
}

fn cpu() -> Finding {
    let info = text("/proc/cpuinfo").unwrap_or_default();
    let name = value(&info, "model name").unwrap_or(std::env::consts::ARCH);
    let flags: Vec<&str> = value(&info, "flags")
        .or_else(|| value(&info, "Features"))
        .unwrap_or_default()
        .split(' ')
        .collect();
    let there: Vec<&str> = FEATURES
        .into_iter()
        .filter(|feature| flags.contains(feature))
        .collect();
    let found = if there.is_empty() {
        name.to_owned()
    } else {
        format!("{name}\n{}", there.join(" "))
    };
    if std::env::consts::ARCH == "x86_64" && !info.is_empty() && !there.contains(&"avx2") {
        return Finding::missing(
            "CPU",
            format!("{found}\nno AVX2: several times slower"),
            "another machine, or another CPU model in the settings of the virtual machine",
        );
    }
    Finding::ok("CPU", found)
}

/// Cores of the machine, and how many of them this process may use.
fn cores() -> Finding {
    let usable = std::thread::available_parallelism().map_or(1, NonZero::get);
    let all = text("/sys/devices/system/cpu/present").and_then(|text| count(&text));
    let found = match (all, quota()) {
        (Some(all), quota) if all != usable => {
            let why = quota.map_or("affinity".to_owned(), |quota| {
                format!("the control group, {quota:.1} cores of time")
            });
            format!(
                "{usable} of {all}, limited by {why}: kiln uses {} unless told by --threads",
                counted(usable as u64, "thread")
            )
        }
        _ => format!("{usable}"),
    };
    Finding::ok("cores", found)
}

/// How many numbers a list such as `0-7,9` has.
fn count(list: &str) -> Option<usize> {
    list.split(',')
        .map(|part| match part.split_once('-') {
            Some((from, to)) => {
                Some(to.parse::<usize>().ok()?.checked_sub(from.parse().ok()?)? + 1)
            }
            None => part.parse::<usize>().ok().map(|_| 1),
        })
        .sum()
}

/// A file of this process's control group, of version 2 or 1.
fn control_group(version2: &str, version1: &str) -> Option<String> {
    let own = text("/proc/self/cgroup").unwrap_or_default();
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let files = [
        format!("/sys/fs/cgroup{path}/{version2}"),
        format!("/sys/fs/cgroup/{version2}"),
    ];
    files
        .into_iter()
        .find_map(text)
        .or_else(|| text(format!("/sys/fs/cgroup/{version1}")))
}

/// Cores' worth of time that the control group allows.
fn quota() -> Option<f64> {
    let line = control_group("cpu.max", "cpu/cpu.cfs_quota_us")?;
    let mut numbers = line.split(' ').map(|number| number.parse::<f64>().ok());
    let quota = numbers.next()??;
    let period = match numbers.next() {
        Some(period) => period?,
        None => text("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?.parse().ok()?,
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// Memory of the machine, what is free of it, and what the control group allows.
fn memory() -> Finding {
    let info = text("/proc/meminfo").unwrap_or_default();
    let kib = |key| {
        value(&info, key)?
            .trim_end_matches(" kB")
            .parse::<u64>()
            .ok()?
            .checked_mul(1024)
    };
    let (Some(total), Some(available)) = (kib("MemTotal"), kib("MemAvailable")) else {
        return Finding::ok("memory", "not known on this system");
    };
    let limit = control_group("memory.max", "memory/memory.limit_in_bytes")
        .and_then(|text| text.parse::<u64>().ok());
    // Version 1 says "no limit" by a number beyond all memory.
    let limit = limit.filter(|limit| *limit < total);
    let limited = limit.map_or(String::new(), |limit| {
        format!(", of which the control group allows {}", bytes(limit))
    });
    let found = format!("{}, {} available{limited}", bytes(total), bytes(available));
    if limit.unwrap_or(available).min(available) < LITTLE {
        return Finding::missing(
            "memory",
            found,
            "end other programs, or use a smaller training.batch_size",
        );
    }
    Finding::ok("memory", found)
}

/// The text of a small file of the system, trimmed; nothing if it cannot be read.
pub fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

/// The value after `key` and a colon, as in `/proc/cpuinfo`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

/// A program on the `PATH`.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// A shared library where the system's loader looks for it, without loading it: libraries run code
/// when they are loaded.
pub fn library(name: &str) -> Option<PathBuf> {
    let variable = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let named = std::env::split_paths(&variable)
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect::<Vec<_>>();
    let configured = fs::read_dir("/etc/ld.so.conf.d")
        .into_iter()
        .flatten()
        .flatten();
    let configured = configured.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let configured: Vec<PathBuf> = configured
        .flat_map(|text| text.lines().map(PathBuf::from).collect::<Vec<_>>())
        .collect();
    let usual = [
        "/lib",
        "/usr/lib",
        "/lib64",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/wsl/lib",
        "/usr/local/cuda/lib64",
    ];
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let folders = named
        .into_iter()
        .chain(configured)
        .chain(usual.map(PathBuf::from))
        .chain([multiarch.into()]);
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_counted() {
        assert_eq!(
            ["0", "0-7", "0-3,5,8-9"].map(count),
            [Some(1), Some(8), Some(7)]
        );
        assert_eq!(["", "x", "3-1"].map(count), [None; 3]);
    }

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU\n";
        assert_eq!(
            (
                value(text, "model name"),
                value(text, "model"),
                value(text, "name")
            ),
            (Some("Some CPU"), Some("85"), None)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn programs_and_libraries_are_found_where_the_system_has_them() {
        assert!(program("sh").is_some() && program("no-such-program").is_none());
        assert!(library("libc.so.6").is_some() && library("libnothing.so.6").is_none());
    }
}
