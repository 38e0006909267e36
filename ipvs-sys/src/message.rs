//! Request → bytes, bytes → answers.

use neli::consts::nl::{NlmF, Nlmsg};

use crate::error::{DecodeError, Refusal};

use crate::uapi::{Command, CommandAttrs};
use crate::wire::{Attributes, Wire, each_attribute};

/// What the family can be asked: a command, and attributes that are written to where they are sent from.
pub trait ToRequest {
    /// What to do.
    fn command(&self) -> Command;

    /// Append the attributes: to what, and how.
    fn write(&self, out: &mut Vec<u8>);
}

/// One command with its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// To what, and how.
    pub attributes: CommandAttrs,
}

impl Request {
    /// A command that needs no attributes.
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

/// What stands in front of a request's attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) family: u16,
    pub(crate) flags: NlmF,
    pub(crate) sequence: u32,
    pub(crate) command: u8,
    pub(crate) version: u8,
}

const NETLINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

impl Head {
    /// Netlink header and generic-netlink header; the length is filled in later.
    fn to_bytes(self) -> [u8; NETLINK_HEADER + GENERIC_HEADER] {
        let mut bytes = [0; NETLINK_HEADER + GENERIC_HEADER];
        bytes[4..6].copy_from_slice(&self.family.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NlmF::REQUEST | self.flags).bits().to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        bytes[NETLINK_HEADER..][..2].copy_from_slice(&[self.command, self.version]);
        bytes
    }
}

/// Append a whole message to `out`; `attributes` appends what stands in it.
// Not with neli's `NlmsghdrBuilder`: that wants to know a message's length before it is written, and to measure and build
// it took 300 instructions, about as many as writing all attributes takes.
pub(crate) fn write_message(out: &mut Vec<u8>, head: Head, attributes: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&head.to_bytes());
    attributes(out);
    // The lengths within are of 16 bits: a message too long for 32 cannot be made.
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// One message of the kernel's.
#[doc(hidden)]
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The number of the request that it answers.
    pub sequence: u32,
    /// What it says.
    pub content: Content<'a>,
}

/// What an answer says.
#[doc(hidden)]
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The request was carried out (an ACK).
    Done,
    /// The request was refused.
    Refused(Refusal),
    /// The end of a dump, well or not.
    End(Option<Refusal>),
    /// Data: the command of the answer and its attributes.
    Data {
        /// Command number of the answer.
        command: u8,
        /// The attributes, to be read with the list that belongs to the command.
        attributes: &'a [u8],
    },
    /// Nothing of interest.
    Other,
}

/// The answers in the bytes of one datagram; ends with the first that cannot be read.
#[doc(hidden)]
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

/// One netlink message, taken off the front of a datagram.
// neli's own `Nlmsghdr::from_bytes` is not used here: it wants the echo of the request that CAP_ACK leaves out of an
// error answer, and it subtracts lengths unchecked.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    message_type: u16,
    flags: NlmF,
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
            flags: NlmF::from_bits_truncate(u16::from_ne_bytes([header[6], header[7]])),
            sequence: u32_at(header, 8),
            body: bytes.get(NETLINK_HEADER..len).ok_or(DecodeError::new("netlink message length"))?,
            rest: bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]),
        })
    }

    pub(crate) fn reply(&self) -> Result<Reply<'a>, DecodeError> {
        let content = match Nlmsg::from(self.message_type) {
            Nlmsg::Error => match errno(self.body)? {
                0 => Content::Done,
                errno => Content::Refused(self.refusal(errno, self.behind_echo())),
            },
            // A kernel may leave the error number out.
            Nlmsg::Done if self.body.is_empty() => Content::End(None),
            Nlmsg::Done => match errno(self.body)? {
                errno if errno < 0 => Content::End(Some(self.refusal(errno, &self.body[4..]))),
                _ => Content::End(None),
            },
            Nlmsg::Noop | Nlmsg::Overrun => Content::Other,
            _ => {
                let (generic, attributes) = self
                    .body
                    .split_at_checked(GENERIC_HEADER)
                    .ok_or(DecodeError::new("generic-netlink header cut short"))?;
                Content::Data { command: generic[0], attributes }
            }
        };
        Ok(Reply { sequence: self.sequence, content })
    }

    /// What follows the echo of the request in a `struct nlmsgerr`: the attributes of the extended ACK. The echo is the
    /// request's header alone if it was capped, else the whole request.
    fn behind_echo(&self) -> &'a [u8] {
        let echo = self.body.get(4..).unwrap_or(&[]);
        let echoed = if self.flags.contains(NlmF::CAPPED) { NETLINK_HEADER } else { u32_at(echo, 0) as usize };
        echo.get(echoed.next_multiple_of(4)..).unwrap_or(&[])
    }

    fn refusal(&self, errno: i32, extended: &[u8]) -> Refusal {
        const MESSAGE: u16 = 1;
        const OFFSET: u16 = 2;
        let mut refusal = Refusal { errno: errno.saturating_neg(), message: None, offset: None };
        if self.flags.contains(NlmF::ACK_TLVS) {
            // What cannot be read here is only an explanation: leave it out.
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

/// Have the message at the start of `bytes` answered also if all is well.
pub(crate) fn request_ack(bytes: &mut [u8]) {
    let ack = NlmF::ACK.bits().to_ne_bytes();
    bytes.iter_mut().skip(6).zip(ack).for_each(|(byte, flag)| *byte |= flag);
}

/// Address the messages in `bytes` to another family.
pub(crate) fn readdress(bytes: &mut [u8], family: u16) {
    let mut at = 0;
    while let Some(message) = bytes.get_mut(at..).filter(|rest| rest.len() >= NETLINK_HEADER) {
        message[4..6].copy_from_slice(&family.to_ne_bytes());
        at += (u32_at(message, 0) as usize).next_multiple_of(4).max(NETLINK_HEADER);
    }
}

fn errno(body: &[u8]) -> Result<i32, DecodeError> {
    body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or(DecodeError::new("error number missing"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}
