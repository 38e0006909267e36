//! No bytes make a panic, and what is written reads back the same.

use ipvs_sys::Request;
use ipvs_sys::message::{Content, replies};
use ipvs_sys::uapi::{Command, CommandAttrs, DaemonAttrs, DestAttrs, InfoAttrs, ServiceAttrs, StatsAttrs};
use ipvs_sys::wire::{Address, Attributes, Be16, Counter, FlagsMask, Name, Wire};
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

fn name() -> impl Strategy<Value = Option<Name>> {
    proptest::option::of(
        proptest::collection::vec(1u8..=255, 0..=16).prop_map(|bytes| Name::new(&bytes).expect("short")),
    )
}

prop_compose! {
    fn stats()(v in proptest::collection::vec(any::<Option<u64>>(), 10)) -> StatsAttrs {
        let mut v = v.into_iter().map(|v| v.map(Counter));
        let mut next = || v.next().flatten();
        StatsAttrs {
            conns: next(), inpkts: next(), outpkts: next(), inbytes: next(), outbytes: next(),
            cps: next(), inpps: next(), outpps: next(), inbps: next(), outbps: next(),
            ..StatsAttrs::default()
        }
    }
}

prop_compose! {
    fn attributes()(
        (af, protocol, port, tun_port) in any::<(Option<u16>, Option<u16>, Option<u16>, Option<u16>)>(),
        (addr, daddr) in any::<(Option<[u8; 16]>, Option<[u8; 16]>)>(),
        (sched_name, pe_name, mcast_ifn) in (name(), name(), name()),
        flags in any::<Option<(u32, u32)>>(),
        (timeout, netmask, weight, state) in any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>)>(),
        (stats, stats64) in (proptest::option::of(stats()), proptest::option::of(stats())),
        (group, group6) in any::<(Option<[u8; 4]>, Option<[u8; 16]>)>(),
        (tun_type, ttl) in any::<(Option<u8>, Option<u8>)>(),
    ) -> CommandAttrs {
        CommandAttrs {
            service: Some(ServiceAttrs {
                af, protocol, addr: addr.map(Address), port: port.map(Be16), sched_name, pe_name,
                flags: flags.map(|(flags, mask)| FlagsMask { flags, mask }),
                timeout, netmask, stats, ..ServiceAttrs::default()
            }),
            dest: Some(DestAttrs {
                addr: daddr.map(Address), weight, stats64, tun_type, tun_port: tun_port.map(Be16), ..DestAttrs::default()
            }),
            daemon: Some(DaemonAttrs {
                state, mcast_ifn, mcast_ttl: ttl,
                mcast_group: group.map(Into::into), mcast_group6: group6.map(Into::into),
                ..DaemonAttrs::default()
            }),
            timeout_tcp: timeout,
            ..CommandAttrs::default()
        }
    }
}

proptest! {
    #[test]
    fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    /// Headers that look right, with anything behind them.
    #[test]
    fn framed_garbage(
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

    /// A real message with some bytes changed and its end cut off.
    #[test]
    fn mutated(
        attributes in attributes(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        attributes.write(&mut bytes);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        read_everything(&bytes);
    }

    #[test]
    fn reads_back_what_was_written(attributes in attributes()) {
        let mut bytes = Vec::new();
        attributes.write(&mut bytes);
        prop_assert_eq!(CommandAttrs::read(&bytes).expect("reads"), attributes);
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
fn padding_is_read_over() {
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

/// `NLMSG_DONE` with an error number in it.
#[test]
fn a_list_that_ends_with_an_error() {
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
    let error = CommandAttrs::read(&bytes).expect_err("a weight has four bytes");
    assert_eq!(error.to_string(), "value too short in IPVS_DEST_ATTR_WEIGHT");
}

#[test]
fn a_request_prints_with_the_kernels_names() {
    let mut request = Request::new(Command::NewDest);
    request.attributes.dest = Some(DestAttrs { weight: Some(3), ..DestAttrs::default() });
    assert_eq!(
        format!("{request:?}"),
        "Request { command: NewDest, attributes: CommandAttrs { IPVS_CMD_ATTR_DEST: DestAttrs { IPVS_DEST_ATTR_WEIGHT: 3 } } }"
    );
}
