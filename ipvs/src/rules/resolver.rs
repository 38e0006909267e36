//! Names of hosts and ports.

use std::net::IpAddr;

use crate::family::{Family, Protocol};

/// A resolver of the names of hosts and ports in lines that are read.
pub trait Resolver {
    /// Returns an address of a host: of the first of the families that it has an address of.
    ///
    /// # Errors
    ///
    /// Fails if the host has no address of these families, and if the name service could not be asked.
    fn host(&mut self, name: &str, families: &[Family]) -> Result<IpAddr, HostError>;

    /// Returns the port with a name (80 for `http` of TCP), or `None` for an unknown name.
    fn port(&mut self, name: &str, protocol: Protocol) -> Option<u16>;
}

/// The reason why a host has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is no such name, or it has no address of the families.
    #[error("no such host")]
    Unknown,
    /// No name server answered in time. Whether the name exists is not known. The resolver of musl also waits for
    /// another answer if a name server refuses the question or reports a failure.
    #[error("the name server sent no usable answer")]
    NoAnswer,
    /// The name was not looked up, because no name server answered for an earlier name, or all lookups took too long.
    #[error("not looked up, because the name server sent no usable answer for earlier names")]
    NotAsked,
    /// The name server refused the question, reported a failure or cannot be reached. Whether the name exists is not
    /// known.
    #[error("the name server reported a failure or cannot be reached")]
    ServerFailed,
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
    fn host(&mut self, _: &str, _: &[Family]) -> Result<IpAddr, HostError> {
        Err(HostError::Unknown)
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
