//! What kind of file a library is, before the system's loader sees it.
//!
//! By hand rather than by the crate `object`: with the header reader that it takes, it would be one
//! more crate in every embedding program, for a dozen fields at fixed places.
//!
//! The loader waits forever on a pipe, ends the process on a truncated file, and reports "no such
//! file" for one built for another CPU.

use std::env::consts::ARCH;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most bytes of a file that are looked at: headers come first.
const HEAD: u64 = 64 << 10;

/// CPUs by their number in an ELF file, with the names that Rust has for them.
const MACHINES: [(u16, &str); 9] = [
    (3, "x86"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

/// Why a file cannot be a shared library for this machine, where that can be seen.
pub fn check(path: &Path) -> Result<(), String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map_err(|error| error.to_string())?;
    if cfg!(target_os = "linux") {
        check_elf(&head, metadata.len())
    } else {
        Ok(())
    }
}

/// The same of the beginning of a file of `length` bytes, on Linux.
fn check_elf(head: &[u8], length: u64) -> Result<(), String> {
    const ELF: &[u8] = b"\x7fELF";
    if !head.starts_with(ELF) {
        return Err(match head {
            [b'M', b'Z', ..] => "this is a program or library for Windows",
            [0xcf, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
                "this is a program or library for macOS"
            }
            [] => "the file is empty",
            _ => "this is not a shared library",
        }
        .to_owned());
    }
    let little = head.get(5) == Some(&1);
    let number = |at: u64, bytes: usize| -> Option<u64> {
        let field = head.get(usize::try_from(at).ok()?..)?.get(..bytes)?;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if little {
            field.iter().rev().fold(0, fold)
        } else {
            field.iter().fold(0, fold)
        })
    };
    let cut = || format!("the file is cut short: it has {length} bytes");
    let machine = number(18, 2).ok_or_else(cut)?;
    let name = |code: u64| {
        MACHINES
            .iter()
            .find(|(known, _)| u64::from(*known) == code)
            .map(|(_, name)| *name)
    };
    if MACHINES.iter().any(|(_, name)| *name == ARCH) && name(machine) != Some(ARCH) {
        let found = name(machine).map_or_else(|| format!("CPU number {machine}"), str::to_owned);
        return Err(format!("it is built for {found}, this program for {ARCH}"));
    }
    if head.get(4) != Some(&2) {
        // The places below are those of 64-bit files; the loader knows the others.
        return Ok(());
    }
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let (Some(start), Some(size), Some(count)) = (start, size, count) else {
        return Err(cut());
    };
    for header in (0..count).map(|index| start.saturating_add(index * size)) {
        let end = header.saturating_add(size);
        if end > length {
            return Err(cut());
        }
        let field = |offset| number(header.saturating_add(offset), 8);
        // A table of segments beyond what was read is unusual, and left to the loader.
        let (Some(offset), Some(bytes)) = (field(8), field(32)) else {
            break;
        };
        let end = offset.saturating_add(bytes);
        if end > length {
            return Err(format!(
                "the file is cut short: it has {length} bytes of at least {end}"
            ));
        }
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_program_for_this_machine_passes() {
        check(&std::env::current_exe().unwrap()).unwrap();
    }

    #[test]
    fn files_of_other_kinds_are_named() {
        let message = |head: &[u8]| check_elf(head, head.len() as u64).unwrap_err();
        assert_eq!(message(b""), "the file is empty");
        assert_eq!(message(b"Dear reader"), "this is not a shared library");
        assert!(message(b"MZ\x90\0").contains("Windows"));
        assert!(message(b"\xcf\xfa\xed\xfe\x0c").contains("macOS"));
        assert!(message(b"\x7fELF").contains("cut short"));
        assert!(
            check(Path::new("/dev/null"))
                .unwrap_err()
                .contains("not a regular file")
        );
    }

    #[test]
    fn another_cpu_is_named() {
        let mut bytes = own();
        let other = if ARCH == "aarch64" {
            (62, "x86_64")
        } else {
            (183, "aarch64")
        };
        bytes[18..20].copy_from_slice(&u16::to_le_bytes(other.0));
        let message = check_elf(&bytes, bytes.len() as u64).unwrap_err();
        assert_eq!(
            message,
            format!("it is built for {}, this program for {ARCH}", other.1)
        );
    }

    #[test]
    fn every_cut_is_seen_before_the_loader_maps_the_file() {
        let bytes = own();
        // Not half of it: that of a program with debug information may hold all segments.
        for length in [5, 18, 40, 60, 4096, 1 << 16] {
            let head = &bytes[..length.min(HEAD as usize)];
            assert!(
                check_elf(head, length as u64)
                    .unwrap_err()
                    .contains("cut short"),
                "{length}"
            );
        }
    }
}
