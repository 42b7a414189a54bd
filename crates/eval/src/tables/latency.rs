//! Latency and throughput, one line per thing measured.

use super::style::{MAX_LABEL, text_table};
use crate::Latency;
use crate::text::shown;

/// One line per named measurement: batch size, durations in milliseconds, images per second.
pub fn latency_table<S: AsRef<str>>(measurements: &[(S, Latency)]) -> String {
    let header = ["", "batch", "calls", "mean ms", "min", "p50", "p90", "p95", "p99", "max", "images/s"];
    let rows = measurements.iter().map(|(name, l)| {
        let durations = [l.mean_ms, l.min_ms, l.p50_ms, l.p90_ms, l.p95_ms, l.p99_ms, l.max_ms];
        [shown(name.as_ref(), MAX_LABEL), l.batch.to_string(), l.calls.to_string()]
            .into_iter()
            .chain(durations.map(|ms| format!("{ms:.3}")))
            .chain([format!("{:.0}", l.images_per_second)])
            .collect::<Vec<_>>()
    });
    text_table(header, rows, 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_line_per_measurement() {
        let of = |ms: u64, batch| Latency::from_durations(&[Duration::from_millis(ms)], batch).unwrap();
        let table = latency_table(&[("ort", of(2, 1)), ("tract", of(40, 32))]);
        let expected = "
         batch   calls   mean ms      min      p50      p90      p95      p99      max   images/s
──────────────────────────────────────────────────────────────────────────────────────────────────
 ort         1       1     2.000    2.000    2.000    2.000    2.000    2.000    2.000        500
 tract      32       1    40.000   40.000   40.000   40.000   40.000   40.000   40.000        800";
        assert_eq!(format!("\n{table}"), expected, "\n{table}");
    }
}
