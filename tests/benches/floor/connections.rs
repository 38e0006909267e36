//! The kernel's text of the connections → ipvsadm's.

use crate::kernel::{open_file, read_some, write_all};
use crate::text::{endpoint, number, pad, take_hex, take_number};

/// The kernel never gives more at a time.
const PAGE: usize = 4096;

pub(crate) fn list() {
    let file = open_file(b"/proc/net/ip_vs_conn\0");
    let mut page = [0; 2 * PAGE];
    let mut filled = 0;
    let mut out = Vec::with_capacity(128 * 1024);
    out.extend_from_slice(
        b"IPVS connection entries\npro expire state       source             virtual            destination\n",
    );
    let mut first = true;
    loop {
        let got = read_some(file, &mut page[filled..]);
        filled += got;
        if got == 0 {
            break;
        }
        let mut rest = &page[..filled];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if !first {
                line(&mut out, &rest[..end]);
            }
            first = false;
            rest = &rest[end + 1..];
        }
        let left = rest.len();
        page.copy_within(filled - left..filled, 0);
        filled = left;
        if out.len() > 64 * 1024 {
            write_all(&out);
            out.clear();
        }
    }
    write_all(&out);
}

#[inline]
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let text = *rest;
    let mut start = 0;
    while start < text.len() && text[start] == b' ' {
        start += 1;
    }
    let mut end = start;
    while end < text.len() && text[end] != b' ' {
        end += 1;
    }
    *rest = &text[end..];
    &text[start..end]
}

#[inline]
fn take_address(rest: &mut &[u8]) -> (bool, [u8; 16], u16) {
    let mut text = word(rest);
    let mut address = [0; 16];
    let is_v6 = text.len() > 8;
    if is_v6 {
        for group in address.chunks_exact_mut(2) {
            group.copy_from_slice(&(take_hex(&mut text) as u16).to_be_bytes());
            text = text.get(1..).unwrap_or(&[]);
        }
    } else {
        address[..4].copy_from_slice(&take_hex(&mut text).to_be_bytes());
    }
    (is_v6, address, take_hex(&mut word(rest)) as u16)
}

fn line(out: &mut Vec<u8>, mut rest: &[u8]) {
    let start = out.len();
    out.extend_from_slice(word(&mut rest));
    pad(out, start, 4);
    let client = take_address(&mut rest);
    let service = take_address(&mut rest);
    let server = take_address(&mut rest);
    let state = word(&mut rest);
    let expires = take_number(&mut word(&mut rest));
    let start = out.len();
    two_digits(out, expires / 60);
    out.push(b':');
    two_digits(out, expires % 60);
    pad(out, start, 7);
    let start = out.len();
    out.extend_from_slice(state);
    pad(out, start, 12);
    for (is_v6, address, port) in [client, service] {
        let start = out.len();
        endpoint(out, is_v6, &address, port);
        pad(out, start, 18);
        out.push(b' ');
    }
    let (is_v6, address, port) = server;
    endpoint(out, is_v6, &address, port);
    out.push(b'\n');
}

fn two_digits(out: &mut Vec<u8>, value: u32) {
    if value < 10 {
        out.push(b'0');
    }
    number(out, u64::from(value));
}
