//! Text ↔ values: time and allocations per line. `cargo bench --package ipvs-rs`

use std::fmt::Write;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use ipvs::rules::{Lines, Numeric, read_config, write_destination};
use ipvs::{Connections, Destination, Forwarding, ServiceKey};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const LINES: usize = 1000;

fn main() {
    divan::main();
}

/// Returns a rules file of 1000 lines: a service with 999 servers.
fn rules() -> String {
    let mut text = "-A -t 192.0.2.1:80 -s wlc -p 300\n".to_owned();
    for number in 1..LINES {
        // Writing to memory does not fail.
        let _ = writeln!(text, "-a -t 192.0.2.1:80 -r 10.0.{}.{}:8080 -m -w 1", number / 256, number % 256);
    }
    text
}

/// Reads lines as commands.
#[divan::bench]
fn scan_lines(bencher: Bencher<'_, '_>) {
    let text = rules();
    bencher
        .counter(ItemsCount::new(LINES))
        .bench_local(|| Lines::new(black_box(text.as_bytes()), &mut Numeric).filter(Result::is_ok).count());
}

/// Reads lines as a desired table.
#[divan::bench]
fn read_table(bencher: Bencher<'_, '_>) {
    let text = rules();
    bencher
        .counter(ItemsCount::new(LINES))
        .bench_local(|| read_config(black_box(text.as_bytes()), &mut Numeric).map(|read| read.lines));
}

/// Writes servers as lines.
#[divan::bench]
fn format_server(bencher: Bencher<'_, '_>) {
    let key = ServiceKey::tcp([192, 0, 2, 1], 80);
    let server = Destination::new(([10, 0, 0, 1], 8080), Forwarding::Masquerade);
    let mut out = Vec::with_capacity(1024);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        out.clear();
        write_destination(&mut out, black_box(&key), black_box(&server), &mut Numeric);
        out.len()
    });
}

/// Reads a connection table as entries.
#[divan::bench]
fn read_connections(bencher: Bencher<'_, '_>) {
    let mut table = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n".to_owned();
    for number in 0..LINES {
        // Writing to memory does not fail.
        let _ = writeln!(table, "TCP 0A09{number:04X} 9C41 C0000201 0050 0A000001 1F90 ESTABLISHED     899");
    }
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        Connections::new(black_box(table.as_bytes())).map(|entries| entries.filter(Result::is_ok).count())
    });
}
