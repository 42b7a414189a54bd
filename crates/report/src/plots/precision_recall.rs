//! Precision by recall of each class of which an image can have several, as a plot.

use kiln_metrics::{SeveralClass, SeveralEvaluation};
use kiln_util::shown;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Ticks, axes};
use super::canvas::{Area, Drawn, FAINT, INK, Mark, TEXT, picture, text};
use crate::{MAX_LABEL, Picture, ReportError};

/// Width and height of the panel of a class.
const PANEL: u32 = 240;
/// Panels in a row.
const COLUMNS: usize = 4;
/// Height of a panel's title.
const TITLE: i32 = 26;
/// Most classes that are drawn.
const CLASSES: usize = 16;

/// The curve of precision by recall of each class that an image has, 240 x 266 pixels each, four in a row; of more than 16
/// classes, the 16 with the lowest average precision. A mark shows precision and recall at the class's threshold, a
/// faint line what guessing has: the share of images that have the class.
pub fn plot_precision_recall(evaluation: &SeveralEvaluation) -> Result<Picture, ReportError> {
    let drawn = evaluation.classes.iter();
    let mut drawn: Vec<&SeveralClass> = drawn.filter(|class| !class.curve.is_empty()).collect();
    if drawn.is_empty() {
        return Err(ReportError::Empty { what: "classes" });
    }
    if drawn.len() > CLASSES {
        let precision = |class: &SeveralClass| class.average_precision.unwrap_or_default();
        drawn.sort_by(|a, b| precision(a).total_cmp(&precision(b)));
        drawn.truncate(CLASSES);
    }
    let columns = drawn.len().min(COLUMNS);
    let rows = drawn.len().div_ceil(columns);
    let size = (PANEL * columns as u32, (PANEL + TITLE as u32) * rows as u32);
    picture(size, |root| {
        for (panel, class) in root.split_evenly((rows, columns)).iter().zip(&drawn) {
            let (title, below) = panel.split_vertically(TITLE);
            let name = format!(
                "{}: {:.3}",
                shown(&class.label, MAX_LABEL),
                class.average_precision.unwrap_or_default()
            );
            let style = text(TEXT, INK, HPos::Center, VPos::Center);
            title.draw_text(&name, &style, (PANEL as i32 / 2 + 20, TITLE / 2 + 4))?;
            curve(&below, class, evaluation.images)?;
        }
        Ok(())
    })
}

fn unit() -> Axis {
    Axis {
        range: -0.02..1.02,
        ticks: Ticks::new(0.0, 1.0, 3),
    }
}

fn curve(area: &Area<'_>, class: &SeveralClass, images: u64) -> Drawn {
    let chart = axes(area, (unit(), "recall"), (unit(), "precision"))?;
    let screen = area.use_screen_coord();
    let at = |recall: f64, precision: f64| chart.backend_coord(&(recall, precision));
    let guessed = class.support as f64 / images as f64;
    screen.draw(&PathElement::new(
        [at(0.0, guessed), at(1.0, guessed)],
        FAINT,
    ))?;
    // From the left end at the first precision: a step up in recall keeps its precision.
    let mut points = Vec::with_capacity(2 * class.curve.len());
    let mut before = 0.0;
    for point in &class.curve {
        points.extend([
            at(before, point.precision),
            at(point.recall, point.precision),
        ]);
        before = point.recall;
    }
    let mark = Mark::Series(0);
    screen.draw(&PathElement::new(points, mark.color().stroke_width(2)))?;
    if class.precision > 0.0 {
        mark.draw(&screen, at(class.recall, class.precision))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kiln_metrics::SeveralEvaluator;

    use super::*;

    fn evaluation(classes: usize) -> SeveralEvaluation {
        let labels = (0..classes).map(|class| format!("c{class}")).collect();
        let mut evaluator = SeveralEvaluator::new(labels, vec![0.5; classes]).unwrap();
        for image in 0..50_u32 {
            let probabilities: Vec<f32> = (0..classes as u32)
                .map(|class| ((image * 7 + class * 13) % 50) as f32 / 50.0)
                .collect();
            // The last class has no image.
            let truth: Vec<u32> = (0..classes as u32 - 1)
                .filter(|class| (image + class) % 3 == 0)
                .collect();
            evaluator.push(&probabilities, &truth).unwrap();
        }
        evaluator.finish().unwrap()
    }

    #[test]
    fn each_class_with_images_has_a_curve() {
        let document = plot_precision_recall(&evaluation(4)).unwrap().to_svg();
        assert!(document.contains(">c0: 0.") && document.contains(">c2: 0."));
        assert!(!document.contains(">c3: "));
        let many = plot_precision_recall(&evaluation(40)).unwrap().to_svg();
        assert_eq!(many.matches(">recall<").count(), CLASSES);
        assert_eq!(
            plot_precision_recall(&evaluation(1)),
            Err(ReportError::Empty { what: "classes" })
        );
    }
}
