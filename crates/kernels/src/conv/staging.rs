use crate::scratch::Scratch;

/// A small matrix through which weights are transposed.
///
/// A filter's weights are one piece, and filters are often a multiple of 2 KiB apart, at which
/// distance an L1 cache holds few lines. Pieces of the filters are therefore copied to rows of odd
/// length first.
pub(super) struct Staging {
    floats: Scratch,
    pitch: usize,
}

impl Staging {
    /// Channels to stage at a time.
    pub(super) fn channels(taps: usize) -> usize {
        (256 / taps).clamp(1, 64)
    }

    /// At least `rows` rows of `length` floats.
    pub(super) fn new(rows: usize, length: usize) -> Self {
        let pitch = length | 1;
        Self {
            floats: Scratch::any(rows * pitch),
            pitch,
        }
    }

    /// The rows.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.floats.chunks_exact_mut(self.pitch)
    }

    /// Element `index` of the first rows to `column`.
    pub(super) fn get_column(&self, index: usize, column: &mut [f32]) {
        for (to, row) in column.iter_mut().zip(self.floats.chunks_exact(self.pitch)) {
            *to = row[index];
        }
    }

    /// `column` to element `index` of the first rows.
    pub(super) fn set_column(&mut self, index: usize, column: &[f32]) {
        for (row, from) in self.floats.chunks_exact_mut(self.pitch).zip(column) {
            row[index] = *from;
        }
    }

    /// `column` added to element `index` of the first rows.
    pub(super) fn add_column(&mut self, index: usize, column: &[f32]) {
        for (row, from) in self.floats.chunks_exact_mut(self.pitch).zip(column) {
            row[index] += *from;
        }
    }
}
