//! Datagrams from the kernel, several with one call.

use std::io;
use std::os::fd::BorrowedFd;

use crate::error::DecodeError;
use crate::message::{Frame, Reply};
use crate::sys::{self, AT_ONCE, Datagram, Wait};

/// The largest datagram that the kernel makes of a dump, whatever room it has.
const LARGEST: usize = 32 * 1024;

#[derive(Debug)]
pub(crate) struct Inbox {
    /// For the largest from the start: the memory of a buffer of this size is the kernel's own zeroes until it is used,
    /// and a smaller one would have to be cleared.
    buffer: Vec<u8>,
    /// The room for one datagram.
    slot: usize,
    datagrams: [Datagram; AT_ONCE],
    /// Datagrams in the buffer.
    filled: usize,
    /// The datagram that is being read, and how far.
    current: usize,
    offset: usize,
}

impl Inbox {
    /// Room for datagrams of `slot` bytes; for the largest, once these do not suffice.
    pub(crate) fn new(slot: usize) -> Self {
        Self {
            buffer: vec![0; LARGEST * AT_ONCE],
            slot,
            datagrams: [Datagram::default(); AT_ONCE],
            filled: 0,
            current: 0,
            offset: 0,
        }
    }

    /// Everything has been read: the next answer has to be received.
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

    /// Wait for datagrams. Where all that had room came at once, and where one had no room, there are larger ones to come.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if !self.is_large() && (self.filled == AT_ONCE || self.datagrams[..self.filled].iter().any(|it| it.truncated)) {
            self.slot = LARGEST;
        }
        self.fill(socket, Wait::Yes)
    }

    /// There is room for the largest datagrams, and the kernel knows it: it clears that much for each that it makes.
    pub(crate) fn is_large(&self) -> bool {
        self.slot >= LARGEST
    }

    /// Throw away what is in the socket: where answers were lost, the others fill it, and there is no room for new ones.
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

    /// The next answer is one to that request, or cannot be read.
    pub(crate) fn is_next_for(&self, sequence: u32) -> bool {
        Frame::split(self.unread()).map_or(true, |frame| frame.sequence == sequence)
    }

    /// Take the next answer of what was received.
    pub(crate) fn next_reply(&mut self) -> Result<Reply<'_>, DecodeError> {
        let Datagram { len, truncated } = self.datagrams[self.current];
        let start = self.current * self.slot;
        let bytes = &self.buffer[start + self.offset..start + len];
        // Behind something that cannot be read, nothing of the datagram can.
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

    /// An inbox with small slots, and the two ends of something that datagrams go through.
    fn inbox() -> (Inbox, OwnedFd, OwnedFd) {
        let (here, there) =
            socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).expect("a pair");
        (Inbox::new(SMALL), here, there)
    }

    /// An acknowledgement of that length.
    fn ack(sequence: u32, len: u32) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend([2, 0, 0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.resize(len as usize, 0);
        bytes
    }

    #[test]
    fn several_datagrams_of_several_answers() {
        let (mut inbox, here, there) = inbox();
        for first in [1, 3, 5] {
            let both = [ack(first, 20), ack(first + 1, 20)].concat();
            send(&there, &both, SendFlags::empty()).expect("sent");
        }
        inbox.receive(here.as_fd()).expect("received");
        for sequence in 1..=6 {
            assert!(!inbox.is_empty() && inbox.is_next_for(sequence) && !inbox.is_next_for(sequence + 1));
            let reply = inbox.next_reply().expect("an answer");
            assert_eq!((reply.sequence, reply.content), (sequence, Content::Done));
        }
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_datagram_that_does_not_fit() {
        let (mut inbox, here, there) = inbox();
        let long = ack(1, SMALL as u32 + 4);
        for datagram in [&long, &ack(2, 20)] {
            send(&there, datagram, SendFlags::empty()).expect("sent");
        }
        inbox.receive(here.as_fd()).expect("received");
        assert_eq!(inbox.next_reply().expect_err("cut").to_string(), "datagram larger than the buffer");
        // The one behind it is whole.
        assert!(!inbox.is_empty());
        assert_eq!(inbox.next_reply().expect("an answer").sequence, 2);
        // From now on there is room.
        assert!(inbox.is_empty() && !inbox.is_large());
        send(&there, &long, SendFlags::empty()).expect("sent");
        inbox.receive(here.as_fd()).expect("received");
        assert_eq!(inbox.next_reply().expect("an answer").sequence, 1);
        assert!(inbox.is_large());
    }

    #[test]
    fn as_many_datagrams_as_there_is_room_for() {
        let (mut inbox, here, there) = inbox();
        for sequence in 0..=AT_ONCE as u32 {
            send(&there, &ack(sequence, 20), SendFlags::empty()).expect("sent");
        }
        for sequence in 0..=AT_ONCE as u32 {
            if inbox.is_empty() {
                inbox.receive(here.as_fd()).expect("received");
            }
            assert_eq!(inbox.is_large(), sequence == AT_ONCE as u32);
            assert_eq!(inbox.next_reply().expect("an answer").sequence, sequence);
        }
    }

    #[test]
    fn drained() {
        let (mut inbox, here, there) = inbox();
        // More than are received with one call.
        for sequence in 0..=AT_ONCE as u32 {
            send(&there, &ack(sequence, 20), SendFlags::empty()).expect("sent");
        }
        inbox.receive(here.as_fd()).expect("received");
        inbox.drain(here.as_fd());
        assert!(inbox.is_empty());
        send(&there, &ack(21, 20), SendFlags::empty()).expect("sent");
        inbox.receive(here.as_fd()).expect("received");
        assert_eq!(inbox.next_reply().expect("an answer").sequence, 21);
    }
}
