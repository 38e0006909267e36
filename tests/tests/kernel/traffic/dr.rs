//! Direct routing: one segment, everybody has the virtual address, only the director answers ARP for it; answers go
//! straight to the client.

use ipvs_tests::serve::Protocol::{Http, Udp};
use ipvs_tests::topology::{Host, Lab};

use crate::ours;

ipvs_tests::tests! {
    answers_pass_the_director_by;
    one_packet_scheduling_spreads_one_socket;
}

struct Dr {
    _lab: Lab,
    client: Host,
    director: Host,
    web1: Host,
    web2: Host,
}

fn dr() -> Dr {
    let lab = Lab::new().unwrap();
    let [client, director, web1, web2] = lab.hosts(["client", "director", "web1", "web2"]).unwrap();
    lab.segment(
        "lan",
        [
            (&client, "10.1.0.10/24"),
            (&director, "10.1.0.1/24 10.1.0.100/32"),
            (&web1, "10.1.0.11/24"),
            (&web2, "10.1.0.12/24"),
        ],
    )
    .unwrap();
    for web in [&web1, &web2] {
        // Before the address is there: not to answer for it, not to ask in its name.
        web.sysctl("net/ipv4/conf/all/arp_ignore", "1").unwrap();
        web.sysctl("net/ipv4/conf/all/arp_announce", "2").unwrap();
        web.address("lo", "10.1.0.100/32").unwrap();
    }
    ours::install();
    Dr { _lab: lab, client, director, web1, web2 }
}

fn answers_pass_the_director_by() {
    let Dr { client, director, web1, web2, .. } = &dr();
    web1.serve(Http, "10.1.0.100:80").unwrap();
    web2.serve(Http, "10.1.0.100:80").unwrap();
    director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.1.0.11 -g");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.1.0.12 -g");
    assert_eq!(client.client().pages(6, "10.1.0.100:80").to_string(), "web1=3 web2=3");
    // No packet of an answer was seen here.
    let list = director.ok("ipvsadm -Lnc");
    assert_eq!(list.matches("10.1.0.100:80").count(), 6, "{list}");
}

fn one_packet_scheduling_spreads_one_socket() {
    let Dr { client, director, web1, web2, .. } = &dr();
    web1.serve(Udp, "10.1.0.100:53").unwrap();
    web2.serve(Udp, "10.1.0.100:53").unwrap();
    director.ok("ipvsadm -A -u 10.1.0.100:53 -s rr -o");
    director.ok("ipvsadm -a -u 10.1.0.100:53 -r 10.1.0.11 -g");
    director.ok("ipvsadm -a -u 10.1.0.100:53 -r 10.1.0.12 -g");
    assert_eq!(client.client().datagrams_of_one_socket(8, "10.1.0.100:53").to_string(), "web1=4 web2=4");
}
