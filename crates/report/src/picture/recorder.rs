//! What the plotting library draws, as shapes.

use std::convert::Infallible;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontTransform,
};

use super::{Anchor, Color, Paint, Shape, Text};

type Done = Result<(), DrawingErrorKind<Infallible>>;

/// A backend of the plotting library that keeps what it is told to draw. It knows no transparency
/// but the whole one.
pub(crate) struct Recorder<'a> {
    size: [u32; 2],
    shapes: &'a mut Vec<Shape>,
}

impl<'a> Recorder<'a> {
    pub fn new(size: [u32; 2], shapes: &'a mut Vec<Shape>) -> Self {
        Self { size, shapes }
    }

    fn push(&mut self, color: BackendColor, shape: impl FnOnce(Color) -> Shape) {
        if color.alpha > 0.0 {
            let (r, g, b) = color.rgb;
            self.shapes.push(shape([r, g, b]));
        }
    }
}

fn paint<S: BackendStyle>(style: &S, fill: bool) -> impl FnOnce(Color) -> Paint + use<S> {
    let width = style.stroke_width();
    move |color| {
        if fill {
            Paint::Filled(color)
        } else {
            Paint::Outlined(color, width)
        }
    }
}

fn points(path: impl IntoIterator<Item = BackendCoord>) -> Vec<[i32; 2]> {
    path.into_iter().map(<[i32; 2]>::from).collect()
}

impl DrawingBackend for Recorder<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size.into()
    }

    fn ensure_prepared(&mut self) -> Done {
        Ok(())
    }

    fn present(&mut self) -> Done {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Done {
        let at = point.into();
        self.push(color, |color| Shape::Rectangle {
            at,
            size: [1, 1],
            paint: Paint::Filled(color),
        });
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Done {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Done {
        let size = [right.abs_diff(left), bottom.abs_diff(top)];
        let paint = paint(style, fill);
        let at = [left.min(right), top.min(bottom)];
        self.push(style.color(), |color| Shape::Rectangle {
            at,
            size,
            paint: paint(color),
        });
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done {
        let (points, width) = (points(path), style.stroke_width());
        if width == 0 {
            return Ok(());
        }
        self.push(style.color(), |color| Shape::Line {
            points,
            color,
            width,
        });
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Done {
        let paint = paint(style, fill);
        self.push(style.color(), |color| Shape::Circle {
            center: center.into(),
            radius,
            paint: paint(color),
        });
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done {
        let points = points(path);
        self.push(style.color(), |color| Shape::Polygon { points, color });
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Done {
        let drop = match style.anchor().v_pos {
            VPos::Top => 0.76,
            VPos::Center => 0.26,
            VPos::Bottom => -0.26,
        };
        let anchor = match style.anchor().h_pos {
            HPos::Left => Anchor::Start,
            HPos::Center => Anchor::Middle,
            HPos::Right => Anchor::End,
        };
        let text = Text {
            line: text.into(),
            at: [x as f32, y as f32],
            drop,
            anchor,
            size: style.size() as f32,
            color: [0; 3],
            turned: matches!(style.transform(), FontTransform::Rotate270),
        };
        self.push(style.color(), |color| Shape::Text(Text { color, ..text }));
        Ok(())
    }
}
