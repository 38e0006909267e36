//! The host: fetches kernels and programs, and boots guests.

pub mod kernel;
pub mod pool;
pub mod processor;
pub mod provision;
pub mod qemu;
pub mod reference;
pub mod uml;
