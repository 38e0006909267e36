//! An rtnetlink socket.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;

use neli::consts::nl::NlmF;
use neli::consts::rtnl::{RtAddrFamily, RtaType, Rtm};
use neli::consts::socket::NlFamily;
use neli::err::SocketError;
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::rtnl::{Rtattr, RtattrBuilder};
use neli::socket::synchronous::NlSocketHandle;
use neli::types::Buffer;
use neli::utils::Groups;
use neli::{FromBytesWithInput, Size, ToBytes};

use super::link::Link;

/// The network of the namespace in which it was opened.
pub(crate) struct Network {
    socket: NlSocketHandle,
    sequence: u32,
    pub(super) links: HashMap<u32, Link>,
}

impl Network {
    /// Opens the network of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// Fails if no netlink socket can be opened.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = NlSocketHandle::connect(NlFamily::Route, None, Groups::empty()).map_err(error_of)?;
        // With strict checking, the kernel dumps the addresses of one device only. A kernel before Linux 4.20 dumps all.
        let _ = socket.enable_strict_checking(true);
        Ok(Self { socket, sequence: 0, links: HashMap::new() })
    }

    /// Sends a request, and passes each message of the reply to `take`.
    ///
    /// # Errors
    ///
    /// Fails with the error of the kernel, which can be a reply: `ENETUNREACH` means that there is no route.
    pub(super) fn request<P>(
        &mut self,
        kind: Rtm,
        is_dump: bool,
        payload: P,
        mut take: impl FnMut(&P),
    ) -> io::Result<()>
    where
        P: Debug + Size + ToBytes + FromBytesWithInput<Input = usize>,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = if is_dump { NlmF::REQUEST | NlmF::DUMP } else { NlmF::REQUEST };
        let message = NlmsghdrBuilder::default()
            .nl_type(kind)
            .nl_flags(flags)
            .nl_seq(self.sequence)
            .nl_payload(NlPayload::Payload(payload))
            .build()
            .map_err(io::Error::other)?;
        self.socket.send(&message).map_err(error_of)?;
        loop {
            let (messages, _) = self.socket.recv::<Rtm, P>().map_err(error_of)?;
            for message in messages {
                let message = message.map_err(error_of)?;
                if *message.nl_seq() != self.sequence {
                    continue;
                }
                match message.nl_payload() {
                    NlPayload::Payload(payload) => take(payload),
                    NlPayload::Err(error) => return refused(*error.error()),
                    NlPayload::DumpExtAck(end) => return refused(*end.error()),
                    NlPayload::Ack(_) | NlPayload::Empty => return Ok(()),
                }
                if !is_dump {
                    return Ok(());
                }
            }
        }
    }
}

fn refused(code: i32) -> io::Result<()> {
    if code < 0 { Err(io::Error::from_raw_os_error(code.saturating_neg())) } else { Ok(()) }
}

fn error_of(error: SocketError) -> io::Error {
    match error {
        SocketError::Io(error) => {
            error.raw_os_error().map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error)
        }
        error => io::Error::other(error),
    }
}

/// Returns the family of an address.
pub(super) fn family_of(address: std::net::IpAddr) -> RtAddrFamily {
    if address.is_ipv4() { RtAddrFamily::Inet } else { RtAddrFamily::Inet6 }
}

/// Returns an attribute of a request.
pub(super) fn attribute<T: RtaType>(kind: T, bytes: Vec<u8>) -> io::Result<Rtattr<T, Buffer>> {
    RtattrBuilder::default().rta_type(kind).rta_payload(Buffer::from(bytes)).build().map_err(io::Error::other)
}
