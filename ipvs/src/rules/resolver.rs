//! Names of hosts and ports.

use std::net::IpAddr;

use crate::family::{Family, Protocol};

/// A resolver of the names of hosts and ports in lines that are read.
pub trait Resolver {
    /// Returns the address of a host in a family, or `None` for an unknown host.
    fn host(&mut self, name: &str, family: Family) -> Option<IpAddr>;

    /// Returns the port with a name (80 for `http` of TCP), or `None` for an unknown name.
    fn port(&mut self, name: &str, protocol: Protocol) -> Option<u16>;

    /// Returns whether [`host`](Self::host) no longer looks up names, because the name service took too long. The error
    /// of an unknown host then states this.
    fn has_given_up(&self) -> bool {
        false
    }
}

/// A source of names for the addresses and ports in lines that are written.
pub trait Namer {
    /// Returns the name of a host, or `None` to write its address.
    fn host_name(&mut self, address: IpAddr) -> Option<String>;

    /// Returns the name of a port, or `None` to write its number.
    fn port_name(&mut self, port: u16, protocol: Protocol) -> Option<String>;
}

/// A resolver that knows no names, and a namer that writes numbers only.
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
