//! Encoding of requests and decoding of replies, without a socket: for programs with sockets of their own, such as
//! those of an async runtime.
//!
//! A program sends [`encode_family_lookup`] first, and gets the number of the family with [`family_id`]. It then sends
//! what [`encode`] writes, and reads each datagram with [`replies`]. The example `async_fd` does so on tokio. Some
//! rules are not visible in the messages:
//!
//! - The kernel replies within the system call that sends a request.
//! - A dump has several datagrams of up to 32 KiB, and ends with [`Content::End`]. A socket has one dump at a time.
//! - The number of the family changes when the module is loaded again. A request to the old number is refused with
//!   `ENOENT`.
//! - A socket has room for the replies to about 128 refused requests ([`Socket`](crate::Socket) does not send more at
//!   once).

use crate::decode_error::DecodeError;
use crate::error::{Error, Refusal};
use crate::family::{self, FamilyAttrs};
use crate::netlink::*;
use crate::uapi::{Command, CommandAttrs, FAMILY_NAME, FAMILY_VERSION};
use crate::wire::{Attributes, Name, Wire, each_attribute};

/// A value that can be sent as a request: a command with attributes.
///
/// The attributes are written straight into the send buffer. Implement this for types whose attributes can be written
/// without building a [`CommandAttrs`].
pub trait ToRequest {
    /// Returns the command.
    fn command(&self) -> Command;

    /// Appends the attributes to `out`, and leaves the bytes that are there.
    fn write(&self, out: &mut Vec<u8>);
}

/// One command with its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The command.
    pub command: Command,
    /// The attributes: the service, destination or daemon to work on, and its settings.
    pub attributes: CommandAttrs,
}

impl Request {
    /// Returns a request without attributes.
    pub fn new(command: Command) -> Self {
        Self { command, attributes: CommandAttrs::default() }
    }
}

impl ToRequest for Request {
    fn command(&self) -> Command {
        self.command
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.attributes.write(out);
    }
}

impl<A: ToRequest> ToRequest for &A {
    fn command(&self) -> Command {
        (**self).command()
    }

    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Gets one item: the reply has [`Content::Data`].
    Get,
    /// Dumps a list: each item is a [`Content::Data`], and the last reply is [`Content::End`].
    #[doc(alias = "NLM_F_DUMP")]
    Dump,
    /// Changes something: the reply is [`Content::Done`] or [`Content::Refused`].
    #[doc(alias = "NLM_F_ACK")]
    Change,
}

impl Mode {
    /// Checks that a command can be sent in this way.
    pub(crate) fn check(self, command: Command) -> Result<(), Error> {
        let (is_valid, why) = match self {
            Self::Get => (command.is_get(), "it gets no item"),
            Self::Dump => (command.is_dump(), "it dumps no list"),
            Self::Change => (command.is_change(), "it changes nothing"),
        };
        if is_valid { Ok(()) } else { Err(Error::NotSent { command, why }) }
    }
}

/// Appends a request to `out`: a whole netlink message. Several can be sent with one system call.
///
/// `family` is the number of the family ([`family_id`]). The replies have the same `sequence`.
///
/// # Errors
///
/// Fails with [`Error::NotSent`] if the command is of another kind, or if the message has more than 65,535 bytes. Then
/// nothing is appended.
pub fn encode(
    out: &mut Vec<u8>,
    request: &impl ToRequest,
    mode: Mode,
    family: u16,
    sequence: u32,
) -> Result<(), Error> {
    mode.check(request.command())?;
    let flags = match mode {
        Mode::Get => 0,
        Mode::Dump => NLM_F_DUMP,
        Mode::Change => NLM_F_ACK,
    };
    append(out, request, family, flags, sequence)
}

/// Appends a request with any flags.
pub(crate) fn append(
    out: &mut Vec<u8>,
    request: &impl ToRequest,
    family: u16,
    flags: u16,
    sequence: u32,
) -> Result<(), Error> {
    let command = request.command();
    let start = out.len();
    let head = Head { family, flags, sequence, command: command.number(), version: FAMILY_VERSION };
    write_message(out, head, |out| request.write(out));
    // Within this limit, the length of every attribute fits into its 16 bits.
    if out.len() - start > usize::from(u16::MAX) {
        out.truncate(start);
        return Err(Error::NotSent { command, why: "it has more than 65,535 bytes" });
    }
    Ok(())
}

/// Appends the request for the number of the family `IPVS`. It makes the kernel load the module `ip_vs`. The reply is
/// [`Content::Data`] for [`family_id`], or [`Content::Refused`] with `ENOENT` if the kernel has no IPVS.
#[doc(alias = "CTRL_CMD_GETFAMILY")]
pub fn encode_family_lookup(out: &mut Vec<u8>, sequence: u32) {
    let attributes = FamilyAttrs { name: Name::new(FAMILY_NAME.as_bytes()), ..Default::default() };
    let head = Head {
        family: family::GENL_ID_CTRL,
        flags: 0,
        sequence,
        command: family::CTRL_CMD_GETFAMILY,
        version: family::CTRL_VERSION,
    };
    write_message(out, head, |out| attributes.write(out));
}

/// Returns the number of the family from the attributes of a reply.
///
/// # Errors
///
/// Fails if the bytes are not the attributes of a reply to [`encode_family_lookup`].
pub fn family_id(attributes: &[u8]) -> Result<u16, DecodeError> {
    FamilyAttrs::read(attributes)?.id.ok_or(DecodeError::new("no family id"))
}

/// The headers of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) family: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) command: u8,
    pub(crate) version: u8,
}

pub(crate) const NETLINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

impl Head {
    /// Returns the netlink header and the generic netlink header. The length is filled in later.
    fn to_bytes(self) -> [u8; NETLINK_HEADER + GENERIC_HEADER] {
        let mut bytes = [0; NETLINK_HEADER + GENERIC_HEADER];
        bytes[4..6].copy_from_slice(&self.family.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | self.flags).to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        bytes[NETLINK_HEADER..][..2].copy_from_slice(&[self.command, self.version]);
        bytes
    }
}

/// Appends a message to `out`. `attributes` appends its attributes.
// `NlmsghdrBuilder` of the crate neli is not used: it needs the length of a message before it is written. Measuring and
// building took 300 instructions, about as many as writing all attributes.
pub(crate) fn write_message(out: &mut Vec<u8>, head: Head, attributes: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&head.to_bytes());
    attributes(out);
    // `append` refuses messages whose length has more than 16 bits.
    let length = out.len() - start;
    out[start..start + 4].copy_from_slice(&(length as u32).to_ne_bytes());
    // Attributes are padded. Other bytes would shift the next message.
    if !length.is_multiple_of(4) {
        out.resize(start + length.next_multiple_of(4), 0);
    }
}

/// A message from the kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The sequence number of the request.
    pub sequence: u32,
    /// The content, by the type of the message.
    pub content: Content<'a>,
}

/// The content of a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The request was carried out (ACK).
    Done,
    /// The request was refused.
    Refused(Refusal),
    /// The dump ended, with the refusal if it failed.
    End(Option<Refusal>),
    /// The data that was requested.
    Data {
        /// The command number of the reply, which determines the table of its attributes.
        command: u8,
        /// The bytes of the attributes.
        attributes: &'a [u8],
    },
    /// A message that is ignored (`NLMSG_NOOP`, `NLMSG_OVERRUN`).
    Other,
}

/// Iterates over the replies in a datagram. After an invalid length it returns an error and ends.
///
/// [`CommandAttrs`] and [`InfoAttrs`](crate::uapi::InfoAttrs) read the attributes of [`Content::Data`].
pub fn replies(mut bytes: &[u8]) -> impl Iterator<Item = Result<Reply<'_>, DecodeError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let frame = Frame::split(bytes);
        bytes = frame.as_ref().map_or(&[], |frame| frame.rest);
        Some(frame.and_then(|frame| frame.reply()))
    })
}

/// A netlink message, split off the front of a datagram.
// neli's `Nlmsghdr::from_bytes` is not used: it expects the echo of the request, which NETLINK_CAP_ACK omits from a
// refusal, and it subtracts lengths unchecked.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    message_type: u16,
    flags: u16,
    pub(crate) sequence: u32,
    body: &'a [u8],
    pub(crate) rest: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(crate) fn split(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let header: &[u8; NETLINK_HEADER] = bytes.first_chunk().ok_or(DecodeError::new("netlink header cut short"))?;
        let len = u32_at(header, 0) as usize;
        Ok(Self {
            message_type: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32_at(header, 8),
            body: bytes.get(NETLINK_HEADER..len).ok_or(DecodeError::new("invalid netlink message length"))?,
            rest: bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]),
        })
    }

    pub(crate) fn reply(&self) -> Result<Reply<'a>, DecodeError> {
        let content = match self.message_type {
            NLMSG_ERROR => match errno(self.body)? {
                0 => Content::Done,
                errno => Content::Refused(self.refusal(errno, self.extended_ack())),
            },
            // A kernel may omit the error number.
            NLMSG_DONE if self.body.is_empty() => Content::End(None),
            NLMSG_DONE => match errno(self.body)? {
                errno if errno < 0 => Content::End(Some(self.refusal(errno, &self.body[4..]))),
                _ => Content::End(None),
            },
            NLMSG_NOOP | NLMSG_OVERRUN => Content::Other,
            _ => {
                let (generic, attributes) = self
                    .body
                    .split_at_checked(GENERIC_HEADER)
                    .ok_or(DecodeError::new("generic netlink header cut short"))?;
                Content::Data { command: generic[0], attributes }
            }
        };
        Ok(Reply { sequence: self.sequence, content })
    }

    /// Returns the attributes of the extended ACK, which follow the echo of the request in `struct nlmsgerr`.
    ///
    /// The echo is the header of the request if it is capped, and the whole request otherwise.
    /// <https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c> (`netlink_ack`)
    fn extended_ack(&self) -> &'a [u8] {
        let echo = self.body.get(4..).unwrap_or(&[]);
        let echoed = if self.flags & NLM_F_CAPPED != 0 { NETLINK_HEADER } else { u32_at(echo, 0) as usize };
        echo.get(echoed.next_multiple_of(4)..).unwrap_or(&[])
    }

    fn refusal(&self, errno: i32, extended: &[u8]) -> Refusal {
        const MESSAGE: u16 = 1;
        const OFFSET: u16 = 2;
        let mut refusal = Refusal { errno: errno.saturating_neg(), message: None, offset: None };
        if self.flags & NLM_F_ACK_TLVS != 0 {
            // The explanation is optional, so one that cannot be decoded is ignored.
            let _ = each_attribute(extended, |number, value| {
                match number {
                    MESSAGE => {
                        let text = value.split(|&byte| byte == 0).next().unwrap_or(value);
                        refusal.message = Some(String::from_utf8_lossy(text).into_owned());
                    }
                    OFFSET => refusal.offset = u32::read(value).ok(),
                    _ => {}
                }
                Ok(())
            });
        }
        refusal
    }
}

fn errno(body: &[u8]) -> Result<i32, DecodeError> {
    body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or(DecodeError::new("error number missing"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}
