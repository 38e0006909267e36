//! The calls that neither std nor a safe crate has, and the borrow of neli's socket that they need. All of this crate's
//! `unsafe` is here, but for the look in `start`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use neli::socket::NlSocket;

/// The descriptor of neli's socket, which gives it out as a bare number only.
pub(crate) fn borrow(socket: &NlSocket) -> BorrowedFd<'_> {
    // SAFETY: the socket keeps its descriptor open until it is dropped, and the result cannot outlive the socket.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// Leave the echo of the request out of refusals (`NETLINK_CAP_ACK`), so that they stay small however long the request.
pub(crate) fn cap_ack(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the pointer and length are those of a live integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_CAP_ACK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The network namespace of a socket.
pub(crate) fn namespace(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const SIOCGSKNS: u32 = 0x894c;
    // SAFETY: the descriptor is open, and this request takes no argument. The type of its number differs between C
    // libraries.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS as _) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it out.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// The size of a page of memory. (rustix has it, too, but opens a file for it.)
pub(crate) fn page_size() -> usize {
    // SAFETY: it takes a number, and gives one back.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// A datagram as it was received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Datagram {
    pub(crate) len: usize,
    /// It was longer than its slot: the end is lost.
    pub(crate) truncated: bool,
}

/// How many datagrams one call takes at the most.
pub(crate) const AT_ONCE: usize = 8;

/// Whether to wait for the first datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    Yes,
    No,
}

/// Take the datagrams that are there, each into a slot of `slot` bytes; if there is none, wait for one or fail with
/// `EAGAIN`. Answers how many.
pub(crate) fn receive_many(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    slot: usize,
    datagrams: &mut [Datagram; AT_ONCE],
    wait: Wait,
) -> io::Result<usize> {
    let flags = match wait {
        Wait::Yes => libc::MSG_WAITFORONE,
        Wait::No => libc::MSG_DONTWAIT,
    };
    // SAFETY: both are plain C structures for which all zeroes is a valid value.
    let (mut parts, mut headers): ([libc::iovec; AT_ONCE], [libc::mmsghdr; AT_ONCE]) = unsafe { std::mem::zeroed() };
    let mut slots = 0;
    for ((part, header), room) in parts.iter_mut().zip(&mut headers).zip(buffer.chunks_exact_mut(slot)) {
        part.iov_base = room.as_mut_ptr().cast();
        part.iov_len = room.len();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        slots += 1;
    }
    // SAFETY: `slots` headers are filled in, each with one part that points into `buffer`, which outlives the call and
    // is borrowed mutably; the parts do not overlap.
    let result = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            slots,
            // The type differs between C libraries.
            flags as _,
            std::ptr::null_mut(),
        )
    };
    let count = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
    for (datagram, header) in datagrams.iter_mut().zip(&headers[..count]) {
        *datagram =
            Datagram { len: header.msg_len as usize, truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 };
    }
    Ok(count)
}
