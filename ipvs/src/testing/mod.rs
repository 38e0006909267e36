//! Random values, and the properties of plans and saved tables, for tests. Unstable: this module may change with every
//! release.
//!
//! The library's own property tests and the fuzz targets use them on a [`Model`](crate::Model). The crate `ipvs-tests`
//! uses them on real kernels.

pub mod expressible;
pub mod fields;
pub mod promises;
pub mod random;
pub mod saved;
