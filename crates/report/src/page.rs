//! A page of tables and pictures as one HTML file: no script, nothing fetched, readable on paper
//! and on a phone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

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
        page(self).into_string()
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

const STYLE: &str = include_str!("page.css");

/// Lets the page load nothing at all, so that it shows the same everywhere and forever.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

fn page(page: &Page) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                title { (page.title) }
                // An icon of its own, or browsers ask for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (page.title) }
                    @if !page.lead.is_empty() { p.lead { (page.lead) } }
                    @if !page.highlights.is_empty() {
                        dl.highlights {
                            @for (name, value) in &page.highlights { div { dt { (name) } dd { (value) } } }
                        }
                    }
                }
                main { @for part in &page.sections { (section(part)) } }
                footer { p { (page.footer) } }
            }
        }
    }
}

fn section(section: &Section) -> Markup {
    html! {
        section {
            h2 { (section.title) }
            @for part in &section.blocks { (block(part)) }
        }
    }
}

fn block(block: &Block) -> Markup {
    match block {
        Block::Text(text) => html! { p { (text) } },
        Block::Facts(facts) => html! {
            dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
        },
        Block::Table { table, links } => self::table(table, links),
        Block::Figures(figures) => {
            html! { div.figures { @for picture in figures { (figure(picture)) } } }
        }
        Block::Cards { cards, .. } => {
            html! { div.tiles { @for picture in cards { (card(picture)) } } }
        }
        Block::Source { title, text } => {
            html! { details { summary { (title) } pre { code { (text) } } } }
        }
    }
}

fn table(table: &Table, links: &[Option<String>]) -> Markup {
    let class = |column: usize| (column >= table.first_number).then_some("number");
    let is_gap = |row: &[String]| row.iter().all(String::is_empty);
    let rows: Vec<_> = table.rows.iter().enumerate().collect();
    html! {
        // Wide tables scroll by themselves; those who use the keyboard must be able to reach them
        // for that.
        div.wide tabindex="0" role="region" aria-label="table" {
            table {
                thead { tr { @for (column, cell) in table.header.iter().enumerate() {
                    th scope="col" class=[class(column)] { (cell) }
                } } }
                @for part in rows.split(|(_, row)| is_gap(row)).filter(|part| !part.is_empty()) {
                    tbody { @for (at, row) in part {
                        @let link = links.get(*at).and_then(Option::as_ref);
                        tr { @for (column, cell) in row.iter().enumerate() {
                            td class=[class(column)] {
                                @match link {
                                    Some(link) if column == 0 => a href=(link) { (cell) },
                                    _ => (cell),
                                }
                            }
                        } }
                    } }
                }
            }
        }
    }
}

fn figure(figure: &Figure) -> Markup {
    // On a phone a picture shrinks as far as it can be read, and scrolls beyond; on a large screen
    // it does not grow much. In twentieths of its width. Images are known when they are small,
    // letters only when they are large enough.
    let ([least, most], class) = if figure.picture.has_images() {
        ([7, 12], "picture images")
    } else {
        ([10, 25], "picture")
    };
    let [least, most] = [least, most].map(|twentieths| figure.picture.width() * twentieths / 20);
    let limits = format!("min-width: {least}px; max-width: {most}px");
    html! {
        figure {
            div.wide role="img" aria-label=(figure.caption) {
                div class=(class) style=(limits) { (PreEscaped(figure.picture.to_svg())) }
            }
            figcaption { (figure.caption) }
        }
    }
}

fn card(card: &Card) -> Markup {
    let png = card
        .tile
        .to_png()
        .expect("a tile has as many bytes as its size says");
    html! {
        figure {
            img src={ "data:image/png;base64," (STANDARD.encode(png)) } alt=(card.description);
            figcaption { @for line in card.tile.caption.lines() { span { (line) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Picture, Tile};

    fn whole() -> Page {
        let nasty = "<script>alert(\"1\")</script>&".to_string();
        let table = Table::new(
            [nasty.clone(), "n".into()],
            [
                [nasty.clone(), "1".into()],
                [const { String::new() }; 2],
                ["b".into(), "2".into()],
            ],
            1,
        );
        let picture = Picture::new([500, 9], 1, Vec::new());
        let tile = Tile {
            pixels: vec![1, 2, 3],
            width: 1,
            height: 1,
            caption: format!("{nasty}\nbelow"),
        };
        let blocks = vec![
            Block::Text(nasty.clone()),
            Block::Facts(vec![(nasty.clone(), nasty.clone())]),
            Block::Table {
                table,
                links: vec![None, None, Some("run/report.html?\"".into())],
            },
            Block::Figures(vec![Figure {
                name: "blank".into(),
                picture,
                caption: nasty.clone(),
            }]),
            Block::Cards {
                name: "cards".into(),
                cards: vec![Card {
                    tile,
                    description: nasty.clone(),
                }],
            },
            Block::Source {
                title: nasty.clone(),
                text: nasty.clone(),
            },
        ];
        let highlights = vec![(nasty.clone(), nasty.clone())];
        let sections = vec![Section {
            title: nasty.clone(),
            blocks,
        }];
        Page {
            title: nasty.clone(),
            lead: nasty.clone(),
            highlights,
            sections,
            footer: nasty,
        }
    }

    fn html() -> String {
        whole().to_html()
    }

    #[test]
    fn whatever_is_text_is_escaped() {
        let page = html();
        assert!(
            !page.contains("<script>") && !page.contains("href=\"run/report.html?\"\""),
            "{page}"
        );
        assert_eq!(page.matches("&lt;script&gt;").count(), 18);
    }

    #[test]
    fn pictures_are_inside_and_nothing_else_is_referred_to() {
        let page = html();
        assert!(
            page.contains("<img src=\"data:image/png;base64,iVBORw0KGgo"),
            "{page}"
        );
        assert!(page.contains("</span><span>below</span>"), "{page}");
        assert!(
            page.contains("min-width: 250px; max-width: 625px\"><svg width=\"500\""),
            "{page}"
        );
        let page = page.replace("http://www.w3.org/2000/svg", "the name of a vocabulary");
        assert!(
            !page.contains("http:") && !page.contains("https:") && !page.contains("url("),
            "{page}"
        );
    }

    #[test]
    fn every_picture_has_a_name() {
        let page = whole();
        let pictures = page.pictures().unwrap();
        assert_eq!(
            pictures.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["blank", "cards"]
        );
        assert!(pictures[1].1.to_svg().contains(">below</text>"));
    }

    #[test]
    fn an_empty_row_parts_a_table_and_links_keep_their_rows() {
        let page = html();
        assert_eq!(page.matches("<tbody>").count(), 2);
        assert!(
            page.contains(
                "<td><a href=\"run/report.html?&quot;\">b</a></td><td class=\"number\">2</td>"
            ),
            "{page}"
        );
    }
}
