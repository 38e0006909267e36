//! Words of a line, as the rows of options write them.

use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;

use super::endpoint::write_endpoint;
use super::resolver::Namer;
use crate::family::Protocol;

/// A line under construction, to which options are appended.
pub(crate) struct LineWriter<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) names: &'a mut dyn Namer,
}

impl LineWriter<'_> {
    pub(super) fn word(&mut self, word: &[u8]) {
        self.out.push(b' ');
        self.out.extend_from_slice(word);
    }

    pub(super) fn bytes(&mut self, option: &str, value: &[u8]) {
        self.word(option.as_bytes());
        // A word of its own would be read as a comment, or skipped. The kernel accepts such names of interfaces.
        if value.starts_with(b"#") || value == b"ipvsadm" {
            self.out.extend_from_slice(if option.starts_with("--") { b"=" } else { b"" });
            self.out.extend_from_slice(value);
        } else {
            self.word(value);
        }
    }

    pub(super) fn number(&mut self, option: &str, number: u32) {
        self.bytes(option, itoa::Buffer::new().format(number).as_bytes());
    }

    pub(super) fn number_unless_zero(&mut self, option: &str, number: u32) {
        if number != 0 {
            self.number(option, number);
        }
    }

    pub(super) fn display(&mut self, option: &str, value: impl fmt::Display) {
        self.word(option.as_bytes());
        // Writing to memory does not fail.
        let _ = write!(self.out, " {value}");
    }

    /// Writes the option with a list, or nothing if the list is empty.
    pub(super) fn list(&mut self, option: &str, mut items: impl Iterator<Item = &'static str>) {
        if let Some(first) = items.next() {
            self.bytes(option, first.as_bytes());
            for item in items {
                self.out.push(b',');
                self.out.extend_from_slice(item.as_bytes());
            }
        }
    }

    pub(super) fn endpoint(&mut self, option: &str, address: IpAddr, port: u16, protocol: Option<Protocol>) {
        self.word(option.as_bytes());
        self.out.push(b' ');
        write_endpoint(self.out, address, port, protocol, self.names);
    }
}
