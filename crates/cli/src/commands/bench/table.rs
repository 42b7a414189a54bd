//! Latency and throughput, one line per thing measured.

use kiln_metrics::Latency;
use kiln_report::{MAX_LABEL, text_table};
use kiln_util::shown;

use kiln_util::thousands;

/// One line per named measurement: batch size, durations in milliseconds, images per second.
pub fn latency_table<S: AsRef<str>>(measurements: &[(S, Latency)]) -> String {
    let header = [
        "", "batch", "calls", "mean ms", "min", "p50", "p90", "p95", "p99", "max", "images/s",
    ];
    let rows = measurements.iter().map(|(name, l)| {
        let durations = [
            l.mean_ms, l.min_ms, l.p50_ms, l.p90_ms, l.p95_ms, l.p99_ms, l.max_ms,
        ];
        [
            shown(name.as_ref(), MAX_LABEL),
            thousands(l.batch as usize),
            thousands(l.calls as usize),
        ]
        .into_iter()
        .chain(durations.map(|ms| format!("{ms:.3}")))
        .chain([thousands(l.images_per_second.round() as usize)])
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
        let of =
            |ms: u64, batch| Latency::from_durations(&[Duration::from_millis(ms)], batch).unwrap();
        let table = latency_table(&[("ort", of(2, 1)), ("tract", of(4, 128))]);
        let expected = "
         batch   calls   mean ms     min     p50     p90     p95     p99     max   images/s
────────────────────────────────────────────────────────────────────────────────────────────
 ort         1       1     2.000   2.000   2.000   2.000   2.000   2.000   2.000        500
 tract     128       1     4.000   4.000   4.000   4.000   4.000   4.000   4.000     32,000";
        assert_eq!(format!("\n{table}"), expected, "\n{table}");
    }
}
