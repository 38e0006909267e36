//! Random values and the properties of plans, for tests. Unstable: it changes with every release.
//!
//! The library's own property tests use them on a [`Model`](crate::Model), the crate `ipvs-tests` on real kernels.

pub mod fields;
pub mod promises;
pub mod random;
