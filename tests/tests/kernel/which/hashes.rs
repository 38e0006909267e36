//! The hash tables of sh, mh and dh.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::farm::{Farm, clients, compare, counts, predicted, source_4, source_6};

ipvs_tests::tests! {
    sh_of_ipv4;
    sh_of_ipv6;
    sh_of_marks;
    mh_of_ipv4;
    mh_of_ipv6;
    mh_of_marks;
    dh_of_ipv4;
    dh_of_ipv6;
    full_servers;
    removed_servers_of_sh;
    removed_servers_of_mh;
    removed_servers_of_dh;
    last_weights_are_not_known;
    last_weights_that_drain_remembers;
}

const FOUR: [(&str, u32); 4] = [("10.2.0.11:80", 1), ("10.2.0.12:80", 3), ("10.2.0.13:80", 2), ("10.2.0.14:80", 2)];
const FOUR_6: [(&str, u32); 4] =
    [("[fd02::11]:80", 1), ("[fd02::12]:80", 3), ("[fd02::13]:80", 2), ("[fd02::14]:80", 2)];
/// The third server has weight 0. sh gives it a slot.
const DRAINED: [(&str, u32); 4] = [("10.2.0.11:80", 1), ("10.2.0.12:80", 3), ("10.2.0.13:80", 0), ("10.2.0.14:80", 2)];
const DRAINED_6: [(&str, u32); 4] =
    [("[fd02::11]:80", 1), ("[fd02::12]:80", 3), ("[fd02::13]:80", 0), ("[fd02::14]:80", 2)];

const WEB: &str = "-u 10.8.0.1:80";
const WEB_6: &str = "-u [fd08::1]:80";

/// A family, with the clients and the service of its tests.
#[derive(Clone, Copy)]
struct Side {
    source: fn(u32) -> IpAddr,
    vip: &'static str,
    /// The service as `ipvsadm` and as `which` select it.
    service: &'static str,
    asked: &'static str,
}

const V4: Side = Side { source: source_4, vip: "10.8.0.1:80", service: WEB, asked: WEB };
const V6: Side = Side { source: source_6, vip: "[fd08::1]:80", service: WEB_6, asked: WEB_6 };
const MARK_4: Side = Side { service: "-f 1", asked: "-f 1", ..V4 };
const MARK_6: Side = Side { service: "-f 1 -6", asked: "fwmark:1:IPv6", ..V6 };

/// Returns clients with addresses and ports that do not repeat in other rounds.
fn sources(side: Side, count: u32, round: u16) -> Vec<SocketAddr> {
    (0..count).map(|n| SocketAddr::new((side.source)(n), 20_000 + round * 1000 + (n % 997) as u16)).collect()
}

/// Checks each combination of flags.
fn check_flags(farm: &Farm, scheduler: &str, side: Side, servers: &[(&str, u32)], count: u32) {
    let flags = ["", "port", "fallback", "port,fallback"];
    for (flags, round) in flags.into_iter().zip(0..) {
        let names: Vec<String> =
            flags.split(',').filter(|flag| !flag.is_empty()).map(|flag| format!("{scheduler}-{flag}")).collect();
        let flags = if names.is_empty() { String::new() } else { format!(" -b {}", names.join(",")) };
        let options = format!("-s {scheduler}{flags}");
        farm.table(side.service, &options, servers);
        let clients = sources(side, clients(count), round);
        let which = farm.which(side.asked, "", &clients);
        let predicted = predicted(&which, "new");
        let vip: SocketAddr = side.vip.parse().unwrap();
        let mut seen = farm.ask(&clients, |_| vip);
        // On a busy machine, a server can be later than the short limit of IPv6.
        for (n, seen) in seen.iter_mut().enumerate() {
            if seen == "no reply" && predicted[n].starts_with("rs") {
                *seen = farm.ask(&clients[n..=n], |_| vip).remove(0);
            }
        }
        let case = format!("{options} {}", side.service);
        compare(&case, &clients, &predicted, &seen);
        let has_refused = servers.iter().any(|(_, weight)| *weight == 0) && !options.contains("fallback");
        let found = counts(&seen);
        let is_refused = ["refused", "no reply"].iter().any(|outcome| found.contains_key(outcome));
        assert_eq!(is_refused, has_refused, "{case}: {found:?}");
        // Now the connections decide.
        let held = farm.which(side.asked, "", &clients);
        for (client, seen) in held["clients"].as_array().unwrap().iter().zip(&seen) {
            let server =
                Some(&client["connection"]["server"]).filter(|server| !server.is_null()).map(super::farm::name);
            let is_same = server.as_ref().map_or(!seen.starts_with("rs"), |server| server == seen);
            assert!(is_same, "{case}: {seen} {client}");
        }
    }
}

fn sh_of_ipv4() {
    check_flags(&Farm::new(), "sh", V4, &DRAINED, 1000);
}

fn sh_of_ipv6() {
    check_flags(&Farm::new(), "sh", V6, &DRAINED_6, 1000);
}

fn sh_of_marks() {
    let farm = Farm::new();
    farm.mark();
    check_flags(&farm, "sh", MARK_4, &DRAINED, 400);
    check_flags(&farm, "sh", MARK_6, &DRAINED_6, 100);
}

fn mh_of_ipv4() {
    check_flags(&Farm::new(), "mh", V4, &FOUR, 1000);
}

fn mh_of_ipv6() {
    check_flags(&Farm::new(), "mh", V6, &FOUR_6, 1000);
}

fn mh_of_marks() {
    let farm = Farm::new();
    farm.mark();
    check_flags(&farm, "mh", MARK_4, &FOUR, 400);
    check_flags(&farm, "mh", MARK_6, &FOUR_6, 100);
}

/// Checks the servers of many destination addresses, and of one.
fn check_dh(side: Side, network: &str, servers: &[(&str, u32)]) {
    let farm = Farm::new();
    farm.table(side.service, "-s dh", servers);
    let few = sources(side, 20, 0);
    let vip: SocketAddr = side.vip.parse().unwrap();
    let which = farm.which(side.service, "", &few);
    compare("dh of one address", &few, &predicted(&which, "new"), &farm.ask(&few, |_| vip));

    farm.mark();
    let Side { service, asked, .. } = if side.vip.starts_with('[') { MARK_6 } else { MARK_4 };
    farm.table(service, "-s dh", servers);
    let unknown = farm.which(asked, "", &few[..1]);
    assert_eq!(unknown["clients"][0]["new"]["result"], "not_known", "{unknown}");
    // Each destination is a run of the program, so it has 25 clients.
    let destination = |n: u32| -> IpAddr {
        if side.vip.starts_with('[') {
            format!("{network}{:x}", n * 7 + 1).parse().unwrap()
        } else {
            format!("{network}{}.{}", n * 7 % 251, n).parse().unwrap()
        }
    };
    for n in 0..200 {
        let to = SocketAddr::new(destination(n), 80);
        // A server cannot distinguish two connections with the same client port, so each destination has its own.
        let client = |client: u32| SocketAddr::new((side.source)(client), 21_000 + n as u16);
        let clients: Vec<SocketAddr> = (0..25).map(client).collect();
        let which = farm.which(asked, &format!("--to {}", to.ip()), &clients);
        compare(&format!("dh to {to}"), &clients, &predicted(&which, "new"), &farm.ask(&clients, |_| to));
    }
}

fn dh_of_ipv4() {
    check_dh(V4, "10.8.", &DRAINED);
}

fn dh_of_ipv6() {
    check_dh(V6, "fd08::", &FOUR_6);
}

/// A server with as many connections as its threshold gets no new ones. Its clients are refused, or sent elsewhere.
fn full_servers() {
    let farm = Farm::new();
    let vip: SocketAddr = V4.vip.parse().unwrap();
    for (scheduler, round) in [("sh", 0), ("mh", 2)] {
        for (flags, round) in [(String::new(), round), (format!(" -b {scheduler}-fallback"), round + 1)] {
            let options = format!("-s {scheduler}{flags}");
            farm.table(WEB, &options, &FOUR);
            farm.director.ok(&format!("ipvsadm -e {WEB} -r 10.2.0.12:80 -m -w 3 -x 50"));
            let all = sources(V4, clients(1000), 10 + round);
            let (first, rest) = all.split_at(300);
            farm.ask(first, |_| vip);
            let which = farm.which(WEB, "", rest);
            assert!(which["servers"].as_array().unwrap().iter().any(|server| server["state"] == "full"), "{which}");
            let predicted = predicted(&which, "new");
            assert!(!predicted.iter().any(|server| server == "rs2"), "{options}");
            compare(&format!("full servers, {options}"), rest, &predicted, &farm.ask(rest, |_| vip));
        }
    }
}

/// Returns the shares of clients that are moved and refused, as `which` printed them.
fn shares(which: &Value) -> [f64; 2] {
    let share = |key: &str| which["effects"][key][0]["share"].as_f64().unwrap_or(0.0);
    [share("remapped_clients"), share("refused_clients")]
}

/// Checks the servers before and after a removal, and the printed shares.
fn check_removal(farm: &Farm, options: &str, round: u16) {
    let vip: SocketAddr = V4.vip.parse().unwrap();
    farm.table(WEB, options, &FOUR);
    let before = sources(V4, clients(2500), round);
    let which = farm.which(WEB, "--without 10.2.0.12", &before);
    // A file without the server has the same result.
    farm.director.ok("ipvsadm-rs save -o saved");
    let table = std::fs::read_to_string("saved").unwrap();
    let lines = table.lines().filter(|line| !line.contains("10.2.0.12"));
    std::fs::write("without", lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    assert_eq!(farm.which(WEB, "--with without", &before), which);
    let seen = farm.ask(&before, |_| vip);
    compare(options, &before, &predicted(&which, "new"), &seen);
    farm.director.ok(&format!("ipvsadm -d {WEB} -r 10.2.0.12:80"));
    // The same addresses from other ports, because the first connections keep their servers.
    let after: Vec<SocketAddr> =
        before.iter().map(|client| SocketAddr::new(client.ip(), client.port() + 1000)).collect();
    let seen_after = farm.ask(&after, |_| vip);
    compare(&format!("{options} after"), &after, &predicted(&which, "then"), &seen_after);
    let moved = seen.iter().zip(&seen_after).filter(|(before, after)| before != after && *after != "refused").count();
    let refused = seen_after.iter().filter(|server| *server == "refused").count();
    let measured = [moved, refused].map(|clients| clients as f64 / before.len() as f64);
    // The printed share is that of all addresses.
    let printed = shares(&which);
    for (measured, printed) in measured.into_iter().zip(printed) {
        assert!((measured - printed).abs() < 0.03, "{options}: measured {measured}, printed {printed}");
    }
}

fn removed_servers_of_sh() {
    check_removal(&Farm::new(), "-s sh", 20);
}

fn removed_servers_of_mh() {
    check_removal(&Farm::new(), "-s mh", 20);
}

fn removed_servers_of_dh() {
    check_removal(&Farm::new(), "-s dh", 20);
}

/// mh keeps the slots of a server whose weight is set to 0. The kernel reports neither the slots nor the old weight.
fn last_weights_are_not_known() {
    let farm = Farm::new();
    farm.table(WEB, "-s mh -b mh-fallback", &FOUR);
    farm.director.ok(&format!("ipvsadm -e {WEB} -r 10.2.0.12:80 -m -w 0"));
    let clients = sources(V4, clients(1000), 0);
    let which = farm.which(WEB, "--without 10.2.0.12", &clients);
    let vip: SocketAddr = V4.vip.parse().unwrap();
    let seen = farm.ask(&clients, |_| vip);
    let mut possible = 0;
    for (client, seen) in which["clients"].as_array().unwrap().iter().zip(&seen) {
        assert_eq!(client["new"]["result"], "uncertain", "{client}");
        let servers = client["new"]["possible"].as_array().unwrap();
        possible += usize::from(servers.iter().any(|server| super::farm::name(server) == *seen));
        let reason = client["new"]["reason"].as_str().unwrap();
        assert!(reason.contains("does not report the weight of 10.2.0.12:80 before weight 0"), "{reason}");
    }
    // The old weight was 3. The assumptions are 0 and 2, the greatest weight of the other servers.
    assert!(possible * 10 > clients.len() * 9, "{possible} of {}", clients.len());
    assert!(which["effects"]["remapped_clients"][0]["min_share"].is_number(), "{}", which["effects"]);
}

fn last_weights_that_drain_remembers() {
    let farm = Farm::new();
    farm.table(WEB, "-s mh -b mh-fallback", &FOUR);
    farm.director.ok("ipvsadm-rs drain 10.2.0.12");
    let clients = sources(V4, clients(1000), 0);
    let which = farm.which(WEB, "", &clients);
    let vip: SocketAddr = V4.vip.parse().unwrap();
    compare("after drain", &clients, &predicted(&which, "new"), &farm.ask(&clients, |_| vip));
    let note = which["notes"][0].as_str().unwrap();
    assert!(note.contains("the weight of 10.2.0.12:80 before weight 0. 3 was used, which `drain` remembers"), "{note}");
    let which = farm.which(WEB, "--without 10.2.0.12", &clients);
    assert!(which["effects"]["remapped_clients"][0]["min_share"].is_null(), "{}", which["effects"]);
}
