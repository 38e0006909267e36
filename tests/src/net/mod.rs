//! Network namespaces, and the links, addresses and routes in them.

pub mod netns;
pub mod rtnl;
