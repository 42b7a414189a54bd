//! Any file is images or one error, as Parquet and as tar, and memory follows neither.
#![no_main]

use std::io;
use std::path::Path;
use std::sync::Arc;

use kiln_records::{Collection, ReadAt, Source};
use libfuzzer_sys::fuzz_target;

struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let found = self.0.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    for name in ["a.parquet", "a.tar"] {
        let memory = Arc::new(Memory(bytes.to_vec()));
        let source = Source::new(Path::new(name), bytes.len() as u64, memory);
        if let Ok(collection) = Collection::of_sources(vec![source]) {
            // A level may announce any number of rows without an image.
            for record in collection.records(None, true).take(10_000).flatten() {
                let _ = record.1.image.read();
            }
        }
    }
});
