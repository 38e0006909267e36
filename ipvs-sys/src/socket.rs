//! The netlink socket: get, dump, submit.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout, socket_recv_buffer_size};

use crate::batch::{readdress, request_ack, write_fence};
use crate::decode_error::DecodeError;
use crate::error::{Error, Refusal};
use crate::inbox::Inbox;
use crate::message::{Content, Mode, Request, ToRequest, append, encode_family_lookup, family_id};
use crate::namespace::Namespace;
use crate::netlink::NLM_F_DUMP;
use crate::refused::Refused;
use crate::sys;
use crate::uapi::{Command, CommandAttrs};
use crate::wire::{Attributes, Wire};

/// The maximum number of bytes that a reply without data occupies in the receive buffer: `struct sk_buff`, the headers
/// and the kernel's explanation in 1024 bytes. Without an explanation it occupies 768 on Linux 6.1 and 898 on 7.2.
const REPLY: usize = 1280;

/// The initial size of the buffer for a datagram.
///
/// The kernel makes the datagrams of a dump as large as the largest buffer that the socket has received into, and at
/// least `NLMSG_GOODSIZE`. Together with `struct skb_shared_info`, a datagram of `NLMSG_GOODSIZE` fills a page. That
/// structure has 320 bytes or more on 64-bit machines. For one byte more, the kernel allocates and clears two pages.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c> (`netlink_dump`)
const DATAGRAM: usize = PAGE - 320;
const PAGE: usize = 4096;
/// The initial size on other machines: the largest `NLMSG_GOODSIZE` of any kernel.
const DATAGRAM_ELSEWHERE: usize = 8192;

/// The maximum time to wait for a reply. The kernel replies within the system call that sends the request, so a reply
/// that is missing after this time is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A netlink socket for IPVS, in the network namespace in which it was opened.
///
/// Requests need `CAP_NET_ADMIN` in the initial user namespace; otherwise the kernel refuses them with `EPERM`.
///
/// A socket is `Send`. To use several threads, open a socket in each of them.
#[doc(alias = "NETLINK_GENERIC")]
pub struct Socket {
    netlink: NlSocket,
    /// The number of the family, or `None` before the first lookup. It changes with every reload of the module, so it
    /// is looked up again after `ENOENT`.
    family: Option<u16>,
    sequence: u32,
    /// The maximum number of requests in a batch of this socket, or `None` before the first batch.
    batch: Option<usize>,
    /// The bytes of the last requests. They are sent again if the number of the family has changed.
    outbox: Vec<u8>,
    inbox: Inbox,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("family", &self.family).field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// For polling. The kernel replies within the system call that sends a request, so there is nothing to wait for
/// between the calls of this type.
impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(&self.netlink)
    }
}

impl Socket {
    /// The maximum number of requests that one system call sends.
    ///
    /// The default receive buffer has room for 237 replies on Linux 7.2 and 277 on 6.1. So no reply is lost even if all
    /// requests of a batch are refused. With a smaller buffer (`net.core.rmem_default`), [`submit`](Self::submit)
    /// enlarges the buffer or sends fewer requests at a time.
    pub const BATCH: usize = 128;

    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// No request is sent yet. The first request makes the kernel load the module `ip_vs`.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Socket`] if the process has too many open files, or if the kernel has no generic netlink.
    pub fn open() -> Result<Self, Error> {
        let fits = cfg!(target_pointer_width = "64") && sys::page_size() == PAGE;
        Self::open_with_datagram_size(if fits { DATAGRAM } else { DATAGRAM_ELSEWHERE })
    }

    /// Opens a socket in another network namespace. The calling thread stays in its own.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Namespace`] if the namespace cannot be entered, or as [`open`](Self::open) does.
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        namespace.within(Self::open)?
    }

    /// Opens a socket that first receives datagrams of at most `bytes` bytes, from 1 to 32 KiB. Other sizes are
    /// replaced by the nearest of these.
    ///
    /// A larger datagram is truncated, which is an [`Error::Decode`]. After it, and after a dump of many datagrams, the
    /// socket has room for the largest datagrams of the kernel (32 KiB).
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does.
    pub fn open_with_datagram_size(bytes: usize) -> Result<Self, Error> {
        let socket = NlSocket::new(NlFamily::Generic).map_err(Error::Socket)?;
        socket.enable_ext_ack(true).map_err(Error::Socket)?;
        sys::cap_ack(sys::borrow(&socket)).map_err(Error::Socket)?;
        set_socket_timeout(sys::borrow(&socket), Timeout::Recv, Some(PATIENCE)).map_err(|e| Error::Socket(e.into()))?;
        Ok(Self {
            netlink: socket,
            family: None,
            sequence: 0,
            batch: None,
            outbox: Vec::new(),
            inbox: Inbox::new(bytes),
        })
    }

    /// Opens another socket in the network namespace of the calling thread, without looking up the number of the family
    /// again. This saves a request and its reply.
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does.
    pub fn open_again(&self) -> Result<Self, Error> {
        Ok(Self { family: self.family, ..Self::open()? })
    }

    /// Returns whether there was a dump of many datagrams. From then on the kernel allocates and clears 32 KiB for each
    /// datagram of a dump, which is expensive for short dumps.
    pub fn expects_large_datagrams(&self) -> bool {
        self.inbox.is_large()
    }

    /// Opens the network namespace of the socket.
    ///
    /// # Errors
    ///
    /// Fails with `EPERM` without `CAP_NET_ADMIN` in the user namespace that owns the network namespace. Also fails on
    /// kernels before Linux 4.10.
    #[doc(alias = "SIOCGSKNS")]
    pub fn namespace(&self) -> io::Result<OwnedFd> {
        sys::namespace(sys::borrow(&self.netlink))
    }

    /// Requests one item: [`Command::GetService`], [`Command::GetConfig`] or [`Command::GetInfo`].
    ///
    /// `A` is [`InfoAttrs`](crate::uapi::InfoAttrs) for `GetInfo`, and [`CommandAttrs`] for the others.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::NotSent`] if the command gets no item. Fails with [`Error::Refused`] if the kernel refuses
    /// the request. The error number is `ESRCH` if the service does not exist. The other variants of [`Error`] report
    /// problems with the module, the socket or the reply.
    pub fn get<A: Attributes>(&mut self, request: &Request) -> Result<A, Error> {
        self.get_with(request, A::read)
    }

    /// Requests one item, and returns the result of `read` for the bytes of its attributes.
    ///
    /// # Errors
    ///
    /// Fails as [`get`](Self::get) does, and with [`Error::Decode`] if `read` fails.
    pub fn get_with<T>(
        &mut self,
        request: &Request,
        read: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<T, Error> {
        let command = request.command;
        Mode::Get.check(command)?;
        let sequence = self.send_alone(request, 0)?;
        let mut resent = false;
        loop {
            let refusal = match self.next_content(command, sequence)? {
                Content::Data { attributes, .. } => {
                    return read(attributes).map_err(|error| Error::Decode { command, error });
                }
                Content::Done | Content::End(_) => {
                    return Err(Error::Decode { command, error: DecodeError::new("no data") });
                }
                Content::Other => continue,
                Content::Refused(refusal) => refusal,
            };
            if resent || !self.send_again_after(&refusal, command)? {
                return Err(Error::Refused { command, refusal });
            }
            resent = true;
        }
    }

    /// Requests a list: [`Command::GetService`], [`Command::GetDest`] or [`Command::GetDaemon`].
    ///
    /// The list is not a snapshot. An item that is added or deleted during the dump may be missing or occur twice, and
    /// the kernel does not report it (no `NLM_F_DUMP_INTR`). Since Linux 7.1 the kernel resizes its table shortly after
    /// services were added or deleted. During the resize, services that do not change can be missing or occur twice,
    /// too. If two dumps have the same order, the list is complete.
    ///
    /// If the [`Dump`] is dropped early, the remaining replies are received and discarded, because the kernel allows
    /// one dump at a time for each socket.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::NotSent`] if the command dumps no list, if the request cannot be sent, or if the kernel has
    /// no IPVS ([`Error::NoFamily`]). The iterator returns later errors. The destinations of a service that does not
    /// exist are an empty list, not an error.
    #[doc(alias = "NLM_F_DUMP")]
    pub fn dump(&mut self, request: &Request) -> Result<Dump<'_>, Error> {
        Mode::Dump.check(request.command)?;
        let sequence = self.send_alone(request, NLM_F_DUMP)?;
        Ok(Dump { command: request.command, sequence, state: DumpState::Fresh, socket: self })
    }

    /// Sends one request that changes something. A refusal is an `Err`.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Refused`] if the kernel refuses the request, and otherwise as [`submit`](Self::submit) does.
    pub fn change(&mut self, request: &impl ToRequest) -> Result<(), Error> {
        self.submit([request])?.into_result()
    }

    /// Sends requests that change something, in order and in batches of at most [`BATCH`](Self::BATCH). Returns the
    /// index and the error of each request that the kernel refused.
    ///
    /// The requests after a refused one are still carried out. A batch has no more requests than the receive buffer has
    /// room for replies. The buffer is enlarged if necessary, which needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    ///
    /// On an error it is unknown which requests were carried out. Fails with [`Error::RepliesLost`] if the kernel had
    /// no memory for a reply, and with [`Error::NoFamily`], [`Error::Socket`], [`Error::Timeout`] or [`Error::Decode`].
    /// Fails with [`Error::NotSent`] if a request changes nothing or has more than 65,535 bytes. Then this request and
    /// the others of its batch were not sent.
    pub fn submit<R: ToRequest>(&mut self, requests: impl IntoIterator<Item = R>) -> Result<Refused, Error> {
        let mut requests = requests.into_iter();
        // One reply always has room.
        let batch = if requests.size_hint().1.is_some_and(|most| most <= 1) { 1 } else { self.batch_size()? };
        let mut commands = Vec::with_capacity(batch);
        let mut refused = Refused::default();
        let mut done = 0;
        loop {
            commands.clear();
            let first = self.write_batch(requests.by_ref().take(batch), &mut commands)?;
            let Some(&last) = commands.last() else { return Ok(refused) };
            self.send_outbox()?;
            let mut refusals = self.read_batch(first, &commands)?;
            let all_unknown = refusals.len() == commands.len() && refusals.iter().all(|(_, r)| r.errno == libc::ENOENT);
            if all_unknown && self.send_again_after(&refusals[0].1, last)? {
                refusals = self.read_batch(first, &commands)?;
            }
            refused.extend(
                refusals
                    .into_iter()
                    .map(|(index, refusal)| (done + index, Error::Refused { command: commands[index], refusal })),
            );
            done += commands.len();
        }
    }

    /// Returns the number of requests whose replies have room in the receive buffer, at most [`Self::BATCH`]. Enlarges
    /// the buffer if it is too small.
    fn batch_size(&mut self) -> Result<usize, Error> {
        /// The replies to a batch, and a fence.
        const NEEDED: usize = (Socket::BATCH + 1) * REPLY;
        if let Some(batch) = self.batch {
            return Ok(batch);
        }
        let socket = sys::borrow(&self.netlink);
        let size = || socket_recv_buffer_size(socket).map_err(|error| Error::Socket(error.into()));
        let mut bytes = size()?;
        if bytes < NEEDED {
            // The kernel doubles the value (`__sock_set_rcvbuf`). Without CAP_NET_ADMIN it fails, and so do all
            // requests. SO_RCVBUF is not tried then: it can make the buffer smaller (`net.core.rmem_max`).
            // <https://elixir.bootlin.com/linux/v6.12/source/net/core/sock.c>
            let _ = set_socket_recv_buffer_size_force(socket, NEEDED / 2);
            bytes = size()?;
        }
        Ok(*self.batch.insert((bytes / REPLY).saturating_sub(1).clamp(1, Self::BATCH)))
    }

    /// Writes requests to the outbox, and returns the sequence number of the first.
    ///
    /// The kernel replies to a refused request even without `NLM_F_ACK`, and it replies in order. So only the last
    /// request has the flag. Its reply is a fence, after which no refusals follow.
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c> (`netlink_rcv_skb`)
    fn write_batch(
        &mut self,
        requests: impl Iterator<Item = impl ToRequest>,
        commands: &mut Vec<Command>,
    ) -> Result<u32, Error> {
        /// The number of bytes to reserve for a request. Most requests are smaller.
        const REQUEST: usize = 160;
        self.outbox.clear();
        self.outbox.reserve(requests.size_hint().0 * REQUEST);
        let mut first = self.sequence.wrapping_add(1);
        let mut last = 0;
        for request in requests {
            let command = request.command();
            Mode::Change.check(command)?;
            if commands.is_empty() {
                // The lookup uses a sequence number, so `first` is computed after it.
                self.family(command)?;
                first = self.sequence.wrapping_add(1);
            }
            commands.push(command);
            last = self.outbox.len();
            self.write(&request, 0)?;
        }
        match commands.last() {
            // This request cannot be the fence. If the daemon's thread has not run yet, the kernel stops it, but the
            // handler fails with EINTR. For this error netlink_rcv_skb sends no reply.
            Some(Command::DelDaemon) => {
                self.sequence = self.sequence.wrapping_add(1);
                write_fence(&mut self.outbox, self.sequence);
            }
            Some(_) => request_ack(&mut self.outbox[last..]),
            None => {}
        }
        Ok(first)
    }

    /// Reads replies up to the fence, and returns the refusals, with their index in the batch.
    fn read_batch(&mut self, first: u32, commands: &[Command]) -> Result<Vec<(usize, Refusal)>, Error> {
        let last = *commands.last().unwrap_or(&Command::GetInfo);
        let fence = commands.len() - usize::from(last != Command::DelDaemon);
        let mut refusals = Vec::new();
        loop {
            self.fill_inbox(last)?;
            let reply = self.inbox.next_reply().map_err(|error| Error::Decode { command: last, error })?;
            let index = reply.sequence.wrapping_sub(first) as usize;
            match reply.content {
                // A late reply to an earlier request that timed out.
                _ if index > fence => {}
                Content::Refused(refusal) => {
                    if index < commands.len() {
                        refusals.push((index, refusal));
                    }
                    if index == fence {
                        return Ok(refusals);
                    }
                }
                Content::Done if index == fence => return Ok(refusals),
                Content::Done | Content::End(_) | Content::Data { .. } | Content::Other => {}
            }
        }
    }

    fn write(&mut self, request: &impl ToRequest, flags: u16) -> Result<u32, Error> {
        let command = request.command();
        let family = self.family(command)?;
        self.sequence = self.sequence.wrapping_add(1);
        append(&mut self.outbox, request, family, flags, self.sequence)?;
        Ok(self.sequence)
    }

    fn family(&mut self, command: Command) -> Result<u16, Error> {
        match self.family {
            Some(family) => Ok(family),
            None => self.resolve(command),
        }
    }

    fn send_alone(&mut self, request: &Request, flags: u16) -> Result<u32, Error> {
        self.outbox.clear();
        let sequence = self.write(request, flags)?;
        self.send_outbox()?;
        Ok(sequence)
    }

    fn send_outbox(&self) -> Result<(), Error> {
        send(&self.netlink, &self.outbox)
    }

    /// Sends the last requests again if the family has another number now, and returns whether it did.
    ///
    /// `ENOENT` may mean that the module was reloaded. It is also the error number of a missing destination.
    fn send_again_after(&mut self, refusal: &Refusal, command: Command) -> Result<bool, Error> {
        if refusal.errno != libc::ENOENT {
            return Ok(false);
        }
        let before = self.family;
        let now = self.resolve(command)?;
        if before == Some(now) {
            return Ok(false);
        }
        readdress(&mut self.outbox, now);
        self.send_outbox()?;
        Ok(true)
    }

    /// Looks up the number of the family. This makes the kernel load the module `ip_vs`.
    fn resolve(&mut self, command: Command) -> Result<u16, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let mut message = Vec::new();
        encode_family_lookup(&mut message, sequence);
        send(&self.netlink, &message)?;
        loop {
            match self.next_content(command, sequence)? {
                Content::Data { attributes, .. } => {
                    let family = family_id(attributes).map_err(|error| Error::Decode { command, error })?;
                    self.family = Some(family);
                    return Ok(family);
                }
                Content::Refused(refusal) if refusal.errno == libc::ENOENT => return Err(Error::NoFamily),
                Content::Refused(refusal) => return Err(Error::Refused { command, refusal }),
                _ => {}
            }
        }
    }

    /// Waits for the next reply to the request `sequence`. Replies to other requests are skipped.
    fn next_content(&mut self, command: Command, sequence: u32) -> Result<Content<'_>, Error> {
        loop {
            self.fill_inbox(command)?;
            if self.inbox.is_next_for(sequence) {
                break;
            }
            // A late reply to a request that timed out.
            let _ = self.inbox.next_reply();
        }
        let reply = self.inbox.next_reply().map_err(|error| Error::Decode { command, error })?;
        Ok(reply.content)
    }

    fn fill_inbox(&mut self, command: Command) -> Result<(), Error> {
        while self.inbox.is_empty() {
            match self.inbox.receive(sys::borrow(&self.netlink)) {
                Ok(()) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => return Err(Error::Timeout(command)),
                    Some(libc::ENOBUFS) => {
                        self.inbox.drain(sys::borrow(&self.netlink));
                        return Err(Error::RepliesLost(command));
                    }
                    _ => return Err(Error::Socket(error)),
                },
            }
        }
        Ok(())
    }
}

fn send(socket: &NlSocket, bytes: &[u8]) -> Result<(), Error> {
    loop {
        match socket.send(bytes, Msg::empty()) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Socket(error)),
        }
    }
}

/// The items of a dump. Returned by [`Socket::dump`].
#[derive(Debug)]
pub struct Dump<'a> {
    socket: &'a mut Socket,
    command: Command,
    sequence: u32,
    state: DumpState,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum DumpState {
    /// No reply yet. The first reply can show that the number of the family has changed.
    Fresh,
    Running,
    /// A reply could not be decoded. The rest is received on drop, but not returned.
    Broken,
    Ended,
}

impl Dump<'_> {
    /// Returns the result of `read` for the bytes of the next item's attributes ([`CommandAttrs`]), and `None` at the
    /// end.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Refused`] if the kernel refuses the dump, with [`Error::Decode`] if `read` fails, and if no
    /// reply can be received. After an error the next call returns `None`.
    #[inline]
    pub fn next_with<T>(&mut self, read: impl FnOnce(&[u8]) -> Result<T, DecodeError>) -> Result<Option<T>, Error> {
        let command = self.command;
        while matches!(self.state, DumpState::Fresh | DumpState::Running) {
            let fresh = self.state == DumpState::Fresh;
            // Every error ends the dump, except for a reply that cannot be decoded: more replies may follow.
            self.state = DumpState::Ended;
            let content = self.socket.next_content(command, self.sequence).inspect_err(|error| {
                if let Error::Decode { .. } = error {
                    self.state = DumpState::Broken;
                }
            })?;
            let refusal = match content {
                Content::Data { attributes, .. } => {
                    let item = read(attributes);
                    self.state = if item.is_ok() { DumpState::Running } else { DumpState::Broken };
                    return item.map(Some).map_err(|error| Error::Decode { command, error });
                }
                Content::Done | Content::Other => {
                    self.state = DumpState::Running;
                    continue;
                }
                Content::End(refusal) => {
                    return refusal.map_or(Ok(None), |refusal| Err(Error::Refused { command, refusal }));
                }
                Content::Refused(refusal) => refusal,
            };
            if !fresh || !self.socket.send_again_after(&refusal, command)? {
                return Err(Error::Refused { command, refusal });
            }
            self.state = DumpState::Running;
        }
        Ok(None)
    }
}

impl Iterator for Dump<'_> {
    type Item = Result<CommandAttrs, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(CommandAttrs::read).transpose()
    }
}

/// Receives the remaining replies. The kernel refuses the next dump on the socket with `EBUSY` until this one has
/// ended.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c> (`__netlink_dump_start`)
impl Drop for Dump<'_> {
    fn drop(&mut self) {
        while self.state != DumpState::Ended {
            match self.socket.next_content(self.command, self.sequence) {
                Ok(Content::End(_) | Content::Refused(_)) => self.state = DumpState::Ended,
                Ok(_) | Err(Error::Decode { .. }) => {}
                Err(_) => self.state = DumpState::Ended,
            }
        }
    }
}
