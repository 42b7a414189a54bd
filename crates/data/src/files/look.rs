//! A look at some images of a [`Listing`], before anything is read as a whole.

use kiln_preprocess::{EncodedImage, ImageBytes, PreprocessError};
use rayon::prelude::*;

use super::Listing;
use crate::images::has_colors;

/// Most images of Parquet and tar files that are looked at: each may cost its row group.
const RECORDS: usize = 100;

/// What some images of a listing are like.
#[derive(Debug, Default)]
pub struct Look {
    /// Height and width in pixels of each image that can be read, turned upright.
    pub sizes: Vec<[u32; 2]>,
    /// Number of these that show more than grays.
    pub colored: usize,
    /// What is wrong with the others.
    pub bad: Vec<PreprocessError>,
}

impl Look {
    /// Adds what others are like.
    pub fn add(&mut self, other: Self) {
        self.sizes.extend(other.sizes);
        self.colored += other.colored;
        self.bad.extend(other.bad);
    }
}

impl Listing {
    /// Decodes at most so many of the images, spread evenly over the listing and so over the classes of
    /// a folder, on all threads of rayon's pool. `progress` is called after every image.
    pub fn look(&self, at_most: usize, progress: &(dyn Fn() + Sync)) -> Look {
        let seen = |bytes: &[u8], name: &str| {
            let seen = EncodedImage::new(bytes, name).decode_then(None, |pixels| {
                let image = pixels.as_raw();
                let size = [image.height, image.width];
                let size = pixels.orientation().upright_size(size);
                Ok((size, has_colors(image)))
            });
            progress();
            seen
        };
        let looked: Vec<_> = if let Some(records) = &self.records {
            let records = records.some(&spread(self.files.len(), at_most.min(RECORDS)));
            let records = records.into_par_iter();
            records.map(|(name, bytes)| seen(&bytes?, &name)).collect()
        } else {
            let files = spread(self.files.len(), at_most).into_par_iter();
            files
                .map(|at| {
                    let file = ImageBytes::read(&self.root.join(&self.files[at]))?;
                    seen(&file.bytes, &file.name)
                })
                .collect()
        };
        let mut look = Look::default();
        for seen in looked {
            match seen {
                Ok((size, colored)) => {
                    look.sizes.push(size);
                    look.colored += usize::from(colored);
                }
                Err(reason) => look.bad.push(reason),
            }
        }
        look
    }
}

/// At most so many of the numbers from 0 to `all`, at equal distances.
fn spread(all: usize, at_most: usize) -> Vec<usize> {
    let count = all.min(at_most);
    (0..count).map(|at| at * all / count).collect()
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, Rgb, RgbImage};

    use super::*;
    use crate::{Folder, folder};

    #[test]
    fn some_images_of_every_class_are_looked_at() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 4), [0, 1, 2]);
        assert!(spread(0, 4).is_empty());

        let root = tempfile::tempdir().unwrap();
        let save = |name: &str, image: DynamicImage| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image.save(path).unwrap();
        };
        for at in 0..6 {
            let gray = GrayImage::new(8, 9).into();
            save(&format!("gray/{at}.png"), gray);
            let red = RgbImage::from_pixel(12, 10, Rgb([200, 0, 0])).into();
            save(&format!("red/{at}.png"), red);
        }
        std::fs::write(root.path().join("red/0.png"), "torn").unwrap();
        let Folder::Whole(listing) = folder(root.path()).unwrap() else {
            panic!("there are no subsets")
        };
        let look = listing.look(4, &|| {});
        assert_eq!(look.sizes, [[9, 8], [9, 8], [10, 12]]);
        assert_eq!((look.colored, look.bad.len()), (1, 1));
        assert!(look.bad[0].to_string().contains("0.png"));
    }
}
