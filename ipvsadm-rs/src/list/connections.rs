//! The listing of connections.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

use ipvs::rules::{Columns, Listing, Namer, write_endpoint};
use ipvs::{Client, ConnectionEntry, Protocol};

use super::number::{left_name, pad};
use crate::failure::{Failure, exit};
use crate::messages;

const FILE: &str = "/proc/net/ip_vs_conn";

/// Rows are given away in pieces of about that size: one by one costs more than it takes to write some.
const PIECE: usize = 4096;

/// The connections, in the kernel's order, as they are read.
pub(crate) fn connections(
    out: &mut impl Write,
    director: &mut Client,
    listing: &Listing,
    names: &mut dyn Namer,
) -> Result<(), Failure> {
    // Whoever may not ask IPVS anything is told so, and so is who has none; the file alone does not say it.
    director.info().map_err(|error| messages::unanswered(&error))?;
    let unreadable = |what: &str, error: &dyn Display| Failure::Said(format!("{what} {FILE}: {error}"), exit::LISTING);
    let entries = director.connections().map_err(|error| unreadable("cannot open file", &error))?;
    let engines = listing.columns == Columns::PersistentConnections;
    writeln!(out, "IPVS connection entries")?;
    if engines {
        writeln!(
            out,
            "pro expire {:<11} {:<18} {:<18} {:<18} {:<16} pe_data",
            "state", "source", "virtual", "destination", "pe name"
        )?;
    } else {
        writeln!(out, "pro expire {:<11} {:<18} {:<18} destination", "state", "source", "virtual")?;
    }
    let mut rows = Vec::new();
    for entry in entries {
        match &entry {
            Ok(entry) => write_row(&mut rows, entry, engines, names),
            Err(error) => {
                out.write_all(&rows)?;
                return Err(unreadable("unexpected input from", error));
            }
        }
        if rows.len() > PIECE {
            out.write_all(&rows)?;
            rows.clear();
        }
    }
    Ok(out.write_all(&rows)?)
}

fn write_row(row: &mut Vec<u8>, entry: &ConnectionEntry, engines: bool, names: &mut dyn Namer) {
    let ConnectionEntry { protocol, client, service, destination, state, expires, engine } = entry;
    let ports = match protocol.as_bytes() {
        b"TCP" => Some(Protocol::Tcp),
        b"UDP" => Some(Protocol::Udp),
        b"SCTP" => Some(Protocol::Sctp),
        _ => None,
    };
    left_name::<3>(row, protocol);
    row.push(b' ');
    let start = row.len();
    two_digits(row, expires / 60);
    row.push(b':');
    two_digits(row, expires % 60);
    pad::<6>(row, start);
    row.push(b' ');
    left_name::<11>(row, state);
    row.push(b' ');
    let mut endpoint = |row: &mut Vec<u8>, of: &SocketAddr| write_endpoint(row, of.ip(), of.port(), ports, names);
    for of in [client, service] {
        let start = row.len();
        endpoint(row, of);
        pad::<18>(row, start);
        row.push(b' ');
    }
    let start = row.len();
    endpoint(row, destination);
    if engines && let Some((name, data)) = engine {
        // These widths are not those of the title: kept, for those who cut by column.
        pad::<16>(row, start);
        row.push(b' ');
        left_name::<18>(row, name);
        row.push(b' ');
        row.extend_from_slice(data);
    }
    row.push(b'\n');
}

/// Append a number of two digits or more.
fn two_digits(row: &mut Vec<u8>, number: u32) {
    let digit = |unit| b'0' + (number / unit % 10) as u8;
    match number {
        0..100 => row.extend_from_slice(&[digit(10), digit(1)]),
        100..1000 => row.extend_from_slice(&[digit(100), digit(10), digit(1)]),
        _ => row.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}
