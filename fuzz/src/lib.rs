//! The fuzz targets, a corpus for each, and mutations. cargo-fuzz and the program `mutate` run the same targets.

pub mod corpus;
#[path = "../../ipvsadm-rs/src/journal/mutation.rs"]
pub mod mutation;
mod tables;
pub mod targets;
