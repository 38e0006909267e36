//! The fuzz targets, a corpus for each, and mutations. cargo-fuzz and the program `mutate` run the same targets.

pub mod corpus;
pub mod mutation;
mod tables;
pub mod targets;
