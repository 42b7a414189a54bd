//! The pictures on a page, to be kept as files.

use super::{Block, Page};
use crate::{Picture, ReportError, Tile, grid};

/// Cards side by side in a picture of their own.
const COLUMNS: usize = 6;

impl Page {
    /// Every picture with its name, in the page's order; cards together are one.
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
