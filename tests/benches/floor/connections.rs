//! Converts the kernel's list of connections to ipvsadm's.

use crate::kernel::{open_file, read_some, write_all};
use crate::text::{endpoint, hex, number, pad, take_number};

/// Size of the read buffer in bytes. For each `read`, the kernel returns at most a page, and always whole lines.
const PAGE: usize = 4096;

pub(crate) fn list() {
    let file = open_file(b"/proc/net/ip_vs_conn\0");
    let mut page = [0; PAGE];
    let mut out = Vec::with_capacity(128 * 1024);
    out.extend_from_slice(
        b"IPVS connection entries\npro expire state       source             virtual            destination\n",
    );
    let mut is_title = true;
    loop {
        let got = read_some(file, &mut page);
        if got == 0 {
            break;
        }
        let mut rest = &page[..got];
        if is_title {
            rest = after_line(rest);
            is_title = false;
        }
        while !rest.is_empty() {
            rest = line(&mut out, rest);
        }
        if out.len() > 64 * 1024 {
            write_all(&out);
            out.clear();
        }
    }
    write_all(&out);
}

/// Reads `0A000001 0050 ` or `2001:0db8:0000:0000:0000:0000:0000:0001 0050 `, and removes it from the text.
#[inline]
fn take_endpoint(rest: &mut &[u8]) -> (bool, [u8; 16], u16) {
    let mut address = [0; 16];
    let is_v6 = rest[8] != b' ';
    if is_v6 {
        for group in address.chunks_exact_mut(2) {
            group.copy_from_slice(&four(rest).to_be_bytes());
            *rest = &rest[5..];
        }
    } else {
        let digits = u64::from_be_bytes(*rest.first_chunk().expect("eight digits"));
        address[..4].copy_from_slice(&hex(digits).to_be_bytes());
        *rest = &rest[9..];
    }
    let port = four(rest);
    *rest = &rest[5..];
    (is_v6, address, port)
}

#[inline]
fn four(text: &[u8]) -> u16 {
    hex(u32::from_be_bytes(*text.first_chunk().expect("four digits")).into()) as u16
}

/// Converts the first line, and returns the text after it.
fn line<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> &'a [u8] {
    // Protocol and state have the same width in both formats.
    out.extend_from_slice(&text[..4]);
    let mut rest = &text[4..];
    let client = take_endpoint(&mut rest);
    let service = take_endpoint(&mut rest);
    let server = take_endpoint(&mut rest);
    let (state, mut rest) = rest.split_at(12);
    while rest[0] == b' ' {
        rest = &rest[1..];
    }
    let expires = take_number(&mut rest);
    let start = out.len();
    two_digits(out, expires / 60);
    out.push(b':');
    two_digits(out, expires % 60);
    pad(out, start, 7);
    out.extend_from_slice(state);
    for (is_v6, address, port) in [client, service] {
        let start = out.len();
        endpoint(out, is_v6, &address, port);
        pad(out, start, 18);
        out.push(b' ');
    }
    let (is_v6, address, port) = server;
    endpoint(out, is_v6, &address, port);
    out.push(b'\n');
    after_line(rest)
}

fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'\n').expect("a line");
    &text[end + 1..]
}

fn two_digits(out: &mut Vec<u8>, value: u32) {
    if value < 10 {
        out.push(b'0');
    }
    number(out, u64::from(value));
}
