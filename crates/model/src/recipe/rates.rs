//! A phase with another learning rate, and how that is written as overrides.

use std::fmt::Write;

use super::{Optimizer, Phase, ScheduleKind};

impl Phase {
    /// Returns the phase with another learning rate of its optimizer. Those of layers, and those of a table in the
    /// schedule, which come in its place, keep their proportion to it, to three digits.
    #[must_use]
    pub fn with_learning_rate(&self, learning_rate: f64) -> Self {
        let factor = learning_rate / self.optimizer.learning_rate;
        let mut phase = self.clone();
        phase.optimizer.learning_rate = learning_rate;
        for rate in phase.learning_rates.values_mut() {
            *rate = rounded(*rate * factor);
        }
        if let ScheduleKind::PiecewiseConstant { values, .. } = &mut phase.schedule.kind {
            let first = values.first().copied().unwrap_or(learning_rate);
            for value in values {
                *value = rounded(*value * learning_rate / first);
            }
        }
        phase
    }

    /// Returns ways to write this phase's learning rates as overrides of a recipe, the short ones first. Which of them
    /// mean it depends on how the recipe is written: whether it has phases, of which this is that `number`, from
    /// 1, and whether the optimizer is the phase's own.
    pub fn learning_rate_overrides(&self, number: usize) -> Vec<Vec<String>> {
        let optimizer = &self.optimizer;
        let rate = optimizer.learning_rate;
        let keys = ["training".into(), format!("training.phases.{number}")];
        let kind = optimizer.kind.name();
        let ways = keys.iter().flat_map(|key| {
            [
                format!("{key}.optimizer.learning_rate={rate:?}"),
                format!("{key}.optimizer={{ type = {kind:?}, learning_rate = {rate:?} }}"),
                format!("{key}.optimizer={}", optimizer.to_toml()),
            ]
            .map(|optimizer| (key, optimizer))
        });
        let with_others = |(key, optimizer): (&String, String)| {
            let mut overrides = vec![optimizer];
            if !self.learning_rates.is_empty() {
                overrides.push(format!("{key}.learning_rates={}", self.rates_to_toml()));
            }
            if let ScheduleKind::PiecewiseConstant { values, .. } = &self.schedule.kind {
                overrides.push(format!("{key}.schedule.values={values:?}"));
            }
            overrides
        };
        ways.map(with_others).collect()
    }

    fn rates_to_toml(&self) -> String {
        let mut text = String::from("{");
        for (at, (layers, rate)) in self.learning_rates.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(text, "{comma} {layers:?} = {rate:?}");
        }
        text + " }"
    }
}

impl Optimizer {
    /// The optimizer as a table of TOML in one line, with every value filled in.
    fn to_toml(&self) -> String {
        toml::Value::try_from(self)
            .expect("an optimizer has no value that TOML lacks")
            .to_string()
    }
}

/// A rate to three digits.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.2e}").parse().unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::super::Recipe;

    /// Of the ways to write another rate of a phase, the first that means nothing else.
    fn overrides(training: &str, number: usize) -> Vec<String> {
        let text = format!(
            "layers = [{{ type = \"flatten\" }}, {{ type = \"dense\", units = 10 }}, {{ type = \"dense\", units = 10 }}]\n{training}"
        );
        let parse = |overrides: &[String]| Recipe::parse(&text, "t.toml", "t", overrides);
        let recipe = parse(&[]).unwrap();
        let phase = recipe.training.phases[number - 1].with_learning_rate(0.02);
        let mut wanted = (*recipe).clone();
        wanted.training.phases[number - 1] = phase.clone();
        let means = |way: &Vec<String>| parse(way).is_ok_and(|recipe| *recipe == wanted);
        let ways = phase.learning_rate_overrides(number);
        ways.into_iter().find(means).expect("one means it")
    }

    #[test]
    fn a_rate_is_written_where_the_recipe_has_it() {
        let one = ["training.optimizer.learning_rate=0.02"];
        assert_eq!(overrides("", 1), one);
        assert_eq!(
            overrides("[training]\noptimizer = { type = \"adamw\" }", 1),
            one
        );
        assert_eq!(overrides("[training]\noptimizer = \"sgd\"", 1), one);
        let phases = "[training]\noptimizer = { type = \"sgd\", momentum = 0.9 }\n\
            [[training.phases]]\nepochs = 2\n[[training.phases]]\noptimizer = { type = \"adam\" }\n";
        assert_eq!(overrides(phases, 1), one);
        assert_eq!(
            overrides(phases, 2),
            ["training.phases.2.optimizer.learning_rate=0.02"]
        );
        // Without other settings the type is enough.
        let plain = "[training]\noptimizer = \"sgd\"\n[[training.phases]]\n[[training.phases]]\n";
        assert_eq!(
            overrides(plain, 1),
            ["training.phases.1.optimizer={ type = \"sgd\", learning_rate = 0.02 }"]
        );
        // That of `[training]` is another phase's too.
        let shared = format!("{phases}[[training.phases]]\nepochs = 3\n");
        let first = overrides(&shared, 1);
        assert!(
            first[0].starts_with("training.phases.1.optimizer={")
                && first[0].contains("momentum = 0.9"),
            "{first:?}"
        );
    }

    #[test]
    fn rates_of_layers_and_of_a_table_keep_their_proportion() {
        let training = "[training]\nlearning_rates = { dense = 1e-4, \"dense_*\" = 0.003 }\n\
            schedule = { type = \"piecewise_constant\", boundaries = [3], values = [0.1, 0.01] }";
        assert_eq!(
            overrides(training, 1),
            [
                "training.optimizer.learning_rate=0.02",
                "training.learning_rates={ \"dense\" = 0.002, \"dense_*\" = 0.06 }",
                "training.schedule.values=[0.02, 0.002]",
            ]
        );
    }
}
