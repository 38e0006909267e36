//! Bytes ↔ values of attributes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::DecodeError;

/// A value that an attribute can carry.
pub trait Wire: Sized {
    /// The value as a visitor of a list gets it: decoded, or the bytes if it is a list itself.
    type View<'a>;

    /// Append the value as the attribute of that number.
    fn write_as(&self, number: u16, out: &mut Vec<u8>);
    /// Read the value. More bytes than needed are accepted, as the kernel does.
    fn read(bytes: &[u8]) -> Result<Self, DecodeError>;
    /// Reads the value for a visitor.
    fn view(bytes: &[u8]) -> Result<Self::View<'_>, DecodeError>;
}

/// A value that is read in one piece, which all are but lists.
macro_rules! viewed_whole {
    () => {
        type View<'a> = Self;

        #[inline]
        fn view(bytes: &[u8]) -> Result<Self, DecodeError> {
            Self::read(bytes)
        }
    };
}

/// A list of attributes, made by the `attributes!` table.
pub trait Attributes: Wire + Default + fmt::Debug {
    /// Every attribute: number and the kernel's name.
    const TABLE: &'static [(u16, &'static str)];

    /// Append the attributes that are there.
    fn write(&self, out: &mut Vec<u8>);

    /// Call `each` with number and value of every attribute, for those who need few of them and no list. Of two with the
    /// same number the last counts, as in the kernel. An error names the attribute.
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
/// The two top bits of a type are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`); some kernels set them.
const TYPE_MASK: u16 = 0x3fff;

fn padded(len: usize) -> usize {
    (len + 3) & !3
}

/// Append one attribute whose value `write` appends.
pub fn write_attribute(out: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = open_attribute(out, number);
    write(out);
    close_attribute(out, start);
}

/// Begin an attribute: what is appended from here on is its value. Answers where it begins.
#[inline]
pub(crate) fn open_attribute(out: &mut Vec<u8>, number: u16) -> usize {
    let start = out.len();
    let [number0, number1] = number.to_ne_bytes();
    out.extend_from_slice(&[0, 0, number0, number1]);
    start
}

/// End an attribute: its length is known now.
#[inline]
pub(crate) fn close_attribute(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    // A list long enough to overflow cannot be made of these tables; it would show as a malformed message, not as a panic.
    out[start..start + 2].copy_from_slice(&(len as u16).to_ne_bytes());
    if !len.is_multiple_of(4) {
        out.resize(start + padded(len), 0);
    }
}

/// Append one attribute whose value is short and always as long. It is put together first: then there is one look
/// whether `out` has room for it, and no length to be filled in later.
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

/// Call `each` with number and value of every attribute.
#[inline]
pub(crate) fn each_attribute<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(u16, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while let [len0, len1, type0, type1, ..] = *bytes {
        let len = usize::from(u16::from_ne_bytes([len0, len1]));
        let Some(value) = bytes.get(HEADER..len) else { return Err(DecodeError::new("attribute length")) };
        each(u16::from_ne_bytes([type0, type1]) & TYPE_MASK, value)?;
        // The padding behind the last attribute may be missing.
        bytes = &bytes[padded(len).min(bytes.len())..];
    }
    if bytes.is_empty() { Ok(()) } else { Err(DecodeError::new("bytes behind the last attribute")) }
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.first_chunk().copied().ok_or(DecodeError::new("value too short"))
}

macro_rules! integers {
    ($($int:ty),*) => { $(
        impl Wire for $int {
            viewed_whole!();
            fn write_as(&self, number: u16, out: &mut Vec<u8>) { write_fixed(out, number, self.to_ne_bytes()); }
            fn read(bytes: &[u8]) -> Result<Self, DecodeError> { exactly(bytes).map(<$int>::from_ne_bytes) }
        }
    )* };
}
integers!(u8, u16, u32);

/// A 16-bit number in network byte order on the wire; here as a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Be16(pub u16);

impl Wire for Be16 {
    viewed_whole!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_fixed(out, number, self.0.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes).map(|bytes| Self(u16::from_be_bytes(bytes)))
    }
}

/// A counter: 32 bits in the old statistics, 64 in the new ones, told apart by length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(pub u64);

impl Wire for Counter {
    viewed_whole!();
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

/// An address of either family: 16 bytes, an IPv4 address in the first four. The family is said elsewhere.
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
    /// The address if the family is IPv4.
    pub fn v4(&self) -> Ipv4Addr {
        let [a, b, c, d, ..] = self.0;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The address if the family is IPv6.
    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.0)
    }
}

impl Wire for Address {
    viewed_whole!();
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
    viewed_whole!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_fixed(out, number, self.octets());
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly::<4>(bytes).map(Self::from)
    }
}

impl Wire for Ipv6Addr {
    viewed_whole!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_fixed(out, number, self.octets());
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly::<16>(bytes).map(Self::from)
    }
}

/// `struct ip_vs_flags`: the flags, and which of them are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlagsMask {
    /// The bits.
    pub flags: u32,
    /// The bits that are to change; the others stay.
    pub mask: u32,
}

impl Wire for FlagsMask {
    viewed_whole!();
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

/// A short name (scheduler, persistence engine, interface): up to 16 bytes, none of them NUL, of any encoding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    // The bytes behind `len` are zero, so that the derived comparisons are those of the text.
    bytes: [u8; Name::MAX],
    len: u8,
}

impl Name {
    /// The longest name, in bytes.
    pub const MAX: usize = 16;

    /// A name, if it is not too long and has no NUL.
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

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The bytes of the name and zeros behind it: as many for each name, which is quick to copy.
    pub fn padded(&self) -> &[u8; Self::MAX] {
        &self.bytes
    }

    /// No name at all.
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
    viewed_whole!();
    fn write_as(&self, number: u16, out: &mut Vec<u8>) {
        write_attribute(out, number, |out| {
            out.extend_from_slice(self.as_bytes());
            // The kernel refuses a name without its NUL.
            out.push(0);
        });
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Self::new(&bytes[..end]).ok_or(DecodeError::new("name too long"))
    }
}

/// Attributes that a table does not know, in the order they came.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Unknown(Vec<(u16, Box<[u8]>)>);

impl Unknown {
    /// None.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.0.iter().map(|(number, value)| (*number, &**value))
    }

    /// One more.
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
