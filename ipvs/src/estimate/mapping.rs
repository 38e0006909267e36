//! The server of one new client.

use std::net::IpAddr;

use super::{Assumption, Refusal, Scheduling};
use crate::hash::{LookupTable, TableSizes};
use crate::key::{DestinationKey, ServiceKey};
use crate::name::Scheduler;
use crate::service::SchedulerFlags;

/// A new connection, as far as a scheduler can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NewClient {
    /// The address of the client, of the service's family.
    pub address: IpAddr,
    /// The port of the client. `None`: not known. It is needed only with [`SchedulerFlags::PORT`].
    pub port: Option<u16>,
    /// The address to which the client connects. `None`: the address of the service. A service by firewall mark has
    /// none; dh then needs this address.
    pub destination: Option<IpAddr>,
}

impl NewClient {
    /// Returns a client whose port and destination are not known.
    pub fn new(address: impl Into<IpAddr>) -> Self {
        Self { address: address.into(), port: None, destination: None }
    }

    /// Sets the port of the client.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Sets the address to which the client connects.
    #[must_use]
    pub fn to(self, destination: impl Into<IpAddr>) -> Self {
        Self { destination: Some(destination.into()), ..self }
    }
}

/// The server of a new client, as far as it can be known before the client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerFor {
    /// This server.
    Server(DestinationKey),
    /// None: the client is refused.
    Refused,
    /// The result depends on values that the kernel does not report. These are the servers under
    /// [`Assumption::Best`] and [`Assumption::Worst`]; `None` means refused. They can be equal, and the client can still
    /// get another server.
    Uncertain(Option<DestinationKey>, Option<DestinationKey>),
    /// Any available server. The scheduler selects it when the client connects.
    Decided,
    /// The hash includes the port of the client, which is not known.
    NeedsPort,
    /// dh hashes the address to which the client connects, which is not known.
    NeedsDestination,
    /// The kernel's table is not known: mh with more servers than slots keeps its previous table.
    Unknown,
}

/// The servers that a service selects for new clients, for lookups of single clients.
///
/// New clients are those without a connection and without a persistence template. With persistence, the first
/// connection of a client network decides for the whole network: it is scheduled by its own address, not by that of
/// the network. See [`TemplateKey`](crate::TemplateKey) for the others.
///
/// ```
/// use ipvs::estimate::{Mapping, NewClient, Scheduling, ServerFor};
/// use ipvs::hash::TableSizes;
/// use ipvs::{Destination, Forwarding, Scheduler, Service, ServiceKey};
///
/// let service = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::SH);
/// let server = |last| Destination::new(([10, 0, 0, last], 80), Forwarding::Masquerade);
/// let mapping = Mapping::new(&Scheduling::of_new(service, &[server(1), server(2)]), TableSizes::default());
///
/// let client = NewClient::new([203, 0, 113, 9]);
/// assert_eq!(mapping.server_for(&client), ServerFor::Server(server(2).key));
/// ```
#[derive(Clone, Debug)]
pub struct Mapping {
    service: ServiceKey,
    is_dh: bool,
    needs_port: bool,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The table, and that of the worst assumption if something is unknown.
    Table(Box<LookupTable>, Option<Box<LookupTable>>),
    Decided,
    Nothing,
    /// Decided when the client connects, or refused. It depends on values that the kernel does not report.
    PerhapsNothing,
    Unknown,
}

impl Mapping {
    /// Computes the tables of a service.
    pub fn new(scheduling: &Scheduling, sizes: TableSizes) -> Self {
        let service = scheduling.service();
        let kind = match scheduling.lookup_table(Assumption::Best, sizes) {
            _ if !scheduling.has_room(sizes) => Kind::Unknown,
            Some(best) => {
                let worst = scheduling.has_unknown().then(|| scheduling.lookup_table(Assumption::Worst, sizes));
                Kind::Table(Box::new(best), worst.flatten().map(Box::new))
            }
            None => match [Assumption::Best, Assumption::Worst].map(|assumption| scheduling.refusal(assumption)) {
                [Refusal::Everybody, _] => Kind::Nothing,
                [_, Refusal::Everybody] => Kind::PerhapsNothing,
                _ => Kind::Decided,
            },
        };
        let is_dh = service.scheduler == Scheduler::DH;
        let needs_port = matches!(kind, Kind::Table(..)) && !is_dh && service.flags.contains(SchedulerFlags::PORT);
        Self { service: service.key, is_dh, needs_port, kind }
    }

    /// Returns the server of a new client. Weights, thresholds and fallback flags are applied as the kernel does.
    pub fn server_for(&self, client: &NewClient) -> ServerFor {
        let (best, worst) = match &self.kind {
            Kind::Table(best, worst) => (best, worst),
            Kind::Decided | Kind::PerhapsNothing => return ServerFor::Decided,
            Kind::Nothing => return ServerFor::Refused,
            Kind::Unknown => return ServerFor::Unknown,
        };
        let (address, port) = match self.hashed(client) {
            Ok(hashed) => hashed,
            Err(missing) => return missing,
        };
        let best = best.pick(address, port);
        match worst {
            Some(worst) => ServerFor::Uncertain(best, worst.pick(address, port)),
            None => best.map_or(ServerFor::Refused, ServerFor::Server),
        }
    }

    /// Returns the server of the client's slot, available or not. Returns `None` if the scheduler does not hash, the
    /// slot is empty, or [`server_for`](Self::server_for) returns no server for another reason than its state.
    pub fn owner(&self, client: &NewClient) -> Option<DestinationKey> {
        let Kind::Table(table, None) = &self.kind else { return None };
        let (address, port) = self.hashed(client).ok()?;
        table.owner(address, port)
    }

    /// Returns whether the scheduler hashes.
    pub fn is_hashed(&self) -> bool {
        matches!(self.kind, Kind::Table(..) | Kind::Unknown)
    }

    /// Returns whether all clients may be refused, which depends on values that the kernel does not report.
    pub fn may_refuse_all(&self) -> bool {
        matches!(self.kind, Kind::PerhapsNothing)
    }

    /// Returns the address and port that the scheduler hashes, or the reason why they are not known.
    fn hashed(&self, client: &NewClient) -> Result<(IpAddr, u16), ServerFor> {
        if self.is_dh {
            let of_service = match self.service {
                ServiceKey::Address { address, .. } => Some(address),
                ServiceKey::Fwmark { .. } => client.destination,
            };
            return of_service.map(|address| (address, 0)).ok_or(ServerFor::NeedsDestination);
        }
        match client.port {
            None if self.needs_port => Err(ServerFor::NeedsPort),
            port => Ok((client.address, port.unwrap_or(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::{Destination, Forwarding};
    use crate::family::Family;
    use crate::service::Service;
    use crate::state::{DestinationState, ServiceState};

    fn servers(weights: &[u32]) -> Vec<Destination> {
        let server = |(last, weight): (u8, &u32)| Destination {
            weight: *weight,
            ..Destination::new(([10, 0, 0, last], 80), Forwarding::Masquerade)
        };
        (1..).zip(weights).map(server).collect()
    }

    fn mapping(service: Service, weights: &[u32]) -> Mapping {
        Mapping::new(&Scheduling::of_new(service, &servers(weights)), TableSizes::default())
    }

    fn observed(service: Service, servers: Vec<DestinationState>) -> Mapping {
        let mut state = ServiceState::new(service);
        state.destinations = servers;
        Mapping::new(&Scheduling::new(&state), TableSizes::default())
    }

    fn service(scheduler: Scheduler) -> Service {
        Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), scheduler)
    }

    const CLIENT: [u8; 4] = [203, 0, 113, 9];

    #[test]
    fn unavailable_servers_refuse_or_fall_back() {
        let plain = mapping(service(Scheduler::SH), &[1, 0]);
        let clients = || (0..=255).map(|last| NewClient::new([203, 0, 113, last]));
        let refused = clients().filter(|client| plain.server_for(client) == ServerFor::Refused);
        let owned = clients().filter(|client| plain.owner(client) == Some(servers(&[1, 0])[1].key));
        assert!(refused.clone().count() > 0);
        assert!(refused.eq(owned));
        let falling = Service { flags: SchedulerFlags::FALLBACK, ..service(Scheduler::SH) };
        let falling = mapping(falling, &[1, 0]);
        assert!(clients().all(|client| falling.server_for(&client) == ServerFor::Server(servers(&[1])[0].key)));
    }

    #[test]
    fn results_that_need_more() {
        let port = Service { flags: SchedulerFlags::PORT, ..service(Scheduler::MH) };
        let port = mapping(port, &[1, 1]);
        assert_eq!(port.server_for(&NewClient::new(CLIENT)), ServerFor::NeedsPort);
        assert!(matches!(port.server_for(&NewClient::new(CLIENT).with_port(1)), ServerFor::Server(_)));
        // dh ignores the flag.
        let dh = Service { flags: SchedulerFlags::PORT, ..service(Scheduler::DH) };
        assert!(matches!(mapping(dh, &[1, 1]).server_for(&NewClient::new(CLIENT)), ServerFor::Server(_)));
        let mark = ServiceKey::fwmark(1, Family::V4).expect("not 0");
        let dh = mapping(Service::new(mark, Scheduler::DH), &[1, 1]);
        assert_eq!(dh.server_for(&NewClient::new(CLIENT)), ServerFor::NeedsDestination);
        let to = |last| dh.server_for(&NewClient::new(CLIENT).to([192, 0, 2, last]));
        assert!((0..255).any(|last| to(last) != to(255)));
    }

    #[test]
    fn other_schedulers_decide_when_the_client_connects() {
        let client = NewClient::new(CLIENT);
        assert_eq!(mapping(service(Scheduler::RR), &[1, 0]).server_for(&client), ServerFor::Decided);
        for (scheduler, weights) in [(Scheduler::RR, &[0, 0][..]), (Scheduler::NONE, &[1]), (Scheduler::WLC, &[])] {
            assert_eq!(mapping(service(scheduler), weights).server_for(&client), ServerFor::Refused);
        }
    }

    #[test]
    fn unreported_values_make_results_uncertain() {
        let state = |weight| DestinationState::new(servers(&[weight])[0]);
        let weight_0 = observed(service(Scheduler::MH), vec![state(0)]);
        assert_eq!(weight_0.server_for(&NewClient::new(CLIENT)), ServerFor::Uncertain(None, None));
        let mut between = state(1);
        (between.destination.upper_threshold, between.active_connections) = (100, 80);
        let key = between.destination.key;
        let sh = observed(service(Scheduler::SH), vec![between.clone()]);
        assert_eq!(sh.server_for(&NewClient::new(CLIENT)), ServerFor::Uncertain(Some(key), None));
        let rr = observed(service(Scheduler::RR), vec![between]);
        assert_eq!((rr.server_for(&NewClient::new(CLIENT)), rr.may_refuse_all()), (ServerFor::Decided, true));
    }
}
