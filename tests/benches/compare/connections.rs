//! Lists many connections. They are created by messages of the sync protocol, as on a backup director.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ipvs_tests::harness::Test;
use ipvs_tests::net::rtnl::Socket;

use crate::guests::{QUICK, Ruler};
use crate::programs::Program;
use crate::{namespace, profile, time};

const SIZES: [u32; 2] = [10_000, 100_000];
const QUICK_SIZE: u32 = 4000;

/// The group and port of the backup daemon.
const GROUP: &str = "224.0.0.81:8848";
const LINK: &str = "dummy-sync";
const ADDRESS: &str = "10.9.0.1";

pub(crate) fn jobs() -> Vec<Test> {
    let job = |name: &str, count: u32| Test::new(format!("{name}connections {count}"), move || measure(count));
    SIZES.iter().map(|count| job("", *count)).chain([job(QUICK, QUICK_SIZE)]).collect()
}

fn measure(count: u32) -> Result<()> {
    let task = format!("-Lnc {count}");
    let rounds = match Ruler::here() {
        // The reference needs half a minute.
        _ if count > 50_000 => 1,
        Ruler::Time => 3,
        Ruler::Instructions => 2,
    };
    namespace::fresh(|| {
        make(count)?;
        for round in 0..rounds {
            let [reference, floor, ours] = Program::each(round, |program| time::run(&task, program, &["-Lnc"], ""));
            let reference = without_expiry(&reference?);
            ensure!(reference.len() == count as usize + 2, "{} lines", reference.len());
            ensure!(reference == without_expiry(&floor?), "the list of the floor differs");
            ensure!(reference == without_expiry(&ours?), "the list of our program differs");
        }
        for program in Program::ALL {
            profile::run(&task, program, &["-Lnc"], "")?;
        }
        Ok(())
    })
}

/// Returns the lines without the expiry time, which changes.
fn without_expiry(text: &[u8]) -> Vec<Vec<u8>> {
    const PROTOCOL: usize = 4;
    const EXPIRY_END: usize = 11;
    let without = |line: &[u8]| match line.split_at_checked(EXPIRY_END) {
        Some((start, rest)) => [&start[..PROTOCOL], rest].concat(),
        None => line.to_vec(),
    };
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(without).collect()
}

/// Starts a backup daemon and creates connections through it.
fn make(count: u32) -> Result<()> {
    let network = Socket::open()?;
    network.add_link(LINK, "dummy")?;
    network.set_up(LINK)?;
    network.add_address(LINK, &format!("{ADDRESS}/24"))?;
    time::take_time(Program::Ours.command().args(["--start-daemon", "backup", "--mcast-interface", LINK]), "")?;
    let socket = UdpSocket::bind((ADDRESS, 0))?;
    for (number, first) in (0..count).step_by(PER_MESSAGE as usize).enumerate() {
        socket.send_to(&message(first..count.min(first + PER_MESSAGE)), GROUP)?;
        // The backup daemon reads in its own thread, and its socket holds only some messages.
        if number % 16 == 0 {
            wait_until_received()?;
        }
    }
    wait_until_received()?;
    // The daemon may not have created the last connections yet.
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}

/// Waits until the backup's socket is empty.
fn wait_until_received() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let sockets = std::fs::read_to_string("/proc/thread-self/net/udp")?;
        // Columns: slot, local address (port 8848 is 2290 in hexadecimal), remote address, state, `bytes to send:bytes
        // to read`.
        let waits = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            matches!(words[..], [_, local, _, _, queues, ..] if local.ends_with(":2290") && !queues.ends_with(":00000000"))
        };
        if !sockets.lines().any(waits) {
            return Ok(());
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

/// Returns a connection (`struct ip_vs_sync_v4` or `_v6`). Of ten, seven are TCP, one is UDP, one IPv6 and one a
/// persistence template.
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
