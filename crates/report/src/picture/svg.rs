//! A picture as an SVG document.

use std::fmt::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Anchor, Color, Paint, Picture, Shape, Text, encode};
/// Writes it.
pub fn write(picture: &Picture) -> String {
    let (width, height) = (picture.width, picture.height);
    let mut document = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for shape in &picture.shapes {
        draw(&mut document, shape);
    }
    document.push_str("</svg>\n");
    document
}

fn draw(to: &mut String, shape: &Shape) {
    match shape {
        Shape::Rectangle {
            at: [x, y],
            size: [width, height],
            paint,
        } => {
            let style = Style(*paint);
            add(
                to,
                format_args!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {style}/>\n"
                ),
            );
        }
        Shape::Circle {
            center: [x, y],
            radius,
            paint,
        } => {
            add(
                to,
                format_args!(
                    "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" {}/>\n",
                    Style(*paint)
                ),
            );
        }
        Shape::Line {
            points,
            color,
            width,
        } => {
            let (points, style) = (Points(points), Style(Paint::Outlined(*color, *width)));
            add(
                to,
                format_args!("<polyline points=\"{points}\" {style}/>\n"),
            );
        }
        Shape::Polygon { points, color } => {
            add(
                to,
                format_args!(
                    "<polygon points=\"{}\" {}/>\n",
                    Points(points),
                    Style(Paint::Filled(*color))
                ),
            );
        }
        Shape::Text(text) => write_text(to, text),
        Shape::Image {
            at: [x, y],
            scale,
            size,
            pixels,
        } => {
            let [width, height] = size.map(|side| side * scale);
            let data = BASE64_STANDARD.encode(
                encode(*size, pixels).expect("an image has as many pixels as its size says"),
            );
            add(
                to,
                format_args!(
                    "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" image-rendering=\"pixelated\" \
                     href=\"data:image/png;base64,{data}\"/>\n"
                ),
            );
        }
    }
}

fn write_text(
    to: &mut String,
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
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let (color, text) = (Hex(*color), escaped(line));
    let turn = if *turned {
        format!(" transform=\"rotate(270, {x}, {y})\"")
    } else {
        String::new()
    };
    // To a hundredth of a pixel.
    let baseline = (f64::from(*y) + f64::from(drop * size))
        .mul_add(100.0, 0.5)
        .floor()
        / 100.0;
    add(
        to,
        format_args!(
            "<text x=\"{x}\" y=\"{baseline}\" text-anchor=\"{anchor}\" font-family=\"sans-serif\" font-size=\"{size}\" \
             fill=\"{color}\"{turn}>{text}</text>\n"
        ),
    );
}

fn add(to: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = to.write_fmt(text);
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

struct Hex(Color);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02X}{g:02X}{b:02X}")
    }
}

struct Style(Paint);

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Paint::Filled(color) => write!(f, "fill=\"{}\"", Hex(color)),
            Paint::Outlined(color, 1) => write!(f, "fill=\"none\" stroke=\"{}\"", Hex(color)),
            Paint::Outlined(color, width) => {
                write!(
                    f,
                    "fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"",
                    Hex(color)
                )
            }
        }
    }
}

struct Points<'a>(&'a [[i32; 2]]);

impl fmt::Display for Points<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, [x, y])| {
            let space = if at > 0 { " " } else { "" };
            write!(f, "{space}{x},{y}")
        })
    }
}
