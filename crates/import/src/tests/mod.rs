//! Graphs as various exporters write them, read and refused.

mod accepted;
mod bases;
mod mutated;
mod refused;
mod style;
mod values;
mod zoo;
