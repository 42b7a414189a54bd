//! Graphs as various exporters write them, read as segments.

mod mutated;
mod opsets;
mod refused;
mod segments;
mod shapes;
mod small;
