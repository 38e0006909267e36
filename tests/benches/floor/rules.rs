//! Converts rules to requests.

use crate::kernel::{Messages, Socket, read_some};
use crate::text::{take_endpoint, take_number};

const NEW_SERVICE: u8 = 1;
const NEW_DEST: u8 = 5;
const FLUSH: u8 = 17;
const PERSISTENT: u32 = 1;
const MASQUERADE: u32 = 0;
const TUNNEL: u32 = 2;
const DIRECT: u32 = 3;

/// Requests without a read in between: more acknowledgements do not fit into the receive buffer.
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
    let mut waiting = 0;
    while !rest.is_empty() {
        take_line(&mut rest, &mut messages);
        waiting += 1;
        if waiting == BATCH || rest.is_empty() {
            messages.want_answer();
            socket.send(&messages.bytes);
            messages.bytes.clear();
            socket.receive(1, |_| {});
            waiting = 0;
        }
    }
}

pub(crate) fn one(line: &str) {
    let mut socket = Socket::new();
    let mut messages = Messages::new(socket.family());
    take_line(&mut line.as_bytes(), &mut messages);
    messages.want_answer();
    socket.send(&messages.bytes);
    socket.receive(1, |_| {});
}

pub(crate) fn flush() {
    let mut socket = Socket::new();
    let mut messages = Messages::new(socket.family());
    messages.start(FLUSH, 0);
    messages.end();
    messages.want_answer();
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
    // The blank, but not the newline.
    *rest = if text.get(end) == Some(&b' ') { &text[end + 1..] } else { &text[end..] };
    word
}

fn take_line(rest: &mut &[u8], out: &mut Messages) {
    let is_service = word(rest)[1] == b'A';
    let (mut protocol, mut mark, mut service) = (0u16, 0, (false, [0; 16], 0));
    let (mut scheduler, mut timeout) = (&b""[..], 0);
    let (mut server, mut method, mut weight) = ((false, [0; 16], 0), DIRECT, 1);
    loop {
        match word(rest) {
            [b'-', b't'] => (protocol, service) = (6, take_endpoint(word(rest))),
            [b'-', b'u'] => (protocol, service) = (17, take_endpoint(word(rest))),
            [b'-', b'f'] => mark = take_number(&mut word(rest)),
            [b'-', b'6'] => service.0 = true,
            [b'-', b's'] => scheduler = word(rest),
            [b'-', b'p'] => timeout = take_number(&mut word(rest)),
            [b'-', b'r'] => server = take_endpoint(word(rest)),
            [b'-', b'm'] => method = MASQUERADE,
            [b'-', b'i'] => method = TUNNEL,
            [b'-', b'g'] => method = DIRECT,
            [b'-', b'w'] => weight = take_number(&mut word(rest)),
            b"--tun-type" => assert_eq!(word(rest), b"ipip"),
            [] => break,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    *rest = rest.get(1..).unwrap_or(&[]);
    let (is_v6, address, port) = service;
    out.start(if is_service { NEW_SERVICE } else { NEW_DEST }, 0);
    let list = out.open(1);
    out.attribute(1, &family(is_v6));
    if mark == 0 {
        out.attribute(2, &protocol.to_ne_bytes());
        out.fixed(3, address);
        out.attribute(4, &port.to_be_bytes());
    } else {
        out.fixed(5, mark.to_ne_bytes());
    }
    if is_service {
        let mut name = [0; 16];
        name[..scheduler.len()].copy_from_slice(scheduler);
        out.attribute(6, &name[..scheduler.len() + 1]);
        let flags = if timeout > 0 { PERSISTENT } else { 0 };
        out.fixed(7, (u64::from(flags) | 0xffff_ffff << 32).to_ne_bytes());
        out.fixed(8, timeout.to_ne_bytes());
        out.fixed(9, if is_v6 { 128 } else { u32::MAX }.to_ne_bytes());
    }
    out.close(list);
    if !is_service {
        let (is_v6, address, mut server_port) = server;
        if method != MASQUERADE && mark == 0 {
            server_port = port;
        }
        let list = out.open(2);
        out.fixed(1, address);
        out.attribute(2, &server_port.to_be_bytes());
        out.fixed(3, method.to_ne_bytes());
        out.fixed(4, weight.to_ne_bytes());
        out.fixed(5, [0; 4]);
        out.fixed(6, [0; 4]);
        out.attribute(11, &family(is_v6));
        out.close(list);
    }
    out.end();
}

fn family(is_v6: bool) -> [u8; 2] {
    (if is_v6 { 10u16 } else { 2 }).to_ne_bytes()
}
