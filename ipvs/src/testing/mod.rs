//! Random values and the properties of plans, for tests. Unstable: this module may change with every release.
//!
//! The library's own property tests use them on a [`Model`](crate::Model), and the crate `ipvs-tests` uses them on real
//! kernels.

pub mod expressible;
pub mod fields;
pub mod promises;
pub mod random;
