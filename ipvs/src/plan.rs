//! The way from what a director holds to what it should hold, with no connection lost on it that need not be.

use std::collections::{HashMap, HashSet};

use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::key::{DestinationKey, ServiceKey};
use crate::scope::Scope;
use crate::service::{Netmask, Service};
use crate::state::{Config, DestinationState, Order, ServiceConfig, ServiceState, State};

/// How to get there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which services may be touched.
    pub scope: Scope,
    /// Servers that are there keep the weights they have.
    pub keep_weights: bool,
    /// Servers that are to go get weight 0 instead of being deleted: a later plan without this deletes them.
    pub drain: bool,
    /// Where the order of servers is asked for and not to be had otherwise, delete servers and add them anew. That
    /// breaks their connections for a moment.
    pub reorder: bool,
}

/// The way there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The changes, in an order in which no service is without servers in between.
    pub changes: Vec<Change>,
    /// Services whose servers stay in another order than was asked for.
    pub order_kept: Vec<ServiceKey>,
}

/// What has to be changed so that a director that holds `current` holds `desired`.
///
/// - Nothing that is as it should be is touched: its counters and connections go on.
/// - What can be edited is never deleted and added.
/// - Services and servers are added before others are deleted: no service loses its last server, and no family its last
///   service, while another is on its way.
///
/// ```
/// use ipvs::rules::{self, Numeric};
/// use ipvs::{Config, Director, Model, plan};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut director = Model::new();
/// let read = |text: &str| rules::read_config(text.as_bytes(), &mut Numeric).map(|read| read.config);
///
/// let desired = read("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 2\n").unwrap();
/// let plan = plan::plan(&desired, &director.state()?, &plan::Options::default());
/// assert_eq!(plan.changes[1].to_string(), "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 2");
///
/// director.submit(&plan.changes)?;
/// assert!(plan::plan(&desired, &director.state()?, &plan::Options::default()).changes.is_empty());
/// # Ok(())
/// # }
/// ```
pub fn plan(desired: &Config, current: &State, options: &Options) -> Plan {
    let mut planner = Planner { options, stages: Stages::default(), order_kept: Vec::new() };
    planner.globals(desired, current);
    planner.services(desired, current);
    Plan { changes: planner.stages.in_order(), order_kept: planner.order_kept }
}

/// Changes by when they come.
#[derive(Default)]
struct Stages {
    /// Timeouts, and daemons that are only stopped: servers of both families may be waiting for that.
    first: Vec<Change>,
    /// What adds and edits.
    build: Vec<Change>,
    /// What takes servers away.
    servers_go: Vec<Change>,
    /// What takes services away, when all others are there.
    services_go: Vec<Change>,
    /// Daemons that are started, perhaps in place of others.
    last: Vec<Change>,
}

impl Stages {
    fn in_order(self) -> Vec<Change> {
        let Self { first: mut all, build, servers_go, services_go, last } = self;
        for stage in [build, servers_go, services_go, last] {
            all.extend(stage);
        }
        all
    }
}

struct Planner<'a> {
    options: &'a Options,
    stages: Stages,
    order_kept: Vec<ServiceKey>,
}

impl Planner<'_> {
    fn globals(&mut self, desired: &Config, current: &State) {
        if !self.options.scope.contains_globals() {
            return;
        }
        if let Some(timeouts) = desired.timeouts
            && timeouts.over(current.timeouts) != current.timeouts
        {
            self.stages.first.push(Change::SetTimeouts(timeouts));
        }
        if let Some(daemons) = &desired.daemons {
            self.daemons(daemons, &current.daemons);
        }
    }

    fn daemons(&mut self, desired: &[SyncDaemon], current: &[SyncDaemon]) {
        for running in current {
            match desired.iter().find(|daemon| daemon.role == running.role) {
                None => self.stages.first.push(Change::StopDaemon(running.role)),
                Some(daemon) if !daemon.is_met_by(running) => {
                    // A daemon cannot be edited.
                    self.stages.last.extend([Change::StopDaemon(running.role), Change::StartDaemon(*daemon)]);
                }
                Some(_) => {}
            }
        }
        let is_new = |daemon: &&SyncDaemon| current.iter().all(|running| running.role != daemon.role);
        self.stages.last.extend(desired.iter().filter(is_new).map(|daemon| Change::StartDaemon(*daemon)));
    }

    fn services(&mut self, desired: &Config, current: &State) {
        let scope = &self.options.scope;
        let mut there: HashMap<ServiceKey, &ServiceState> =
            current.services.iter().map(|state| (state.service.key, state)).collect();
        for wanted in desired.services.iter().filter(|wanted| scope.contains(&wanted.service.key)) {
            match there.remove(&wanted.service.key) {
                None => self.new_service(wanted),
                Some(state) => {
                    if !is_same(&wanted.service, &state.service) {
                        self.stages.build.push(Change::EditService(wanted.service));
                    }
                    self.servers(wanted, state, desired.order);
                }
            }
        }
        let goes = |state: &&ServiceState| scope.deletes_unasked(&state.service.key);
        let mut gone: Vec<_> = there.into_values().filter(goes).collect();
        gone.sort_unstable_by_key(|state| state.service.key);
        for state in gone {
            if self.options.drain {
                state.destinations.iter().for_each(|server| self.drain(&state.service.key, &server.destination));
            } else {
                self.stages.services_go.push(Change::DeleteService(state.service.key));
            }
        }
    }

    fn new_service(&mut self, wanted: &ServiceConfig) {
        let key = wanted.service.key;
        self.stages.build.push(Change::AddService(wanted.service));
        self.stages.build.extend(wanted.destinations.iter().map(|server| Change::AddDestination(key, *server)));
    }

    fn servers(&mut self, wanted: &ServiceConfig, state: &ServiceState, order: Order) {
        let key = wanted.service.key;
        let mut there: HashMap<DestinationKey, &DestinationState> =
            state.destinations.iter().map(|state| (state.destination.key, state)).collect();
        let mut servers = wanted.destinations.clone();
        for server in &mut servers {
            match there.remove(&server.key) {
                None => self.stages.build.push(Change::AddDestination(key, *server)),
                Some(DestinationState { destination: held, .. }) => {
                    if self.options.keep_weights {
                        server.weight = held.weight;
                    }
                    if server != held {
                        // Those that take connections come before those that no longer do.
                        let stages = &mut self.stages;
                        let stage = if server.weight > 0 { &mut stages.build } else { &mut stages.servers_go };
                        stage.push(Change::EditDestination(key, *server));
                    }
                }
            }
        }
        let goes = |state: &&DestinationState| there.contains_key(&state.destination.key);
        for held in state.destinations.iter().filter(goes).map(|state| &state.destination) {
            if self.options.drain {
                self.drain(&key, held);
            } else {
                self.stages.servers_go.push(Change::DeleteDestination(key, held.key));
            }
        }
        if order == Order::Kernel {
            self.order(&key, &servers, state);
        }
    }

    fn drain(&mut self, key: &ServiceKey, held: &Destination) {
        if held.weight > 0 {
            self.stages.servers_go.push(Change::EditDestination(*key, Destination { weight: 0, ..*held }));
        }
    }

    /// The order that servers will be in: those that are there as they are, then the new ones. What is added anew comes
    /// to the end, so those that stay must be the first that are asked for; all others have to be added anew.
    fn order(&mut self, key: &ServiceKey, asked: &[Destination], state: &ServiceState) {
        let held = state.destinations.iter().rev().map(|state| state.destination.key);
        let is_held: HashSet<DestinationKey> = held.clone().collect();
        let come = asked.iter().map(|server| server.key).filter(|key| !is_held.contains(key));
        let mut will_be = held.chain(come);
        let stay = asked.iter().take_while(|server| will_be.any(|key| key == server.key)).count();
        if stay == asked.len() {
            return;
        }
        if !self.options.reorder {
            self.order_kept.push(*key);
            return;
        }
        for server in &asked[stay..] {
            self.stages.servers_go.push(Change::DeleteDestination(*key, server.key));
            self.stages.servers_go.push(Change::AddDestination(*key, *server));
        }
    }
}

/// Whether a service is as it should be. A netmask that does nothing does not count.
fn is_same(wanted: &Service, held: &Service) -> bool {
    let effective = |service: &Service| Service {
        netmask: if service.persistence.is_some() { service.netmask } else { Netmask::host(service.key.family()) },
        ..*service
    };
    effective(wanted) == effective(held)
}
