//! Neighbours: the link-layer addresses of hosts on a segment.

use std::io;
use std::net::IpAddr;

use neli::consts::rtnl::{Nda, Nud, Rtm, Rtn};
use neli::rtnl::NdmsgBuilder;
use neli::types::RtBuffer;
use rustix::io::Errno;

use super::socket::{attribute, family_of};
use super::{Network, bytes_of};

/// A neighbour as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) reachable: Reachable,
    /// The link-layer address. Empty: it is not known.
    pub(crate) hardware: Vec<u8>,
}

/// Whether a neighbour answers ARP or neighbour solicitations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reachable {
    /// It has answered.
    Yes,
    /// The kernel has asked, and has no answer yet (`INCOMPLETE`).
    Asked,
    /// It did not answer (`FAILED`).
    No,
    /// The kernel has not asked, or does not ask.
    Unknown,
}

impl Network {
    /// Returns the entry of one neighbour. Other entries are not read.
    ///
    /// # Errors
    ///
    /// Fails if the kernel cannot read a single entry (before Linux 5.0).
    pub(crate) fn neighbour(&mut self, device: u32, address: IpAddr) -> io::Result<Neighbour> {
        let mut attributes = RtBuffer::new();
        attributes.push(attribute(Nda::Dst, bytes_of(address))?);
        let request = NdmsgBuilder::default()
            .ndm_family(family_of(address))
            .ndm_index(device.cast_signed())
            .ndm_state(Nud::empty())
            .ndm_type(Rtn::Unspec)
            .rtattrs(attributes)
            .build()
            .map_err(io::Error::other)?;
        let mut neighbour = Neighbour { reachable: Reachable::Unknown, hardware: Vec::new() };
        let read = self.request(Rtm::Getneigh, false, request, |message| {
            let state = *message.ndm_state();
            neighbour.reachable = if state.intersects(Nud::FAILED) {
                Reachable::No
            } else if state.intersects(Nud::INCOMPLETE) {
                Reachable::Asked
            } else if state.is_empty() || state.intersects(Nud::NOARP | Nud::PERMANENT) {
                Reachable::Unknown
            } else {
                Reachable::Yes
            };
            for attribute in message.rtattrs().iter() {
                if *attribute.rta_type() == Nda::Lladdr {
                    neighbour.hardware = AsRef::<[u8]>::as_ref(attribute.rta_payload()).to_vec();
                }
            }
        });
        match read {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(neighbour),
            read => read.map(|()| neighbour),
        }
    }
}
