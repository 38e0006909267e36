//! ipvsadm together with keepalived, which moves addresses by VRRP and adds its own services to the kernel.
//!
//! ```text
//!   client ──── outside ──┬── first ───┬── inside ──┬── web1  10.2.0.11
//!  10.1.0.10              └── second ──┘            └── web2  10.2.0.12
//!
//!            outside   inside
//!   first   10.1.0.1  10.2.0.1     virtual, assigned by keepalived:
//!  second   10.1.0.2  10.2.0.2     10.1.0.100 outside, 10.2.0.254 inside (the servers' gateway)
//! ```

use std::fs;
use std::time::Duration;

use ipvs_tests::command::{Running, install_script};
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::traffic::server::Protocol::{Http, Tcp};
use ipvs_tests::traffic::server::Server;
use ipvs_tests::wait;
use rustix::process::{Signal, kill_process};

use crate::operations::{OPERATIONS, page};
use crate::under_test;

ipvs_tests::tests! {
    shares_the_table, needs = "keepalived";
    failed_server_is_removed_and_added_again, needs = "keepalived";
    failover_keeps_connections, needs = "keepalived";
    notify_script_starts_the_daemon_of_the_role, needs = "keepalived";
    follow_leaves_services_of_keepalived_alone, needs = "keepalived";
}

struct Pair {
    lab: Lab,
    client: Host,
    first: Host,
    second: Host,
    web1: Server,
}

fn pair() -> Pair {
    let lab = Lab::new().unwrap();
    let [client, first, second, web1, web2] = lab.hosts(["client", "first", "second", "web1", "web2"]).unwrap();
    let outside = [(&client, "10.1.0.10/24"), (&first, "10.1.0.1/24"), (&second, "10.1.0.2/24")];
    let inside = [(&first, "10.2.0.1/24"), (&second, "10.2.0.2/24"), (&web1, "10.2.0.11/24"), (&web2, "10.2.0.12/24")];
    lab.segment("outside", outside).unwrap();
    lab.segment("inside", inside).unwrap();
    for director in [&first, &second] {
        director.sysctl("net/ipv4/ip_forward", "1").unwrap();
    }
    for web in [&web1, &web2] {
        web.gateway("10.2.0.254").unwrap();
        web.serve(Tcp, "0.0.0.0:7").unwrap();
    }
    web2.serve(Http, "0.0.0.0:80").unwrap();
    let web1 = web1.serve(Http, "0.0.0.0:80").unwrap();
    under_test::install();
    Pair { lab, client, first, second, web1 }
}

/// Starts keepalived on a director, with two services. It starts the sync daemons.
fn keepalived(director: &Host, priority: u8) -> Running {
    keepalived_with(director, priority, "lvs_sync_daemon eth1 web id 5", "")
}

/// Starts keepalived on a director, with two services, and further lines for `global_defs` and for the instance.
fn keepalived_with(director: &Host, priority: u8, global: &str, instance: &str) -> Running {
    let name = director.name();
    let configuration = format!(
        "global_defs {{
            router_id {name}
            vrrp_version 3
            {global}
        }}
        vrrp_instance web {{
            state BACKUP
            interface eth0
            virtual_router_id 51
            priority {priority}
            advert_int 0.3
            {instance}
            virtual_ipaddress {{
                10.1.0.100/32 dev eth0
                10.2.0.254/32 dev eth1
            }}
        }}
        {}{}",
        virtual_server(80, "HTTP_GET {\nurl {\npath /health\nstatus_code 200\n}\n"),
        virtual_server(7, "TCP_CHECK {\n"),
    );
    fs::write(format!("{name}.conf"), configuration).unwrap();
    // In the foreground, with its log on standard error and its files in the working directory.
    director.start(&format!(
        "keepalived -n -D -G -l -f {name}.conf -p {name}.pid -r {name}-vrrp.pid -c {name}-checkers.pid"
    ))
}

fn virtual_server(port: u16, check: &str) -> String {
    let server = |number| {
        format!("real_server 10.2.0.1{number} {port} {{\nweight 1\n{check}connect_timeout 1\nretry 0\n}}\n}}\n")
    };
    format!(
        "virtual_server 10.1.0.100 {port} {{
            delay_loop 1
            lb_algo rr
            lb_kind NAT
            protocol TCP
            {}{}
        }}
        ",
        server(1),
        server(2)
    )
}

const WEB: &str = "\
-A -t 10.1.0.100:80 -s rr
-a -t 10.1.0.100:80 -r 10.2.0.11:80 -m -w 1
-a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1
";
const ECHO: &str = "\
-A -t 10.1.0.100:7 -s rr
-a -t 10.1.0.100:7 -r 10.2.0.11:7 -m -w 1
-a -t 10.1.0.100:7 -r 10.2.0.12:7 -m -w 1
";

/// Waits until a director has these rules, in any order of services.
#[track_caller]
fn wait_for_rules(director: &Host, wanted: &[&str], daemon: &Running) {
    wait::until(Duration::from_secs(30), || {
        let saved = director.ok("ipvsadm -Sn");
        let all = wanted.iter().all(|lines| saved.contains(lines));
        if all && saved.len() == wanted.iter().map(|lines| lines.len()).sum::<usize>() {
            return Ok(());
        }
        Err(format!("{saved}\noutput of keepalived:\n{}", daemon.output()))
    });
}

fn has_address(director: &Host, address: &str) -> bool {
    director.ok("ip -4 -brief address").contains(address)
}

#[track_caller]
fn wait_for_addresses(director: &Host, daemon: &Running) {
    wait::until(Duration::from_secs(30), || {
        let both = has_address(director, "10.1.0.100/32") && has_address(director, "10.2.0.254/32");
        if both { Ok(()) } else { Err(daemon.output()) }
    });
}

fn shares_the_table() {
    let Pair { client, first, .. } = &pair();
    let daemon = keepalived(first, 150);
    wait_for_addresses(first, &daemon);
    wait_for_rules(first, &[WEB, ECHO], &daemon);
    let daemons = first.ok("ipvsadm -Ln --daemon");
    assert!(daemons.contains("master sync daemon (mcast=eth1, syncid=5,"), "{daemons}");
    assert_eq!(client.client().pages(4, "10.1.0.100:80").to_string(), "web1=2 web2=2");

    // Adds another service at the same address, as an operator would.
    let own = "-A -t 10.1.0.100:8080 -s wlc\n-a -t 10.1.0.100:8080 -r 10.2.0.12:80 -m -w 1\n";
    own.lines().for_each(|line| drop(first.ok(&format!("ipvsadm {line}"))));
    assert_eq!(client.client().pages(2, "10.1.0.100:8080").to_string(), "web2=2");
    kill_process(daemon.pid(), Signal::HUP).unwrap();
    // Stopped right after the start of its reload, keepalived has once left its services in the table.
    wait::until(Duration::from_secs(30), || {
        let output = daemon.output();
        if output.contains("Reload complete") { Ok(()) } else { Err(output) }
    });
    wait_for_rules(first, &[WEB, ECHO, own], &daemon);

    // keepalived deletes its own services when it stops.
    let output = daemon.stop(Duration::from_secs(30));
    assert_eq!(first.ok("ipvsadm -Sn"), own, "{output}");
}

fn failed_server_is_removed_and_added_again() {
    let Pair { client, first, web1, .. } = &pair();
    let daemon = keepalived(first, 150);
    wait_for_addresses(first, &daemon);
    wait_for_rules(first, &[WEB, ECHO], &daemon);
    web1.set_healthy(false);
    let without = "-A -t 10.1.0.100:80 -s rr\n-a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1\n";
    wait_for_rules(first, &[without, ECHO], &daemon);
    assert_eq!(client.client().pages(2, "10.1.0.100:80").to_string(), "web2=2");
    web1.set_healthy(true);
    wait_for_rules(first, &[WEB, ECHO], &daemon);
    assert_eq!(client.client().pages(2, "10.1.0.100:80").to_string(), "web1=1 web2=1");
}

fn failover_keeps_connections() {
    keeps_connections(5, keepalived);
}

/// The script of docs/operations.md.
fn notify_script_starts_the_daemon_of_the_role() {
    let script = page::block_after(OPERATIONS, SCRIPT);
    fs::create_dir_all("/etc/keepalived").unwrap();
    install_script("/etc/keepalived/sync-daemon", script).unwrap();
    let global = "script_user root\nenable_script_security";
    keeps_connections(7, |director, priority| {
        keepalived_with(director, priority, global, "notify /etc/keepalived/sync-daemon")
    });
}

/// The line before the script.
const SCRIPT: &str = "`/etc/keepalived/sync-daemon`, for all directors:";

/// Fails over from one director to the other. The connections continue, and the roles of the sync daemons change.
fn keeps_connections(sync_id: u8, keepalived: impl Fn(&Host, u8) -> Running) {
    let Pair { lab, client, first, second, .. } = &pair();
    let has_daemon = |director: &Host, role: &str, daemon: &Running| {
        let wanted = format!("{role} sync daemon (mcast=eth1, syncid={sync_id},");
        wait::until(Duration::from_secs(30), || {
            let daemons = director.ok("ipvsadm -Ln --daemon");
            let is_wanted = daemons.starts_with(&wanted) && daemons.lines().count() == 1;
            if is_wanted { Ok(()) } else { Err(format!("{daemons}\n{}", daemon.output())) }
        });
    };
    let of_first = keepalived(first, 150);
    wait_for_addresses(first, &of_first);
    let of_second = keepalived(second, 100);
    for (director, daemon) in [(first, &of_first), (second, &of_second)] {
        wait_for_rules(director, &[WEB, ECHO], daemon);
    }
    has_daemon(first, "master", &of_first);
    has_daemon(second, "backup", &of_second);
    let held = client.client().patience(Duration::from_secs(1)).hold(4, "10.1.0.100:7");
    assert_eq!(held.to_string(), "web1=2 web2=2");
    assert_eq!(held.again().to_string(), "web1=2 web2=2");
    wait::until(Duration::from_secs(30), || {
        let known = second.ok("ipvsadm -Lnc");
        if known.matches("ESTABLISHED").count() == 4 { Ok(()) } else { Err(known) }
    });

    lab.unplug(first, "eth0").unwrap();
    wait_for_addresses(second, &of_second);
    wait::until(Duration::from_secs(30), || {
        if has_address(first, "10.1.0.100") { Err(of_first.output()) } else { Ok(()) }
    });
    wait::until(Duration::from_secs(30), || {
        let replies = held.again().to_string();
        if replies == "web1=2 web2=2" { Ok(()) } else { Err(replies) }
    });
    assert_eq!(client.client().pages(4, "10.1.0.100:80").to_string(), "web1=2 web2=2");
    has_daemon(second, "master", &of_second);
    has_daemon(first, "backup", &of_first);
}

/// `follow` has services of its own, and keepalived changes the others at the same time.
fn follow_leaves_services_of_keepalived_alone() {
    let Pair { client, first, web1, .. } = &pair();
    let own =
        |weight: u8| format!("-A -t 10.1.0.100:8080 -s wlc\n-a -t 10.1.0.100:8080 -r 10.2.0.12:80 -m -w {weight}\n");
    fs::write("own.rules", own(1)).unwrap();
    let daemon = keepalived(first, 150);
    wait_for_addresses(first, &daemon);
    let follow = "ipvsadm-rs follow --only tcp:10.1.0.100:8080 --quiet 0s --check 1s own.rules";
    let follower = first.start(follow);
    wait_for_rules(first, &[WEB, ECHO, &own(1)], &daemon);
    // keepalived takes a server out, while `follow` compares and applies.
    web1.set_healthy(false);
    fs::write("own.new", own(2)).unwrap();
    fs::rename("own.new", "own.rules").unwrap();
    let without = "-A -t 10.1.0.100:80 -s rr\n-a -t 10.1.0.100:80 -r 10.2.0.12:80 -m -w 1\n";
    wait_for_rules(first, &[without, ECHO, &own(2)], &daemon);
    std::thread::sleep(Duration::from_secs(3));
    wait_for_rules(first, &[without, ECHO, &own(2)], &daemon);
    web1.set_healthy(true);
    wait_for_rules(first, &[WEB, ECHO, &own(2)], &daemon);
    assert_eq!(client.client().pages(2, "10.1.0.100:8080").to_string(), "web2=2");
    let status = first.ok("ipvsadm-rs follow status");
    assert!(status.contains("state     good") && !status.contains("drift"), "{status}");
    // Each ends without the services of the other.
    drop(follower);
    let output = daemon.stop(Duration::from_secs(30));
    assert_eq!(first.ok("ipvsadm -Sn"), own(2), "{output}");
}
