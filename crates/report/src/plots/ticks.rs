//! Where an axis has its ticks and what they say.

/// Ticks of an axis: at multiples of 1, 2 or 5 times a power of ten.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticks {
    /// Where the ticks are, ascending.
    pub at: Vec<f64>,
    step: f64,
    largest: f64,
}

impl Ticks {
    /// At most about `wanted` ticks from `low` to `high`, which are finite and apart by more than
    /// rounding.
    pub fn new(low: f64, high: f64, wanted: u32) -> Self {
        Self::with_step(low, high, nice((high - low) / f64::from(wanted)))
    }

    /// The same on whole numbers only.
    pub fn whole(low: f64, high: f64, wanted: u32) -> Self {
        Self::with_step(low, high, nice((high - low) / f64::from(wanted)).max(1.0))
    }

    fn with_step(low: f64, high: f64, step: f64) -> Self {
        let (first, last) = (
            (low / step - 1e-9).ceil() as i64,
            (high / step + 1e-9).floor() as i64,
        );
        let at = (first..=last).map(|i| i as f64 * step).collect();
        Self {
            at,
            step,
            largest: low.abs().max(high.abs()),
        }
    }

    /// The text of a tick: as many digits as tell it from its neighbours.
    pub fn label(&self, tick: f64) -> String {
        let exponent = |x: f64| x.log10().floor() as i32;
        if tick == 0.0 {
            return "0".to_owned();
        }
        if (1e-4..1e6).contains(&self.largest) {
            let decimals = (-exponent(self.step * 1.001)).max(0) as usize;
            format!("{tick:.decimals$}")
        } else {
            let digits = (exponent(self.largest) - exponent(self.step * 1.001)).max(0) as usize;
            format!("{tick:.digits$e}")
        }
    }
}

/// The smallest of 1, 2, 5 and 10 times a power of ten that is not below `step`.
fn nice(step: f64) -> f64 {
    let power = 10f64.powi(step.log10().floor() as i32);
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|m| m * power)
        .find(|&s| s >= step * 0.999)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(ticks: &Ticks) -> Vec<String> {
        ticks.at.iter().map(|&tick| ticks.label(tick)).collect()
    }

    #[test]
    fn steps_are_nice() {
        assert_eq!(
            labels(&Ticks::new(0.93, 1.001, 5)),
            ["0.94", "0.96", "0.98", "1.00"]
        );
        assert_eq!(
            labels(&Ticks::new(-0.1, 2.4, 5)),
            ["0", "0.5", "1.0", "1.5", "2.0"]
        );
        assert_eq!(labels(&Ticks::new(0.0, 1135.0, 5)), ["0", "500", "1000"]);
        assert_eq!(
            labels(&Ticks::new(0.0, 3e30, 3)),
            ["0", "1e30", "2e30", "3e30"]
        );
    }

    #[test]
    fn epochs_are_whole() {
        assert_eq!(labels(&Ticks::whole(0.5, 3.5, 10)), ["1", "2", "3"]);
        assert_eq!(
            labels(&Ticks::whole(0.5, 30.5, 10)),
            ["5", "10", "15", "20", "25", "30"]
        );
        assert_eq!(labels(&Ticks::whole(6.5, 7.5, 10)), ["7"]);
    }

    proptest! {
        #[test]
        fn are_few_inside_and_distinct(low in -1e3f64..1e3, exponent in -3i32..6, wanted in 2u32..12) {
            let high = low + 10f64.powi(exponent);
            let ticks = Ticks::new(low, high, wanted);
            prop_assert!(ticks.at.len() <= wanted as usize + 1, "{:?}", ticks);
            prop_assert!(ticks.at.iter().all(|&t| t >= low - 1e-9 && t <= high + 1e-9), "{:?}", ticks);
            let labels = labels(&ticks);
            prop_assert!(labels.windows(2).all(|w| w[0] != w[1]), "{:?}", labels);
        }
    }
}
