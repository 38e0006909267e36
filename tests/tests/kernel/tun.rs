//! Tunnelling: the servers are elsewhere, behind a router; they unpack, and answer the client themselves.

use ipvs_tests::guest::modules;
use ipvs_tests::serve::Protocol::Http;
use ipvs_tests::topology::Lab;

use crate::ours;

ipvs_tests::tests! {
    ipip;
    ipv6;
}

fn ipip() {
    modules::load("ipip").unwrap();
    let lab = Lab::new().unwrap();
    let [client, director, router, web1, web2] = lab.hosts(["client", "director", "router", "web1", "web2"]).unwrap();
    lab.segment(
        "front",
        [(&client, "10.1.0.10/24"), (&director, "10.1.0.1/24 10.1.0.100/32"), (&router, "10.1.0.254/24")],
    )
    .unwrap();
    lab.segment("back", [(&router, "10.3.0.254/24"), (&web1, "10.3.0.11/24"), (&web2, "10.3.0.12/24")]).unwrap();
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    director.gateway("10.1.0.254").unwrap();
    for web in [&web1, &web2] {
        web.gateway("10.3.0.254").unwrap();
        web.sysctl("net/ipv4/conf/tunl0/rp_filter", "0").unwrap();
        web.with(|socket| socket.set_up("tunl0")).unwrap();
        web.address("lo", "10.1.0.100/32").unwrap();
        web.serve(Http, "10.1.0.100:80").unwrap();
    }
    ours::install();
    director.ok("ipvsadm -A -t 10.1.0.100:80 -s rr");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.3.0.11 -i");
    director.ok("ipvsadm -a -t 10.1.0.100:80 -r 10.3.0.12 -i");
    assert_eq!(client.client().pages(6, "10.1.0.100:80").to_string(), "web1=3 web2=3");
}

fn ipv6() {
    modules::load("ip6_tunnel").unwrap();
    let lab = Lab::new().unwrap();
    let [client, director, web] = lab.hosts(["client", "director", "web"]).unwrap();
    let front = [(&client, "fd01::10/64"), (&director, "fd01::1/64 fd01::100/128"), (&web, "fd01::11/64")];
    lab.segment("front", front).unwrap();
    // The tunnel's own addresses: with one segment the director would send from the virtual address, which the server
    // has too, and a packet from one's own address is dropped.
    lab.segment("back", [(&director, "fd02::1/64"), (&web, "fd02::11/64")]).unwrap();
    web.with(|socket| socket.set_up("ip6tnl0")).unwrap();
    web.address("lo", "fd01::100/128").unwrap();
    web.serve(Http, "[fd01::100]:80").unwrap();
    ours::install();
    director.ok("ipvsadm -A -t [fd01::100]:80 -s rr");
    director.ok("ipvsadm -a -t [fd01::100]:80 -r [fd02::11]:80 -i");
    assert_eq!(client.client().pages(2, "[fd01::100]:80").to_string(), "web=2");
}
