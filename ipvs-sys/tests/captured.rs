//! Decodes messages of Linux 6.1 and 7.2, which have the same content. Only 6.1 has padding before 64-bit values,
//! because it is built for User-mode Linux. `captured/README` describes how the files were made.

use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;

use ipvs_sys::Refusal;
use ipvs_sys::family::FamilyAttrs;
use ipvs_sys::message::{Content, replies};
use ipvs_sys::uapi::{Command, CommandAttrs, DaemonAttrs, DestAttrs, InfoAttrs, ServiceAttrs, StatsAttrs};
use ipvs_sys::wire::{Address, Attributes, Be16, Counter, FlagsMask, Name};

const SERIES: [&str; 2] = ["6.1", "7.2"];

fn file(series: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/captured/{series}/{name}.bin"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the lists of attributes in a file, and whether the end of a dump follows. All are replies to request 1.
fn lists<A: Attributes>(series: &str, name: &str, reply_command: u8) -> (Vec<A>, bool) {
    let (mut lists, mut ended) = (Vec::new(), false);
    for reply in replies(&file(series, name)) {
        let reply = reply.expect("a message");
        assert!(reply.sequence == 1 && !ended);
        match reply.content {
            Content::Data { command, attributes } => {
                assert_eq!(command, reply_command);
                lists.push(A::read(attributes).expect("attributes"));
            }
            Content::End(None) => ended = true,
            other => panic!("{other:?}"),
        }
    }
    (lists, ended)
}

fn the_only<A: Attributes>(series: &str, name: &str, reply_command: u8) -> A {
    let (mut lists, ended) = lists(series, name, reply_command);
    assert!(lists.len() == 1 && !ended);
    lists.remove(0)
}

fn the_list(series: &str, name: &str, command: Command) -> Vec<CommandAttrs> {
    let (lists, ended) = lists(series, name, reply_command(command));
    assert!(ended);
    lists
}

/// Returns the command of the reply to a request for data. The kernel uses the command that would set the data.
fn reply_command(command: Command) -> u8 {
    let reply = match command {
        Command::GetService => Command::NewService,
        Command::GetDest => Command::NewDest,
        Command::GetDaemon => Command::NewDaemon,
        other => panic!("{other:?} is not dumped"),
    };
    reply.number()
}

fn single_reply(series: &str, name: &str, check: impl FnOnce(Content<'_>)) {
    let bytes = file(series, name);
    let mut replies = replies(&bytes);
    check(replies.next().expect("a reply").expect("a message").content);
    assert!(replies.next().is_none());
}

fn name(text: &str) -> Option<Name> {
    Name::new(text.as_bytes())
}

fn v4(address: [u8; 4]) -> Option<Address> {
    Some(std::net::Ipv4Addr::from(address).into())
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// Returns the counters after `datagrams` datagrams of one byte to a server that does not reply.
fn counted(datagrams: u64) -> StatsAttrs {
    let counter = |value| Some(Counter(value));
    StatsAttrs {
        conns: counter(datagrams),
        inpkts: counter(datagrams),
        outpkts: counter(0),
        inbytes: counter(datagrams * 29),
        outbytes: counter(0),
        cps: counter(0),
        inpps: counter(0),
        outpps: counter(0),
        inbps: counter(0),
        outbps: counter(0),
        ..StatsAttrs::default()
    }
}

/// Sets the rates to 0. They differ in each file; this checks only that they are present.
fn without_rates(mut attributes: CommandAttrs) -> CommandAttrs {
    let service = attributes.service.as_mut().expect("a service");
    for stats in [&mut service.stats, &mut service.stats64] {
        let stats = stats.as_mut().expect("statistics");
        for rate in [&mut stats.cps, &mut stats.inpps, &mut stats.inbps] {
            *rate.as_mut().expect("a rate") = Counter(0);
        }
    }
    attributes
}

fn service(service: ServiceAttrs) -> CommandAttrs {
    CommandAttrs { service: Some(service), ..CommandAttrs::default() }
}

/// Returns the attributes that the kernel reports for every service. The scheduler is rr; all other settings are the
/// defaults.
fn plain(af: u16) -> ServiceAttrs {
    ServiceAttrs {
        af: Some(af),
        sched_name: name("rr"),
        flags: Some(FlagsMask { flags: 2, mask: u32::MAX }),
        timeout: Some(0),
        netmask: Some(if af == 2 { u32::MAX } else { 128 }),
        stats: Some(counted(0)),
        stats64: Some(counted(0)),
        ..ServiceAttrs::default()
    }
}

fn at(protocol: u16, port: u16) -> ServiceAttrs {
    ServiceAttrs { protocol: Some(protocol), addr: v4([192, 0, 2, 1]), port: Some(Be16(port)), ..plain(2) }
}

/// `-A -u 192.0.2.1:53 -s wlc`
fn dns() -> CommandAttrs {
    service(ServiceAttrs { sched_name: name("wlc"), stats: Some(counted(3)), stats64: Some(counted(3)), ..at(17, 53) })
}

#[test]
fn the_family() {
    for series in SERIES {
        let family: FamilyAttrs = the_only(series, "family", 1);
        assert_eq!(family.name, name("IPVS"));
        assert!(family.id.is_some_and(|id| id > 16), "{family:?}");
    }
}

#[test]
fn info() {
    for (series, buckets) in SERIES.into_iter().zip([4096, 256]) {
        let info: InfoAttrs = the_only(series, "info", Command::SetInfo.number());
        let expected = InfoAttrs { version: Some(0x01_02_01), conn_tab_size: Some(buckets), ..InfoAttrs::default() };
        assert_eq!(info, expected, "{series}");
    }
}

#[test]
fn timeouts() {
    for series in SERIES {
        let expected = CommandAttrs {
            timeout_tcp: Some(901),
            timeout_tcp_fin: Some(121),
            timeout_udp: Some(301),
            ..CommandAttrs::default()
        };
        assert_eq!(the_only::<CommandAttrs>(series, "timeouts", Command::SetConfig.number()), expected, "{series}");
    }
}

#[test]
fn one_service() {
    for series in SERIES {
        let reply: CommandAttrs = the_only(series, "service", Command::NewService.number());
        assert_eq!(without_rates(reply), dns(), "{series}");
    }
}

#[test]
fn services() {
    let expected = [
        // -A -t 192.0.2.1:80 -s rr
        service(at(6, 80)),
        // -A -t [2001:db8::1]:443 -s mh -b mh-fallback,mh-port -p 360 -M 64
        service(ServiceAttrs {
            protocol: Some(6),
            addr: Some(v6("2001:db8::1").into()),
            port: Some(Be16(443)),
            sched_name: name("mh"),
            flags: Some(FlagsMask { flags: 0x1b, mask: u32::MAX }),
            timeout: Some(360),
            netmask: Some(64),
            ..plain(10)
        }),
        dns(),
        // -A -u 192.0.2.1:5060 -s sh -p 60 -M 255.255.255.0 --pe sip -o
        service(ServiceAttrs {
            sched_name: name("sh"),
            flags: Some(FlagsMask { flags: 7, mask: u32::MAX }),
            timeout: Some(60),
            netmask: Some(u32::from_ne_bytes([255, 255, 255, 0])),
            pe_name: name("sip"),
            ..at(17, 5060)
        }),
        // -A -f 7 -s wrr
        service(ServiceAttrs { fwmark: Some(7), sched_name: name("wrr"), ..plain(2) }),
        // -A -f 7 -6 -s none
        service(ServiceAttrs { fwmark: Some(7), sched_name: name("none"), ..plain(10) }),
    ];
    for series in SERIES {
        let replies = the_list(series, "services", Command::GetService);
        // The kernel returns services in no particular order.
        assert_eq!(replies.len(), expected.len());
        for reply in replies.into_iter().map(without_rates) {
            assert!(expected.contains(&reply), "{series}: {reply:?}");
        }
    }
}

#[test]
fn servers() {
    let server = |last: u8, port: u16, forwarding: u32| DestAttrs {
        addr: v4([10, 0, 0, last]),
        port: Some(Be16(port)),
        fwd_method: Some(forwarding),
        weight: Some(1),
        u_thresh: Some(0),
        l_thresh: Some(0),
        active_conns: Some(0),
        inact_conns: Some(0),
        persist_conns: Some(0),
        addr_family: Some(2),
        stats: Some(counted(0)),
        stats64: Some(counted(0)),
        tun_type: Some(0),
        tun_port: Some(Be16(0)),
        tun_flags: Some(0),
        ..DestAttrs::default()
    };
    // The newest comes first.
    let expected = [
        // -r 10.0.0.4:80 -i --tun-type gre --tun-csum
        DestAttrs { tun_type: Some(2), tun_flags: Some(1), ..server(4, 80, 2) },
        // -r 10.0.0.3:80 -i --tun-type gue --tun-port 6080 --tun-remcsum
        DestAttrs { tun_type: Some(1), tun_port: Some(Be16(6080)), tun_flags: Some(2), ..server(3, 80, 2) },
        // -r 10.0.0.2:80 -g -w 2147483647 -x 100 -y 50
        DestAttrs { weight: Some(0x7fff_ffff), u_thresh: Some(100), l_thresh: Some(50), ..server(2, 80, 3) },
        // -r 10.0.0.1:8080 -m -w 0
        DestAttrs { weight: Some(0), ..server(1, 8080, 0) },
    ]
    .map(|dest| CommandAttrs { dest: Some(dest), ..CommandAttrs::default() });
    for series in SERIES {
        assert_eq!(the_list(series, "servers", Command::GetDest), expected, "{series}");
    }
}

#[test]
fn daemons() {
    let expected = [
        // --start-daemon master --mcast-interface eth0 --syncid 7
        DaemonAttrs {
            state: Some(1),
            mcast_ifn: name("eth0"),
            sync_id: Some(7),
            sync_maxlen: Some(1472),
            mcast_group: Some([224, 0, 0, 81].into()),
            mcast_port: Some(8848),
            mcast_ttl: Some(1),
            ..DaemonAttrs::default()
        },
        // --start-daemon backup … --sync-maxlen 9000 --mcast-group ff02::5 --mcast-port 8849 --mcast-ttl 3
        DaemonAttrs {
            state: Some(2),
            mcast_ifn: name("eth0"),
            sync_id: Some(8),
            sync_maxlen: Some(9000),
            mcast_group6: Some(v6("ff02::5")),
            mcast_port: Some(8849),
            mcast_ttl: Some(3),
            ..DaemonAttrs::default()
        },
    ]
    .map(|daemon| CommandAttrs { daemon: Some(daemon), ..CommandAttrs::default() });
    for series in SERIES {
        assert_eq!(the_list(series, "daemons", Command::GetDaemon), expected, "{series}");
    }
}

#[test]
fn ack_and_refusal() {
    for series in SERIES {
        single_reply(series, "ack", |content| assert_eq!(content, Content::Done));
        let refused = Refusal { errno: 3, message: None, offset: None };
        single_reply(series, "refused", |content| assert_eq!(content, Content::Refused(refused)));
    }
}

/// The kernel's message follows the echo of the request's header, or of the whole request.
#[test]
fn refusal_with_a_message() {
    for series in SERIES {
        let message = Some("Attribute failed policy validation".to_owned());
        for name in ["explained", "echoed"] {
            let refused = Refusal { errno: 22, message: message.clone(), offset: Some(32) };
            single_reply(series, name, |content| assert_eq!(content, Content::Refused(refused), "{name}"));
        }
        assert!(file(series, "echoed").len() > file(series, "explained").len());
    }
}

/// The values above are the same with and without padding.
#[test]
fn padding() {
    let [old, new] = SERIES.map(|series| file(series, "servers").len());
    // For each of the 4 servers 11 empty attributes, before the 64-bit counters.
    assert_eq!(old - new, 4 * 11 * 4);
}
