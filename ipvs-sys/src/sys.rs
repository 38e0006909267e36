//! System calls that neither std nor a safe crate provides, and the borrow of neli's socket that they need. All
//! `unsafe` of this crate is here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use neli::socket::NlSocket;

/// Borrows the descriptor of neli's socket, which returns it as a number only.
pub(crate) fn borrow(socket: &NlSocket) -> BorrowedFd<'_> {
    // SAFETY: the socket keeps its descriptor open until it is dropped, and the result cannot outlive the socket.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// Sets `NETLINK_CAP_ACK`: refusals do not echo the request, and so have the same size for all requests.
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

/// Opens the network namespace of a socket (`SIOCGSKNS`).
/// <https://elixir.bootlin.com/linux/v6.12/source/net/socket.c> (`sock_ioctl`)
pub(crate) fn namespace(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const SIOCGSKNS: u32 = 0x894c;
    // SAFETY: the descriptor is open, and this request has no argument. The cast is needed because the type of the
    // request number differs between C libraries.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS as _) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Returns the cookie of a socket's network namespace (`SO_NETNS_COOKIE`).
/// <https://elixir.bootlin.com/linux/v6.12/source/net/core/sock.c> (`sk_getsockopt`)
pub(crate) fn namespace_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie: u64 = 0;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the descriptor is open. The pointers are those of two live integers, and the kernel writes at most
    // `length` bytes to the first.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Returns the size of a memory page in bytes. `page_size` of rustix is not used, because it can open a file.
pub(crate) fn page_size() -> usize {
    // SAFETY: the call has only numbers as argument and result.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// The length of a received datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Datagram {
    pub(crate) len: usize,
    /// Whether the datagram was longer than its slot, so that its end is lost (`MSG_TRUNC`).
    pub(crate) truncated: bool,
}

/// The maximum number of datagrams that one call receives.
pub(crate) const AT_ONCE: usize = 8;

/// Whether to wait for the first datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    Yes,
    No,
}

/// Receives the datagrams that are in the socket, each into `slot` bytes of `buffer`, and returns their number.
///
/// If there is none, it waits for one ([`Wait::Yes`]) or fails with `EAGAIN` ([`Wait::No`]).
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
    // SAFETY: both are plain C structures, for which zeros are a valid value.
    let (mut parts, mut headers): ([libc::iovec; AT_ONCE], [libc::mmsghdr; AT_ONCE]) = unsafe { std::mem::zeroed() };
    let mut slots = 0;
    for ((part, header), room) in parts.iter_mut().zip(&mut headers).zip(buffer.chunks_exact_mut(slot)) {
        part.iov_base = room.as_mut_ptr().cast();
        part.iov_len = room.len();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        slots += 1;
    }
    // SAFETY: `slots` headers are filled in, each with one part that points into `buffer`. `buffer` outlives the call
    // and is borrowed mutably. The parts do not overlap.
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
