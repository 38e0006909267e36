//! Networks: hosts, and the Ethernet segments that connect them.
//!
//! ```ignore
//! let lab = Lab::new()?;
//! let [client, director, web1, web2] = lab.hosts(["client", "director", "web1", "web2"])?;
//! lab.segment("outside", [(&client, "10.1.0.10/24"), (&director, "10.1.0.1/24")])?;
//! lab.segment("inside", [(&director, "10.2.0.1/24"), (&web1, "10.2.0.11/24"), (&web2, "10.2.0.12/24")])?;
//! web1.gateway("10.2.0.1")?;
//! ```
//!
//! A host's interfaces are eth0, eth1, … in the order in which it is plugged in. [`Nat`] builds the lab above.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::command::{self, Ran, Running};
use crate::net::netns::{self, Netns};
use crate::net::rtnl::Socket;
use crate::traffic::client::Client;
use crate::traffic::packets::{self, Watch};
use crate::traffic::server::{Protocol, Server};

/// A set of hosts and the bridges between them.
#[derive(Debug)]
pub struct Lab {
    /// The namespace of all bridges; no host is in it.
    switches: Netns,
}

impl Lab {
    /// Makes a lab without hosts.
    pub fn new() -> Result<Lab> {
        Ok(Lab { switches: Netns::new("switches")? })
    }

    /// Makes a host without interfaces, except lo.
    pub fn host(&self, name: &str) -> Result<Host> {
        Ok(Host { netns: Netns::new(name)?, interfaces: AtomicU32::new(0) })
    }

    /// Makes several hosts.
    pub fn hosts<const N: usize>(&self, names: [&str; N]) -> Result<[Host; N]> {
        let hosts: Vec<Host> = names.into_iter().map(|name| self.host(name)).collect::<Result<_>>()?;
        Ok(hosts.try_into().expect("one for each name"))
    }

    /// Makes an Ethernet segment and plugs hosts into it, each with its addresses there, separated by blanks.
    pub fn segment<const N: usize>(&self, name: &str, plugs: [(&Host, &str); N]) -> Result<()> {
        self.in_switches(|socket| {
            socket.add_link(name, "bridge")?;
            socket.set_up(name)
        })?;
        plugs.into_iter().try_for_each(|(host, addresses)| self.plug(host, name, addresses))
    }

    /// Plugs one more host into a segment.
    pub fn plug(&self, host: &Host, segment: &str, addresses: &str) -> Result<()> {
        let interface = format!("eth{}", host.interfaces.fetch_add(1, Ordering::Relaxed));
        let cable = cable(host, &interface);
        self.in_switches(|socket| socket.add_cable(&cable, segment, &interface, host.netns.fd()))?;
        host.with(|socket| {
            socket.set_up(&interface)?;
            addresses.split_whitespace().try_for_each(|address| socket.add_address(&interface, address))
        })
    }

    /// Removes the carrier of an interface, as if its cable was unplugged.
    pub fn unplug(&self, host: &Host, interface: &str) -> Result<()> {
        self.in_switches(|socket| socket.set_down(&cable(host, interface)))
    }

    /// Restores the carrier.
    pub fn replug(&self, host: &Host, interface: &str) -> Result<()> {
        self.in_switches(|socket| socket.set_up(&cable(host, interface)))
    }

    fn in_switches(&self, act: impl FnOnce(&Socket) -> Result<()> + Send) -> Result<()> {
        self.switches.enter(|| act(&Socket::open()?))
    }
}

/// Returns the name of the bridge's end of a cable. An interface name has at most 15 characters.
fn cable(host: &Host, interface: &str) -> String {
    format!("{:.10}.{}", host.name(), interface.trim_start_matches("eth"))
}

/// A machine of the lab: a network namespace.
#[derive(Debug)]
pub struct Host {
    netns: Netns,
    interfaces: AtomicU32,
}

impl Host {
    /// Returns its name, with which its servers reply.
    pub fn name(&self) -> &str {
        self.netns.name()
    }

    /// Returns its namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Runs a function on a thread in this host.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        self.netns.enter(inside)
    }

    /// Adds an address to an interface.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        self.with(|socket| socket.add_address(interface, address))
    }

    /// Sets the default route.
    pub fn gateway(&self, gateway: &str) -> Result<()> {
        self.route("default", gateway)
    }

    /// Adds a route.
    pub fn route(&self, to: &str, gateway: &str) -> Result<()> {
        self.with(|socket| socket.add_route(to, gateway))
    }

    /// Adds a link of a kind without parameters, such as `dummy`, and sets it up.
    pub fn link(&self, name: &str, kind: &str) -> Result<()> {
        self.with(|socket| socket.add_link(name, kind).and_then(|()| socket.set_up(name)))
    }

    /// Runs a function with an rtnetlink socket of this host.
    pub fn with<T: Send>(&self, act: impl FnOnce(&Socket) -> Result<T> + Send) -> Result<T> {
        self.enter(|| act(&Socket::open()?))
    }

    /// Sets a sysctl, named by its path below /proc/sys.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.enter(|| netns::sysctl(path, value))
    }

    /// Removes the limits on ICMP errors: by default one per second and client, and 1000 per second of all hosts. A
    /// host without a limit sends one to each client that no server accepts.
    pub fn send_all_icmp_errors(&self) -> Result<()> {
        // A type outside of the mask is under neither limit.
        self.sysctl("net/ipv4/icmp_ratemask", "0")?;
        self.sysctl("net/ipv6/icmp/ratemask", "\n")
    }

    /// Runs a command line, split at blanks, without a shell.
    #[track_caller]
    pub fn run(&self, line: &str) -> Ran {
        self.enter(|| command::run(line))
    }

    /// Runs a command line that must succeed. Returns its standard output.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.run(line).ok()
    }

    /// Runs a command line with the shell.
    #[track_caller]
    pub fn shell(&self, line: &str) -> Ran {
        self.enter(|| command::shell(line))
    }

    /// Starts a command line, such as a daemon in the foreground, and does not wait for it.
    #[track_caller]
    pub fn start(&self, line: &str) -> Running {
        self.enter(|| command::start(line))
    }

    /// Runs a command with a text on its standard input.
    pub fn run_with_input(&self, command: &mut Command, input: &str) -> Result<Ran> {
        self.enter(|| command::run_with_input(command, input, Duration::from_secs(30)))
    }

    /// Starts a server that replies with this host's name.
    pub fn serve(&self, protocol: Protocol, address: &str) -> Result<Server> {
        self.enter(|| Server::start(protocol, address, self.name()))
    }

    /// Announces on the segment of an interface that an address has moved to this host.
    pub fn announce(&self, interface: &str, ip: Ipv4Addr) -> Result<()> {
        self.enter(|| packets::announce(interface, ip))
    }

    /// Starts to capture all packets that enter or leave.
    pub fn watch(&self) -> Result<Watch> {
        self.enter(Watch::start)
    }

    /// Returns a client that connects from this host.
    pub fn client(&self) -> Client<'_> {
        Client::new(&self.netns)
    }
}

/// LVS-NAT as every tutorial draws it ([`Nat::DRAWING`]): a client, a director between two segments, and two servers
/// whose default route is the director.
#[derive(Debug)]
pub struct Nat {
    /// The segments.
    pub lab: Lab,
    /// 10.1.0.10
    pub client: Host,
    /// 10.1.0.1, 10.2.0.1, and the virtual address
    pub director: Host,
    /// 10.2.0.11
    pub web1: Host,
    /// 10.2.0.12
    pub web2: Host,
}

impl Nat {
    /// The virtual address, on the director's eth0.
    pub const VIP: &str = "10.1.0.100";

    /// A drawing of the lab for the terminal.
    pub const DRAWING: &str = "
   client ──── 10.1.0.0/24 ──── director ──── 10.2.0.0/24 ──┬── web1  10.2.0.11
  10.1.0.10              10.1.0.1     10.2.0.1              └── web2  10.2.0.12
                  virtual: 10.1.0.100
";

    /// Builds it with IPv4 only.
    pub fn new() -> Result<Nat> {
        Nat::build("10.1.0.10/24", "10.1.0.1/24 10.1.0.100/24", ["10.2.0.1/24", "10.2.0.11/24", "10.2.0.12/24"])
    }

    /// Builds it with IPv6, too: the same numbers in `fd01::/64` and `fd02::/64`, virtual `fd01::100`. The client has a
    /// second address of each family, 10.1.0.11 and `fd01::11`.
    pub fn dual_stack() -> Result<Nat> {
        let nat = Nat::build(
            "10.1.0.10/24 10.1.0.11/24 fd01::10/64 fd01::11/64",
            "10.1.0.1/24 10.1.0.100/24 fd01::1/64 fd01::100/128",
            ["10.2.0.1/24 fd02::1/64", "10.2.0.11/24 fd02::11/64", "10.2.0.12/24 fd02::12/64"],
        )?;
        nat.director.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        nat.web1.gateway("fd02::1")?;
        nat.web2.gateway("fd02::1")?;
        Ok(nat)
    }

    /// Builds it. `outside` are the addresses of the director on the outer segment; `inside` are those of director,
    /// web1 and web2 on the inner segment.
    fn build(client_addresses: &str, outside: &str, inside: [&str; 3]) -> Result<Nat> {
        let lab = Lab::new()?;
        let [client, director, web1, web2] = lab.hosts(["client", "director", "web1", "web2"])?;
        lab.segment("outside", [(&client, client_addresses), (&director, outside)])?;
        lab.segment("inside", [(&director, inside[0]), (&web1, inside[1]), (&web2, inside[2])])?;
        director.sysctl("net/ipv4/ip_forward", "1")?;
        web1.gateway("10.2.0.1")?;
        web2.gateway("10.2.0.1")?;
        Ok(Nat { lab, client, director, web1, web2 })
    }
}

/// A client, a director and two servers on one segment, as for direct routing. At first only the director has the
/// virtual addresses.
///
/// ```text
///   client     director       web1       web2
/// 10.1.0.10    10.1.0.1    10.1.0.11  10.1.0.12
///  fd01::10    fd01::1      fd01::11   fd01::12
///     └────────────┴── lan ─────┴──────────┘       virtual: 10.1.0.100, fd01::100
/// ```
#[derive(Debug)]
pub struct Lan {
    /// The segments.
    pub lab: Lab,
    /// 10.1.0.10
    pub client: Host,
    /// 10.1.0.1 and the virtual addresses
    pub director: Host,
    /// 10.1.0.11
    pub web1: Host,
    /// 10.1.0.12
    pub web2: Host,
}

impl Lan {
    /// Builds it with IPv4 and IPv6.
    pub fn new() -> Result<Lan> {
        let lab = Lab::new()?;
        let [client, director, web1, web2] = lab.hosts(["client", "director", "web1", "web2"])?;
        let plugs = [
            (&client, "10.1.0.10/24 fd01::10/64"),
            (&director, "10.1.0.1/24 fd01::1/64 10.1.0.100/32 fd01::100/128"),
            (&web1, "10.1.0.11/24 fd01::11/64"),
            (&web2, "10.1.0.12/24 fd01::12/64"),
        ];
        lab.segment("lan", plugs)?;
        Ok(Lan { lab, client, director, web1, web2 })
    }
}

/// A client and a director, and two servers behind a router, as for tunnels.
///
/// ```text
///   client     director
/// 10.1.0.10    10.1.0.1   virtual: 10.1.0.100, fd01::100
///  fd01::10    fd01::1
///     └──── front ──┴──── router ──── back ──┬── web1  10.3.0.11  fd03::11
///                                            └── web2  10.3.0.12  fd03::12
/// ```
#[derive(Debug)]
pub struct Routed {
    /// The segments.
    pub lab: Lab,
    /// 10.1.0.10
    pub client: Host,
    /// 10.1.0.1 and the virtual addresses
    pub director: Host,
    /// 10.3.0.11
    pub web1: Host,
    /// 10.3.0.12
    pub web2: Host,
}

impl Routed {
    /// Builds it with IPv4 and IPv6.
    pub fn new() -> Result<Routed> {
        let lab = Lab::new()?;
        let [client, director, router, web1, web2] = lab.hosts(["client", "director", "router", "web1", "web2"])?;
        let front = [
            (&client, "10.1.0.10/24 fd01::10/64"),
            (&director, "10.1.0.1/24 fd01::1/64 10.1.0.100/32 fd01::100/128"),
            (&router, "10.1.0.254/24 fd01::254/64"),
        ];
        let back = [
            (&router, "10.3.0.254/24 fd03::254/64"),
            (&web1, "10.3.0.11/24 fd03::11/64"),
            (&web2, "10.3.0.12/24 fd03::12/64"),
        ];
        lab.segment("front", front)?;
        lab.segment("back", back)?;
        router.sysctl("net/ipv4/ip_forward", "1")?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        director.gateway("10.1.0.254")?;
        director.gateway("fd01::254")?;
        for web in [&web1, &web2] {
            web.gateway("10.3.0.254")?;
            web.gateway("fd03::254")?;
        }
        Ok(Routed { lab, client, director, web1, web2 })
    }
}
