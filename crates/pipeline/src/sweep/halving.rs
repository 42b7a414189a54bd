//! Which combinations of a sweep that is halved go on.

use kiln_model::Setting;

use super::figures::Metric;

/// A combination that has been trained up to a rung.
pub struct Candidate<'a> {
    /// Its place in the sweep, from 0.
    pub at: usize,
    /// What tells it from the others, but for the seed.
    pub settings: Vec<&'a Setting>,
    /// Its figure so far; none if it failed.
    pub figure: Option<f64>,
}

/// Puts candidates together that differ in nothing but the seed, in the sweep's order.
pub fn groups<'c, 'a>(candidates: &'c [Candidate<'a>]) -> Vec<Vec<&'c Candidate<'a>>> {
    let mut groups: Vec<Vec<&Candidate<'_>>> = Vec::new();
    for candidate in candidates {
        let group = groups
            .iter_mut()
            .find(|group| group[0].settings == candidate.settings);
        match group {
            Some(group) => group.push(candidate),
            None => groups.push(vec![candidate]),
        }
    }
    groups
}

/// Returns the places of those that go on, and of those that do not: so many groups with the best mean of their
/// figures go on, the earlier of equals first. Those that failed never do.
pub fn prune(candidates: &[Candidate<'_>], kept: usize, by: Metric) -> (Vec<usize>, Vec<usize>) {
    let mean = |group: &[&Candidate<'_>]| -> Option<f64> {
        let figures: Vec<f64> = group.iter().filter_map(|it| it.figure).collect();
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
    };
    let mut groups = groups(candidates);
    groups.sort_by(|a, b| by.order(mean(a), mean(b)));
    let best = groups.iter().take(kept).flatten();
    let best: Vec<usize> = best
        .filter(|candidate| candidate.figure.is_some())
        .map(|candidate| candidate.at)
        .collect();
    // In the sweep's order, as they are run.
    let places = candidates.iter().map(|candidate| candidate.at);
    places.partition(|at| best.contains(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on of combinations with these values of a setting and these figures.
    fn kept(figures: &[(&str, Option<f64>)], kept: usize, by: Metric) -> Vec<usize> {
        let settings: Vec<Setting> = figures
            .iter()
            .map(|(value, _)| Setting {
                key: "layers.conv2d.filters".into(),
                name: "filters".into(),
                value: (*value).into(),
            })
            .collect();
        let candidates: Vec<Candidate<'_>> = figures
            .iter()
            .zip(&settings)
            .enumerate()
            .map(|(at, ((_, figure), setting))| Candidate {
                at,
                settings: vec![setting],
                figure: *figure,
            })
            .collect();
        let (going_on, pruned) = prune(&candidates, kept, by);
        let mut all = [going_on.clone(), pruned].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..figures.len()));
        going_on
    }

    #[test]
    fn the_best_go_on_in_the_order_of_the_sweep() {
        let figures = [
            ("8", Some(0.3)),
            ("16", Some(0.1)),
            ("32", Some(0.4)),
            ("64", Some(0.2)),
        ];
        assert_eq!(kept(&figures, 2, Metric::ValLoss), [1, 3]);
        assert_eq!(kept(&figures, 2, Metric::ValAccuracy), [0, 2]);
        assert_eq!(kept(&figures, 3, Metric::ValMacroF1), [0, 2, 3]);
        let equal = [("8", Some(0.1)), ("16", Some(0.1)), ("32", Some(0.1))];
        assert_eq!(kept(&equal, 1, Metric::ValLoss), [0]);
    }

    #[test]
    fn of_seeds_the_mean_counts() {
        let figures = [
            ("8", Some(0.0)),
            ("16", Some(0.2)),
            ("8", Some(1.0)),
            ("16", Some(0.2)),
        ];
        assert_eq!(kept(&figures, 1, Metric::ValLoss), [1, 3]);
    }

    #[test]
    fn what_failed_does_not_go_on() {
        let figures = [
            ("8", None),
            ("16", Some(9.0)),
            ("32", None),
            ("32", Some(1.0)),
        ];
        assert_eq!(kept(&figures, 3, Metric::ValLoss), [1, 3]);
        assert_eq!(kept(&[("8", None)], 1, Metric::ValLoss), [0; 0]);
    }
}
