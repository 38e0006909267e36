//! Conversion between attribute values and their bytes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::decode_error::DecodeError;

/// A value that a netlink attribute can carry.
pub trait Wire: Sized {
    /// The value as a visitor receives it: decoded, or the undecoded bytes of a nested list.
    type View<'a>;

    /// Appends the value to `out`, as attribute `number`.
    fn write_as(&self, number: u16, out: &mut Vec<u8>);
    /// Decodes the value. Extra bytes are ignored, as the kernel ignores them.
    ///
    /// # Errors
    ///
    /// Fails if there are too few bytes, or if they are not a value of this type.
    fn read(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// Decodes the value for a visitor.
    ///
    /// # Errors
    ///
    /// Fails as [`read`](Self::read) does. A nested list never fails.
    fn view(bytes: &[u8]) -> Result<Self::View<'_>, DecodeError>;
}

/// The view of a value that is not a nested list: the decoded value.
macro_rules! view_is_value {
    () => {
        type View<'a> = Self;

        #[inline]
        fn view(bytes: &[u8]) -> Result<Self, DecodeError> {
            Self::read(bytes)
        }
    };
}

/// A list of attributes. The macro `attributes!` implements it for each table of [`uapi`](crate::uapi).
pub trait Attributes: Wire + Default + fmt::Debug {
    /// The number and the kernel's name of every attribute.
    const TABLE: &'static [(u16, &'static str)];

    /// Appends the attributes that are present to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// Calls `each` with the number and the bytes of each attribute, in order.
    ///
    /// If a number occurs twice, the kernel uses the last value.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not a list of attributes, or if `each` fails. The error names the attribute.
    #[inline]
    fn each<'a>(
        bytes: &'a [u8],
        mut each: impl FnMut(u16, &'a [u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        #[cold]
        fn name(table: &[(u16, &'static str)], number: u16) -> &'static str {
            table.iter().find(|(known, _)| *known == number).map_or("an unknown attribute", |(_, name)| name)
        }
        each_attribute(bytes, |number, value| {
            each(number, value).map_err(|error| error.inside(name(Self::TABLE, number)))
        })
    }
}

const HEADER: usize = 4;
/// The bits of an attribute type that are its number. The two highest bits are flags (`NLA_F_NESTED`,
/// `NLA_F_NET_BYTEORDER`), which some kernels set.
/// <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/netlink.h>
const TYPE_MASK: u16 = 0x3fff;

fn padded(len: usize) -> usize {
    (len + 3) & !3
}

/// Appends attribute `number` to `out`. `write` appends its value.
///
/// The length of an attribute has 16 bits. A value of more than 65,531 bytes makes a list that cannot be decoded.
/// [`encode`](crate::message::encode) and the socket refuse requests of that size.
pub fn write_attribute(out: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = open_attribute(out, number);
    write(out);
    close_attribute(out, start);
}

/// Begins an attribute: bytes appended from now on are its value. Returns its position, for [`close_attribute`].
#[inline]
pub(crate) fn open_attribute(out: &mut Vec<u8>, number: u16) -> usize {
    let start = out.len();
    let [number0, number1] = number.to_ne_bytes();
    out.extend_from_slice(&[0, 0, number0, number1]);
    start
}

/// Ends the attribute that begins at `start`: fills in its length and pads it to 4 bytes.
#[inline]
pub(crate) fn close_attribute(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    // A list of 64 KiB, built by hand, wraps around. The socket does not send messages of that size.
    out[start..start + 2].copy_from_slice(&(len as u16).to_ne_bytes());
    if !len.is_multiple_of(4) {
        out.resize(start + padded(len), 0);
    }
}

/// Appends an attribute whose value is short and has a fixed length.
///
/// The attribute is built on the stack first. So the capacity of `out` is checked once, and no length has to be filled
/// in later.
#[inline]
fn write_fixed<const LEN: usize>(out: &mut Vec<u8>, number: u16, value: [u8; LEN]) {
    const LONGEST: usize = 16;
    const { assert!(LEN <= LONGEST) };
    let mut attribute = [0; HEADER + LONGEST];
    attribute[..2].copy_from_slice(&((HEADER + LEN) as u16).to_ne_bytes());
    attribute[2..4].copy_from_slice(&number.to_ne_bytes());
    attribute[HEADER..HEADER + LEN].copy_from_slice(&value);
    out.extend_from_slice(&attribute[..padded(HEADER + LEN)]);
}

/// Calls `each` with the number and the bytes of each attribute.
#[inline]
pub(crate) fn each_attribute<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(u16, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while let [len0, len1, type0, type1, ..] = *bytes {
        let len = usize::from(u16::from_ne_bytes([len0, len1]));
        let Some(value) = bytes.get(HEADER..len) else { return Err(DecodeError::new("invalid attribute length")) };
        each(u16::from_ne_bytes([type0, type1]) & TYPE_MASK, value)?;
        // The padding after the last attribute may be missing.
        bytes = &bytes[padded(len).min(bytes.len())..];
    }
    if bytes.is_empty() { Ok(()) } else { Err(DecodeError::new("extra bytes after the last attribute")) }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.first_chunk().copied().ok_or(DecodeError::new("value too short"))
}

macro_rules! integers {
    ($($int:ty),*) => { $(
        impl Wire for $int {
            view_is_value!();
            fn write_as(&self, number: u16, out: &mut Vec<u8>) { write_fixed(out, number, self.to_ne_bytes()); }
            fn read(bytes: &[u8]) -> Result<Self, DecodeError> { exactly(bytes).map(<$int>::from_ne_bytes) }
        }
    )* };
}
integers!(u8, u16, u32);

/// A 16-bit number in network byte order. The field is the number itself: port 80 is `Be16(80)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Be16(pub u16);

impl Wire for Be16 {
    view_is_value!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_fixed(out, number, self.0.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes).map(|bytes| Self(u16::from_be_bytes(bytes)))
    }
}

/// A counter of 32 or 64 bits. In `IPVS_*_ATTR_STATS` only the byte counters have 64 bits, in `IPVS_*_ATTR_STATS64` all
/// counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(pub u64);

impl Wire for Counter {
    view_is_value!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_fixed(out, number, self.0.to_ne_bytes());
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.first_chunk() {
            Some(bytes) => Ok(Self(u64::from_ne_bytes(*bytes))),
            None => u32::read(bytes).map(|short| Self(short.into())),
        }
    }
}

/// An IPv4 or IPv6 address in 16 bytes. An IPv4 address is in the first four; another attribute has the address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(pub [u8; 16]);

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&address.octets());
        Self(bytes)
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self(address.octets())
    }
}

impl Address {
    /// Returns the first four bytes as an IPv4 address.
    pub fn v4(&self) -> Ipv4Addr {
        let [a, b, c, d, ..] = self.0;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Returns all 16 bytes as an IPv6 address.
    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.0)
    }
}

impl Wire for Address {
    view_is_value!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_fixed(out, number, self.0);
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        if let Some(address) = bytes.first_chunk() {
            return Ok(Self(*address));
        }
        if bytes.len() < 4 {
            return Err(DecodeError::new("address too short"));
        }
        let mut address = [0; 16];
        address[..bytes.len()].copy_from_slice(bytes);
        Ok(Self(address))
    }
}

impl Wire for Ipv4Addr {
    view_is_value!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_fixed(out, number, self.octets());
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly::<4>(bytes).map(Self::from)
    }
}

impl Wire for Ipv6Addr {
    view_is_value!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_fixed(out, number, self.octets());
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly::<16>(bytes).map(Self::from)
    }
}

/// Flag bits with the mask of those to change.
#[doc(alias = "ip_vs_flags")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlagsMask {
    /// The values of the bits, `IP_VS_SVC_F_*`.
    pub flags: u32,
    /// The bits to change. The kernel keeps the values of the others. A reply has all bits set.
    pub mask: u32,
}

impl Wire for FlagsMask {
    view_is_value!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        let [f0, f1, f2, f3] = self.flags.to_ne_bytes();
        let [m0, m1, m2, m3] = self.mask.to_ne_bytes();
        write_fixed(out, number, [f0, f1, f2, f3, m0, m1, m2, m3]);
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let flags = u32::read(bytes)?;
        let mask = bytes.get(4..).unwrap_or(&[]);
        Ok(Self { flags, mask: u32::read(mask)? })
    }
}

/// The name of a scheduler, persistence engine or network interface: 0 to 16 bytes without NUL, in any encoding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    // The bytes after `len` are zero, so the derived comparisons compare the text.
    bytes: [u8; Name::MAX],
    len: u8,
}

impl Name {
    /// The length of the longest name, in bytes. Schedulers and interfaces have at most 15.
    pub const MAX: usize = 16;

    /// Returns the name, or `None` if `text` is longer than [`MAX`](Self::MAX) or contains a NUL.
    pub const fn new(text: &[u8]) -> Option<Self> {
        if text.len() > Self::MAX {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        let mut i = 0;
        while i < text.len() {
            if text[i] == 0 {
                return None;
            }
            bytes[i] = text[i];
            i += 1;
        }
        Some(Self { bytes, len: text.len() as u8 })
    }

    /// Returns the bytes of the name, without a NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns the name padded with zeros. A copy of a fixed length is faster than [`as_bytes`](Self::as_bytes).
    pub fn padded(&self) -> &[u8; Self::MAX] {
        &self.bytes
    }

    /// Returns whether the name is empty, which means no scheduler or no persistence engine.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => f.pad(text),
            Err(_) => f.pad(&String::from_utf8_lossy(self.as_bytes())),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

impl Wire for Name {
    view_is_value!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_attribute(out, number, |out| {
            out.extend_from_slice(self.as_bytes());
            // The kernel refuses a name without a NUL with EINVAL: it is of type NLA_NUL_STRING in ip_vs_svc_policy,
            // https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c
            out.push(0);
        });
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Self::new(&bytes[..end]).ok_or(DecodeError::new("name too long"))
    }
}

/// Attributes that a table does not have, in the order of the message.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Unknown(Vec<(u16, Box<[u8]>)>);

impl Unknown {
    /// Returns whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the numbers and bytes of the attributes.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.0.iter().map(|(number, value)| (*number, &**value))
    }

    /// Appends an attribute. A request with more than 65,535 bytes is refused when it is sent.
    pub fn push(&mut self, number: u16, value: &[u8]) {
        self.0.push((number, value.into()));
    }

    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (number, value) in &self.0 {
            write_attribute(out, *number, |out| out.extend_from_slice(value));
        }
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(number, value)| (number, value))).finish()
    }
}
