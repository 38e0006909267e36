//! Devices.

use std::io;

use neli::consts::rtnl::{Iff, Ifla, RtAddrFamily, Rtm};
use neli::rtnl::{Ifinfomsg, IfinfomsgBuilder};

use super::{Network, number_from};

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    /// The name. The kernel accepts any bytes except `/` and white space.
    pub(crate) name: String,
    /// The MTU, in bytes.
    pub(crate) mtu: u32,
    pub(crate) is_up: bool,
    /// Whether the device has a carrier: its cable is plugged in.
    pub(crate) has_carrier: bool,
    pub(crate) is_loopback: bool,
    /// The link-layer address. Empty if the device has none.
    pub(crate) hardware: Vec<u8>,
}

impl Network {
    /// Returns a device.
    ///
    /// # Errors
    ///
    /// Fails with `ENODEV` if there is no device with this index.
    pub(crate) fn link(&mut self, index: u32) -> io::Result<Link> {
        if let Some(link) = self.links.get(&index) {
            return Ok(link.clone());
        }
        let request = IfinfomsgBuilder::default()
            .ifi_family(RtAddrFamily::Unspecified)
            .ifi_index(index.cast_signed())
            .build()
            .map_err(io::Error::other)?;
        let mut found = None;
        self.request(Rtm::Getlink, false, request, |message| found = Some(read(message)))?;
        let link = found.ok_or_else(|| io::Error::other("no reply"))?;
        self.links.insert(index, link.clone());
        Ok(link)
    }

    /// Returns all devices.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, or if there are more than 65,536.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        const MOST: usize = 1 << 16;
        let request =
            IfinfomsgBuilder::default().ifi_family(RtAddrFamily::Unspecified).build().map_err(io::Error::other)?;
        let (mut links, mut is_more) = (Vec::new(), false);
        self.request(Rtm::Getlink, true, request, |message| {
            if links.len() < MOST {
                links.push(read(message));
            } else {
                is_more = true;
            }
        })?;
        if is_more {
            return Err(io::Error::other(format!("there are more than {MOST} network interfaces")));
        }
        Ok(links)
    }
}

fn read(message: &Ifinfomsg) -> Link {
    let flags = message.ifi_flags();
    let mut link = Link {
        index: message.ifi_index().cast_unsigned(),
        name: String::new(),
        mtu: 0,
        is_up: flags.contains(Iff::UP),
        has_carrier: flags.contains(Iff::RUNNING),
        is_loopback: flags.contains(Iff::LOOPBACK),
        hardware: Vec::new(),
    };
    for attribute in message.rtattrs().iter() {
        let bytes: &[u8] = attribute.rta_payload().as_ref();
        match attribute.rta_type() {
            Ifla::Ifname => {
                let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                link.name = String::from_utf8_lossy(name).into_owned();
            }
            Ifla::Mtu => link.mtu = number_from(bytes).unwrap_or_default(),
            Ifla::Address => link.hardware = bytes.to_vec(),
            _ => {}
        }
    }
    link
}
