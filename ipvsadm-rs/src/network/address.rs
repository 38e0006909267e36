//! Addresses of devices.

use std::io;
use std::net::IpAddr;

use ipvs::Family;
use neli::consts::rtnl::{Ifa, IfaF, RtAddrFamily, RtScope, Rtm};
use neli::rtnl::{Ifaddrmsg, IfaddrmsgBuilder};

use super::{Network, address_from};

/// An address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    /// The length of the network's prefix, in bits.
    pub(crate) length: u8,
    /// The index of the device.
    pub(crate) device: u32,
    /// Whether another host has the address, or the kernel still checks it. Only for IPv6.
    pub(crate) is_tentative: bool,
}

/// The maximum number of addresses that are kept. More are read, and not kept.
const MOST: usize = 100_000;

impl Network {
    /// Returns the addresses of a family, of one device or of all.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    pub(crate) fn addresses(&mut self, family: Family, device: Option<u32>) -> io::Result<Vec<Address>> {
        let request = IfaddrmsgBuilder::default()
            .ifa_family(match family {
                Family::V4 => RtAddrFamily::Inet,
                Family::V6 => RtAddrFamily::Inet6,
            })
            .ifa_prefixlen(0)
            .ifa_scope(RtScope::Universe)
            .ifa_index(device.unwrap_or_default())
            .build()
            .map_err(io::Error::other)?;
        let mut found = Vec::new();
        self.request(Rtm::Getaddr, true, request, |message| {
            let is_wanted = |address: &Address| device.is_none_or(|device| address.device == device);
            if found.len() < MOST {
                found.extend(read(message).filter(is_wanted));
            }
        })?;
        Ok(found)
    }
}

fn read(message: &Ifaddrmsg) -> Option<Address> {
    let (mut local, mut peer) = (None, None);
    for attribute in message.rtattrs().iter() {
        let bytes: &[u8] = attribute.rta_payload().as_ref();
        match attribute.rta_type() {
            Ifa::Local => local = address_from(bytes),
            Ifa::Address => peer = address_from(bytes),
            _ => {}
        }
    }
    Some(Address {
        // Without a local address, as usual for IPv6, the other one is that of the device.
        address: local.or(peer)?,
        length: *message.ifa_prefixlen(),
        device: *message.ifa_index(),
        is_tentative: message.ifa_flags().intersects(IfaF::TENTATIVE | IfaF::DADFAILED),
    })
}
