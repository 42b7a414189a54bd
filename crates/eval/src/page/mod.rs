//! A page of tables and pictures as one HTML file: no script, nothing fetched, readable on paper and on a phone.

mod html;

use crate::Table;

/// What a page shows. Whatever is text is escaped.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The heading, and the name of the browser's tab.
    pub title: String,
    /// A sentence below it; empty for none.
    pub lead: String,
    /// The figures that matter most, each with its name.
    pub highlights: Vec<(String, String)>,
    /// In order.
    pub sections: Vec<Section>,
    /// A line at the end.
    pub footer: String,
}

/// A part of a page with a heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// What stands below it.
    pub blocks: Vec<Block>,
}

/// What a page is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Names with their values.
    Facts(Vec<(String, String)>),
    /// A table; the first cell of each row is a link where `links` has one for it.
    Table {
        /// The cells.
        table: Table,
        /// Addresses by row; may be shorter than the table.
        links: Vec<Option<String>>,
    },
    /// Pictures, side by side where there is room.
    Figures(Vec<Figure>),
    /// Small images, as many side by side as fit.
    Cards(Vec<Card>),
    /// Text as it is, folded away.
    Source {
        /// What it is.
        title: String,
        /// The text.
        text: String,
    },
}

/// A picture drawn by this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// The SVG document that a function of this crate gave; it is not escaped.
    pub svg: String,
    /// What it shows, for those who cannot see it and as its caption.
    pub caption: String,
}

/// A small image with a line or two below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The image as a PNG file.
    pub png: Vec<u8>,
    /// What it shows, for those who cannot see it.
    pub description: String,
    /// The lines below it.
    pub lines: Vec<String>,
}

impl Page {
    /// The page as one HTML file.
    pub fn to_html(&self) -> String {
        html::page(self).into_string()
    }
}
