//! Data sets, splits and batches.
