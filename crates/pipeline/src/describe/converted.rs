//! A model's file in another form.

/// A file in another form, with what to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub bytes: Vec<u8>,
    /// What to know about it.
    pub notes: Vec<ConversionNote>,
}

/// What to know about a file in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversionNote {
    /// The golden vectors are not in the copy: they were made with other preprocessing or labels.
    GoldenVectorsDropped,
    /// Nobody specifies what the output is: it is written as logits.
    AssumedLogits,
    /// Hugging Face's processors antialias when an image shrinks, this model does not: such images
    /// differ slightly.
    Antialiased,
    /// The model takes channels last, Hugging Face's processors return them first: their output is
    /// to be transposed.
    ChannelsFirst,
}
