//! Requests without a socket: what cannot be sent is refused.

use ipvs_sys::message::{Content, Mode, encode, encode_family_lookup, family_id, replies};
use ipvs_sys::uapi::Command;
use ipvs_sys::{Error, Request, ToRequest};

const FAMILY: u16 = 37;

fn encoded(request: &Request, mode: Mode) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    encode(&mut out, request, mode, FAMILY, 9).map(|()| out)
}

/// Returns the flags of a request.
fn flags(request: &Request, mode: Mode) -> u16 {
    let bytes = encoded(request, mode).expect("encodes");
    assert_eq!(u16::from_ne_bytes([bytes[4], bytes[5]]), FAMILY);
    assert_eq!(u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]), 9);
    u16::from_ne_bytes([bytes[6], bytes[7]])
}

#[test]
fn commands_are_sent_in_their_own_way_only() {
    let modes = [Mode::Get, Mode::Dump, Mode::Change];
    let ways = |command| modes.map(|mode| encoded(&Request::new(command), mode).is_ok());
    for (number, _) in Command::TABLE {
        let command = Command::from_number(*number).expect("a command");
        assert_eq!(command.number(), *number);
        let expected = match command {
            Command::GetService => [true, true, false],
            Command::GetDest | Command::GetDaemon => [false, true, false],
            Command::GetConfig | Command::GetInfo => [true, false, false],
            Command::SetInfo => [false; 3],
            _ => [false, false, true],
        };
        assert_eq!(ways(command), expected, "{command:?}");
    }
    assert_eq!((Command::from_number(0), Command::from_number(200)), (None, None));
    let error = encoded(&Request::new(Command::Flush), Mode::Get).expect_err("not a reading");
    assert_eq!(error.to_string(), "IPVS_CMD_FLUSH was not sent: it gets no item");
}

#[test]
fn flags_are_those_of_netlink() {
    let service = Request::new(Command::GetService);
    assert_eq!(flags(&service, Mode::Get), 0x001);
    assert_eq!(flags(&service, Mode::Dump), 0x301);
    assert_eq!(flags(&Request::new(Command::Flush), Mode::Change), 0x005);
}

/// The length of an attribute has 16 bits. 65,532 bytes and the header would be 0.
#[test]
fn attributes_do_not_wrap_around() {
    for (length, is_sent) in [(65_500, true), (65_508, true), (65_509, false), (65_532, false), (70_000, false)] {
        let mut request = Request::new(Command::Flush);
        request.attributes.unknown.push(99, &vec![1; length]);
        let mut out = vec![7];
        let result = encode(&mut out, &request, Mode::Change, FAMILY, 1);
        assert_eq!(result.is_ok(), is_sent, "{length}");
        assert!(is_sent || out == [7], "{length}: nothing is appended");
    }
}

/// A request of another program, with bytes that are no attribute.
struct Odd(Vec<u8>);

impl ToRequest for Odd {
    fn command(&self) -> Command {
        Command::Flush
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

#[test]
fn odd_bytes_do_not_shift_the_next_request() {
    for length in 0..=8 {
        let mut out = Vec::new();
        for sequence in [1, 2] {
            encode(&mut out, &Odd(vec![1; length]), Mode::Change, FAMILY, sequence).expect("encodes");
        }
        let sequences: Vec<_> = replies(&out).map(|reply| reply.expect("a message").sequence).collect();
        assert_eq!(sequences, [1, 2], "{length}");
    }
}

#[test]
fn family_is_looked_up() {
    let mut out = Vec::new();
    encode_family_lookup(&mut out, 5);
    // As a message of another type, the request can be read as a reply.
    let reply = replies(&out).next().expect("a message").expect("well-formed");
    let Content::Data { command, attributes } = reply.content else { panic!("{reply:?}") };
    assert_eq!((reply.sequence, command, &attributes[4..8]), (5, 3, &b"IPVS"[..]));
    assert!(family_id(attributes).is_err(), "the request has no number");
    assert_eq!(
        family_id(&[6, 0, 1, 0, 37, 0, 0, 0]).ok(),
        Some(if cfg!(target_endian = "little") { 37 } else { 37 << 8 })
    );
}
