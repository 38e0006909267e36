//! Properties of all values: changes, texts and pairs of tables. These tests need no kernel. The crate `ipvs-tests`
//! checks the properties of plans on real kernels.

/// The code that reads a field from ipvsadm's language and writes it.
const RULES: &str = "the rows of options in ipvs/src/rules/options";

mod config;
mod connections;
mod lines;
mod plan;
