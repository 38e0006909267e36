//! Receives datagrams from the kernel, several with one system call.

use std::io;
use std::os::fd::BorrowedFd;

use crate::decode_error::DecodeError;
use crate::message::{Frame, Reply};
use crate::sys::{self, AT_ONCE, Datagram, Wait};

/// The maximum size of a datagram of a dump, in bytes. It does not depend on the size of the receive buffer.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c> (`netlink_recvmsg`)
const LARGEST: usize = 32 * 1024;

#[derive(Debug)]
pub(crate) struct Inbox {
    /// The memory for received datagrams, with room for the largest ones from the start. The allocator maps a buffer of
    /// this size, so its pages cost nothing until they are used. A smaller buffer would have to be cleared.
    buffer: Vec<u8>,
    /// The size of a slot, which is the part of the buffer for one datagram, in bytes.
    slot: usize,
    datagrams: [Datagram; AT_ONCE],
    /// The number of datagrams in the buffer.
    filled: usize,
    /// The index of the datagram that is being read. `offset` is the position in it.
    current: usize,
    offset: usize,
}

impl Inbox {
    /// Returns an inbox for datagrams of at most `slot` bytes, until [`receive`](Self::receive) enlarges it. The size
    /// is limited to 1 to [`LARGEST`].
    pub(crate) fn new(slot: usize) -> Self {
        Self {
            buffer: vec![0; LARGEST * AT_ONCE],
            slot: slot.clamp(1, LARGEST),
            datagrams: [Datagram::default(); AT_ONCE],
            filled: 0,
            current: 0,
            offset: 0,
        }
    }

    /// Returns whether all received replies have been read.
    pub(crate) fn is_empty(&mut self) -> bool {
        while let Some(datagram) = self.datagrams[..self.filled].get(self.current) {
            if self.offset < datagram.len {
                return false;
            }
            self.current += 1;
            self.offset = 0;
        }
        true
    }

    /// Waits for datagrams and receives them.
    ///
    /// Makes room for the largest datagrams if the last call filled all slots, which means a long dump, or if a
    /// datagram was truncated.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if !self.is_large() && (self.filled == AT_ONCE || self.datagrams[..self.filled].iter().any(|it| it.truncated)) {
            self.slot = LARGEST;
        }
        self.fill(socket, Wait::Yes)
    }

    /// Returns whether there is room for the largest datagrams. If so, the kernel allocates and clears 32 KiB for each
    /// datagram of a dump.
    pub(crate) fn is_large(&self) -> bool {
        self.slot >= LARGEST
    }

    /// Discards all datagrams in the socket. After a loss, the remaining replies fill the receive buffer and leave no
    /// room for new ones.
    pub(crate) fn drain(&mut self, socket: BorrowedFd<'_>) {
        loop {
            match self.fill(socket, Wait::No).map_err(|error| error.raw_os_error()) {
                Ok(()) | Err(Some(libc::EINTR | libc::ENOBUFS)) => {}
                Err(_) => return,
            }
        }
    }

    fn fill(&mut self, socket: BorrowedFd<'_>, wait: Wait) -> io::Result<()> {
        (self.filled, self.current, self.offset) = (0, 0, 0);
        self.filled = sys::receive_many(socket, &mut self.buffer, self.slot, &mut self.datagrams, wait)?;
        Ok(())
    }

    /// Returns whether the next reply belongs to the request with that sequence number, or cannot be decoded.
    pub(crate) fn is_next_for(&self, sequence: u32) -> bool {
        Frame::split(self.unread()).map_or(true, |frame| frame.sequence == sequence)
    }

    /// Removes the next received reply and returns it.
    pub(crate) fn next_reply(&mut self) -> Result<Reply<'_>, DecodeError> {
        let Datagram { len, truncated } = self.datagrams[self.current];
        let start = self.current * self.slot;
        let bytes = &self.buffer[start + self.offset..start + len];
        // After an error the rest of the datagram cannot be decoded.
        self.offset = len;
        if truncated {
            return Err(DecodeError::new("datagram larger than the buffer"));
        }
        let frame = Frame::split(bytes)?;
        self.offset = len - frame.rest.len();
        frame.reply()
    }

    fn unread(&self) -> &[u8] {
        let start = self.current * self.slot;
        &self.buffer[start + self.offset..start + self.datagrams[self.current].len]
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

    use super::*;
    use crate::message::Content;

    const SMALL: usize = 100;

    /// Returns an inbox with small slots and the two ends of a socket pair.
    fn inbox() -> (Inbox, OwnedFd, OwnedFd) {
        let (here, there) =
            socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).expect("a pair");
        (Inbox::new(SMALL), here, there)
    }

    /// Returns an ACK padded to `len` bytes.
    fn ack(sequence: u32, len: u32) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend([2, 0, 0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.resize(len as usize, 0);
        bytes
    }

    #[test]
    fn several_datagrams_with_several_replies() {
        let (mut inbox, here, there) = inbox();
        for first in [1, 3, 5] {
            let both = [ack(first, 20), ack(first + 1, 20)].concat();
            send(&there, &both, SendFlags::empty()).expect("sent");
        }
        inbox.receive(here.as_fd()).expect("received");
        for sequence in 1..=6 {
            assert!(!inbox.is_empty() && inbox.is_next_for(sequence) && !inbox.is_next_for(sequence + 1));
            let reply = inbox.next_reply().expect("a reply");
            assert_eq!((reply.sequence, reply.content), (sequence, Content::Done));
        }
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_truncated_datagram_enlarges_the_slots() {
        let (mut inbox, here, there) = inbox();
        let long = ack(1, SMALL as u32 + 4);
        for datagram in [&long, &ack(2, 20)] {
            send(&there, datagram, SendFlags::empty()).expect("sent");
        }
        inbox.receive(here.as_fd()).expect("received");
        assert_eq!(inbox.next_reply().expect_err("cut").to_string(), "datagram larger than the buffer");
        // The next one is complete.
        assert!(!inbox.is_empty());
        assert_eq!(inbox.next_reply().expect("a reply").sequence, 2);
        // The next call makes room for it.
        assert!(inbox.is_empty() && !inbox.is_large());
        send(&there, &long, SendFlags::empty()).expect("sent");
        inbox.receive(here.as_fd()).expect("received");
        assert_eq!(inbox.next_reply().expect("a reply").sequence, 1);
        assert!(inbox.is_large());
    }

    #[test]
    fn a_full_inbox_enlarges_the_slots() {
        let (mut inbox, here, there) = inbox();
        for sequence in 0..=AT_ONCE as u32 {
            send(&there, &ack(sequence, 20), SendFlags::empty()).expect("sent");
        }
        for sequence in 0..=AT_ONCE as u32 {
            if inbox.is_empty() {
                inbox.receive(here.as_fd()).expect("received");
            }
            assert_eq!(inbox.is_large(), sequence == AT_ONCE as u32);
            assert_eq!(inbox.next_reply().expect("a reply").sequence, sequence);
        }
    }

    #[test]
    fn draining_discards_all_datagrams() {
        let (mut inbox, here, there) = inbox();
        // More datagrams than one call receives.
        for sequence in 0..=AT_ONCE as u32 {
            send(&there, &ack(sequence, 20), SendFlags::empty()).expect("sent");
        }
        inbox.receive(here.as_fd()).expect("received");
        inbox.drain(here.as_fd());
        assert!(inbox.is_empty());
        send(&there, &ack(21, 20), SendFlags::empty()).expect("sent");
        inbox.receive(here.as_fd()).expect("received");
        assert_eq!(inbox.next_reply().expect("a reply").sequence, 21);
    }
}
