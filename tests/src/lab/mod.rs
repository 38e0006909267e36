//! Networks of hosts, each a network namespace or a container.

pub mod cluster;
pub mod container;
pub mod farm;
pub mod fencing;
pub mod topology;
