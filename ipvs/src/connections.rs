//! The connection table, read as a stream from `/proc/net/ip_vs_conn`. The netlink family has no command for it.

mod counts;
mod filter;
mod line;
mod services;
mod template;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ipvs_sys::wire::Name;
use line::take_line;

pub use counts::{ConnectionCounts, EntryCount};
pub use filter::{ConnectionFilter, ConnectionSums};
pub use services::{ServiceIndex, ServiceMatch};
pub use template::TemplateKey;

use crate::family::{Family, Protocol};
use crate::key::ServiceKey;

/// One entry of the connection table: a connection, or a persistence template (client port 0).
///
/// The file has no forwarding method, flags or counters. Its format is that of `ip_vs_conn_seq_show` in
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_conn.c>.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ConnectionEntry {
    /// The protocol: `TCP`, `UDP` or `SCTP`. In the template of a service by mark: `IP`.
    pub protocol: Name,
    /// The client. Port 0: the entry is a persistence template, and the address is that of the client's network.
    pub client: SocketAddr,
    /// The address of the virtual service. In the template of a service by mark, the address has the mark: see
    /// [`fwmark`](ConnectionEntry::fwmark).
    pub service: SocketAddr,
    /// The real server. With a tunnel it can be of another family than the client.
    pub destination: SocketAddr,
    /// The state: `ESTABLISHED`, `SYN_RECV`, … for TCP, `UDP` for UDP, `NONE` or `ASSURED` for templates.
    pub state: Name,
    /// The time until the kernel deletes the entry if there is no traffic, in seconds.
    pub expires: u32,
    /// Name and data of the persistence engine. The client chooses the data (a SIP Call-ID), so it can have any bytes.
    /// `None`: the entry has no persistence engine.
    pub engine: Option<(Name, Box<[u8]>)>,
}

impl ConnectionEntry {
    /// Returns whether the entry is a persistence template: not a connection, but the server to which a client is sent.
    pub fn is_template(&self) -> bool {
        self.client.port() == 0
    }

    /// Returns the protocol, or `None` for the template of a service by mark.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.protocol.as_bytes() {
            b"TCP" => Some(Protocol::Tcp),
            b"UDP" => Some(Protocol::Udp),
            b"SCTP" => Some(Protocol::Sctp),
            _ => None,
        }
    }

    /// Returns the key of the service by the address and port to which the client sent its packets, or by mark for the
    /// template of a service by mark.
    ///
    /// The file does not name the service itself. A connection of a service by mark has the address and port of its
    /// packets, and one of a service with port 0 has the port of its packets. [`ServiceIndex`] finds these services.
    pub fn service_key(&self) -> Option<ServiceKey> {
        match self.fwmark() {
            Some(mark) => ServiceKey::fwmark(mark, self.family()),
            None => Some(ServiceKey::new(self.protocol()?, self.service.ip(), self.service.port())),
        }
    }

    /// Returns the time until the kernel deletes the entry if there is no traffic.
    pub fn expires_in(&self) -> Duration {
        Duration::from_secs(self.expires.into())
    }

    /// Returns the firewall mark, or `None` if the entry is not the template of a service by mark.
    pub fn fwmark(&self) -> Option<u32> {
        match (self.protocol.as_bytes(), self.service.ip()) {
            (b"IP", IpAddr::V4(address)) => Some(address.to_bits()),
            // The kernel stores the mark in the first four bytes of the address.
            (b"IP", IpAddr::V6(address)) => Some((address.to_bits() >> 96) as u32),
            _ => None,
        }
    }

    /// Returns the network of the client: the first `v4` bits of an IPv4 address, or the first `v6` bits of an IPv6
    /// address. More bits than the address has are the whole address.
    pub fn client_network(&self, v4: u8, v6: u8) -> IpNet {
        match self.client.ip() {
            IpAddr::V4(address) => Ipv4Net::new_assert(address, v4.min(32)).trunc().into(),
            IpAddr::V6(address) => Ipv6Net::new_assert(address, v6.min(128)).trunc().into(),
        }
    }

    /// Returns the family of the client's packets.
    pub fn family(&self) -> Family {
        Family::of(self.client.ip())
    }
}

/// An iterator over the entries of a connection table. The table is never in memory as a whole.
///
/// The table changes while it is read: entries can be missing or repeated.
#[derive(Debug)]
pub struct Connections<R> {
    lines: BufReader<R>,
    line: Vec<u8>,
}

/// The size of the read buffer, in bytes. The kernel returns at most a page for each read. Up to Linux 6.13 each read
/// searches its position from the first entry (`ip_vs_conn_array`). So smaller reads take a multiple of the time.
const BUFFER: usize = 8192;

impl<R: Read> Connections<R> {
    /// Reads a connection table in the format of `/proc/net/ip_vs_conn`.
    ///
    /// # Errors
    ///
    /// Fails if the source cannot be read, or does not start with the title line. An empty source is an empty table.
    pub fn new(source: R) -> io::Result<Self> {
        let mut connections = Self { lines: BufReader::with_capacity(BUFFER, source), line: Vec::new() };
        connections.read_line()?;
        if connections.line.is_empty() || connections.line.starts_with(b"Pro ") {
            return Ok(connections);
        }
        Err(unexpected("no title line"))
    }

    /// Returns the entries that a filter selects, and all errors.
    pub fn matching(self, filter: ConnectionFilter) -> impl Iterator<Item = io::Result<ConnectionEntry>> {
        filter::select(self, filter)
    }

    /// Reads the next line, and adds a line end if the last line has none. Returns false at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let read = self.lines.read_until(b'\n', &mut self.line)?;
        if read > 0 && self.line.last() != Some(&b'\n') {
            self.line.push(b'\n');
        }
        Ok(read > 0)
    }

    /// Returns the next entry, an error if its line is malformed, or `None` at the end. The line is copied, so it need
    /// not be in the buffer as a whole.
    #[cold]
    fn next_by_copy(&mut self) -> Option<io::Result<ConnectionEntry>> {
        match self.read_line() {
            Ok(false) => None,
            Ok(true) => Some(take_line(&mut &self.line[..]).unwrap_or_else(|| {
                let line = String::from_utf8_lossy(self.line.strip_suffix(b"\n").unwrap_or(&self.line));
                Err(unexpected(format_args!("{line:?} is not a connection")))
            })),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<R: Read> Iterator for Connections<R> {
    type Item = io::Result<ConnectionEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        // Nearly every line is in the buffer as a whole, and is decoded in place.
        let buffer = self.lines.buffer();
        let mut rest = buffer;
        let entry = take_line(&mut rest);
        if entry.is_none() {
            return self.next_by_copy();
        }
        let length = buffer.len() - rest.len();
        self.lines.consume(length);
        entry
    }
}

fn unexpected(what: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected format of ip_vs_conn: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
        TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899\n\
        UDP 20010db8000000000000000000000009 x\n";

    fn entries(table: &[u8]) -> Vec<io::Result<ConnectionEntry>> {
        Connections::new(table).expect("a title").collect()
    }

    fn entry(line: &str) -> ConnectionEntry {
        take_line(&mut format!("{line}\n").as_bytes()).expect("a line").expect("an entry")
    }

    #[test]
    fn reads_entries_and_reports_malformed_lines() {
        let entries = entries(TABLE);
        let first = entries[0].as_ref().expect("an entry");
        assert_eq!(first.client, "10.9.0.1:40001".parse().expect("an address"));
        assert_eq!(first.service, "10.0.0.1:80".parse().expect("an address"));
        assert_eq!(first.destination, "10.1.0.1:8080".parse().expect("an address"));
        assert_eq!((first.state.as_bytes(), first.expires), (&b"ESTABLISHED"[..], 899));
        assert_eq!(entries[1].as_ref().expect_err("no entry").kind(), io::ErrorKind::InvalidData);
        assert!(Connections::new(&b"what is this\n"[..]).is_err());
        assert_eq!(Connections::new(&b""[..]).expect("an empty table").count(), 0);
    }

    #[test]
    fn entries_of_both_families() {
        let six = entry(
            "TCP 2001:0db8:0000:0000:0000:0000:0000:0009 9C41 2001:0db8:0000:0000:0000:0000:0000:0001 0050 0A010001 0050 SYN_RECV         59",
        );
        assert_eq!(six.client, "[2001:db8::9]:40001".parse().expect("an address"));
        assert_eq!(six.destination, "10.1.0.1:80".parse().expect("an address"));
        assert_eq!(six.family(), Family::V6);
        let networks = [(24, 64), (0, 0), (255, 255)].map(|(v4, v6)| six.client_network(v4, v6).to_string());
        assert_eq!(networks, ["2001:db8::/64", "::/0", "2001:db8::9/128"]);
    }

    #[test]
    fn client_networks() {
        let entry = entry("TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899");
        let networks = [24, 8, 0, 32, 33].map(|v4| entry.client_network(v4, 64).to_string());
        assert_eq!(networks, ["10.9.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "10.9.0.1/32", "10.9.0.1/32"]);
    }

    #[test]
    fn templates_of_marks() {
        let template = entry("IP  0A090001 0000 00000007 0000 0A010001 0000 NONE            359");
        assert!(template.is_template());
        assert_eq!(template.fwmark(), Some(7));
        let six = entry(
            "IP  2001:0db8:0000:0000:0000:0000:0000:0009 0000 7000:0009:0000:0000:0000:0000:0000:0000 0000 0A010001 0000 NONE            359",
        );
        assert_eq!(six.fwmark(), Some(0x7000_0009));
    }

    #[test]
    fn engine_data_can_have_any_bytes() {
        let line = b"UDP 0A090001 0000 0A000001 13C4 0A010001 13C4 UDP             297 sip a b\xff  c@h\n";
        let entry = take_line(&mut &line[..]).expect("a line").expect("an entry");
        let (name, data) = entry.engine.expect("an engine");
        assert_eq!((name.as_bytes(), &*data), (&b"sip"[..], &b"a b\xff  c@h"[..]));
    }

    #[test]
    fn truncated_lines_do_not_panic() {
        for cut in 0..TABLE.len() {
            let _ = take_line(&mut &TABLE[cut..]);
            let _ = take_line(&mut &TABLE[..cut]);
        }
    }

    /// Reads of every size, with and without the last line end.
    #[test]
    fn lines_are_read_in_pieces_of_any_size() {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let size = self.1.min(into.len());
                self.0.read(&mut into[..size])
            }
        }
        let line = "TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899";
        let lines = format!("Pro \n{line} \n\nx\n{line} sip a b \n{line}8\t\n{line}8");
        for size in 1..=lines.len() {
            let entries: Vec<_> = Connections::new(Pieces(lines.as_bytes(), size)).expect("a title").collect();
            let expires: Vec<_> = entries.iter().map(|entry| entry.as_ref().ok().map(|entry| entry.expires)).collect();
            assert_eq!(expires, [Some(899), None, None, Some(899), None, Some(8998)]);
            let engine = entries[3].as_ref().expect("an entry").engine.as_ref().expect("an engine");
            assert_eq!((engine.0.as_bytes(), &*engine.1), (&b"sip"[..], &b"a b "[..]));
            let error = entries[2].as_ref().expect_err("no entry").to_string();
            assert!(error.ends_with(r#""x" is not a connection"#), "{error}");
        }
    }
}
