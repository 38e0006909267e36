//! What runs on the machine that the tests are started on: it fetches kernels and programs, and boots guests.

pub mod kernel;
pub mod pool;
pub mod processor;
pub mod provision;
pub mod qemu;
pub mod reference;
pub mod uml;
