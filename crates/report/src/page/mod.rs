//! A page of tables and pictures as one HTML file: no script, nothing fetched, readable on paper
//! and on a phone.

mod html;

use crate::{Picture, ReportError, Table, Tile, grid};

/// Content of a page. All text is escaped.
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
#[expect(missing_docs, reason = "a title and what is below it")]
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
}

/// A block of a page.
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
    Cards {
        /// Name of the images together, as that of a file.
        name: String,
        /// In order.
        cards: Vec<Card>,
    },
    /// Text as it is, folded away.
    Source {
        /// Description of the text.
        title: String,
        /// The text.
        text: String,
    },
}

/// A picture with a caption.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Name as that of a file, without an ending.
    pub name: String,
    /// The picture.
    pub picture: Picture,
    /// Description, as its caption and for screen readers.
    pub caption: String,
}

/// A small image with a line or two below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The image and the lines.
    pub tile: Tile,
    /// Description for screen readers.
    pub description: String,
}

impl Page {
    /// Writes the page as one HTML file.
    pub fn to_html(&self) -> String {
        html::page(self).into_string()
    }
}

/// Cards side by side in a picture of their own.
const COLUMNS: usize = 6;

impl Page {
    /// Returns every picture with its name, in the page's order; cards together are one.
    pub fn pictures(&self) -> Result<Vec<(&str, Picture)>, ReportError> {
        let mut pictures = Vec::new();
        for block in self.sections.iter().flat_map(|section| &section.blocks) {
            match block {
                Block::Figures(figures) => {
                    pictures.extend(
                        figures
                            .iter()
                            .map(|figure| (figure.name.as_str(), figure.picture.clone())),
                    );
                }
                Block::Cards { name, cards } if !cards.is_empty() => {
                    let tiles: Vec<Tile> = cards.iter().map(|card| card.tile.clone()).collect();
                    pictures.push((name, grid(&tiles, COLUMNS)?));
                }
                Block::Cards { .. }
                | Block::Text(_)
                | Block::Facts(_)
                | Block::Table { .. }
                | Block::Source { .. } => {}
            }
        }
        Ok(pictures)
    }
}
