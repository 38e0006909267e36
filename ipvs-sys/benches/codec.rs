//! Time and allocations of encoding and decoding attributes. `cargo bench --package ipvs-sys`

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use ipvs_sys::message::{Content, replies};
use ipvs_sys::uapi::{CommandAttrs, DestAttrs, ServiceAttrs};
use ipvs_sys::wire::{Address, Attributes, Be16, Wire};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// The replies of Linux 6.1 to a dump of servers.
const SERVERS: &[u8] = include_bytes!("../tests/captured/6.1/servers.bin");

fn main() {
    divan::main();
}

/// Encodes the attributes of a request that adds a server.
#[divan::bench]
fn encode_server(bencher: Bencher<'_, '_>) {
    let request = CommandAttrs {
        service: Some(ServiceAttrs {
            af: Some(2),
            protocol: Some(6),
            addr: Some(Address([10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            port: Some(Be16(80)),
            ..ServiceAttrs::default()
        }),
        dest: Some(DestAttrs {
            addr: Some(Address([10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            port: Some(Be16(8080)),
            fwd_method: Some(0),
            weight: Some(1),
            u_thresh: Some(0),
            l_thresh: Some(0),
            addr_family: Some(2),
            ..DestAttrs::default()
        }),
        ..CommandAttrs::default()
    };
    let mut out = Vec::with_capacity(1024);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        out.clear();
        black_box(&request).write(&mut out);
        out.len()
    });
}

/// Decodes the replies to a dump of servers.
#[divan::bench]
fn decode_servers(bencher: Bencher<'_, '_>) {
    let read = || {
        replies(black_box(SERVERS))
            .filter_map(|reply| match reply.expect("a message").content {
                Content::Data { attributes: bytes, .. } => Some(bytes),
                _ => None,
            })
            .inspect(|bytes| {
                black_box(CommandAttrs::read(bytes)).expect("attributes");
            })
            .count()
    };
    let servers = read();
    bencher.counter(ItemsCount::new(servers)).bench_local(read);
}
