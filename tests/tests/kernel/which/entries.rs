//! Connections and templates, which come before the scheduler, other schedulers, and bad input.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::farm::{Farm, clients, compare, name, predicted, source_4};

ipvs_tests::tests! {
    connections_come_first;
    tcp_connections;
    templates_of_networks;
    templates_of_ipv6_networks;
    templates_of_marks_and_all_ports;
    templates_of_servers_with_weight_0;
    other_schedulers;
    text_for_people;
    bad_input;
    missing_permission;
}

const TWO: [(&str, u32); 2] = [("10.2.0.11:80", 1), ("10.2.0.12:80", 1)];
const FOUR: [(&str, u32); 4] = [("10.2.0.11:80", 1), ("10.2.0.12:80", 3), ("10.2.0.13:80", 2), ("10.2.0.14:80", 2)];
const FOUR_6: [(&str, u32); 4] =
    [("[fd02::11]:80", 1), ("[fd02::12]:80", 3), ("[fd02::13]:80", 2), ("[fd02::14]:80", 2)];

fn one(which: &Value) -> &Value {
    &which["clients"][0]
}

fn connections_come_first() {
    let farm = Farm::new();
    farm.table("-t 10.8.0.1:80", "-s sh", &TWO);
    let client: SocketAddr = "10.9.0.7:21000".parse().unwrap();
    let before = farm.which("-t 10.8.0.1:80", "", &[client]);
    assert!(one(&before)["connection"].is_null(), "{before}");
    let held = farm.client.client().from("10.9.0.7:21000").patience(Duration::from_secs(10)).hold(1, "10.8.0.1:80");
    assert_eq!(predicted(&before, "new"), held.servers);
    // The order changes, so new connections get the other server.
    for server in ["10.2.0.11:80", "10.2.0.12:80"] {
        farm.director.ok(&format!("ipvsadm -a -t 10.8.0.1:80 -r {}:81 -m", server.trim_end_matches(":80")));
    }
    farm.director.ok("ipvsadm -E -t 10.8.0.1:80 -s rr");
    let after = farm.which("-t 10.8.0.1:80", "", &[client, "10.9.0.8:21000".parse().unwrap()]);
    let connection = &one(&after)["connection"];
    assert_eq!(name(&connection["server"]), held.servers[0]);
    assert_eq!(connection["state"], "ESTABLISHED");
    assert!((800..=900).contains(&connection["expires"].as_u64().unwrap()), "{connection}");
    assert_eq!(one(&after)["new"]["result"], "decided_on_connect");
    assert!(after["clients"][1]["connection"].is_null());
    let text = farm.director.ok("ipvsadm-rs which -t 10.8.0.1:80 --client 10.9.0.7");
    assert!(text.contains(", 1 connection\n"), "{text}");
    let address = connection["server"]["address"].as_str().unwrap();
    farm.director.ok(&format!("ipvsadm -d -t 10.8.0.1:80 -r {address}:80"));
    let text = farm.director.ok("ipvsadm-rs which -t 10.8.0.1:80 --client 10.9.0.7:21000");
    assert!(text.contains(":80, which is not in the service, by its connection: ESTABLISHED"), "{text}");
}

/// TCP connections go where the datagrams of the other tests go.
fn tcp_connections() {
    let farm = Farm::new();
    let service = "-t 10.8.0.1:80";
    for (options, port) in [("-s sh -b sh-port", 25_000), ("-s mh -b mh-port", 26_000)] {
        farm.table(service, options, &FOUR);
        let all: Vec<SocketAddr> = (0..400).map(|n| SocketAddr::new(source_4(n), port + n as u16)).collect();
        let which = farm.which(service, "", &all);
        let seen: Vec<String> = all
            .iter()
            .map(|client| farm.client.client().from(&client.to_string()).hold(1, "10.8.0.1:80").servers.remove(0))
            .collect();
        compare(options, &all, &predicted(&which, "new"), &seen);
    }
}

/// Checks networks of clients. The first client of each is scheduled by its own address, the others get its server.
fn check_networks(
    service: &str,
    vip: &str,
    options: &str,
    servers: &[(&str, u32)],
    clients: &[SocketAddr],
    first: usize,
) {
    let farm = Farm::new();
    farm.table(service, options, servers);
    let vip: SocketAddr = vip.parse().unwrap();
    let (first, others) = clients.split_at(first);
    let which = farm.which(service, "", first);
    assert_eq!(one(&which)["new"]["decided_by"], "hash");
    assert!(which["notes"][0].as_str().unwrap().contains("the first to connect decides for all"), "{which}");
    let seen = farm.ask(first, |_| vip);
    compare("the first of each network", first, &predicted(&which, "new"), &seen);
    let which = farm.which(service, "", others);
    let predicted = predicted(&which, "new");
    for client in which["clients"].as_array().unwrap() {
        assert_eq!(client["new"]["decided_by"], "template", "{client}");
        assert!(client["template"]["expires"].as_u64().unwrap() <= 600, "{client}");
    }
    compare("other clients of the networks", others, &predicted, &farm.ask(others, |_| vip));
}

fn templates_of_networks() {
    // 40 networks /24. The first client of each comes first.
    let client = |n: u32| SocketAddr::new([10, 9, (n % 40) as u8, (n / 40 + 1) as u8].into(), 20_000 + n as u16);
    let all: Vec<SocketAddr> = (0..clients(1250)).map(client).collect();
    check_networks("-u 10.8.0.1:80", "10.8.0.1:80", "-s sh -p 600 -M 255.255.255.0", &FOUR, &all, 40);
    check_networks("-u 10.8.0.1:80", "10.8.0.1:80", "-s mh -b mh-port -p 600 -M 255.255.255.0", &FOUR, &all, 40);
}

fn templates_of_ipv6_networks() {
    let client = |n: u32| {
        let address = std::net::Ipv6Addr::new(0xfd09, 0, 0, 0, (n % 40) as u16, 0, 0, (n / 40 + 1) as u16);
        SocketAddr::new(address.into(), 20_000 + n as u16)
    };
    let all: Vec<SocketAddr> = (0..clients(1250)).map(client).collect();
    check_networks("-u [fd08::1]:80", "[fd08::1]:80", "-s sh -p 600 -M 80", &FOUR_6, &all, 40);
}

/// The templates of these services have no port.
fn templates_of_marks_and_all_ports() {
    let farm = Farm::new();
    farm.mark();
    for (service, port, first) in [("-f 1", "80", 22_000), ("-u 10.8.0.2:0", "0", 24_000)] {
        let client = |n: u32| SocketAddr::new(source_4(n), first + n as u16);
        let all: Vec<SocketAddr> = (0..200).map(client).collect();
        let again: Vec<SocketAddr> = all.iter().map(|client| SocketAddr::new(client.ip(), first + 500)).collect();
        let servers: Vec<(String, u32)> =
            FOUR.iter().map(|(server, weight)| (server.replace("80", port), *weight)).collect();
        let servers: Vec<(&str, u32)> = servers.iter().map(|(server, weight)| (&**server, *weight)).collect();
        farm.table(service, "-s sh -p 600", &servers);
        if port == "0" {
            farm.director.ok("tc qdisc del dev eth0 clsact");
        }
        let vip: SocketAddr = "10.8.0.2:80".parse().unwrap();
        // A port without a service is for the service with port 0.
        let asked = if port == "0" { "-u 10.8.0.2:80" } else { service };
        let which = farm.which(asked, "", &all);
        compare(service, &all, &predicted(&which, "new"), &farm.ask(&all, |_| vip));
        let which = farm.which(asked, "", &again);
        for client in which["clients"].as_array().unwrap() {
            assert_eq!(client["new"]["decided_by"], "template", "{client}");
        }
        compare(service, &again, &predicted(&which, "new"), &farm.ask(&again, |_| vip));
        let which = farm.which(asked, "", &all);
        assert!(which["clients"].as_array().unwrap().iter().all(|client| client["connection"].is_object()), "{which}");
    }
}

fn templates_of_servers_with_weight_0() {
    let farm = Farm::new();
    let service = "-u 10.8.0.1:80";
    let vip: SocketAddr = "10.8.0.1:80".parse().unwrap();
    farm.table(service, "-s sh -p 600 -b sh-fallback", &FOUR);
    let of_round =
        |round: u16| -> Vec<SocketAddr> { (0..400).map(|n| SocketAddr::new(source_4(n), 20_000 + round)).collect() };
    farm.ask(&of_round(0), |_| vip);
    farm.director.ok(&format!("ipvsadm -e {service} -r 10.2.0.12:80 -m -w 0"));
    for (sysctl, round) in [("0", 1), ("1", 2)] {
        farm.director.sysctl("net/ipv4/vs/expire_quiescent_template", sysctl).unwrap();
        let clients = of_round(round);
        let which = farm.which(service, "", &clients);
        let predicted = predicted(&which, "new");
        assert_eq!(predicted.iter().any(|server| server == "rs2"), sysctl == "0");
        compare(&format!("expire_quiescent_template {sysctl}"), &clients, &predicted, &farm.ask(&clients, |_| vip));
    }
}

fn other_schedulers() {
    let farm = Farm::new();
    for scheduler in ["rr", "wlc"] {
        farm.table("-u 10.8.0.1:80", &format!("-s {scheduler}"), &[("10.2.0.11:80", 2), ("10.2.0.12:80", 0)]);
        let text = farm.director.ok("ipvsadm-rs which -u 10.8.0.1:80 --client 10.9.0.1 --without 10.2.0.11");
        assert_eq!(
            text,
            format!(
                "UDP 10.8.0.1:80: scheduler {scheduler}\n10.9.0.1\n  new   decided when the client connects\n  \
                 then  refused: all servers have weight 0\nservers\n  10.2.0.11:80  weight 2, up\n  \
                 10.2.0.12:80  weight 0, drained\n  \
                 then  UDP 10.8.0.1:80: every new client is refused: all servers have weight 0\n"
            )
        );
    }
    farm.director.ok("ipvsadm -e -u 10.8.0.1:80 -r 10.2.0.11:80 -m -w 0");
    let clients: Vec<SocketAddr> = (0..20).map(|n| SocketAddr::new(source_4(n), 20_000)).collect();
    let which = farm.which("-u 10.8.0.1:80", "", &clients);
    let vip: SocketAddr = "10.8.0.1:80".parse().unwrap();
    compare("all weights 0", &clients, &predicted(&which, "new"), &farm.ask(&clients, |_| vip));
}

fn text_for_people() {
    let farm = Farm::new();
    farm.table("-u 10.8.0.1:80", "-s sh", &[("10.2.0.11:80", 1), ("10.2.0.12:80", 0)]);
    let text = farm.director.ok("ipvsadm-rs which -u 10.8.0.1:80 --client 10.9.0.3,10.9.0.2:4000");
    assert_eq!(
        text,
        "UDP 10.8.0.1:80: scheduler sh\n\
         10.9.0.3\n  new   10.2.0.11:80, by the hash\n\
         10.9.0.2:4000\n  new   refused: 10.2.0.12:80 has weight 0, and sh-fallback is not set\n"
    );
}

fn bad_input() {
    let farm = Farm::new();
    farm.table("-t 10.8.0.1:80", "-s sh", &TWO);
    farm.director.ok("ipvsadm -A -t [fd08::1]:80 -s sh");
    std::fs::write("clients", "10.9.0.1\nnobody\n").unwrap();
    std::fs::write("nothing", "# no clients\n").unwrap();
    std::fs::write("rules", "-A -t 10.8.0.2:80 -s sh\n").unwrap();
    std::fs::write("bad", "-A -t 10.8.0.1:80 -s\n").unwrap();
    for (options, part) in [
        ("", "nothing to look up"),
        ("--client 10.9.0.1", "no service was specified"),
        ("-t 10.8.0.1:80", "nothing to look up"),
        ("-t 10.8.0.9:80 --client 10.9.0.1", "no service tcp:10.8.0.9:80"),
        ("tcp --client 10.9.0.1,fd09::1", "client fd09::1 is not an IPv4 address"),
        ("tcp --without 10.2.0.11", "2 services are selected"),
        ("-t 10.8.0.1:80 --client nobody", "invalid client `nobody'"),
        ("-t 10.8.0.1:80 --client 10.9.0.1:0", "invalid client `10.9.0.1:0'"),
        ("-t 10.8.0.1:80 --clients clients", "clients:2: `nobody'"),
        ("-t 10.8.0.1:80 --clients nothing", "the file contains no clients"),
        ("-t 10.8.0.1:80 --clients missing", "cannot read missing"),
        ("-t 10.8.0.1:80 --clients clients --max-input 3", "the input is longer than"),
        ("-t 10.8.0.1:80 --client 10.9.0.1 --to nowhere", "invalid --to `nowhere'"),
        ("-t 10.8.0.1:80 --client 10.9.0.1 --to 10.8.0.2", "the address of the service is 10.8.0.1"),
        ("-t 10.8.0.1:80 --without 10.2.0.99", "no server 10.2.0.99 in TCP 10.8.0.1:80"),
        ("-t 10.8.0.1:80 --with rules", "the file of --with has no service TCP 10.8.0.1:80"),
        ("-t 10.8.0.1:80 --with bad", "error"),
        ("-t 10.8.0.1:80 --with rules --without 10.2.0.11", "cannot be used with"),
        ("-t 10.8.0.1:80 --compare rules --client 10.9.0.1", "cannot be used with"),
        ("--compare missing", "cannot read missing"),
        ("--compare bad", "error"),
        ("--compare nothing", "the file contains no rules"),
        ("-t 10.8.0.1:80 --client 10.9.0.1 --mh-index 7", "7"),
    ] {
        let ran = farm.director.run(&format!("ipvsadm-rs which {options}"));
        assert!(ran.code == Some(1) && ran.stderr.contains(part) && ran.stdout.is_empty(), "{part}: {ran}");
    }
}

fn missing_permission() {
    let farm = Farm::new();
    farm.table("-t 10.8.0.1:80", "-s sh", &TWO);
    let ran = farm.director.run(
        "setpriv --bounding-set=-all --inh-caps=-all --reuid=65534 ipvsadm-rs which -t 10.8.0.1:80 --client 10.9.0.1",
    );
    assert!(ran.code == Some(1) && ran.stderr.contains("root"), "{ran}");
}
