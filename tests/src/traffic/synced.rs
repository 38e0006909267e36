//! Many connections. They are created by messages of the sync protocol, as on a backup director.
//!
//! Each has a client of its own. Of ten, seven are TCP, one is UDP, one IPv6 and one a persistence template. They belong
//! to 200 servers, and no service.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::net::rtnl::Socket;

/// The group and port of the backup daemon.
const GROUP: &str = "224.0.0.81:8848";
const LINK: &str = "dummy-sync";
const ADDRESS: &str = "10.9.0.1";

/// Creates connections in the network namespace of the calling thread. `start_backup` starts a backup daemon on an
/// interface. On a busy machine, the daemon creates the last connections a moment later.
pub fn create(count: u32, start_backup: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    let network = Socket::open()?;
    network.add_link(LINK, "dummy")?;
    network.set_up(LINK)?;
    network.add_address(LINK, &format!("{ADDRESS}/24"))?;
    start_backup(LINK)?;
    let socket = UdpSocket::bind((ADDRESS, 0))?;
    // On a busy machine, the backup's socket can overflow. A connection that is sent again stays one connection.
    for _ in 0..5 {
        let dropped = wait_until_received()?;
        for (number, first) in (0..count).step_by(PER_MESSAGE as usize).enumerate() {
            socket.send_to(&message(first..count.min(first + PER_MESSAGE)), GROUP)?;
            // The backup daemon reads in its own thread, and its socket holds only some messages.
            if number % 16 == 0 {
                wait_until_received()?;
            }
        }
        if wait_until_received()? == dropped {
            return Ok(());
        }
    }
    bail!("the socket of the backup daemon overflows each time")
}

/// Waits until the backup's socket is empty. Returns the number of messages that it has dropped.
fn wait_until_received() -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let sockets = std::fs::read_to_string("/proc/thread-self/net/udp")?;
        // Columns: slot, local address (port 8848 is 2290 in hexadecimal), remote address, state, `bytes to send:bytes
        // to read`, and in the last one the number of dropped messages.
        let mut is_empty = true;
        let mut dropped = 0;
        for line in sockets.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, _, queues, .., drops] = words[..]
                && local.ends_with(":2290")
            {
                is_empty &= queues.ends_with(":00000000");
                dropped += drops.parse::<u64>()?;
            }
        }
        if is_empty {
            return Ok(dropped);
        }
        ensure!(Instant::now() < deadline, "the backup daemon does not read its messages");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Number of connections in a message. They fit into a packet even if all are IPv6.
const PER_MESSAGE: u32 = 18;

/// Returns a message (`struct ip_vs_sync_mesg` in `net/netfilter/ipvs/ip_vs_sync.c`).
fn message(connections: std::ops::Range<u32>) -> Vec<u8> {
    let entries: Vec<u8> = connections.clone().flat_map(connection).collect();
    // Reserved, id, size, number of connections, version, spare.
    let mut message = vec![0, 0];
    message.extend((entries.len() as u16 + 8).to_be_bytes());
    message.extend([connections.len() as u8, 1, 0, 0]);
    message.extend(entries);
    message
}

/// Returns a connection (`struct ip_vs_sync_v4` or `_v6`).
fn connection(number: u32) -> Vec<u8> {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const ESTABLISHED: u16 = 1;
    const TEMPLATE: u32 = 0x1000;
    const SECONDS: u32 = 7200;
    let (is_v6, protocol, flags, state, port) = match number % 10 {
        7 => (false, UDP, 0, 0, 1024),
        8 => (true, TCP, 0, ESTABLISHED, 1024),
        9 => (false, TCP, TEMPLATE, 0, 0),
        _ => (false, TCP, 0, ESTABLISHED, 1024 + (number % 60_000) as u16),
    };
    let (length, width) = if is_v6 { (72u16, 16) } else { (36, 4) };
    let mut entry = vec![u8::from(is_v6), protocol];
    entry.extend(length.to_be_bytes());
    entry.extend(flags.to_be_bytes());
    for number in [state, port, 80, 8080] {
        entry.extend(number.to_be_bytes());
    }
    entry.extend(0u32.to_be_bytes());
    entry.extend(SECONDS.to_be_bytes());
    let [_, a, b, c] = number.to_be_bytes();
    for address in [[10, a, b, c], [192, 0, 2, 1], [172, 16, 0, (number % 200) as u8]] {
        // IPv6 addresses are 2001:db8:: with these last bytes.
        entry.extend(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0][..width - 4]);
        entry.extend(address);
    }
    entry
}
