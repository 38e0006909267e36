//! Properties of every value: of any change, text and pair of tables. They need no kernel; the crate `ipvs-tests` runs
//! those of plans on real kernels.

/// Where a field is read from ipvsadm's language and written to it.
const RULES: &str = "the rows of options in ipvs/src/rules/options";

mod config;
mod connections;
mod expressible;
mod lines;
mod plan;
