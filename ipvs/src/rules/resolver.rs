//! Who knows names: of hosts and of ports.

use std::net::IpAddr;

use crate::family::{Family, Protocol};

/// Names → numbers, for reading.
pub trait Resolver {
    /// The address of a host in that family.
    fn host(&mut self, name: &str, family: Family) -> Option<IpAddr>;

    /// The port of a service of that protocol: `http` of TCP is 80.
    fn port(&mut self, name: &str, protocol: Protocol) -> Option<u16>;
}

/// Numbers → names, for writing.
pub trait Namer {
    /// The name of a host.
    fn host_name(&mut self, address: IpAddr) -> Option<String>;

    /// The name of a port of that protocol.
    fn port_name(&mut self, port: u16, protocol: Protocol) -> Option<String>;
}

/// Knows no names: numbers only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numeric;

impl Resolver for Numeric {
    fn host(&mut self, _: &str, _: Family) -> Option<IpAddr> {
        None
    }

    fn port(&mut self, _: &str, _: Protocol) -> Option<u16> {
        None
    }
}

impl Namer for Numeric {
    fn host_name(&mut self, _: IpAddr) -> Option<String> {
        None
    }

    fn port_name(&mut self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}
