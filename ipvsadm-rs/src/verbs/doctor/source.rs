//! The kernel as a source of facts: its files, network interfaces and routes. Tests have recorded ones instead.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;

use crate::network::{Network, RouteError, RouteKind, Routed};

/// The maximum size of a file. The files of the kernel that are read have a few lines; /proc/modules has one for each
/// module.
const MOST: u64 = 256 << 10;

/// The maximum size of a first line.
const LONGEST: u64 = 4096;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) is_up: bool,
    /// The size of the largest packet, in bytes.
    pub(super) mtu: u32,
}

/// Access to a kernel. All of it is that of the calling thread's network namespace.
pub(super) trait Source {
    /// Reads a file. Fails if it is longer than the limit: a part of it could hide a line.
    fn read(&self, path: &str) -> io::Result<String>;

    /// Reads the first line of a file of any length.
    fn first_line(&self, path: &str) -> io::Result<String>;

    fn exists(&self, path: &str) -> bool;

    fn devices(&self) -> io::Result<Vec<Device>>;

    /// Returns the name of the interface of the route to an address. `None`: the address is one of this host.
    fn device_to(&self, address: IpAddr) -> Result<Option<String>, RouteError>;
}

/// The running kernel.
#[derive(Default)]
pub(super) struct Kernel {
    network: RefCell<Option<Network>>,
}

impl Kernel {
    /// Calls a function with the network. It is opened when it is first needed.
    fn with<T, E: From<io::Error>>(&self, read: impl FnOnce(&mut Network) -> Result<T, E>) -> Result<T, E> {
        let mut network = self.network.borrow_mut();
        let network = match &mut *network {
            Some(network) => network,
            closed => closed.insert(Network::open()?),
        };
        read(network)
    }
}

impl Source for Kernel {
    fn read(&self, path: &str) -> io::Result<String> {
        read_all(&mut File::open(path)?, MOST)
    }

    fn first_line(&self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned())
    }

    fn exists(&self, path: &str) -> bool {
        fs::exists(path).unwrap_or_default()
    }

    fn devices(&self) -> io::Result<Vec<Device>> {
        let links = self.with(Network::links)?;
        let device = |link: crate::network::Link| Device { name: link.name, is_up: link.is_up, mtu: link.mtu };
        Ok(links.into_iter().map(device).collect())
    }

    fn device_to(&self, address: IpAddr) -> Result<Option<String>, RouteError> {
        self.with(|network| {
            let route = network.route(Routed::from(address))?;
            if route.kind == RouteKind::Local {
                return Ok(None);
            }
            Ok(Some(network.link(route.device)?.name))
        })
    }
}

/// Reads a text. Fails if it has more bytes than the limit.
fn read_all(source: &mut impl Read, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_not_cut() {
        assert_eq!(read_all(&mut "1234".as_bytes(), 4).expect("a short text"), "1234");
        let error = read_all(&mut "12345".as_bytes(), 4).expect_err("a long text");
        assert_eq!(error.to_string(), "it has more than 4 bytes");
        assert_eq!(
            read_all(&mut io::repeat(b'x'), 9).expect_err("an endless text").kind(),
            io::ErrorKind::FileTooLarge
        );
    }
}
