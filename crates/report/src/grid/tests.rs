use super::*;

fn tile(width: u32, height: u32, caption: &str) -> Tile {
    Tile {
        pixels: vec![90; (width * height * 3) as usize],
        width,
        height,
        caption: caption.into(),
    }
}

fn png(tiles: &[Tile], columns: usize) -> image::RgbImage {
    image::load_from_memory(&grid(tiles, columns).unwrap().to_png().unwrap())
        .unwrap()
        .into_rgb8()
}

#[test]
fn small_pictures_are_enlarged_by_whole_factors_and_large_ones_are_not() {
    // 28 pixels four times, a gap on either side; below, 3 pixels and a line of text.
    assert_eq!(
        png(&[tile(28, 28, "7")], 1).dimensions(),
        (12 + 112 + 12, 12 + 112 + 3 + 16 + 12)
    );
    assert_eq!(
        png(&[tile(200, 150, "x")], 1).dimensions(),
        (224, 12 + 150 + 3 + 16 + 12)
    );
}

#[test]
fn tiles_fill_rows() {
    let tiles = vec![tile(28, 28, "7"); 5];
    assert_eq!(png(&tiles, 2).dimensions(), (2 * 124 + 12, 3 * 143 + 12));
    assert_eq!(png(&tiles, 100).width(), 5 * 124 + 12);
    // The longest caption makes room for all.
    let taller = [tile(28, 28, "7"), tile(28, 28, "7\nnot 1")];
    assert_eq!(png(&taller, 1).height(), 2 * (143 + 16) + 12);
    assert!(grid(&[], 3).is_ok());
}

#[test]
fn captions_are_drawn_and_cut() {
    let blank = png(&[tile(28, 28, "")], 1);
    for caption in [
        "cat",
        "größe",
        "猫",
        "a caption that is far too long for a tile",
    ] {
        assert!(png(&[tile(28, 28, caption)], 1) != blank, "{caption}");
    }
    let svg = grid(&[tile(28, 28, "<cat> & a dog that has a long name")], 1)
        .unwrap()
        .to_svg();
    assert!(svg.contains(">&lt;cat&gt; &amp; a dog t…</text>"), "{svg}");
    assert!(svg.contains("href=\"data:image/png;base64,iVBOR"), "{svg}");
}

#[test]
fn what_is_no_picture_or_too_many_is_an_error() {
    let wrong = Tile {
        width: 3,
        ..tile(2, 2, "x")
    };
    assert!(
        grid(&[wrong], 1)
            .unwrap_err()
            .to_string()
            .contains("3x2 pixels has 12 bytes")
    );
    let large = vec![tile(1, 9000, "x"); 200];
    assert!(
        grid(&large, 200)
            .unwrap_err()
            .to_string()
            .contains("draw less in it")
    );
}
