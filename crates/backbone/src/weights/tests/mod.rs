//! Graphs as various exporters write them, read and refused.

mod accepted;
mod mutated;
mod refused;
mod style;
mod values;
mod zoo;
