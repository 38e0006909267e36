//! The server of a client's new connections, and the reason.

use std::cell::OnceCell;
use std::net::IpAddr;

use anyhow::Context as _;
use ipvs::estimate::{Assumption, Mapping, NewClient, Refusal, Scheduling, ServerFor};
use ipvs::hash::TableSizes;
use ipvs::{Change, DestinationKey, Scheduler, SchedulerFlags};

use super::clients::Wanted;
use super::entries::Entry;
use super::servers::Servers;
use crate::plan::clients;

/// The server of new connections, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Server(DestinationKey),
    Refused,
    /// One of two, or another one. `None`: refused.
    Uncertain(Option<DestinationKey>, Option<DestinationKey>),
    /// The scheduler selects it when the client connects.
    OnConnect,
    /// Something must be specified, or the kernel's table is not known.
    NotKnown,
}

/// The cause of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Template,
    Hash,
    Scheduler,
}

/// The result for one client.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    pub(super) cause: Cause,
    /// The server of the client's slot, if it is not the server that the client gets.
    pub(super) slot: Option<DestinationKey>,
    /// A remark, or the reason why no server is known.
    pub(super) reason: Option<String>,
}

/// The service, now or after a change.
pub(super) struct Side {
    pub(super) scheduling: Scheduling,
    mapping: Mapping,
    servers: Servers,
    /// The sysctl net.ipv4.vs.expire_quiescent_template. `None`: it cannot be read.
    expires_quiescent: Option<bool>,
    /// Some clients are refused, and others are not. This and the reasons below are computed once for all clients.
    refuses_some: bool,
    /// The reason why all clients are refused.
    reason: OnceCell<String>,
    /// The reason why no server is certain.
    unknown: OnceCell<String>,
}

impl Side {
    pub(super) fn of(scheduling: Scheduling, sizes: TableSizes, expires_quiescent: Option<bool>) -> Self {
        let mapping = Mapping::new(&scheduling, sizes);
        let servers = Servers::new(scheduling.destinations());
        let refuses_some = scheduling.refusal(Assumption::Best) == Refusal::Some;
        let (reason, unknown) = (OnceCell::new(), OnceCell::new());
        Self { scheduling, mapping, servers, expires_quiescent, refuses_some, reason, unknown }
    }

    /// Returns the service after some changes.
    pub(super) fn after(&self, changes: &[Change], sizes: TableSizes) -> anyhow::Result<Self> {
        let after = self.scheduling.after(changes).context("the change deletes the service")?;
        Ok(Self::of(after, sizes, self.expires_quiescent))
    }

    /// Returns whether the scheduler decides when a client connects.
    pub(super) fn decides_on_connect(&self) -> bool {
        !self.mapping.is_hashed()
    }

    /// Returns the server of an entry. `None`: the service does not have it.
    pub(super) fn server_of(&self, entry: &Entry, is_template: bool) -> Option<DestinationKey> {
        self.servers.of_entry(entry.server, is_template)
    }

    /// Returns the server that new connections of a client get.
    pub(super) fn decide(&self, client: &Wanted, to: Option<IpAddr>, template: Option<&Entry>) -> Decision {
        let unused = match template.map(|template| self.by_template(template)) {
            Some(Ok(decision)) => return decision,
            Some(Err(unused)) => Some(unused),
            None => None,
        };
        let mut decision = self.by_scheduler(client, to);
        if let Some(unused) = unused {
            decision.reason =
                Some(decision.reason.map_or_else(|| unused.clone(), |reason| format!("{unused}; {reason}")));
        }
        decision
    }

    /// Returns the server of a template, or the reason why the kernel does not use the template. See
    /// `ip_vs_check_template` in <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_conn.c>.
    fn by_template(&self, template: &Entry) -> Result<Decision, String> {
        let of_template = |outcome, reason| Decision { outcome, cause: Cause::Template, slot: None, reason };
        if self.scheduling.service().persistence.is_none() {
            return Err("the service is not persistent: its template is not used".into());
        }
        let Some(key) = self.server_of(template, true) else {
            return Err(format!("the server of the template, {}, is not in the service", template.server));
        };
        let has_weight_0 = self.servers.weight(key) == Some(0);
        match self.expires_quiescent {
            Some(true) if has_weight_0 => Err(format!(
                "the server of the template, {key}, has weight 0, and net.ipv4.vs.expire_quiescent_template is 1"
            )),
            None if has_weight_0 => Ok(of_template(
                Outcome::Server(key),
                Some("if net.ipv4.vs.expire_quiescent_template is 0, which could not be read".into()),
            )),
            _ => Ok(of_template(Outcome::Server(key), None)),
        }
    }

    fn by_scheduler(&self, client: &Wanted, to: Option<IpAddr>) -> Decision {
        let client = NewClient { address: client.address, port: client.port, destination: to };
        let owner = self.mapping.owner(&client);
        let cause = if self.mapping.is_hashed() { Cause::Hash } else { Cause::Scheduler };
        let decision = |outcome, slot, reason| Decision { outcome, cause, slot, reason };
        match self.mapping.server_for(&client) {
            ServerFor::Server(key) => {
                let slot = owner.filter(|owner| *owner != key);
                let reason = slot.map(|slot| format!("fallback, because {slot} {}", self.state_of(slot)));
                decision(Outcome::Server(key), slot, reason)
            }
            ServerFor::Refused => decision(Outcome::Refused, owner, Some(self.refusal(owner))),
            ServerFor::Uncertain(best, worst) => decision(
                Outcome::Uncertain(best, worst),
                None,
                Some(self.unknown.get_or_init(|| clients::unknown(&self.scheduling, &self.scheduling)).clone()),
            ),
            ServerFor::Decided if self.mapping.may_refuse_all() => decision(
                Outcome::OnConnect,
                None,
                Some("if a server accepts connections: the kernel does not report whether they are full".into()),
            ),
            ServerFor::Decided => decision(Outcome::OnConnect, None, None),
            ServerFor::NeedsPort => {
                let reason = "the hash includes the client's port. Specify ADDRESS:PORT";
                decision(Outcome::NotKnown, None, Some(reason.into()))
            }
            ServerFor::NeedsDestination => {
                let reason = "dh hashes the address to which the client connects. Specify it with --to";
                decision(Outcome::NotKnown, None, Some(reason.into()))
            }
            _ => {
                let reason = "mh has more servers than slots, so the kernel's table is not known";
                decision(Outcome::NotKnown, None, Some(reason.into()))
            }
        }
    }

    fn state_of(&self, server: DestinationKey) -> &'static str {
        if self.servers.weight(server) == Some(0) { "has weight 0" } else { "is full" }
    }

    /// Returns the reason why a client is refused.
    fn refusal(&self, owner: Option<DestinationKey>) -> String {
        let service = self.scheduling.service();
        let Some(owner) = owner.filter(|_| self.refuses_some) else {
            return self.reason.get_or_init(|| clients::reason(&self.scheduling)).clone();
        };
        let state = self.state_of(owner);
        match service.scheduler {
            Scheduler::DH => format!("{owner} {state}, and dh has no fallback"),
            scheduler if service.flags.contains(SchedulerFlags::FALLBACK) => {
                format!("{owner} {state}, and {scheduler}-fallback finds no server")
            }
            scheduler => format!("{owner} {state}, and {scheduler}-fallback is not set"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::plan::testing::state;

    fn side(rules: &str, expires_quiescent: Option<bool>) -> Side {
        Side::of(Scheduling::new(&state(rules).services[0]), TableSizes::default(), expires_quiescent)
    }

    fn rules(options: &str, weights: &[u32]) -> String {
        let server = |(last, weight): (usize, &u32)| format!("-a -t 192.0.2.1:80 -r 10.0.0.{last} -m -w {weight}\n");
        format!("-A -t 192.0.2.1:80 {options}\n{}", (1..).zip(weights).map(server).collect::<String>())
    }

    fn client(last: u8) -> Wanted {
        Wanted { address: [203, 0, 113, last].into(), port: None }
    }

    fn template(server: &str) -> Entry {
        Entry { server: server.parse().expect("a server"), state: "ASSURED".into(), expires: 5 }
    }

    #[test]
    fn templates_come_first() {
        let persistent = rules("-s sh -p 300", &[1, 0]);
        let decide = |side: &Side, server: &str| side.decide(&client(1), None, Some(&template(server)));
        let keeps = side(&persistent, Some(false));
        for server in ["10.0.0.1:80", "10.0.0.2:80"] {
            let decision = decide(&keeps, server);
            assert_eq!(decision.outcome, Outcome::Server(server.parse().expect("a server")));
            assert_eq!((decision.cause, decision.reason), (Cause::Template, None));
        }
        let expires = decide(&side(&persistent, Some(true)), "10.0.0.2:80");
        assert_eq!(expires.cause, Cause::Hash);
        let unread = decide(&side(&persistent, None), "10.0.0.2:80").reason.expect("a remark");
        assert!(unread.contains("could not be read"), "{unread}");
        let gone = decide(&keeps, "10.0.0.9:80");
        assert_eq!(gone.cause, Cause::Hash);
        assert!(gone.reason.expect("a reason").starts_with("the server of the template, 10.0.0.9:80, is not in"));
        assert_eq!(decide(&side(&rules("-s sh", &[1]), None), "10.0.0.1:80").cause, Cause::Hash);
    }

    #[test]
    fn refusals_have_reasons() {
        let reason = |options: &str, weights: &[u32]| {
            let side = side(&rules(options, weights), None);
            let refused = (0..=255).map(|last| side.decide(&client(last), None, None));
            refused.filter(|decision| decision.outcome == Outcome::Refused).find_map(|decision| decision.reason)
        };
        assert_eq!(reason("-s sh", &[1, 0]).as_deref(), Some("10.0.0.2:80 has weight 0, and sh-fallback is not set"));
        assert_eq!(reason("-s sh -b sh-fallback", &[1, 0]), None);
        assert_eq!(reason("-s sh", &[0, 0]).as_deref(), Some("all servers have weight 0"));
        assert_eq!(reason("-s rr", &[]).as_deref(), Some("the service has no servers"));
        assert_eq!(reason("-s dh", &[1, 0]).as_deref(), Some("10.0.0.2:80 has weight 0, and dh has no fallback"));
    }

    #[test]
    fn fallback_names_the_server_of_the_slot() {
        let side = side(&rules("-s sh -b sh-fallback", &[1, 0]), None);
        let all: Vec<Decision> = (0..=255).map(|last| side.decide(&client(last), None, None)).collect();
        let reasons: Vec<&str> = all.iter().filter_map(|decision| decision.reason.as_deref()).collect();
        assert!(reasons.iter().all(|reason| *reason == "fallback, because 10.0.0.2:80 has weight 0"), "{reasons:?}");
        assert!(!reasons.is_empty() && reasons.len() < all.len());
    }

    /// With a search through all servers for each client, this takes seconds.
    #[test]
    fn many_servers_and_clients_take_little_time() {
        const MANY: u32 = 10_000;
        let server = |n: u32| format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255);
        let lines = |n: u32| format!("-a -t 192.0.2.1:80 -r {} -m -w {}\n", server(n), u32::from(n == 0));
        let side =
            side(&format!("-A -t 192.0.2.1:80 -s sh -p 300\n{}", (0..MANY).map(lines).collect::<String>()), Some(true));
        let start = Instant::now();
        for n in 1..MANY {
            let entry = template(&server(n));
            assert!(side.server_of(&entry, false).is_some());
            assert_eq!(side.decide(&client((n & 255) as u8), None, Some(&entry)).outcome, Outcome::Refused);
        }
        let time = start.elapsed();
        assert!(time < Duration::from_secs(1), "{time:?}");
    }
}
