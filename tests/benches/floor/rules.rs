//! Reads lines and sends requests.

use crate::kernel::{Messages, Socket, read_some};
use crate::text::{take_endpoint, take_number};

const NEW_SERVICE: u8 = 1;
const NEW_DEST: u8 = 5;
const FLUSH: u8 = 17;
const PERSISTENT: u32 = 1;
const MASQUERADE: u32 = 0;
const TUNNEL: u32 = 2;
const DIRECT: u32 = 3;

/// Number of requests in a batch. The replies to more requests would not fit into the receive buffer.
const BATCH: usize = 128;

pub(crate) fn restore() {
    let mut text = Vec::with_capacity(64 * 1024);
    loop {
        let filled = text.len();
        text.resize(filled.max(32 * 1024) * 2, 0);
        let got = read_some(0, &mut text[filled..]);
        text.truncate(filled + got);
        if got == 0 {
            break;
        }
    }
    let mut socket = Socket::new();
    let mut messages = Messages::new(socket.family());
    let mut rest = &text[..];
    let mut pending = 0;
    while !rest.is_empty() {
        take_line(&mut rest, &mut messages);
        pending += 1;
        if pending == BATCH || rest.is_empty() {
            messages.request_ack();
            socket.send(&messages.bytes);
            messages.bytes.clear();
            socket.receive(1, |_| {});
            pending = 0;
        }
    }
}

pub(crate) fn one(line: &str) {
    let mut socket = Socket::new();
    let mut messages = Messages::new(socket.family());
    take_line(&mut line.as_bytes(), &mut messages);
    messages.request_ack();
    socket.send(&messages.bytes);
    socket.receive(1, |_| {});
}

pub(crate) fn flush() {
    let mut socket = Socket::new();
    let mut messages = Messages::new(socket.family());
    messages.start(FLUSH, 0);
    messages.end();
    messages.request_ack();
    socket.send(&messages.bytes);
    socket.receive(1, |_| {});
}

/// Removes the next word of the line from the text.
#[inline]
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let text = *rest;
    let mut end = 0;
    while end < text.len() && text[end] > b' ' {
        end += 1;
    }
    let word = &text[..end];
    // Skip a blank, but not the end of the line.
    *rest = if text.get(end) == Some(&b' ') { &text[end + 1..] } else { &text[end..] };
    word
}

/// An address and a port; the first value is true for IPv6.
type Endpoint = (bool, [u8; 16], u16);

/// The values of a line.
struct Line<'a> {
    is_service: bool,
    protocol: u16,
    mark: u32,
    service: Endpoint,
    scheduler: &'a [u8],
    /// Persistence in seconds; 0 if the service is not persistent.
    timeout: u32,
    server: Endpoint,
    method: u32,
    weight: u32,
}

/// Removes a line from the text and appends its request.
fn take_line(rest: &mut &[u8], out: &mut Messages) {
    let line = read_line(rest);
    *rest = rest.get(1..).unwrap_or(&[]);
    out.start(if line.is_service { NEW_SERVICE } else { NEW_DEST }, 0);
    write_service(&line, out);
    if !line.is_service {
        write_server(&line, out);
    }
    out.end();
}

#[inline]
fn read_line<'a>(rest: &mut &'a [u8]) -> Line<'a> {
    let mut line = Line {
        is_service: word(rest)[1] == b'A',
        protocol: 0,
        mark: 0,
        service: (false, [0; 16], 0),
        scheduler: b"",
        timeout: 0,
        server: (false, [0; 16], 0),
        method: DIRECT,
        weight: 1,
    };
    loop {
        match word(rest) {
            [b'-', b't'] => (line.protocol, line.service) = (6, take_endpoint(word(rest))),
            [b'-', b'u'] => (line.protocol, line.service) = (17, take_endpoint(word(rest))),
            [b'-', b'f'] => line.mark = take_number(&mut word(rest)),
            [b'-', b'6'] => line.service.0 = true,
            [b'-', b's'] => line.scheduler = word(rest),
            [b'-', b'p'] => line.timeout = take_number(&mut word(rest)),
            [b'-', b'r'] => line.server = take_endpoint(word(rest)),
            [b'-', b'm'] => line.method = MASQUERADE,
            [b'-', b'i'] => line.method = TUNNEL,
            [b'-', b'g'] => line.method = DIRECT,
            [b'-', b'w'] => line.weight = take_number(&mut word(rest)),
            b"--tun-type" => assert_eq!(word(rest), b"ipip"),
            [] => return line,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
}

#[inline]
fn write_service(line: &Line<'_>, out: &mut Messages) {
    let (is_v6, address, port) = line.service;
    let list = out.open(1);
    out.attribute(1, &family(is_v6));
    if line.mark == 0 {
        out.attribute(2, &line.protocol.to_ne_bytes());
        out.fixed(3, address);
        out.attribute(4, &port.to_be_bytes());
    } else {
        out.fixed(5, line.mark.to_ne_bytes());
    }
    if line.is_service {
        let mut name = [0; 16];
        name[..line.scheduler.len()].copy_from_slice(line.scheduler);
        out.attribute(6, &name[..line.scheduler.len() + 1]);
        let flags = if line.timeout > 0 { PERSISTENT } else { 0 };
        out.fixed(7, (u64::from(flags) | 0xffff_ffff << 32).to_ne_bytes());
        out.fixed(8, line.timeout.to_ne_bytes());
        out.fixed(9, if is_v6 { 128 } else { u32::MAX }.to_ne_bytes());
    }
    out.close(list);
}

#[inline]
fn write_server(line: &Line<'_>, out: &mut Messages) {
    let (is_v6, address, mut port) = line.server;
    if line.method != MASQUERADE && line.mark == 0 {
        port = line.service.2;
    }
    let list = out.open(2);
    out.fixed(1, address);
    out.attribute(2, &port.to_be_bytes());
    out.fixed(3, line.method.to_ne_bytes());
    out.fixed(4, line.weight.to_ne_bytes());
    out.fixed(5, [0; 4]);
    out.fixed(6, [0; 4]);
    out.attribute(11, &family(is_v6));
    out.close(list);
}

fn family(is_v6: bool) -> [u8; 2] {
    (if is_v6 { 10u16 } else { 2 }).to_ne_bytes()
}
