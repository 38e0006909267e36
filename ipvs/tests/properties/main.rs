//! Properties of every value: of any change, text and pair of tables. They need no kernel; the crate `ipvs-tests` runs
//! those of plans on real kernels.

mod config;
mod connections;
mod expressible;
mod lines;
mod plan;
