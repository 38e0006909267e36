//! A director with four servers, and clients of many addresses.
//!
//! ```text
//!   client ──── outside ──── director ──── inside ──┬── rs1  10.2.0.11
//!  10.1.0.10               10.1.0.1  10.2.0.1       ├── rs2  10.2.0.12
//!  fd01::10                 fd01::1  fd02::1        ├── rs3  10.2.0.13
//!  and all of 10.9.0.0/16  and all of 10.8.0.0/16   └── rs4  10.2.0.14
//!  and of fd09::/64        and of fd08::/64                  (fd02::14)
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::topology::{Host, Lab};
use crate::traffic::server::Protocol::{Tcp, Udp};

/// The client and the director. The servers answer on port 80 by TCP and UDP.
#[derive(Debug)]
pub struct Farm {
    /// The segments.
    pub lab: Lab,
    /// 10.1.0.10, and the sources of [`source_4`] and [`source_6`]
    pub client: Host,
    /// 10.1.0.1, 10.2.0.1, and all addresses of 10.8.0.0/16 and `fd08::/64`
    pub director: Host,
}

impl Farm {
    /// Builds it with IPv4 and IPv6.
    pub fn new() -> Result<Farm> {
        let lab = Lab::new()?;
        let [client, director, rs1, rs2, rs3, rs4] = lab.hosts(["client", "director", "rs1", "rs2", "rs3", "rs4"])?;
        let outside = [(&client, "10.1.0.10/24 fd01::10/64"), (&director, "10.1.0.1/24 fd01::1/64")];
        lab.segment("outside", outside)?;
        lab.segment("inside", [(&director, "10.2.0.1/24 fd02::1/64")])?;
        for (rs, last) in [(&rs1, 11), (&rs2, 12), (&rs3, 13), (&rs4, 14)] {
            lab.plug(rs, "inside", &format!("10.2.0.{last}/24 fd02::{last}/64"))?;
            rs.gateway("10.2.0.1")?;
            rs.gateway("fd02::1")?;
            rs.serve(Udp, "[::]:80")?;
            rs.serve(Tcp, "[::]:80")?;
        }
        client.ok("ip route add local 10.9.0.0/16 dev lo");
        client.ok("ip route add local fd09::/64 dev lo");
        client.sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
        client.route("10.8.0.0/16", "10.1.0.1")?;
        client.gateway("fd01::1")?;
        director.ok("ip route add local 10.8.0.0/16 dev lo");
        director.ok("ip route add local fd08::/64 dev lo");
        director.route("10.9.0.0/16", "10.1.0.10")?;
        director.route("fd09::/64", "fd01::10")?;
        for (path, value) in [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")] {
            director.sysctl(path, value)?;
        }
        director.send_all_icmp_errors()?;
        Ok(Farm { lab, client, director })
    }
}

/// Returns two bytes that are far apart for successive numbers. Numbers below 60,000 have different bytes.
pub fn nth(n: u32) -> [u8; 2] {
    [(n.wrapping_mul(37) % 251) as u8, (n.wrapping_mul(101) % 241) as u8]
}

/// Returns an address of the client, in 10.9.0.0/16.
pub fn source_4(n: u32) -> IpAddr {
    let [high, low] = nth(n);
    Ipv4Addr::new(10, 9, high, low).into()
}

/// Returns an address of the client, in `fd09::/64`.
pub fn source_6(n: u32) -> IpAddr {
    let [high, low] = nth(n);
    Ipv6Addr::new(0xfd09, 0, 0, 0, u16::from(low) << 8, 7, u16::from(high), n as u16).into()
}
