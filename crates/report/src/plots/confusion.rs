//! The confusion matrix as a heat map.

use kiln_metrics::ConfusionMatrix;
use kiln_util::shown;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::Ticks;
use super::canvas::{Area, Drawn, FAINT, INK, TEXT, picture, text, width};
use crate::{Picture, ReportError};

/// Longest label on an axis, in characters.
const MAX_LABEL: usize = 16;

/// Draws the matrix as a heat map, rows true and columns predicted classes; `labels` are the classes'
/// names.
///
/// Cells show counts or, `normalized`, shares of the true class, each row adding up to 1 (a row
/// without images is 0). Beyond 30 classes there are no numbers, and shades follow the square root
/// of the value, so that rare errors are seen; the scale beside the matrix has the same shades.
/// Beyond about 50 classes not every label is drawn.
pub fn plot_confusion<S: AsRef<str>>(
    confusion: &ConfusionMatrix,
    labels: &[S],
    normalized: bool,
) -> Result<Picture, ReportError> {
    if labels.len() != confusion.classes() {
        return Err(ReportError::LabelCount {
            expected: confusion.classes(),
            found: labels.len(),
        });
    }
    let labels: Vec<String> = labels
        .iter()
        .map(|label| shown(label.as_ref(), MAX_LABEL))
        .collect();
    let map = HeatMap::new(confusion, &labels, normalized);
    picture(map.size(), |root| {
        map.draw_cells(root)?;
        map.draw_labels(root)?;
        map.draw_scale(root)
    })
}

/// Most classes whose cells carry numbers.
const MAX_NUMBERED: usize = 30;
/// Most bands of color in the scale, enough to look continuous.
const MAX_BANDS: i32 = 100;
/// Room for one label on an axis, in pixels; where classes are narrower, some labels are left out.
const LABEL_PITCH: i32 = 14;
/// Upper edge of the matrix.
const TOP: i32 = 16;
/// Room for an axis's name.
const AXIS_NAME: i32 = 26;

/// The matrix and where it lies, in pixels.
struct HeatMap<'a> {
    confusion: &'a ConfusionMatrix,
    labels: &'a [String],
    normalized: bool,
    /// The value of the darkest shade.
    most: f64,
    /// Side of a cell.
    cell: i32,
    /// Side of the matrix.
    side: i32,
    /// Left edge of the matrix.
    left: i32,
    /// Width of the widest label.
    widest: i32,
}

impl<'a> HeatMap<'a> {
    pub fn new(confusion: &'a ConfusionMatrix, labels: &'a [String], normalized: bool) -> Self {
        let classes = labels.len() as i32;
        let cell = match classes {
            ..=4 => 84,
            5..=10 => 54,
            11..=20 => 42,
            21..=30 => 34,
            _ => (900 / classes).max(1),
        };
        let most = confusion.rows().flatten().max().unwrap_or(0).max(1) as f64;
        let widest = labels
            .iter()
            .map(|label| width(label, TEXT))
            .max()
            .unwrap_or(0);
        Self {
            confusion,
            labels,
            normalized,
            most: if normalized { 1.0 } else { most },
            cell,
            side: cell * classes,
            left: AXIS_NAME + 12 + widest,
            widest,
        }
    }

    fn is_numbered(&self) -> bool {
        self.labels.len() <= MAX_NUMBERED
    }

    /// The shade of a share of the largest value. Where no number tells, the square root lets rare
    /// errors be seen.
    fn shade(&self, share: f64) -> RGBColor {
        shade(if self.is_numbered() {
            share
        } else {
            share.sqrt()
        })
    }

    fn bottom(&self) -> i32 {
        TOP + self.side
    }

    fn right(&self) -> i32 {
        self.left + self.side
    }

    /// Returns whether labels fit below their columns; otherwise they stand upright.
    fn labels_lie(&self) -> bool {
        self.widest + 6 <= self.cell
    }

    pub fn size(&self) -> (u32, u32) {
        let labels = if self.labels_lie() { 20 } else { self.widest };
        let scale = 56 + width(&self.scale_ticks().label(self.most), TEXT);
        (
            (self.right() + scale) as u32,
            (self.bottom() + 12 + labels + AXIS_NAME) as u32,
        )
    }

    pub fn draw_cells(&self, root: &Area<'_>) -> Drawn {
        // Where every pixel counts there are no gaps between the cells.
        let gap = i32::from(self.cell >= 8);
        root.draw(&Rectangle::new(
            [(self.left, TOP), (self.right(), self.bottom())],
            shade(0.0).filled(),
        ))?;
        for (y, row) in (TOP..)
            .step_by(self.cell as usize)
            .zip(self.confusion.rows())
        {
            let support: u64 = row.iter().sum();
            for (x, count) in (self.left..).step_by(self.cell as usize).zip(row) {
                let value = self.value(count, support);
                let share = value / self.most;
                if count > 0 {
                    let corners = [(x, y), (x + self.cell - gap, y + self.cell - gap)];
                    root.draw(&Rectangle::new(corners, self.shade(share).filled()))?;
                }
                if self.is_numbered() {
                    self.draw_number(root, (x + self.cell / 2, y + self.cell / 2), count, value)?;
                }
            }
        }
        root.draw(&Rectangle::new(
            [(self.left - 1, TOP - 1), (self.right(), self.bottom())],
            FAINT,
        ))
    }

    fn value(&self, count: u64, support: u64) -> f64 {
        if self.normalized {
            count as f64 / support.max(1) as f64
        } else {
            count as f64
        }
    }

    fn draw_number(&self, root: &Area<'_>, middle: (i32, i32), count: u64, value: f64) -> Drawn {
        let number = if self.normalized && count > 0 {
            format!("{value:.2}")
        } else {
            count.to_string()
        };
        // One size for all cells, by the longest number, looks calmer than each its own.
        let longest = if self.normalized {
            4
        } else {
            self.most.to_string().len()
        };
        let size = (f64::from(self.cell - 6) / (longest as f64 * 0.6)).clamp(4.0, TEXT);
        let color = match count {
            0 => FAINT,
            _ if is_dark(value / self.most) => WHITE,
            _ => INK,
        };
        root.draw_text(
            &number,
            &text(size, color, HPos::Center, VPos::Center),
            middle,
        )
    }

    pub fn draw_labels(&self, root: &Area<'_>) -> Drawn {
        let every =
            (LABEL_PITCH / self.cell + i32::from(LABEL_PITCH % self.cell > 0)).max(1) as usize;
        let row = text(TEXT, INK, HPos::Right, VPos::Center);
        let column = if self.labels_lie() {
            text(TEXT, INK, HPos::Center, VPos::Top)
        } else {
            text(TEXT, INK, HPos::Right, VPos::Center).transform(FontTransform::Rotate270)
        };
        for (class, label) in self.labels.iter().enumerate().step_by(every) {
            let middle = class as i32 * self.cell + self.cell / 2;
            root.draw_text(label, &row, (self.left - 7, TOP + middle))?;
            root.draw_text(label, &column, (self.left + middle, self.bottom() + 7))?;
        }
        let name = text(TEXT + 1.0, INK, HPos::Center, VPos::Center);
        let (across, down) = (self.left + self.side / 2, TOP + self.side / 2);
        let below = self.size().1 as i32 - AXIS_NAME / 2;
        root.draw_text("predicted class", &name, (across, below))?;
        root.draw_text(
            "true class",
            &name.transform(FontTransform::Rotate270),
            (AXIS_NAME / 2, down),
        )
    }

    fn scale_ticks(&self) -> Ticks {
        if self.normalized {
            Ticks::new(0.0, 1.0, 5)
        } else {
            Ticks::whole(0.0, self.most, 5)
        }
    }

    /// The scale of shades on the right.
    pub fn draw_scale(&self, root: &Area<'_>) -> Drawn {
        let (left, right) = (self.right() + 18, self.right() + 34);
        let bands = self.side.min(MAX_BANDS);
        let edge = |band: i32| {
            self.bottom() - (i64::from(self.side) * i64::from(band) / i64::from(bands)) as i32
        };
        for band in 0..bands {
            let color = self.shade((f64::from(band) + 0.5) / f64::from(bands));
            root.draw(&Rectangle::new(
                [(left, edge(band + 1)), (right, edge(band))],
                color.filled(),
            ))?;
        }
        root.draw(&Rectangle::new(
            [(left - 1, TOP - 1), (right, self.bottom())],
            FAINT,
        ))?;
        let ticks = self.scale_ticks();
        for &tick in &ticks.at {
            let y = self.bottom() - (tick / self.most * f64::from(self.side)).round() as i32;
            root.draw(&PathElement::new([(right, y), (right + 4, y)], FAINT))?;
            root.draw_text(
                &ticks.label(tick),
                &text(TEXT, INK, HPos::Left, VPos::Center),
                (right + 8, y),
            )?;
        }
        Ok(())
    }
}

/// "Blues" with nine classes by Cynthia Brewer (`ColorBrewer` 2.0).
const BLUES: [[u8; 3]; 9] = [
    [0xf7, 0xfb, 0xff],
    [0xde, 0xeb, 0xf7],
    [0xc6, 0xdb, 0xef],
    [0x9e, 0xca, 0xe1],
    [0x6b, 0xae, 0xd6],
    [0x42, 0x92, 0xc6],
    [0x21, 0x71, 0xb5],
    [0x08, 0x51, 0x9c],
    [0x08, 0x30, 0x6b],
];

/// Returns the shade of a share, which is taken to lie within 0 to 1.
fn shade(share: f64) -> RGBColor {
    let position = share.clamp(0.0, 1.0) * (BLUES.len() - 1) as f64;
    let below = (position as usize).min(BLUES.len() - 2);
    let part = position - below as f64;
    let [r, g, b] = [0, 1, 2].map(|channel| {
        let (from, to) = (
            f64::from(BLUES[below][channel]),
            f64::from(BLUES[below + 1][channel]),
        );
        (from + (to - from) * part).round() as u8
    });
    RGBColor(r, g, b)
}

/// Returns whether text on that shade must be white.
fn is_dark(share: f64) -> bool {
    share > 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(classes: usize, count: impl Fn(usize, usize) -> u64) -> ConfusionMatrix {
        let rows: Vec<Vec<u64>> = (0..classes)
            .map(|t| (0..classes).map(|p| count(t, p)).collect())
            .collect();
        ConfusionMatrix::try_from(rows).unwrap()
    }

    fn svg(confusion: &ConfusionMatrix, labels: &[&str], normalized: bool) -> String {
        plot_confusion(confusion, labels, normalized)
            .unwrap()
            .to_svg()
    }

    fn texts(document: &str) -> Vec<&str> {
        document
            .split("<text")
            .skip(1)
            .filter_map(|t| t.split(['<', '>']).nth(1))
            .collect()
    }

    #[test]
    fn cells_show_counts_or_shares() {
        let confusion = matrix(2, |t, p| [[3, 1], [0, 0]][t][p]);
        let counts = svg(&confusion, &["cat", "dog"], false);
        assert_eq!(texts(&counts)[..6], ["3", "1", "0", "0", "cat", "cat"]);
        let shares = svg(&confusion, &["cat", "dog"], true);
        assert_eq!(
            texts(&shares)[..6],
            ["0.75", "0.25", "0", "0", "cat", "cat"]
        );
    }

    #[test]
    fn labels_are_escaped_and_must_be_as_many_as_classes() {
        let confusion = matrix(1, |_, _| 0);
        assert!(svg(&confusion, &["<&>\u{0}"], false).contains("&lt;&amp;&gt;\u{fffd}"));
        let error = plot_confusion::<&str>(&confusion, &[], false).unwrap_err();
        assert_eq!(
            error,
            ReportError::LabelCount {
                expected: 1,
                found: 0
            }
        );
    }

    #[test]
    fn many_classes_and_huge_counts_can_be_drawn() {
        for classes in [1, 30, 31, 1200] {
            let labels = vec!["a rather long label of a class"; classes];
            let confusion = matrix(classes, |t, p| if t == p { u64::MAX / 2000 } else { 0 });
            let document = svg(&confusion, &labels, false);
            assert!(texts(&document).contains(&"0"), "{classes} classes");
            assert!(
                document.len() < 1_000_000,
                "{classes} classes: {} bytes",
                document.len()
            );
        }
    }

    #[test]
    fn runs_from_light_to_dark() {
        assert_eq!(shade(0.0), RGBColor(0xf7, 0xfb, 0xff));
        assert_eq!(shade(0.5), RGBColor(0x6b, 0xae, 0xd6));
        assert_eq!(shade(1.0), RGBColor(0x08, 0x30, 0x6b));
    }

    #[test]
    fn gets_darker_all_the_way() {
        let luminance = |i: u32| {
            let RGBColor(r, g, b) = shade(f64::from(i) / 100.0);
            0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b)
        };
        assert!((0..100).all(|i| luminance(i) > luminance(i + 1)));
    }
}
