//! Names of hosts and ports, from the name services of the system. No other module resolves names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dns_lookup::{AddrInfoHints, LookupErrorKind, getaddrinfo, getnameinfo};
use ipvs::rules::{HostError, Namer, Resolver};
use ipvs::{Family, Protocol};
use libc::{AF_INET, AF_INET6, AF_UNSPEC, NI_DGRAM, NI_NAMEREQD, NI_NUMERICHOST, SOCK_DGRAM, SOCK_STREAM};

use crate::terminal::exit::print_error;

/// The name services of the system: `/etc/hosts`, DNS, `/etc/services` and others that nsswitch.conf lists. Results are
/// cached, because listings and files contain the same names repeatedly. The caches are `BTreeMap`s, because the first
/// `HashMap` of a process costs a `getrandom` call. A command line without names does not need that call.
#[derive(Debug, Default)]
pub(crate) struct System {
    hosts: BTreeMap<IpAddr, Option<String>>,
    ports: BTreeMap<(u16, Protocol), Option<String>>,
    addresses: BTreeMap<(String, Vec<Family>), Result<IpAddr, HostError>>,
    port_numbers: BTreeMap<(String, Protocol), Option<u16>>,
    patience: Patience,
}

/// Decides whether further hosts are looked up. A name server that did not answer once is not asked again, because each
/// further name takes another timeout, often 10 s.
#[derive(Debug, Default)]
struct Patience {
    /// The time that failed lookups have taken.
    spent: Duration,
    was_unanswered: bool,
    is_reported: bool,
}

impl Patience {
    /// The time of failed lookups after which no more hosts are looked up. It is for name servers that take seconds to
    /// report that a name does not exist.
    const LIMIT: Duration = Duration::from_secs(10);

    fn is_over(&self) -> bool {
        self.was_unanswered || self.spent >= Self::LIMIT
    }

    /// Looks a host up, unless earlier lookups took too long.
    fn ask<T>(&mut self, lookup: impl FnOnce() -> Result<T, LookupErrorKind>) -> Result<T, HostError> {
        if self.is_over() {
            return Err(HostError::NotAsked);
        }
        let start = Instant::now();
        lookup().map_err(|kind| {
            let took = start.elapsed();
            self.spent += took;
            let error = host_error(kind, took, || std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
            self.was_unanswered |= error == HostError::NoAnswer;
            error
        })
    }

    /// Prints a note if no more hosts are looked up, once.
    fn report(&mut self) {
        if self.is_over() && !std::mem::replace(&mut self.is_reported, true) {
            let reason = if self.was_unanswered {
                "the name server sent no usable answer"
            } else {
                "failed name lookups took 10 s"
            };
            print_error(&format!(
                "note: {reason}; the other addresses are shown as numbers\n\
                 To look up no names, use -n, or omit --names."
            ));
        }
    }
}

/// Returns the reason why a lookup failed.
///
/// The C library has one error for three cases: the server reports a failure, cannot be reached, or does not answer. Only
/// the last of these takes the whole timeout.
fn host_error(kind: LookupErrorKind, took: Duration, resolv_conf: impl FnOnce() -> String) -> HostError {
    match kind {
        LookupErrorKind::Again if took >= timeout(&resolv_conf()) => HostError::NoAnswer,
        LookupErrorKind::Again | LookupErrorKind::Fail | LookupErrorKind::System => HostError::ServerFailed,
        _ => HostError::Unknown,
    }
}

/// Returns the time that the C library waits for the first answer: `options timeout:N` of resolv.conf(5), by default
/// 5 s.
fn timeout(resolv_conf: &str) -> Duration {
    let options = resolv_conf.lines().filter_map(|line| line.trim_start().strip_prefix("options"));
    let mut seconds =
        options.flat_map(str::split_whitespace).filter_map(|option| option.strip_prefix("timeout:")?.parse().ok());
    Duration::from_secs(seconds.next_back().unwrap_or(5))
}

impl Resolver for System {
    fn host(&mut self, name: &str, families: &[Family]) -> Result<IpAddr, HostError> {
        let Self { addresses, patience, .. } = self;
        let lookup = || host_address(name, families, patience);
        *addresses.entry((name.to_owned(), families.to_vec())).or_insert_with(lookup)
    }

    fn port(&mut self, name: &str, protocol: Protocol) -> Option<u16> {
        *self.port_numbers.entry((name.to_owned(), protocol)).or_insert_with(|| port_number(name, protocol))
    }
}

impl System {
    /// Returns the addresses of a host, of both families. They are not cached.
    pub(crate) fn all_addresses(&mut self, name: &str) -> Result<BTreeSet<IpAddr>, HostError> {
        let found: BTreeSet<IpAddr> = host_addresses(name, AF_UNSPEC, &mut self.patience)?.into_iter().collect();
        if found.is_empty() { Err(HostError::Unknown) } else { Ok(found) }
    }
}

fn host_address(name: &str, families: &[Family], patience: &mut Patience) -> Result<IpAddr, HostError> {
    // The C library asks for both families at once.
    let family = match families {
        [Family::V4] => AF_INET,
        [Family::V6] => AF_INET6,
        _ => AF_UNSPEC,
    };
    let found = host_addresses(name, family, patience)?;
    let first = |family: &Family| found.iter().copied().find(|address| Family::of(*address) == *family);
    families.iter().find_map(first).ok_or(HostError::Unknown)
}

/// Returns the addresses of a host. `family` is one of the address families of getaddrinfo(3).
fn host_addresses(name: &str, family: i32, patience: &mut Patience) -> Result<Vec<IpAddr>, HostError> {
    // A string that cannot be a host name is a typing error. A lookup in DNS would only delay the error.
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte) || !byte.is_ascii();
    if !name.bytes().all(is_valid) {
        return Err(HostError::Unknown);
    }
    let hints = AddrInfoHints { address: family, socktype: SOCK_STREAM, ..AddrInfoHints::default() };
    let found = patience.ask(|| getaddrinfo(Some(name), None, Some(hints)).map_err(|error| error.kind()))?;
    Ok(found.filter_map(|info| info.ok()).map(|info| info.sockaddr.ip()).collect())
}

fn port_number(name: &str, protocol: Protocol) -> Option<u16> {
    if is_number(name) {
        return None;
    }
    let socktype = match protocol {
        Protocol::Tcp => SOCK_STREAM,
        Protocol::Udp => SOCK_DGRAM,
        Protocol::Sctp => return sctp::port(name),
        Protocol::Other(_) => return None,
    };
    let protocol = protocol.number().into();
    let hints = AddrInfoHints { address: AF_INET, socktype, protocol, ..AddrInfoHints::default() };
    let mut found = getaddrinfo(None, Some(name), Some(hints)).ok()?;
    found.find_map(|info| info.ok()).map(|info| info.sockaddr.port())
}

impl Namer for System {
    fn host_name(&mut self, address: IpAddr) -> Option<String> {
        // Some C libraries return the name of the IPv4 address inside an IPv4-mapped IPv6 address. That name would be
        // read back as the IPv4 address, which is another service.
        if matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return None;
        }
        let Self { hosts, patience, .. } = self;
        let lookup = || getnameinfo(&SocketAddr::new(address, 0), NI_NAMEREQD).map_err(|error| error.kind());
        let ask = || patience.ask(lookup).ok().map(|(host, _)| host).filter(|name| is_host_name(name));
        let name = hosts.entry(address).or_insert_with(ask).clone();
        patience.report();
        name
    }

    fn port_name(&mut self, port: u16, protocol: Protocol) -> Option<String> {
        let name = || match protocol {
            Protocol::Tcp => known_port(port, 0),
            Protocol::Udp => known_port(port, NI_DGRAM),
            Protocol::Sctp => sctp::name(port),
            Protocol::Other(_) => None,
        };
        self.ports.entry((port, protocol)).or_insert_with(|| name().filter(|name| is_port_name(name))).clone()
    }
}

/// Returns whether a name may be printed in place of an address. The owner of an address controls its name in DNS. It
/// may contain any bytes, such as a line break followed by a command, or look like another address. glibc returns only
/// names of these characters, musl returns all.
fn is_host_name(name: &str) -> bool {
    let is_number = |label: &str| match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    };
    name.len() <= MAX_NAME
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !name.split('.').all(is_number)
}

/// Returns whether a name may be printed in place of a port. Some names in the /etc/services of distributions contain
/// these characters (`whois++`, `914c/g`, `sql*net`).
fn is_port_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+/*".contains(&byte))
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The length of the longest name in DNS, in bytes.
const MAX_NAME: usize = 255;

/// Returns whether getaddrinfo would read this as a port number and truncate it to 16 bits. Valid numbers are parsed
/// before names are looked up, so a number here is out of range.
fn is_number(name: &str) -> bool {
    let digits = name.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn known_port(port: u16, flags: i32) -> Option<String> {
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let (_, name) = getnameinfo(&nowhere, NI_NUMERICHOST | flags).ok()?;
    // Without a name, getnameinfo returns the number.
    (name.parse() != Ok(port)).then_some(name)
}

/// A namer that returns only names that resolve to the same address or port, so that the output of `--save` can be
/// restored.
pub(crate) struct Restorable(pub(crate) System);

impl Namer for Restorable {
    fn host_name(&mut self, address: IpAddr) -> Option<String> {
        let name = self.0.host_name(address)?;
        (self.0.host(&name, &[Family::of(address)]) == Ok(address)).then_some(name)
    }

    fn port_name(&mut self, port: u16, protocol: Protocol) -> Option<String> {
        self.0.port_name(port, protocol).filter(|name| self.0.port(name, protocol) == Some(port))
    }
}

/// Ports of SCTP, read from /etc/services, because getnameinfo does not support SCTP. Some implementations of
/// getaddrinfo do not support it either.
mod sctp {
    const SERVICES: &str = "/etc/services";

    pub(super) fn port(name: &str) -> Option<u16> {
        entries(&std::fs::read_to_string(SERVICES).ok()?).find(|(_, names)| names.contains(&name)).map(|(port, _)| port)
    }

    pub(super) fn name(port: u16) -> Option<String> {
        let text = std::fs::read_to_string(SERVICES).ok()?;
        let (_, names) = entries(&text).find(|(found, _)| *found == port)?;
        names.first().map(|name| (*name).to_owned())
    }

    /// Returns the SCTP ports of the file, each with its names, the official name first.
    fn entries(text: &str) -> impl Iterator<Item = (u16, Vec<&str>)> {
        text.lines().filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let name = words.next()?;
            let port = words.next()?.strip_suffix("/sctp")?.parse().ok()?;
            Some((port, std::iter::once(name).chain(words).collect()))
        })
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn reads_names_and_aliases() {
            let text = "http 80/tcp www\n# x\nm3ua\t2905/sctp  em three # signalling\nbad x/sctp\n";
            assert_eq!(super::entries(text).collect::<Vec<_>>(), [(2905, vec!["m3ua", "em", "three"])]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_names() {
        let longest = "a".repeat(255);
        for name in ["web-1.example.org", "xn--bcher-kva", "_dmarc.x", "web.10", "1and1", "0xyz", "host.", &longest] {
            assert!(is_host_name(name), "{name}");
        }
        let too_long = "a".repeat(256);
        for name in [
            "",
            ".",
            "x\n-C\n#",
            "\u{1b}[2J",
            "a b",
            "a:1",
            "ä",
            "-C",
            "10.0.0.1",
            "1",
            "0x7f.1",
            "a#",
            "[a]",
            &too_long,
        ] {
            assert!(!is_host_name(name), "{name:?}");
        }
        for name in ["http", "whois++", "914c/g", "sql*net", "a_b"] {
            assert!(is_port_name(name), "{name}");
        }
        for name in ["", "80", "-x", "a\u{7}", "a:b", "a#", &too_long] {
            assert!(!is_port_name(name), "{name:?}");
        }
    }

    #[test]
    fn patience_ends_after_failures() {
        let mut patience = Patience::default();
        assert_eq!(patience.ask(|| Ok(1)), Ok(1));
        let fails = |kind| move || Err::<u8, _>(kind);
        assert_eq!(patience.ask(fails(LookupErrorKind::NoName)), Err(HostError::Unknown));
        assert_eq!(patience.ask(fails(LookupErrorKind::Again)), Err(HostError::ServerFailed));
        assert!(!patience.is_over());
        patience.spent = Patience::LIMIT;
        assert_eq!(patience.ask(|| Ok(1)), Err(HostError::NotAsked));
        let mut patience = Patience { was_unanswered: true, ..Patience::default() };
        assert_eq!(patience.ask(|| Ok(1)), Err(HostError::NotAsked));
    }

    #[test]
    fn failures_are_distinguished() {
        let error = |kind, millis, resolv_conf: &str| {
            host_error(kind, Duration::from_millis(millis), || resolv_conf.to_owned())
        };
        let quick = "nameserver 192.0.2.1\noptions edns0 timeout:1 attempts:1\n";
        for (kind, millis, resolv_conf, expected) in [
            (LookupErrorKind::Again, 5001, "", HostError::NoAnswer),
            (LookupErrorKind::Again, 10_010, "", HostError::NoAnswer),
            (LookupErrorKind::Again, 3000, "nameserver 192.0.2.1\n", HostError::ServerFailed),
            (LookupErrorKind::Again, 1001, quick, HostError::NoAnswer),
            (LookupErrorKind::Again, 40, quick, HostError::ServerFailed),
            (LookupErrorKind::Fail, 9000, "", HostError::ServerFailed),
            (LookupErrorKind::NoName, 9000, "", HostError::Unknown),
        ] {
            assert_eq!(error(kind, millis, resolv_conf), expected, "{kind:?} {millis} {resolv_conf}");
        }
    }

    #[test]
    fn lookups_are_cached() {
        let mut system = System::default();
        let both = [Family::V4, Family::V6];
        assert_eq!(system.host("127.0.0.1", &both), Ok(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(system.port("no-such-port", Protocol::Tcp), None);
        // A second lookup would return the real values.
        let remembered = Ok(Ipv4Addr::new(192, 0, 2, 1).into());
        system.addresses.values_mut().for_each(|address| *address = remembered);
        system.port_numbers.values_mut().for_each(|port| *port = Some(7));
        assert_eq!(system.host("127.0.0.1", &both), remembered);
        assert_eq!(system.port("no-such-port", Protocol::Tcp), Some(7));
        assert_eq!(system.port("no-such-port", Protocol::Udp), None, "UDP is cached separately");
    }
}
