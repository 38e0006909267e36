//! One netlink socket to the family: get, dump, submit.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use neli::consts::nl::NlmF;
use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::error::{DecodeError, Error, Refusal};
use crate::family::{self, FamilyAttrs};
use crate::inbox::Inbox;

use crate::message::{Content, Head, Request, ToRequest, readdress, request_ack, write_message};
use crate::namespace::Namespace;
use crate::sys;
use crate::uapi::{Command, CommandAttrs, FAMILY_NAME, FAMILY_VERSION};
use crate::wire::{Attributes, Name, Wire};

/// How many requests go out with one system call. The default receive buffer holds 237 answers (7.2; 277 on 6.1), so
/// all requests of a batch can fail and nothing is lost.
pub const BATCH: usize = 128;

/// The room for one datagram at first. The kernel makes the datagrams of a dump as large as the largest buffer that the
/// socket has shown, and at least so large that with its own bookkeeping (`struct skb_shared_info`: 320 bytes or more on
/// all machines of 64 bits) they fill a page: `NLMSG_GOODSIZE`. With one byte more it takes, and clears, two for each.
const DATAGRAM: usize = PAGE - 320;
const PAGE: usize = 4096;
/// The same on other machines: no kernel's least is larger.
const DATAGRAM_ELSEWHERE: usize = 8192;

/// The kernel answers within the system call that asks; a wait as long as this means that the answer is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A netlink socket that speaks to IPVS in the network namespace in which it was opened. One per thread.
pub struct Socket {
    netlink: NlSocket,
    /// The family's number. It changes with every reload of the module, so it is asked for again after an `ENOENT`.
    family: Option<u16>,
    sequence: u32,
    /// The bytes of the last requests, to be sent again should the family's number have changed.
    outbox: Vec<u8>,
    inbox: Inbox,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("family", &self.family).field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Socket {
    /// Connect in the namespace of the calling thread. Nothing is asked of the kernel yet; with the first request it
    /// loads the module ip_vs by itself.
    pub fn open() -> Result<Self, Error> {
        let fits = cfg!(target_pointer_width = "64") && sys::page_size() == PAGE;
        Self::open_with_datagram_size(if fits { DATAGRAM } else { DATAGRAM_ELSEWHERE })
    }

    /// Connect in another namespace. The calling thread's is left as it was.
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        namespace.within(Self::open)?
    }

    /// Connect, with room for datagrams of that many bytes at first. After a dump of many datagrams, or one that was
    /// larger, there is room for the largest that the kernel makes: 32 KiB.
    ///
    /// What is larger is cut, and an error: [`open`](Self::open) has room for what the kernel makes at least.
    #[doc(hidden)]
    pub fn open_with_datagram_size(bytes: usize) -> Result<Self, Error> {
        let socket = NlSocket::new(NlFamily::Generic).map_err(Error::Socket)?;
        socket.enable_ext_ack(true).map_err(Error::Socket)?;
        sys::cap_ack(sys::borrow(&socket)).map_err(Error::Socket)?;
        set_socket_timeout(sys::borrow(&socket), Timeout::Recv, Some(PATIENCE)).map_err(|e| Error::Socket(e.into()))?;
        Ok(Self { netlink: socket, family: None, sequence: 0, outbox: Vec::new(), inbox: Inbox::new(bytes) })
    }

    /// Connect once more in the namespace of the calling thread, for the family that this connection knows already.
    #[doc(hidden)]
    pub fn open_again(&self) -> Result<Self, Error> {
        Ok(Self { family: self.family, ..Self::open()? })
    }

    /// Whether there has been a dump of many datagrams. From then on the kernel makes large ones for this connection,
    /// and clears each: right for another such dump, and several times too much for short ones.
    #[doc(hidden)]
    pub fn expects_large_datagrams(&self) -> bool {
        self.inbox.is_large()
    }

    /// The network namespace that the connection was opened in. Since 4.10, and only for those who have CAP_NET_ADMIN in
    /// it.
    pub fn namespace(&self) -> io::Result<OwnedFd> {
        sys::namespace(sys::borrow(&self.netlink))
    }

    /// ToRequest for one thing: [`Command::GetService`], [`Command::GetConfig`] or [`Command::GetInfo`].
    pub fn get<A: Attributes>(&mut self, request: &Request) -> Result<A, Error> {
        self.get_with(request, A::read)
    }

    /// The same; `read` makes of the attributes what it wants.
    pub fn get_with<T>(
        &mut self,
        request: &Request,
        read: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<T, Error> {
        let command = request.command;
        let sequence = self.send_alone(request, NlmF::empty())?;
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

    /// ToRequest for a whole list: [`Command::GetService`], [`Command::GetDest`] or [`Command::GetDaemon`].
    ///
    /// What changes meanwhile may be missing or come twice, and nothing says so. Since 7.1 that is true of services that
    /// nobody touches, too, for a moment after others came or went: the kernel fits its table to their number. A list
    /// that comes twice in the same order is whole.
    ///
    /// A dump that is dropped before its end is read to the end.
    pub fn dump(&mut self, request: &Request) -> Result<Dump<'_>, Error> {
        let sequence = self.send_alone(request, NlmF::DUMP)?;
        Ok(Dump { command: request.command, sequence, state: DumpState::Fresh, socket: self })
    }

    /// Carry out requests in order, in batches, and answer which of them the kernel refused, by index. A refusal does
    /// not keep the requests behind it from being carried out.
    ///
    /// An `Err` means that it is not known how far the work has come.
    pub fn submit<R: ToRequest>(
        &mut self,
        requests: impl IntoIterator<Item = R>,
    ) -> Result<Vec<(usize, Error)>, Error> {
        let mut requests = requests.into_iter();
        let mut commands = Vec::with_capacity(BATCH);
        let mut refused = Vec::new();
        let mut done = 0;
        loop {
            commands.clear();
            let first = self.write_batch(requests.by_ref().take(BATCH), &mut commands)?;
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

    /// Write up to [`BATCH`] requests to the outbox; answers the sequence number of the first.
    ///
    /// A failed request is answered even without `NLM_F_ACK`, so only the last asks for an answer: a fence behind which
    /// every error has been said (netlink_rcv_skb, af_netlink.c).
    fn write_batch(
        &mut self,
        requests: impl Iterator<Item = impl ToRequest>,
        commands: &mut Vec<Command>,
    ) -> Result<u32, Error> {
        /// More than most requests take.
        const REQUEST: usize = 160;
        self.outbox.clear();
        self.outbox.reserve(requests.size_hint().0 * REQUEST);
        let mut first = self.sequence.wrapping_add(1);
        let mut last = 0;
        for request in requests {
            let command = request.command();
            if commands.is_empty() {
                // Takes a number of its own, so before the first is known.
                self.family(command)?;
                first = self.sequence.wrapping_add(1);
            }
            commands.push(command);
            last = self.outbox.len();
            self.write(&request, NlmF::empty())?;
        }
        match commands.last() {
            // Stopping a daemon whose thread has not run yet succeeds without any answer (EINTR), so it is no fence.
            Some(Command::DelDaemon) => drop(self.write(&Request::new(Command::GetInfo), NlmF::ACK)?),
            Some(_) => request_ack(&mut self.outbox[last..]),
            None => {}
        }
        Ok(first)
    }

    /// Read answers up to the fence: the refusals, by index in the batch.
    fn read_batch(&mut self, first: u32, commands: &[Command]) -> Result<Vec<(usize, Refusal)>, Error> {
        let last = *commands.last().unwrap_or(&Command::GetInfo);
        let fence = commands.len() - usize::from(last != Command::DelDaemon);
        let mut refusals = Vec::new();
        loop {
            self.fill_inbox(last)?;
            let reply = self.inbox.next_reply().map_err(|error| Error::Decode { command: last, error })?;
            let index = reply.sequence.wrapping_sub(first) as usize;
            match reply.content {
                // An answer to something older, given up long ago.
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

    fn write(&mut self, request: &impl ToRequest, flags: NlmF) -> Result<u32, Error> {
        let command = request.command();
        let family = self.family(command)?;
        self.sequence = self.sequence.wrapping_add(1);
        let head = Head { family, flags, sequence: self.sequence, command: command.number(), version: FAMILY_VERSION };
        write_message(&mut self.outbox, head, |out| request.write(out));
        Ok(self.sequence)
    }

    fn family(&mut self, command: Command) -> Result<u16, Error> {
        match self.family {
            Some(family) => Ok(family),
            None => self.resolve(command),
        }
    }

    fn send_alone(&mut self, request: &Request, flags: NlmF) -> Result<u32, Error> {
        self.outbox.clear();
        let sequence = self.write(request, flags)?;
        self.send_outbox()?;
        Ok(sequence)
    }

    fn send_outbox(&self) -> Result<(), Error> {
        send(&self.netlink, &self.outbox)
    }

    /// `ENOENT` may mean that the module was loaded anew and the family has another number. If so, send the same bytes
    /// to the new one.
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

    /// ToRequest the controller for the family's number; the kernel loads ip_vs for that, should it not be there yet.
    fn resolve(&mut self, command: Command) -> Result<u16, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let attributes = FamilyAttrs { name: Name::new(FAMILY_NAME.as_bytes()), ..Default::default() };
        let sequence = self.sequence;
        let head = Head {
            family: family::GENL_ID_CTRL,
            flags: NlmF::empty(),
            sequence,
            command: family::CTRL_CMD_GETFAMILY,
            version: family::CTRL_VERSION,
        };
        let mut message = Vec::new();
        write_message(&mut message, head, |out| attributes.write(out));
        send(&self.netlink, &message)?;
        loop {
            match self.next_content(command, sequence)? {
                Content::Data { attributes, .. } => {
                    let family = FamilyAttrs::read(attributes)
                        .and_then(|family| family.id.ok_or(DecodeError::new("no family id")))
                        .map_err(|error| Error::Decode { command, error })?;
                    self.family = Some(family);
                    return Ok(family);
                }
                Content::Refused(refusal) if refusal.errno == libc::ENOENT => return Err(Error::NoFamily),
                Content::Refused(refusal) => return Err(Error::Refused { command, refusal }),
                _ => {}
            }
        }
    }

    /// Wait for the next answer to that request; answers to others are read over.
    fn next_content(&mut self, command: Command, sequence: u32) -> Result<Content<'_>, Error> {
        loop {
            self.fill_inbox(command)?;
            if self.inbox.is_next_for(sequence) {
                break;
            }
            // Belongs to something that was given up.
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

/// The answers of a dump, one item each.
#[derive(Debug)]
pub struct Dump<'a> {
    socket: &'a mut Socket,
    command: Command,
    sequence: u32,
    state: DumpState,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum DumpState {
    /// No answer yet: a stale family number may still show.
    Fresh,
    Running,
    /// An answer could not be read: no more of them are given out, but they are read to their end.
    Broken,
    Ended,
}

impl Dump<'_> {
    /// The next answer, of whose attributes ([`CommandAttrs`]) `read` makes what it wants; `None` at the end.
    #[inline]
    pub fn next_with<T>(&mut self, read: impl FnOnce(&[u8]) -> Result<T, DecodeError>) -> Result<Option<T>, Error> {
        let command = self.command;
        while matches!(self.state, DumpState::Fresh | DumpState::Running) {
            let fresh = self.state == DumpState::Fresh;
            // Whatever goes wrong ends it, but for an answer that cannot be read: more of them may come.
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

/// The kernel refuses a second dump on a socket (`EBUSY`) as long as the first has not been read to its end.
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
