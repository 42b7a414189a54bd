//! A picture as a PNG file.

use std::io::Cursor;
use std::sync::OnceLock;

use epaint_default_fonts::UBUNTU_LIGHT;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tiny_skia::{FillRule, LineCap, LineJoin, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::{Anchor, Color, Paint, Picture, Shape, Text};
use crate::ReportError;

/// Most pixels of a file: 64 megapixels, for which drawing takes 256 MB.
const MAX_PIXELS: u64 = 1 << 26;

/// Draws and encodes it. A picture that would have too many pixels has one for each of its own.
pub fn write(picture: &Picture) -> Result<Vec<u8>, ReportError> {
    let pixels = |density: u32| {
        [picture.width, picture.height].map(|side| u64::from(side) * u64::from(density))
    };
    let fits = |density: u32| pixels(density).iter().product::<u64>() <= MAX_PIXELS;
    let density = if fits(picture.density) {
        picture.density
    } else {
        1
    };
    let [width, height] = pixels(density);
    let ground = fits(density)
        .then(|| Pixmap::new(width as u32, height as u32))
        .flatten();
    let Some(mut ground) = ground else {
        return Err(ReportError::PictureSize {
            width,
            height,
            max: MAX_PIXELS,
        });
    };
    ground.fill(tiny_skia::Color::WHITE);
    let mut canvas = Canvas {
        ground,
        scale: density as f32,
    };
    picture.shapes.iter().for_each(|shape| canvas.draw(shape));
    // Upon a white ground nothing is transparent.
    let rgb: Vec<u8> = canvas
        .ground
        .data()
        .chunks_exact(4)
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
        .collect();
    encode([width as u32, height as u32], &rgb)
}

/// Red, green and blue of each pixel, row by row, as a PNG file of that width and height.
pub(crate) fn encode([width, height]: [u32; 2], pixels: &[u8]) -> Result<Vec<u8>, ReportError> {
    if u64::from(width) * u64::from(height) * 3 != pixels.len() as u64 || pixels.is_empty() {
        return Err(ReportError::Tile {
            width,
            height,
            found: pixels.len(),
        });
    }
    let mut file = Cursor::new(Vec::new());
    PngEncoder::new(&mut file)
        .write_image(pixels, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| ReportError::Drawing {
            reason: error.to_string(),
        })?;
    Ok(file.into_inner())
}

struct Canvas {
    ground: Pixmap,
    scale: f32,
}

impl Canvas {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Rectangle {
                at: [x, y],
                size: [width, height],
                paint,
            } => {
                let rect = Rect::from_xywh(*x as f32, *y as f32, *width as f32, *height as f32);
                self.paint(rect.map(PathBuilder::from_rect), *paint);
            }
            Shape::Circle {
                center: [x, y],
                radius,
                paint,
            } => {
                self.paint(
                    PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32),
                    *paint,
                );
            }
            Shape::Line {
                points,
                color,
                width,
            } => self.paint(path(points, false), Paint::Outlined(*color, *width)),
            Shape::Polygon { points, color } => {
                self.paint(path(points, true), Paint::Filled(*color));
            }
            Shape::Text(text) => self.write(text),
            Shape::Image {
                at,
                scale,
                size,
                pixels,
            } => self.enlarge(*at, *scale, *size, pixels),
        }
    }

    /// A shape without extent has no path, and leaves nothing.
    fn paint(&mut self, path: Option<Path>, paint: Paint) {
        let Some(path) = path else { return };
        match paint {
            Paint::Filled(color) => self.fill(&path, color, Transform::identity()),
            Paint::Outlined(color, width) => {
                let (line_cap, line_join) = (LineCap::Butt, LineJoin::Round);
                let stroke = Stroke {
                    width: width as f32,
                    line_cap,
                    line_join,
                    ..Stroke::default()
                };
                let transform = Transform::from_scale(self.scale, self.scale);
                self.ground
                    .stroke_path(&path, &solid(color), &stroke, transform, None);
            }
        }
    }

    fn fill(&mut self, path: &Path, color: Color, transform: Transform) {
        let transform = transform.post_scale(self.scale, self.scale);
        self.ground
            .fill_path(path, &solid(color), FillRule::Winding, transform, None);
    }

    fn write(
        &mut self,
        Text {
            line,
            at: [x, y],
            drop,
            anchor,
            size,
            color,
            turned,
        }: &Text,
    ) {
        let (Some(path), width) = outline(line, *size) else {
            return;
        };
        let start = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        };
        let turn = if *turned {
            Transform::from_rotate(-90.0)
        } else {
            Transform::identity()
        };
        let transform = Transform::from_translate(start, drop * size)
            .post_concat(turn)
            .post_translate(*x, *y);
        self.fill(&path, *color, transform);
    }

    fn enlarge(&mut self, at: [u32; 2], scale: u32, [width, height]: [u32; 2], pixels: &[u8]) {
        let side = (scale as f32 * self.scale) as u32;
        let [left, top] = at.map(|start| (start as f32 * self.scale) as usize);
        let row = self.ground.width() as usize;
        let data = self.ground.pixels_mut();
        for y in 0..(height * side) as usize {
            for x in 0..(width * side) as usize {
                let from = (y / side as usize * width as usize + x / side as usize) * 3;
                let color = tiny_skia::ColorU8::from_rgba(
                    pixels[from],
                    pixels[from + 1],
                    pixels[from + 2],
                    255,
                );
                data[(top + y) * row + left + x] = color.premultiply();
            }
        }
    }
}

fn path(points: &[[i32; 2]], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    let mut points = points.iter().map(|[x, y]| (*x as f32, *y as f32));
    let (x, y) = points.next()?;
    path.move_to(x, y);
    points.for_each(|(x, y)| path.line_to(x, y));
    if closed {
        path.close();
    }
    path.finish()
}

fn solid([r, g, b]: Color) -> tiny_skia::Paint<'static> {
    let mut paint = tiny_skia::Paint::default();
    paint.set_color_rgba8(r, g, b, 255);
    paint
}

/// A line of text, from (0, 0) to the right on its baseline, `size` pixels high; and how wide it
/// is. Nothing is drawn of spaces.
fn outline(text: &str, size: f32) -> (Option<Path>, f32) {
    let face = face();
    let scale = size / f32::from(face.units_per_em());
    let mut pen = Pen {
        path: PathBuilder::new(),
        scale,
        x: 0.0,
    };
    for letter in text.chars() {
        let glyph = face.glyph_index(letter).unwrap_or(GlyphId(0));
        face.outline_glyph(glyph, &mut pen);
        pen.x += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
    }
    (pen.path.finish(), pen.x)
}

fn face() -> &'static Face<'static> {
    static FACE: OnceLock<Face<'static>> = OnceLock::new();
    FACE.get_or_init(|| Face::parse(UBUNTU_LIGHT, 0).expect("the font that is built in is one"))
}

/// Draws letters, whose y goes up, side by side.
struct Pen {
    path: PathBuilder,
    scale: f32,
    x: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> [f32; 2] {
        [self.x + x * self.scale, -y * self.scale]
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let [x, y] = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let [x, y] = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ([x1, y1], [x, y]) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ([x1, y1], [x2, y2], [x, y]) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
