//! Lists the table.

use crate::kernel::{DUMP, Messages, Socket, attributes, u16_at, u32_at, u64_at, write_all};
use crate::text::{endpoint, left, number, pad, right};

const GET_SERVICE: u8 = 4;
const GET_DEST: u8 = 8;
const GET_INFO: u8 = 15;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Plain,
    Stats,
    Rules,
}

type Counters = [u64; 5];

struct Service {
    /// Mark, family, protocol, address and port: the sort key.
    key: (u32, u16, u16, [u8; 16], u16),
    scheduler: Vec<u8>,
    persistence: Option<u32>,
    counters: Counters,
}

#[derive(Default)]
struct Server {
    key: (u16, [u8; 16], u16),
    method: u32,
    weight: u32,
    active: u32,
    inactive: u32,
    counters: Counters,
}

pub(crate) fn list(kind: Kind) {
    let mut socket = Socket::new();
    let family = socket.family();
    let mut messages = Messages::new(family);
    let (services, version, size) = read_table(&mut socket, &mut messages, kind);
    let mut out = Vec::with_capacity(128 * 1024);
    if kind != Kind::Rules {
        titles(&mut out, kind, version, size);
    }
    let mut details = Socket::new();
    let mut servers = Vec::new();
    for service in &services {
        request_servers(&mut messages, service);
        details.send(&messages.bytes);
        servers.clear();
        details.receive(1, |body| servers.push(read_server(&body[8..])));
        servers.sort_unstable_by_key(|server: &Server| server.key);
        write_service(&mut out, kind, service);
        for server in &servers {
            write_server(&mut out, kind, service, server);
        }
        if out.len() > 64 * 1024 {
            write_all(&out);
            out.clear();
        }
    }
    write_all(&out);
}

/// Returns the sorted services, and version and size of the connection table for the title.
fn read_table(socket: &mut Socket, messages: &mut Messages, kind: Kind) -> (Vec<Service>, u32, u32) {
    if kind != Kind::Rules {
        messages.start(GET_INFO, 0);
        messages.end();
    }
    messages.start(GET_SERVICE, DUMP);
    messages.end();
    socket.send(&messages.bytes);
    let (mut version, mut size) = (0, 0);
    let mut services = Vec::new();
    socket.receive(1, |body| match body[0] {
        1 => services.push(read_service(&body[8..])),
        _ => attributes(&body[4..], |number, value| match number {
            1 => version = u32_at(value, 0),
            _ => size = u32_at(value, 0),
        }),
    });
    services.sort_unstable_by_key(|service| service.key);
    (services, version, size)
}

/// Writes the request for the servers of a service.
fn request_servers(messages: &mut Messages, service: &Service) {
    let (mark, family, protocol, address, port) = service.key;
    messages.bytes.clear();
    messages.start(GET_DEST, DUMP);
    let list = messages.open(1);
    messages.attribute(1, &family.to_ne_bytes());
    if mark == 0 {
        messages.attribute(2, &protocol.to_ne_bytes());
        messages.fixed(3, address);
        messages.attribute(4, &port.to_be_bytes());
    } else {
        messages.fixed(5, mark.to_ne_bytes());
    }
    messages.close(list);
    messages.end();
}

fn read_service(list: &[u8]) -> Service {
    let mut service =
        Service { key: (0, 0, 0, [0; 16], 0), scheduler: Vec::new(), persistence: None, counters: [0; 5] };
    let (mut flags, mut timeout) = (0, 0);
    attributes(list, |number, value| match number {
        1 => service.key.1 = u16_at(value, 0),
        2 => service.key.2 = u16_at(value, 0),
        3 => service.key.3.copy_from_slice(value),
        4 => service.key.4 = u16::from_be_bytes([value[0], value[1]]),
        5 => service.key.0 = u32_at(value, 0),
        6 => service.scheduler = value[..value.len() - 1].to_vec(),
        7 => flags = u32_at(value, 0),
        8 => timeout = u32_at(value, 0),
        12 => read_counters(&mut service.counters, value),
        _ => {}
    });
    service.persistence = (flags & 1 != 0).then_some(timeout);
    service
}

fn read_server(list: &[u8]) -> Server {
    let mut server = Server::default();
    attributes(list, |number, value| match number {
        1 => server.key.1.copy_from_slice(value),
        2 => server.key.2 = u16::from_be_bytes([value[0], value[1]]),
        3 => server.method = u32_at(value, 0),
        4 => server.weight = u32_at(value, 0),
        7 => server.active = u32_at(value, 0),
        8 => server.inactive = u32_at(value, 0),
        11 => server.key.0 = u16_at(value, 0),
        12 => read_counters(&mut server.counters, value),
        _ => {}
    });
    server
}

fn read_counters(counters: &mut Counters, list: &[u8]) {
    attributes(list, |number, value| {
        if let Some(counter) = counters.get_mut(usize::from(number).wrapping_sub(1)) {
            *counter = u64_at(value, 0);
        }
    });
}

fn titles(out: &mut Vec<u8>, kind: Kind, version: u32, size: u32) {
    let [_, major, minor, patch] = version.to_be_bytes();
    out.extend_from_slice(format!("IP Virtual Server version {major}.{minor}.{patch} (size={size})\n").as_bytes());
    out.extend_from_slice(match kind {
        Kind::Stats => {
            b"Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n"
        }
        _ => {
            b"Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        }
    });
}

/// Appends the option and value that identify a service in a saved line.
fn name_in_rule(out: &mut Vec<u8>, service: &Service) {
    let (mark, family, protocol, address, port) = service.key;
    if mark == 0 {
        out.extend_from_slice(if protocol == 17 { b" -u " } else { b" -t " });
        endpoint(out, family == 10, &address, port);
    } else {
        out.extend_from_slice(b" -f ");
        number(out, u64::from(mark));
        if family == 10 {
            out.extend_from_slice(b" -6");
        }
    }
}

fn write_service(out: &mut Vec<u8>, kind: Kind, service: &Service) {
    let (mark, family, protocol, address, port) = service.key;
    if kind == Kind::Rules {
        out.extend_from_slice(b"-A");
        name_in_rule(out, service);
        out.extend_from_slice(b" -s ");
        out.extend_from_slice(&service.scheduler);
        if let Some(seconds) = service.persistence {
            out.extend_from_slice(b" -p ");
            number(out, u64::from(seconds));
        }
        out.push(b'\n');
        return;
    }
    let start = out.len();
    if mark == 0 {
        out.extend_from_slice(if protocol == 17 { b"UDP  " } else { b"TCP  " });
        endpoint(out, family == 10, &address, port);
    } else {
        out.extend_from_slice(b"FWM  ");
        number(out, u64::from(mark));
        if family == 10 {
            out.extend_from_slice(b" IPv6");
        }
    }
    if kind == Kind::Stats {
        pad(out, start, 33);
        for counter in service.counters {
            right(out, counter, 9);
        }
    } else {
        out.push(b' ');
        out.extend_from_slice(&service.scheduler);
        if let Some(seconds) = service.persistence {
            out.extend_from_slice(b" persistent ");
            number(out, u64::from(seconds));
        }
    }
    out.push(b'\n');
}

fn write_server(out: &mut Vec<u8>, kind: Kind, service: &Service, server: &Server) {
    let (family, address, port) = server.key;
    if kind == Kind::Rules {
        out.extend_from_slice(b"-a");
        name_in_rule(out, service);
        out.extend_from_slice(b" -r ");
        endpoint(out, family == 10, &address, port);
        out.extend_from_slice(match server.method {
            0 => b" -m -w ",
            2 => b" -i -w ",
            _ => b" -g -w ",
        });
        number(out, u64::from(server.weight));
        if server.method == 2 {
            out.extend_from_slice(b" --tun-type ipip");
        }
        out.push(b'\n');
        return;
    }
    out.extend_from_slice(b"  -> ");
    let start = out.len();
    endpoint(out, family == 10, &address, port);
    pad(out, start, 28);
    if kind == Kind::Stats {
        for counter in server.counters {
            right(out, counter, 9);
        }
    } else {
        out.extend_from_slice(match server.method {
            0 => b" Masq    ",
            2 => b" Tunnel  ",
            _ => b" Route   ",
        });
        left(out, u64::from(server.weight), 7);
        left(out, u64::from(server.active), 11);
        left(out, u64::from(server.inactive), 10);
    }
    out.push(b'\n');
}
