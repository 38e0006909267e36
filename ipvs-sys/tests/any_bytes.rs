//! Decoding never panics, and a list that was written is read back unchanged.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipvs_sys::Request;
use ipvs_sys::message::{Content, replies};
use ipvs_sys::uapi::{Command, CommandAttrs, DaemonAttr, DaemonAttrs, DestAttrs, InfoAttrs, ServiceAttrs, StatsAttrs};
use ipvs_sys::wire::{Address, Attributes, Be16, Counter, FlagsMask, Name, Unknown, Wire};
use proptest::prelude::*;

fn read_everything(bytes: &[u8]) {
    for reply in replies(bytes).flatten() {
        if let Content::Data { attributes, .. } = reply.content {
            read_lists(attributes);
        }
    }
    read_lists(bytes);
}

fn read_lists(bytes: &[u8]) {
    let _ = format!("{:?}", CommandAttrs::read(bytes));
    let _ = format!("{:?}", ServiceAttrs::read(bytes));
    let _ = format!("{:?}", DestAttrs::read(bytes));
    let _ = format!("{:?}", DaemonAttrs::read(bytes));
    let _ = format!("{:?}", StatsAttrs::read(bytes));
    let _ = format!("{:?}", InfoAttrs::read(bytes));
}

/// Random numbers from which values are made, followed by zeros.
struct Numbers(std::vec::IntoIter<u64>);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0.next().unwrap_or(0)
    }

    /// Returns a value, or `None` if the next number is a multiple of 4.
    fn any<T: FromNumbers>(&mut self) -> Option<T> {
        (!self.next().is_multiple_of(4)).then(|| T::from_numbers(self))
    }
}

trait FromNumbers {
    fn from_numbers(numbers: &mut Numbers) -> Self;
}

/// `fields!(numbers, List { a, b })` fills all fields of a list. If a field is not named, this does not compile.
macro_rules! fields {
    ($numbers:ident, $list:ident { $($field:ident),* $(,)? }) => {
        $list { $( $field: $numbers.any(), )* unknown: Unknown::from_numbers($numbers) }
    };
}

macro_rules! from_numbers {
    ($( $type:ty: |$numbers:ident| $value:expr; )*) => {
        $( impl FromNumbers for $type {
            fn from_numbers($numbers: &mut Numbers) -> Self { $value }
        } )*
    };
}

from_numbers! {
    u8: |numbers| numbers.next() as u8;
    u16: |numbers| numbers.next() as u16;
    u32: |numbers| numbers.next() as u32;
    Be16: |numbers| Be16(numbers.next() as u16);
    Counter: |numbers| Counter(numbers.next());
    Ipv4Addr: |numbers| u32::from_numbers(numbers).into();
    Ipv6Addr: |numbers| Address::from_numbers(numbers).v6();
    Address: |numbers| {
        let halves = [numbers.next(), numbers.next()];
        Address(std::array::from_fn(|at| halves[at / 8].to_ne_bytes()[at % 8]))
    };
    FlagsMask: |numbers| FlagsMask { flags: numbers.next() as u32, mask: numbers.next() as u32 };
    Name: |numbers| {
        let length = numbers.next() as usize % (Name::MAX + 1);
        let bytes: Vec<u8> = (0..length).map(|_| numbers.next() as u8 % 255 + 1).collect();
        Name::new(&bytes).expect("short, and without a NUL")
    };
    Unknown: |numbers| {
        let mut unknown = Unknown::default();
        for _ in 0..numbers.next() % 3 {
            // Above the numbers of all tables.
            let number = 1000 + u16::from_numbers(numbers) % 1000;
            unknown.push(number, &numbers.next().to_ne_bytes()[..(number % 9) as usize]);
        }
        unknown
    };
    CommandAttrs: |numbers| fields!(numbers, CommandAttrs {
        service, dest, daemon, timeout_tcp, timeout_tcp_fin, timeout_udp,
    });
    ServiceAttrs: |numbers| fields!(numbers, ServiceAttrs {
        af, protocol, addr, port, fwmark, sched_name, flags, timeout, netmask, stats, pe_name, stats64,
    });
    DestAttrs: |numbers| fields!(numbers, DestAttrs {
        addr, port, fwd_method, weight, u_thresh, l_thresh, active_conns, inact_conns, persist_conns, stats, addr_family,
        stats64, tun_type, tun_port, tun_flags,
    });
    DaemonAttrs: |numbers| fields!(numbers, DaemonAttrs {
        state, mcast_ifn, sync_id, sync_maxlen, mcast_group, mcast_group6, mcast_port, mcast_ttl,
    });
    StatsAttrs: |numbers| fields!(numbers, StatsAttrs {
        conns, inpkts, outpkts, inbytes, outbytes, cps, inpps, outpps, inbps, outbps,
    });
    InfoAttrs: |numbers| fields!(numbers, InfoAttrs { version, conn_tab_size });
}

fn random<T: FromNumbers + std::fmt::Debug>() -> impl Strategy<Value = T> {
    proptest::collection::vec(any::<u64>(), 0..400)
        .prop_map(|numbers| T::from_numbers(&mut Numbers(numbers.into_iter())))
}

fn bytes_of(list: &impl Attributes) -> Vec<u8> {
    let mut bytes = Vec::new();
    list.write(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    /// A valid header, followed by random bytes.
    #[test]
    fn random_bytes_after_a_header(
        message_type in prop_oneof![Just(2u16), Just(3), Just(28)],
        flags in any::<u16>(),
        off in -3i32..3,
        body in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut bytes = ((16 + body.len() as i32 + off) as u32).to_ne_bytes().to_vec();
        bytes.extend(message_type.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(&body);
        read_everything(&bytes);
    }

    /// A valid message with some bytes changed, and truncated.
    #[test]
    fn mutated(
        attributes in random::<CommandAttrs>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = bytes_of(&attributes);
        if !bytes.is_empty() {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        read_everything(&bytes);
    }

    #[test]
    fn written_lists_are_read_back(attributes in random::<CommandAttrs>(), info in random::<InfoAttrs>()) {
        prop_assert_eq!(CommandAttrs::read(&bytes_of(&attributes)), Ok(attributes));
        prop_assert_eq!(InfoAttrs::read(&bytes_of(&info)), Ok(info));
    }

    /// The visitor passes each attribute once, and with its value.
    #[test]
    fn written_attributes_are_visited(written in random::<DaemonAttrs>()) {
        let mut read = DaemonAttrs::default();
        let visited = DaemonAttr::visit(&bytes_of(&written), |attribute| {
            match attribute {
                DaemonAttr::State(value) => read.state = Some(value),
                DaemonAttr::McastIfn(value) => read.mcast_ifn = Some(value),
                DaemonAttr::SyncId(value) => read.sync_id = Some(value),
                DaemonAttr::SyncMaxlen(value) => read.sync_maxlen = Some(value),
                DaemonAttr::McastGroup(value) => read.mcast_group = Some(value),
                DaemonAttr::McastGroup6(value) => read.mcast_group6 = Some(value),
                DaemonAttr::McastPort(value) => read.mcast_port = Some(value),
                DaemonAttr::McastTtl(value) => read.mcast_ttl = Some(value),
                DaemonAttr::Unknown(number, value) => read.unknown.push(number, value),
            }
            Ok(())
        });
        prop_assert_eq!((visited, read), (Ok(()), written));
    }

    #[test]
    fn unknown_attributes_are_kept(number in 100u16..1000, value in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut bytes = Vec::new();
        ipvs_sys::wire::write_attribute(&mut bytes, number, |out| out.extend(&value));
        let list = DestAttrs::read(&bytes).expect("reads");
        prop_assert_eq!(list.unknown.iter().collect::<Vec<_>>(), vec![(number, &value[..])]);
        let mut again = Vec::new();
        list.write(&mut again);
        prop_assert_eq!(again, bytes);
    }
}

#[test]
fn padding_is_skipped() {
    let mut bytes = Vec::new();
    for _ in 0..2 {
        ipvs_sys::wire::write_attribute(&mut bytes, ipvs_sys::uapi::IPVS_STATS_ATTR_PAD, |_| ());
        ipvs_sys::wire::write_attribute(&mut bytes, ipvs_sys::uapi::IPVS_STATS_ATTR_INBYTES, |out| {
            out.extend(7u64.to_ne_bytes())
        });
    }
    let stats = StatsAttrs::read(&bytes).expect("reads");
    assert_eq!(stats, StatsAttrs { inbytes: Some(Counter(7)), ..StatsAttrs::default() });
}

/// The last message, `NLMSG_DONE`, has an error number.
#[test]
fn a_dump_that_ends_with_an_error() {
    let mut bytes = 20u32.to_ne_bytes().to_vec();
    bytes.extend([3, 0, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend((-12i32).to_ne_bytes());
    let [Ok(reply)] = &replies(&bytes).collect::<Vec<_>>()[..] else { panic!("{bytes:?}") };
    let refusal = ipvs_sys::Refusal { errno: 12, message: None, offset: None };
    assert_eq!((reply.sequence, &reply.content), (7, &Content::End(Some(refusal))));
}

#[test]
fn an_error_names_the_attribute() {
    let mut bytes = Vec::new();
    ipvs_sys::wire::write_attribute(&mut bytes, ipvs_sys::uapi::IPVS_CMD_ATTR_DEST, |out| {
        ipvs_sys::wire::write_attribute(out, ipvs_sys::uapi::IPVS_DEST_ATTR_WEIGHT, |out| out.push(1));
    });
    let error = CommandAttrs::read(&bytes).expect_err("a weight has 4 bytes");
    assert_eq!(error.to_string(), "value too short in IPVS_DEST_ATTR_WEIGHT");
}

#[test]
fn debug_output_has_the_names_of_the_kernel() {
    let mut request = Request::new(Command::NewDest);
    request.attributes.dest = Some(DestAttrs { weight: Some(3), ..DestAttrs::default() });
    assert_eq!(
        format!("{request:?}"),
        "Request { command: NewDest, attributes: CommandAttrs { IPVS_CMD_ATTR_DEST: DestAttrs { IPVS_DEST_ATTR_WEIGHT: 3 } } }"
    );
}
