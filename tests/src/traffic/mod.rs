//! Servers, clients and captured packets: the traffic of a test.

pub mod client;
pub mod ftp;
pub mod packets;
pub mod server;
