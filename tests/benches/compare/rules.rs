//! The tables that are restored. Of ten services, seven are TCP over IPv4 (two persistent, one with tunnels), one is
//! UDP, one TCP over IPv6 and one a firewall mark.

use std::fmt::Write;

/// Number of services, and of servers in each.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) services: u32,
    pub(crate) servers: u32,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.services, self.servers)
    }
}

/// Returns the rules, as `ipvsadm -Sn` writes them.
pub(crate) fn text(size: Size) -> String {
    let mut text = String::new();
    for service in 0..size.services {
        let [_, a, b, c] = service.to_be_bytes();
        let scheduler = ["rr", "wlc"][service as usize % 2];
        let (name, options, method) = match service % 10 {
            1 => (format!("-t [2001:db8::{a:x}:{b:x}:{c:x}]:80"), "", "-m"),
            2 => (format!("-f {}", service + 1), "", "-m"),
            3 | 6 => (format!("-t 10.{a}.{b}.{c}:80"), " -p 300", "-m"),
            4 => (format!("-t 10.{a}.{b}.{c}:80"), "", "-i"),
            5 => (format!("-u 10.{a}.{b}.{c}:80"), "", "-m"),
            _ => (format!("-t 10.{a}.{b}.{c}:80"), "", "-m"),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "-A {name} -s {scheduler}{options}");
        for server in 0..size.servers {
            let [_, a, b, c] = (service * size.servers + server).to_be_bytes();
            let weight = server % 7 + 1;
            let server = match (service % 10, method) {
                (1, _) => format!("[2001:db8:1::{a:x}:{b:x}:{c:x}]:8080"),
                (_, "-i") => format!("172.{}.{b}.{c}:80", 16 + a),
                _ => format!("172.{}.{b}.{c}:8080", 16 + a),
            };
            let _ = writeln!(text, "-a {name} -r {server} {method} -w {weight}");
        }
    }
    text
}
