//! Networks of hosts, made of network namespaces.

pub mod cluster;
pub mod container;
pub mod netns;
pub mod rtnl;
pub mod topology;
