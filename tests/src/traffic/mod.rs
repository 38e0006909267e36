//! Traffic of a test: servers, clients and captured packets.

pub mod client;
pub mod ftp;
pub mod packets;
pub mod server;
pub mod synced;
