//! Values of this machine: services, servers, plans, namespaces and interfaces. What cannot be read is missing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap_complete::engine::CompletionCandidate;
use ipvs::{Client, Counters, DestinationKey, Family, Protocol, Selector, ServiceKey, ServiceState};

use super::line::Line;
use super::values::described;
use crate::context::STATE_DIR;
use crate::journal::{Entry, Folder};

/// The maximum number of services whose servers are read. Reading a service takes about 20 µs.
const MAX_SERVICES: usize = 1000;

/// Returns the names of `ip netns`.
pub(super) fn namespaces() -> Vec<CompletionCandidate> {
    names_in("/run/netns")
}

/// Returns the network interfaces of this process's namespace.
pub(super) fn interfaces() -> Vec<CompletionCandidate> {
    names_in("/sys/class/net")
}

fn names_in(directory: &str) -> Vec<CompletionCandidate> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let names: BTreeSet<_> = files.map(|file| file.file_name()).collect();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Returns the numbers of the plans in the journal, the latest first.
pub(super) fn plans(line: &Line) -> Vec<CompletionCandidate> {
    let Ok(namespace) = line.namespace() else { return Vec::new() };
    let state_dir = line.state_dir().unwrap_or_else(|| STATE_DIR.into());
    let Ok(folder) = Folder::of(&state_dir, namespace.as_ref()) else { return Vec::new() };
    let describe = |(number, entry): (u64, anyhow::Result<Entry>)| {
        let entry = entry.ok()?;
        let first = entry.changes.iter().next().unwrap_or_default();
        Some(described(number.to_string(), format!("{}  {first}", entry.time)))
    };
    folder
        .entries()
        .into_iter()
        .rev()
        .filter_map(describe)
        .enumerate()
        .map(|(i, plan)| plan.display_order(Some(i)))
        .collect()
}

/// Opens the table of the line's namespace. `None` if it cannot be read. The kernel would load its IPVS modules for a
/// client, so the table is opened only if they are loaded.
fn open(line: &Line) -> Option<Client> {
    if !Path::new("/proc/net/ip_vs").exists() {
        return None;
    }
    match line.namespace().ok()? {
        Some(namespace) => Client::open_in(&namespace).ok(),
        None => Client::open().ok(),
    }
}

fn read_services(client: &mut Client) -> Vec<ServiceState> {
    client.services_with(Counters::Skip).unwrap_or_default()
}

fn all_services(line: &Line) -> Vec<ServiceState> {
    open(line).map(|mut client| read_services(&mut client)).unwrap_or_default()
}

/// Returns the services as selectors, such as `tcp:192.0.2.1:80`.
pub(super) fn services(line: &Line) -> Vec<CompletionCandidate> {
    let describe = |state: &ServiceState| {
        described(Selector::from(state.service.key).to_string(), state.service.scheduler.to_string())
    };
    all_services(line).iter().map(describe).collect()
}

/// Returns the addresses and ports of the services of a protocol, such as `192.0.2.1:80`.
pub(super) fn endpoints(line: &Line, wanted: Protocol) -> Vec<CompletionCandidate> {
    let endpoint = |state: &ServiceState| match state.service.key {
        ServiceKey::Address { protocol, address, port } if protocol == wanted => {
            let endpoint = SocketAddr::new(address, port).to_string();
            Some(described(endpoint, state.service.scheduler.to_string()))
        }
        _ => None,
    };
    all_services(line).iter().filter_map(endpoint).collect()
}

/// Returns the firewall marks of services.
pub(super) fn marks(line: &Line) -> Vec<CompletionCandidate> {
    let mark = |state: &ServiceState| match state.service.key {
        ServiceKey::Fwmark { mark, .. } => Some(mark.get()),
        ServiceKey::Address { .. } => None,
    };
    let marks: BTreeSet<u32> = all_services(line).iter().filter_map(mark).collect();
    marks.into_iter().map(|mark| CompletionCandidate::new(mark.to_string())).collect()
}

/// Returns the servers of the service in the line. Without a service, or for a server to be added, returns the servers
/// of all services. `alone` adds the addresses without a port.
pub(super) fn servers(line: &Line, alone: bool) -> Vec<CompletionCandidate> {
    let Some(mut client) = open(line) else { return Vec::new() };
    let services = match service_of(line) {
        Some(key) => vec![key],
        None => read_services(&mut client).iter().map(|state| state.service.key).take(MAX_SERVICES).collect(),
    };
    let mut found = BTreeSet::new();
    for service in services {
        let states = client.destinations_with(&service, Counters::Skip).unwrap_or_default();
        found.extend(states.into_iter().map(|state| state.destination.key));
    }
    let with_port = |key: &DestinationKey| SocketAddr::new(key.address, key.port).to_string();
    let mut words: Vec<String> = found.iter().map(with_port).collect();
    if alone {
        words.extend(found.iter().map(|key| key.address.to_string()).collect::<BTreeSet<_>>());
    }
    words.into_iter().map(CompletionCandidate::new).collect()
}

/// Returns the service in the line. `None` if there is none, or if a server is to be added to it.
fn service_of(line: &Line) -> Option<ServiceKey> {
    if line.words().iter().any(|word| word == "--add-server" || word.as_bytes().starts_with(b"-a")) {
        return None;
    }
    let text = |long, short| line.value_of(long, short).and_then(OsStr::to_str);
    let of_protocol = |long, short, protocol: &str| {
        let endpoint = text(long, short)?;
        let key = |endpoint: &str| format!("{protocol}:{endpoint}").parse().ok();
        key(endpoint).or_else(|| key(&format!("{endpoint}:0")))
    };
    let of_mark = || {
        let is_ipv6 = line.words().iter().any(|word| word == "-6" || word == "--ipv6");
        let family = if is_ipv6 { Family::V6 } else { Family::V4 };
        ServiceKey::fwmark(text("fwmark-service", Some('f'))?.parse().ok()?, family)
    };
    of_protocol("tcp-service", Some('t'), "tcp")
        .or_else(|| of_protocol("udp-service", Some('u'), "udp"))
        .or_else(|| of_protocol("sctp-service", None, "sctp"))
        .or_else(of_mark)
        .or_else(|| text("in", None)?.parse().ok())
}
