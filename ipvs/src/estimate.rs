//! The effects of a change on the clients of a service: some get another server, and some are refused.
//!
//! [`Scheduling`] is a service with everything that its scheduler uses: weights, thresholds and connections.
//! [`Scheduling::after`] is the same service after some changes. [`Scenarios`] compares the two for new clients. New
//! clients are those without a persistence template. [`Mapping`] returns the server of one new client.
//! [`differences`] compares the tables of two directors.
//!
//! ```
//! use ipvs::estimate::{Scenarios, Scheduling};
//! use ipvs::hash::TableSizes;
//! use ipvs::{Change, Destination, Forwarding, Scheduler, Service, ServiceKey};
//!
//! let service = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::SH);
//! let server = |last| Destination::new(([10, 0, 0, last], 80), Forwarding::Masquerade);
//! let before = Scheduling::of_new(service, &[server(1), server(2)]);
//!
//! let weight_0 = Change::EditDestination(service.key, Destination { weight: 0, ..server(2) });
//! let after = before.after(&[weight_0]).unwrap();
//! let effect = Scenarios::new(&before, &after, TableSizes::default()).unwrap().effect();
//! // sh without sh-fallback also selects servers of weight 0.
//! assert_eq!(effect.refused(), (0.5, 0.5));
//! assert_eq!(effect.moved(), (0.0, 0.0));
//! ```
//!
//! The rules are those of `schedule` in each [`ip_vs_*.c`](https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs).
//! All schedulers refuse a client if no server has a weight above 0 and is below its upper threshold. The exceptions are:
//!
//! - sh, mh and dh select a server by a hash, available or not. Without [`SchedulerFlags::FALLBACK`] they refuse the
//!   clients of an unavailable server. dh has no fallback.
//! - lblc keeps the server of a destination address also above its threshold. See `ip_vs_lblc_schedule`.
//! - ovf does not select a server with more active connections than its weight. See `ip_vs_ovf_schedule`.
//! - `none` refuses all clients.

mod compare;
mod mapping;
mod scheduling;
mod two_directors;

pub use compare::{Compared, Effect, Scenarios, Selected, Selection};
pub use mapping::{Mapping, NewClient, ServerFor};
pub use scheduling::{Assumption, Refusal, Scheduling};
pub use two_directors::{Difference, Differences, differences, differing_clients, tables_alike};

#[cfg(doc)]
use crate::service::SchedulerFlags;

#[cfg(test)]
mod tests;
