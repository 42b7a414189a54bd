//! The `kiln` command line.
