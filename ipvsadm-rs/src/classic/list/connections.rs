//! The listing of connections (`-Lc`).

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

use ipvs::rules::program::write_endpoint;
use ipvs::rules::{Columns, Listing, Namer};
use ipvs::{Client, ConnectionEntry, Name};

use super::number::pad;
use crate::classic::messages;
use crate::terminal::exit::{Failure, code};

const FILE: &str = "/proc/net/ip_vs_conn";

/// The number of bytes after which rows are written. A call for each row would cost more than formatting it.
const PIECE: usize = 4096;

/// Prints the connections in the kernel's order, as they are read.
pub(crate) fn connections(
    out: &mut impl Write,
    director: &mut Client,
    listing: &Listing,
    names: &mut dyn Namer,
) -> Result<(), Failure> {
    // Fails if permission or IPVS is missing. Reading the file would report neither.
    director.info().map_err(|error| messages::read_error(&error))?;
    let unreadable =
        |what: &str, error: &dyn Display| Failure::Message(format!("{what} {FILE}: {error}"), code::LISTING);
    let mut entries = director.connections().map_err(|error| unreadable("cannot open file", &error))?;
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
    // By reference, because an entry is expensive to move.
    while let Some(entry) = &entries.next() {
        match entry {
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
    let ConnectionEntry { protocol, client, service, destination, state, expires, engine, .. } = entry;
    let ports = entry.protocol();
    name_column::<4>(row, protocol);
    let start = row.len();
    minutes(row, expires / 60);
    let seconds = (expires % 60) as u8;
    row.extend_from_slice(&[b':', b'0' + seconds / 10, b'0' + seconds % 10]);
    end_column::<7>(row, start);
    name_column::<12>(row, state);
    let mut endpoint = |row: &mut Vec<u8>, of: &SocketAddr| write_endpoint(row, of.ip(), of.port(), ports, names);
    for of in [client, service] {
        let start = row.len();
        endpoint(row, of);
        end_column::<19>(row, start);
    }
    let start = row.len();
    endpoint(row, destination);
    if engines && let Some((name, data)) = engine {
        // 1.31 uses different widths here than in the title. They are kept for scripts that extract columns.
        end_column::<17>(row, start);
        name_column::<19>(row, name);
        row.extend_from_slice(data);
    }
    row.push(b'\n');
}

fn name_column<const WIDTH: usize>(row: &mut Vec<u8>, name: &Name) {
    let start = row.len();
    row.extend_from_slice(name.padded());
    row.truncate(start + name.as_bytes().len());
    end_column::<WIDTH>(row, start);
}

/// Appends blanks up to the next column, which is `WIDTH` bytes after the start of this one. A full column gets one
/// blank.
fn end_column<const WIDTH: usize>(row: &mut Vec<u8>, start: usize) {
    row.push(b' ');
    pad::<WIDTH>(row, start);
}

fn minutes(row: &mut Vec<u8>, number: u32) {
    let digit = |unit| b'0' + (number / unit % 10) as u8;
    match number {
        0..100 => row.extend_from_slice(&[digit(10), digit(1)]),
        100..1000 => row.extend_from_slice(&[digit(100), digit(10), digit(1)]),
        _ => row.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use ipvs::Connections;
    use ipvs::rules::Numeric;

    use super::*;

    fn row(line: &str, engines: bool) -> String {
        let table = format!("Pro \n{line}\n");
        let entry = Connections::new(table.as_bytes()).expect("a table").next().expect("a line").expect("an entry");
        let mut row = Vec::new();
        write_row(&mut row, &entry, engines, &mut Numeric);
        String::from_utf8(row).expect("text")
    }

    #[test]
    fn full_columns_stay_apart() {
        for (line, shown) in [
            (
                "TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899",
                "TCP 14:59  ESTABLISHED 10.9.0.1:40001     10.0.0.1:80        10.1.0.1:8080\n",
            ),
            (
                "SCTP FFFFFFFF FFFF FFFFFFFF FFFF 00000000 0000 SHUTDOWN_RECEIV 7200",
                "SCTP 120:00 SHUTDOWN_RECEIV 255.255.255.255:65535 255.255.255.255:65535 0.0.0.0:0\n",
            ),
            (
                "IP  0A090001 0000 00000007 0000 0A010001 0000 NONE            4294967295",
                "IP  71582788:15 NONE        10.9.0.1:0         0.0.0.7:0          10.1.0.1:0\n",
            ),
        ] {
            assert_eq!(row(line, false), shown);
        }
        assert_eq!(
            row("UDP 0A090001 0000 0A000001 13C4 0A010001 13C4 UDP 0 sip a  b", true),
            "UDP 00:00  UDP         10.9.0.1:0         10.0.0.1:5060      10.1.0.1:5060    sip                a  b\n"
        );
    }
}
