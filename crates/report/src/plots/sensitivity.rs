//! What each layer costs in 8 bits, as a row of bars.

use plotters::coord::ranged1d::{BoldPoints, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::Logarithmic;
use super::canvas::{
    Area, Drawn, FAINT, GRID, INK, LEGEND_HEIGHT, Mark, TEXT, picture, text, width,
};
use crate::{Picture, ReportError};
use kiln_util::{counted, shown};

/// Longest name of a layer, in characters.
const MAX_LABEL: usize = 44;
/// Most layers that are drawn.
const MOST: usize = 24;
/// Width of the axis.
const AXIS: i32 = 420;
const ROW: i32 = 22;
const AXIS_HEIGHT: i32 = 54;
const MARGIN: i32 = 24;
/// Costs that are less than this are drawn as it: a logarithm needs a value.
const LEAST: f64 = 1e-12;

/// What a layer costs.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerCost<'a> {
    /// Name of the layer.
    pub layer: &'a str,
    /// The mean squared change of the scores by their variance.
    pub noise: f64,
    /// Whether it was left in float.
    pub kept: bool,
}

/// Draws the noise that each layer alone adds to the scores as bars on a logarithmic axis, in the given order: at most 24,
/// below them how many others there are. Layers that were left in float are grey.
pub fn plot_sensitivity(costs: &[LayerCost<'_>]) -> Result<Picture, ReportError> {
    if costs.is_empty() {
        return Err(ReportError::Empty { what: "layers" });
    }
    let drawn = &costs[..costs.len().min(MOST)];
    let noise = |cost: &LayerCost<'_>| {
        let noise = cost.noise.min(f64::from(f32::MAX));
        if noise > LEAST { noise } else { LEAST }
    };
    let axis = Logarithmic::around(drawn.iter().map(noise));
    let labels = drawn
        .iter()
        .map(|cost| width(&shown(cost.layer, MAX_LABEL), TEXT));
    let left = labels.max().unwrap_or(0) + 20;
    let right = left + AXIS;
    let bottom = LEGEND_HEIGHT + ROW * drawn.len() as i32;
    let size = (right + MARGIN, bottom + AXIS_HEIGHT);
    picture((size.0 as u32, size.1 as u32), |root| {
        legend(root, left, drawn.iter().any(|cost| cost.kept))?;
        for tick in axis.key_points(BoldPoints(usize::MAX)) {
            let x = axis.map(&tick, (left, right));
            root.draw(&PathElement::new([(x, LEGEND_HEIGHT), (x, bottom)], GRID))?;
            let style = text(TEXT, INK, HPos::Center, VPos::Top);
            root.draw_text(&axis.format_ext(&tick), &style, (x, bottom + 8))?;
        }
        for (at, cost) in drawn.iter().enumerate() {
            let top = LEGEND_HEIGHT + ROW * at as i32;
            let style = text(TEXT, INK, HPos::Right, VPos::Center);
            let label = shown(cost.layer, MAX_LABEL);
            root.draw_text(&label, &style, (left - 12, top + ROW / 2))?;
            // The least of them is seen too.
            let end = axis.map(&noise(cost), (left, right)).max(left + 2);
            let color = if cost.kept {
                FAINT
            } else {
                Mark::Training.color()
            };
            let bar = [(left, top + 4), (end, top + ROW - 4)];
            root.draw(&Rectangle::new(bar, color.filled()))?;
        }
        root.draw(&PathElement::new(
            [(left, LEGEND_HEIGHT), (left, bottom)],
            INK,
        ))?;
        let more = costs.len() - drawn.len();
        let name = match more {
            0 => "noise in the scores, by their variance".to_owned(),
            _ => format!(
                "noise in the scores, by their variance; {} cost less",
                counted(more as u64, "other layer")
            ),
        };
        let middle = (i32::midpoint(left, right), bottom + AXIS_HEIGHT - 12);
        let style = text(TEXT + 1.0, INK, HPos::Center, VPos::Center);
        root.draw_text(&name, &style, middle)
    })
}

fn legend(root: &Area<'_>, left: i32, any_kept: bool) -> Drawn {
    let entries = [
        Some((Mark::Training.color(), "this layer alone in 8 bits")),
        any_kept.then_some((FAINT, "left in float")),
    ];
    let (mut x, y) = (left, LEGEND_HEIGHT / 2);
    for (color, name) in entries.into_iter().flatten() {
        root.draw(&Rectangle::new(
            [(x, y - 5), (x + 16, y + 5)],
            color.filled(),
        ))?;
        let style = text(TEXT, INK, HPos::Left, VPos::Center);
        root.draw_text(name, &style, (x + 24, y))?;
        x += 24 + width(name, TEXT) + 24;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn costs<'a>(noise: &[f64], names: &'a [String]) -> Vec<LayerCost<'a>> {
        let costs = noise.iter().zip(names).enumerate();
        costs
            .map(|(at, (&noise, layer))| LayerCost {
                layer,
                noise,
                kept: at == 0,
            })
            .collect()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("layer<{at}>")).collect()
    }

    #[test]
    fn every_layer_is_a_bar_up_to_some() {
        let names = names(40);
        let bars = |count: usize| {
            let noise: Vec<f64> = (1..=count).map(|at| 1.0 / at as f64).collect();
            let document = plot_sensitivity(&costs(&noise, &names)).unwrap().to_svg();
            // Two more are in the legend.
            (document.matches("<rect").count() - 2, document)
        };
        let (three, document) = bars(3);
        assert!(document.contains("layer&lt;2&gt;") && !document.contains("cost less"));
        let (all, document) = bars(40);
        assert!(document.contains("16 other layers cost less"));
        assert_eq!(all - three, 21);
        assert_eq!(
            plot_sensitivity(&[]),
            Err(ReportError::Empty { what: "layers" })
        );
    }

    proptest! {
        #[test]
        fn any_costs_can_be_drawn(noise in prop::collection::vec(any::<f64>(), 1..30)) {
            let names = names(noise.len());
            let document = plot_sensitivity(&costs(&noise, &names)).unwrap().to_svg();
            prop_assert!(document.trim_end().ends_with("</svg>") && !document.contains("NaN"));
        }
    }
}
