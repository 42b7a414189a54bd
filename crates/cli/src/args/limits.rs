//! What a model's file may take.

use std::process;
use std::time::Duration;

use bytesize::ByteSize;
use kiln_pipeline::limits::Limits;

use crate::terminal::Terminal;

/// What loading a model and its first run may take.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct LimitsArgs {
    /// Most memory that loading a model and its first run may take, such as 4GB, or `none`; weights count extra
    #[arg(long, global = true, value_name = "SIZE", default_value = "1.6GB", value_parser = memory)]
    pub max_memory: Limit<u64>,
    /// Most seconds that loading a model and its first run may take, or `none`; weights count extra
    #[arg(long, global = true, value_name = "SECONDS", default_value = "15", value_parser = time)]
    pub max_seconds: Limit<Duration>,
}

/// A limit, or none.
#[derive(Debug, Clone, Copy)]
pub struct Limit<T>(Option<T>);

fn or_none<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Limit<T>, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    parse(text).map(|limit| Limit(Some(limit)))
}

fn memory(text: &str) -> Result<Limit<u64>, String> {
    or_none(text, |text| {
        let bytes = text.parse::<ByteSize>().map(|size| size.as_u64());
        let bytes = bytes.ok().filter(|bytes| *bytes > 0);
        bytes.ok_or_else(|| "expected a size, such as `4GB` or `512MiB`, or `none`".to_owned())
    })
}

fn time(text: &str) -> Result<Limit<Duration>, String> {
    or_none(text, |text| {
        let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
        let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        time.ok_or_else(|| "expected a number of seconds, or `none`".to_owned())
    })
}

impl LimitsArgs {
    /// Returns limits that end the program with an error on this terminal.
    pub fn limits(self, terminal: &Terminal) -> Limits {
        let terminal = terminal.clone();
        let mut limits = Limits::new(move |exceeded| {
            terminal.error(&exceeded.to_string());
            terminal.help(
                "the file may be damaged, or made to do harm; where it is a model that needs so much, \
                 `--max-memory` and `--max-seconds` allow more",
            );
            process::exit(2);
        });
        limits.memory = self.max_memory.0;
        limits.time = self.max_seconds.0;
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes_and_seconds_or_none() {
        assert_eq!(memory("4GB").unwrap().0, Some(4_000_000_000));
        assert_eq!(memory("512 MiB").unwrap().0, Some(512 << 20));
        assert_eq!(memory("none").unwrap().0, None);
        assert_eq!(time("0.5").unwrap().0, Some(Duration::from_millis(500)));
        assert_eq!(time("none").unwrap().0, None);
        for bad in ["", "0", "much", "-1"] {
            assert!(memory(bad).is_err() && time(bad).is_err(), "{bad}");
        }
        assert!(time("NaN").is_err() && time("1e300").is_err());
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        assert_eq!(memory("1.6GB").unwrap().0, Some(Limits::MEMORY));
        assert_eq!(time("15").unwrap().0, Some(Limits::TIME));
    }
}
