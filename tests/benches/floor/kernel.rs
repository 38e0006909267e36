//! System calls, and messages of the IPVS netlink family.

use std::ffi::{c_int, c_long, c_uint, c_void};

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn send(socket: c_int, bytes: *const c_void, length: usize, flags: c_int) -> isize;
    fn setsockopt(socket: c_int, level: c_int, option: c_int, value: *const c_void, length: c_uint) -> c_int;
    fn recvmmsg(socket: c_int, messages: *mut Message, count: c_uint, flags: c_int, limit: *const c_long) -> c_int;
    fn open(path: *const u8, flags: c_int) -> c_int;
    fn read(file: c_int, bytes: *mut c_void, length: usize) -> isize;
    fn write(file: c_int, bytes: *const c_void, length: usize) -> isize;
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Part {
    start: *mut u8,
    length: usize,
}

/// `struct mmsghdr`, with a layout that is right for both the C library and the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    name: *mut c_void,
    name_length: u64,
    parts: *mut Part,
    part_count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: u64,
    length: u64,
}

const AF_NETLINK: c_int = 16;
const SOCK_RAW: c_int = 3;
const NETLINK_GENERIC: c_int = 16;
const SOL_NETLINK: c_int = 270;
const NETLINK_CAP_ACK: c_int = 10;
const MSG_WAITFORONE: c_int = 0x10000;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const REQUEST: u16 = 1;
pub(crate) const ACK: u16 = 4;
pub(crate) const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const AT_ONCE: usize = 8;
/// Size in bytes of the largest buffer for which the kernel allocates one page. Its own header needs up to 320 bytes.
const PAGE: usize = 4096 - 320;
/// Size in bytes of the largest datagram that the kernel sends.
const LARGEST: usize = 32 * 1024;

/// A netlink socket that receives datagrams of a page, and of the largest size once a list does not fit into these.
pub(crate) struct Socket {
    number: c_int,
    slot: usize,
    buffer: Vec<u8>,
}

impl Socket {
    pub(crate) fn new() -> Socket {
        // SAFETY: plain system calls.
        let number = unsafe { socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC) };
        let on: c_int = 1;
        // SAFETY: pointer and length are those of a live integer.
        unsafe { setsockopt(number, SOL_NETLINK, NETLINK_CAP_ACK, (&raw const on).cast(), 4) };
        assert!(number >= 0);
        Socket { number, slot: PAGE, buffer: Vec::with_capacity(LARGEST * AT_ONCE) }
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        // SAFETY: pointer and length are those of a slice.
        let sent = unsafe { send(self.number, bytes.as_ptr().cast(), bytes.len(), 0) };
        assert_eq!(sent, bytes.len() as isize);
    }

    /// Passes every message to `each` until `count` acknowledgements or ends of lists have been received.
    pub(crate) fn receive(&mut self, mut count: usize, mut each: impl FnMut(&[u8])) {
        while count > 0 {
            let start = self.buffer.as_mut_ptr();
            let none: *mut c_void = std::ptr::null_mut();
            let mut parts = [Part { start: none.cast(), length: self.slot }; AT_ONCE];
            let mut messages = [Message {
                name: none,
                name_length: 0,
                parts: none.cast(),
                part_count: 1,
                control: none,
                control_length: 0,
                flags: 0,
                length: 0,
            }; AT_ONCE];
            for (at, (message, part)) in messages.iter_mut().zip(&mut parts).enumerate() {
                // SAFETY: within the allocated buffer.
                part.start = unsafe { start.add(at * self.slot) };
                message.parts = part;
            }
            // SAFETY: every message has one part, and every part its own range of the buffer.
            let got = unsafe {
                recvmmsg(self.number, messages.as_mut_ptr(), AT_ONCE as c_uint, MSG_WAITFORONE, std::ptr::null())
            };
            assert!(got > 0);
            // If all slots are filled, it is a long list, of which more follows.
            let next = if got == AT_ONCE as c_int { LARGEST } else { self.slot };
            for (part, message) in parts.iter().zip(&messages[..got as usize]) {
                // SAFETY: the kernel has filled this number of bytes.
                let bytes = unsafe { std::slice::from_raw_parts(part.start, (message.length as u32) as usize) };
                count -= read_messages(bytes, &mut each);
            }
            self.slot = next;
        }
    }

    /// Returns the id of the IPVS family.
    pub(crate) fn family(&mut self) -> u16 {
        let mut message = Messages::new(GENL_ID_CTRL);
        message.start(CTRL_CMD_GETFAMILY, ACK);
        message.attribute(2, b"IPVS\0");
        message.end();
        self.send(&message.bytes);
        let mut family = 0;
        self.receive(1, |body| {
            attributes(&body[4..], |number, value| {
                if number == 1 {
                    family = u16_at(value, 0)
                }
            })
        });
        family
    }
}

/// Passes the messages of a datagram to `each`; returns the number of acknowledgements and ends of lists.
#[inline]
fn read_messages(mut bytes: &[u8], each: &mut impl FnMut(&[u8])) -> usize {
    let mut ends = 0;
    while bytes.len() >= 16 {
        let length = u32_at(bytes, 0) as usize;
        match u16_at(bytes, 4) {
            ERROR => {
                assert_eq!(u32_at(bytes, 16), 0, "refused");
                ends += 1;
            }
            DONE => ends += 1,
            _ => each(&bytes[16..length]),
        }
        bytes = bytes.get((length + 3) & !3..).unwrap_or(&[]);
    }
    ends
}

/// Messages that are sent together.
pub(crate) struct Messages {
    pub(crate) bytes: Vec<u8>,
    family: u16,
    start: usize,
}

impl Messages {
    pub(crate) fn new(family: u16) -> Messages {
        Messages { bytes: Vec::with_capacity(64 * 1024), family, start: 0 }
    }

    #[inline]
    pub(crate) fn start(&mut self, command: u8, flags: u16) {
        self.start = self.bytes.len();
        let mut header = [0; 20];
        header[4..6].copy_from_slice(&self.family.to_ne_bytes());
        header[6..8].copy_from_slice(&(REQUEST | flags).to_ne_bytes());
        header[16] = command;
        header[17] = 1;
        self.bytes.extend_from_slice(&header);
    }

    #[inline]
    pub(crate) fn end(&mut self) {
        let length = (self.bytes.len() - self.start) as u32;
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Requests an acknowledgement of the last message.
    pub(crate) fn request_ack(&mut self) {
        self.bytes[self.start + 6] |= ACK as u8;
    }

    #[inline]
    pub(crate) fn attribute(&mut self, number: u16, value: &[u8]) {
        self.header(number, value.len());
        self.bytes.extend_from_slice(value);
        self.bytes.resize((self.bytes.len() + 3) & !3, 0);
    }

    #[inline]
    pub(crate) fn fixed<const N: usize>(&mut self, number: u16, value: [u8; N]) {
        const { assert!(N.is_multiple_of(4)) };
        self.header(number, N);
        self.bytes.extend_from_slice(&value);
    }

    /// Begins a nested attribute. The result is the argument of [`Messages::close`].
    #[inline]
    pub(crate) fn open(&mut self, number: u16) -> usize {
        self.header(number, 0);
        self.bytes.len() - 4
    }

    #[inline]
    pub(crate) fn close(&mut self, at: usize) {
        let length = (self.bytes.len() - at) as u16;
        self.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
    }

    #[inline]
    fn header(&mut self, number: u16, length: usize) {
        let header = u32::from(number) << 16 | (length as u32 + 4);
        self.bytes.extend_from_slice(&header.to_ne_bytes());
    }
}

#[inline]
pub(crate) fn attributes<'a>(mut bytes: &'a [u8], mut each: impl FnMut(u16, &'a [u8])) {
    while bytes.len() >= 4 {
        let length = usize::from(u16_at(bytes, 0));
        each(u16_at(bytes, 2) & 0x3fff, &bytes[4..length]);
        bytes = bytes.get((length + 3) & !3..).unwrap_or(&[]);
    }
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Opens a file. The path must end with a NUL.
pub(crate) fn open_file(path: &[u8]) -> c_int {
    // SAFETY: the path ends with a NUL.
    let file = unsafe { open(path.as_ptr(), 0) };
    assert!(file >= 0);
    file
}

pub(crate) fn read_some(file: c_int, bytes: &mut [u8]) -> usize {
    // SAFETY: pointer and length are those of a slice.
    unsafe { read(file, bytes.as_mut_ptr().cast(), bytes.len()) as usize }
}

pub(crate) fn write_all(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: pointer and length are those of a slice.
        let written = unsafe { write(1, bytes.as_ptr().cast(), bytes.len()) };
        assert!(written > 0);
        bytes = &bytes[written as usize..];
    }
}
