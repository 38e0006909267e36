//! Facts about the network of a director, read with rtnetlink and from /proc/sys. Nothing is changed.
//!
//! The crate neli has the types of rtnetlink. `ipvs-sys` uses it, too, so no other crate is needed.

mod address;
pub mod firewall;
mod link;
pub(crate) mod module;
mod neighbour;
mod route;
mod socket;
pub(crate) mod sysctl;
pub(crate) mod tunnel;

use std::net::IpAddr;

pub(crate) use address::Address;
pub(crate) use link::Link;
pub(crate) use neighbour::Reachable;
pub(crate) use route::{Route, RouteError, RouteKind, Routed};
pub(crate) use socket::Network;

/// Returns the bytes of an address, as in messages of rtnetlink.
fn bytes_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Returns the address with these bytes. `None`: the number of bytes is neither 4 nor 16.
fn address_from(bytes: &[u8]) -> Option<IpAddr> {
    let four = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let sixteen = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    four().or_else(sixteen)
}

/// Returns the number with these bytes. `None`: there are not 4 bytes.
fn number_from(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

/// Returns whether two addresses are equal in their first `length` bits.
pub(crate) fn is_in(address: IpAddr, network: IpAddr, length: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let shift = 32_u32.saturating_sub(length.into());
            (address.to_bits() ^ network.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let shift = 128_u32.saturating_sub(length.into());
            (address.to_bits() ^ network.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_addresses() {
        let is_in = |address: &str, network: &str, length| {
            is_in(address.parse().expect("an address"), network.parse().expect("an address"), length)
        };
        assert!(is_in("10.1.0.9", "10.1.0.1", 24) && !is_in("10.1.1.9", "10.1.0.1", 24));
        assert!(is_in("10.9.9.9", "1.1.1.1", 0) && !is_in("10.1.0.9", "10.1.0.8", 32));
        assert!(is_in("fd01::9", "fd01::1", 64) && !is_in("fd02::9", "fd01::1", 64) && is_in("::1", "fd::", 0));
        assert!(!is_in("fd01::9", "10.1.0.1", 0));
    }

    #[test]
    fn addresses_of_other_lengths_are_none() {
        for address in ["10.1.0.9", "fd01::9"].map(|text| text.parse().expect("an address")) {
            assert_eq!(address_from(&bytes_of(address)), Some(address));
        }
        assert_eq!((address_from(&[1; 5]), address_from(&[]), number_from(&[1; 3])), (None, None, None));
    }
}
