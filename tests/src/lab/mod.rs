//! Networks of hosts, made of network namespaces.

pub mod cluster;
pub mod container;
pub mod topology;
