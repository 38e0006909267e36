//! Connection synchronisation between two directors, and takeovers.
//!
//! ```text
//!   client ──── outside ──┬── first ───┬── inside ──┬── web1  10.2.0.11  fd02::11
//!  10.1.0.10              └── second ──┘            └── web2  10.2.0.12  fd02::12
//!   fd01::10                 │    │
//!                            └sync┘
//!
//!            outside   inside     sync
//!   first   10.1.0.1  10.2.0.1  10.9.0.1      virtual, on the active director:
//!           fd01::1   fd02::1   fd09::1       10.1.0.100 outside, 10.2.0.254 inside (the servers' gateway),
//!  second   10.1.0.2  10.2.0.2  10.9.0.2      fd01::100 outside, fd02::254 inside
//!           fd01::2   fd02::2   fd09::2
//! ```

use std::net::IpAddr;
use std::time::Duration;

use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::client::Replies;
use ipvs_tests::traffic::packets::Packet;
use ipvs_tests::traffic::server::Protocol::Tcp;
use ipvs_tests::wait;

use crate::under_test;

ipvs_tests::tests! {
    connections_appear_on_the_backup;
    connections_appear_on_the_backup_in_ipv6;
    takeover_keeps_connections;
    takeover_keeps_connections_by_direct_routing;
    takeover_without_sync_resets_connections;
    backup_ignores_other_sync_ids;
    uses_group_port_ttl_and_length;
    uses_ipv6_group;
    master_and_backup_on_both_directors;
}

struct Pair {
    lab: Lab,
    client: Host,
    first: Host,
    second: Host,
    webs: [Host; 2],
}

fn pair() -> Pair {
    let lab = Lab::new().unwrap();
    let [client, first, second, web1, web2] = lab.hosts(["client", "first", "second", "web1", "web2"]).unwrap();
    let outside = [
        (&client, "10.1.0.10/24 fd01::10/64"),
        (&first, "10.1.0.1/24 fd01::1/64"),
        (&second, "10.1.0.2/24 fd01::2/64"),
    ];
    let inside = [
        (&first, "10.2.0.1/24 fd02::1/64"),
        (&second, "10.2.0.2/24 fd02::2/64"),
        (&web1, "10.2.0.11/24 fd02::11/64"),
        (&web2, "10.2.0.12/24 fd02::12/64"),
    ];
    lab.segment("outside", outside).unwrap();
    lab.segment("inside", inside).unwrap();
    lab.segment("sync", [(&first, "10.9.0.1/24 fd09::1/64"), (&second, "10.9.0.2/24 fd09::2/64")]).unwrap();
    for director in [&first, &second] {
        director.sysctl("net/ipv4/ip_forward", "1").unwrap();
        director.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    }
    for web in [&web1, &web2] {
        web.gateway("10.2.0.254").unwrap();
        web.gateway("fd02::254").unwrap();
        web.serve(Tcp, "[::]:80").unwrap();
    }
    for (interface, address) in
        [("eth0", "10.1.0.100/32"), ("eth1", "10.2.0.254/32"), ("eth0", "fd01::100/128"), ("eth1", "fd02::254/128")]
    {
        first.address(interface, address).unwrap();
    }
    under_test::install();
    Pair { lab, client, first, second, webs: [web1, web2] }
}

impl Pair {
    /// Runs commands on both directors.
    fn on_both(&self, lines: &[&str]) {
        for director in [&self.first, &self.second] {
            lines.iter().for_each(|line| drop(director.ok(line)));
        }
    }

    fn masquerade(&self) {
        self.on_both(&[
            "ipvsadm -A -t 10.1.0.100:80 -s rr",
            "ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11 -m",
            "ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.12 -m",
        ]);
    }

    fn masquerade_ipv6(&self) {
        self.on_both(&[
            "ipvsadm -A -t [fd01::100]:80 -s rr",
            "ipvsadm -a -t [fd01::100]:80 -r [fd02::11]:80 -m",
            "ipvsadm -a -t [fd01::100]:80 -r [fd02::12]:80 -m",
        ]);
    }

    /// Starts the master daemon on the first director and the backup daemon on the second.
    fn sync(&self, master: &str, backup: &str) {
        self.first.ok(&format!("ipvsadm --start-daemon master --mcast-interface eth2 {master}"));
        self.second.ok(&format!("ipvsadm --start-daemon backup --mcast-interface eth2 {backup}"));
    }

    /// Opens connections and sends data on each, because the kernel synchronises a connection from its third packet on.
    fn hold(&self, count: usize, service: &str) -> Replies {
        let held = self.client.client().hold(count, service);
        assert_eq!(held.to_string(), format!("web1={0} web2={0}", count / 2));
        assert_eq!(held.again().to_string(), held.to_string());
        held
    }

    /// Unplugs the first director, and moves the addresses to the second, which announces them.
    fn take_over(&self) {
        self.lab.unplug(&self.first, "eth0").unwrap();
        self.lab.unplug(&self.first, "eth1").unwrap();
        for (interface, address) in [("eth0", "10.1.0.100"), ("eth1", "10.2.0.254")] {
            self.second.address(interface, &format!("{address}/32")).unwrap();
            self.second.announce(interface, address.parse().unwrap()).unwrap();
        }
    }
}

/// Returns source, virtual address and server of the connections in a state.
fn connections(director: &Host, state: &str) -> Vec<String> {
    let list = director.ok("ipvsadm -Lnc");
    let lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut wanted: Vec<String> =
        lines.filter(|words| words.len() == 6 && words[2] == state).map(|words| words[3..].join(" ")).collect();
    wanted.sort();
    wanted
}

/// Waits until the backup has exactly the connections of the master.
fn wait_for_synced_connections(backup: &Host, master: &Host) {
    wait::until(Duration::from_secs(30), || {
        let (wanted, found) = (connections(master, "ESTABLISHED"), connections(backup, "ESTABLISHED"));
        assert!(!wanted.is_empty());
        if found == wanted { Ok(()) } else { Err(format!("{found:?} and not {wanted:?}")) }
    });
}

fn connections_appear_on_the_backup() {
    let pair = pair();
    pair.masquerade();
    pair.sync("--syncid 5", "--syncid 5");
    let _held = pair.hold(10, "10.1.0.100:80");
    wait_for_synced_connections(&pair.second, &pair.first);
    // The backup also counts them, but as inactive.
    let list = pair.second.ok("ipvsadm -Ln");
    assert!(list.contains("  -> 10.2.0.11:80                 Masq    1      5          0 "), "{list}");
    let daemons = pair.first.ok("ipvsadm -Ln --daemon");
    assert!(daemons.starts_with("master sync daemon (mcast=eth2, syncid=5, "), "{daemons}");
    pair.first.ok("ipvsadm --stop-daemon master");
    pair.second.ok("ipvsadm --stop-daemon backup");
    assert_eq!(pair.first.ok("ipvsadm -Ln --daemon") + &pair.second.ok("ipvsadm -Ln --daemon"), "");
}

fn connections_appear_on_the_backup_in_ipv6() {
    let pair = pair();
    pair.masquerade_ipv6();
    pair.sync("", "");
    let _held = pair.hold(10, "[fd01::100]:80");
    wait_for_synced_connections(&pair.second, &pair.first);
}

fn takeover_keeps_connections() {
    let pair = pair();
    pair.masquerade();
    pair.sync("", "");
    let held = pair.hold(10, "10.1.0.100:80");
    wait_for_synced_connections(&pair.second, &pair.first);
    pair.take_over();
    assert_eq!(held.again().to_string(), "web1=5 web2=5");
    assert_eq!(pair.client.client().hold(4, "10.1.0.100:80").to_string(), "web1=2 web2=2");
}

fn takeover_keeps_connections_by_direct_routing() {
    let pair = pair();
    // A second interface of the servers, for requests and for replies to the client.
    for (web, address) in pair.webs.iter().zip(["10.1.0.11/24", "10.1.0.12/24"]) {
        pair.lab.plug(web, "outside", address).unwrap();
        under_test::real_server(web, "--mode dr --vip 10.1.0.100");
    }
    pair.on_both(&[
        "ipvsadm -A -t 10.1.0.100:80 -s rr",
        "ipvsadm -a -t 10.1.0.100:80 -r 10.1.0.11 -g",
        "ipvsadm -a -t 10.1.0.100:80 -r 10.1.0.12 -g",
    ]);
    pair.sync("", "");
    let held = pair.hold(10, "10.1.0.100:80");
    wait_for_synced_connections(&pair.second, &pair.first);
    pair.take_over();
    assert_eq!(held.again().to_string(), "web1=5 web2=5");
}

fn takeover_without_sync_resets_connections() {
    let pair = pair();
    pair.masquerade();
    let held = pair.hold(10, "10.1.0.100:80");
    pair.take_over();
    assert_eq!(held.again().to_string(), "reset=10");
    assert_eq!(pair.client.client().hold(4, "10.1.0.100:80").to_string(), "web1=2 web2=2");
}

fn backup_ignores_other_sync_ids() {
    let pair = pair();
    pair.masquerade();
    let watch = pair.second.watch().unwrap();
    pair.sync("--syncid 1", "--syncid 2");
    let _held = pair.hold(10, "10.1.0.100:80");
    let group: IpAddr = "224.0.0.81".parse().unwrap();
    // The connections follow 8 bytes of UDP header and 8 bytes of message header.
    let is_sync = |packet: &Packet| {
        packet.destination() == group && packet.protocol() == libc::IPPROTO_UDP && packet.payload().len() > 16
    };
    wait::until(Duration::from_secs(30), || {
        if watch.packets().iter().any(is_sync) { Ok(()) } else { Err("no sync message received".to_owned()) }
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(connections(&pair.second, "ESTABLISHED"), [""; 0]);
}

fn uses_group_port_ttl_and_length() {
    let options = "--syncid 9 --mcast-group 224.0.0.99 --mcast-port 8900 --mcast-ttl 3 --sync-maxlen 1100";
    let listed = "syncid=9, maxlen=1100, group=224.0.0.99, port=8900, ttl=3";
    let lengths = check_options(options, listed, "224.0.0.99", 8900, 3);
    // 40 connections of 36 bytes do not fit into one message.
    assert!(lengths.iter().all(|length| *length <= 1100) && lengths.iter().sum::<usize>() > 1440, "{lengths:?}");
}

fn uses_ipv6_group() {
    let options = "--mcast-group ff02::99 --mcast-port 8901 --mcast-ttl 2";
    check_options(options, "group=ff02::99, port=8901, ttl=2", "ff02::99", 8901, 2);
}

/// Starts the daemons with these options, checks the messages, and returns their lengths.
fn check_options(options: &str, listed: &str, group: &str, port: u16, ttl: u8) -> Vec<usize> {
    let pair = pair();
    pair.masquerade();
    let watch = pair.second.watch().unwrap();
    pair.sync(options, options);
    for (director, role) in [(&pair.first, "master"), (&pair.second, "backup")] {
        let daemons = director.ok("ipvsadm -Ln --daemon");
        assert!(daemons.contains(role) && daemons.contains(listed), "{daemons}");
    }
    let _held = pair.hold(40, "10.1.0.100:80");
    wait_for_synced_connections(&pair.second, &pair.first);
    let group: IpAddr = group.parse().unwrap();
    let to_group: Vec<_> = watch.packets().into_iter().filter(|packet| packet.destination() == group).collect();
    let messages: Vec<_> = to_group.iter().filter(|packet| packet.protocol() == libc::IPPROTO_UDP).collect();
    assert!(!messages.is_empty());
    for message in &messages {
        assert_eq!((&message.payload()[2..4], message.hops()), (&port.to_be_bytes()[..], ttl));
    }
    messages.iter().map(|message| message.payload().len() - 8).collect()
}

/// With both daemons on both directors, the active one sends, and a takeover needs no change of daemons.
fn master_and_backup_on_both_directors() {
    let pair = pair();
    pair.masquerade();
    for director in [&pair.first, &pair.second] {
        for role in ["master", "backup"] {
            director.ok(&format!("ipvsadm --start-daemon {role} --mcast-interface eth2 --syncid 4"));
        }
        let daemons = director.ok("ipvsadm -Ln --daemon");
        assert_eq!(daemons.matches("sync daemon (mcast=eth2, syncid=4").count(), 2, "{daemons}");
    }
    let held = pair.hold(10, "10.1.0.100:80");
    wait_for_synced_connections(&pair.second, &pair.first);
    pair.take_over();
    assert_eq!(held.again().to_string(), "web1=5 web2=5");
    // New connections are synchronised in the other direction.
    let more = pair.client.client().hold(2, "10.1.0.100:80");
    assert_eq!(more.again().to_string(), "web1=1 web2=1");
    wait::until(Duration::from_secs(30), || match connections(&pair.first, "ESTABLISHED").len() {
        12 => Ok(()),
        count => Err(format!("the first director has {count} connections")),
    });
}
