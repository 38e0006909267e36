//! Properties of all values: changes, texts and pairs of tables. These tests need no kernel. The crate `ipvs-tests`
//! checks the properties of plans on real kernels.

mod config;
mod connections;
mod events;
mod lines;
mod plan;
