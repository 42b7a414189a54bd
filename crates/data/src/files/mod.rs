//! Data sets of image files: found ([`Listing`]), then read once as a whole ([`Listing::read`]),
//! then decoded as they are needed.

mod error;
mod folder;
mod images;
mod list;
mod listing;
mod read;

pub use error::FilesError;
pub use folder::{Folder, folder, images_below};
pub use list::{ListReader, Listed, list, list_checksum};
pub use listing::Listing;
pub use read::ReadFiles;

pub(crate) use images::ImageFiles;
