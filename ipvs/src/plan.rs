//! Plans: the changes from the current table to the desired table, with as few lost connections as possible.

use std::collections::{HashMap, HashSet};

use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::key::{DestinationKey, ServiceKey};
use crate::scope::Scope;
use crate::state::{Config, DestinationState, Order, ServiceConfig, ServiceState, State};

/// Options of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The services that may be changed.
    pub scope: Scope,
    /// Whether existing servers keep their weights.
    pub keep_weights: bool,
    /// Whether the weight of servers is set to 0 instead of deleting them. A later plan without this option deletes
    /// them.
    pub drain: bool,
    /// Whether servers are deleted and added again where the desired order ([`Order::Kernel`]) requires it. Their
    /// connections break for a moment. The only server of a service with a weight above 0 is not deleted.
    pub reorder: bool,
}

/// The result of [`plan()`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The changes, in order. A service that has a server with a weight above 0 before and after them has one at any
    /// time.
    pub changes: Vec<Change>,
    /// Services whose servers stay in an order other than the desired one. See [`Options::reorder`].
    pub order_kept: Vec<ServiceKey>,
    /// Those of [`order_kept`](Self::order_kept) that [`Options::reorder`] does not change. Moving their only server with
    /// a weight above 0 would refuse new connections for a moment.
    pub order_fixed: Vec<ServiceKey>,
}

/// Returns the changes that turn the table `current` into `desired`.
///
/// - A service or server that already matches is not changed. It keeps its counters and connections.
/// - A service or server is edited rather than deleted and added again.
/// - Additions come before deletions. A service therefore always has a server, and a family always has a service. When
///   the last service of a family is deleted, the kernel cuts the family's connections.
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
/// let refused = director.submit(&plan.changes)?;
/// assert!(refused.is_empty());
/// assert!(plan::plan(&desired, &director.state()?, &plan::Options::default()).changes.is_empty());
/// # Ok(())
/// # }
/// ```
pub fn plan(desired: &Config, current: &State, options: &Options) -> Plan {
    let mut planner = Planner { options, stages: Stages::default(), order_kept: Vec::new(), order_fixed: Vec::new() };
    planner.globals(desired, current);
    planner.services(desired, current);
    let Planner { stages, order_kept, order_fixed, .. } = planner;
    Plan { changes: stages.in_order(), order_kept, order_fixed }
}

/// Changes in the order in which they are made.
#[derive(Default)]
struct Stages {
    /// Timeouts, and daemons that are stopped. Servers of the other family cannot be added while a daemon runs.
    first: Vec<Change>,
    /// Additions and edits.
    build: Vec<Change>,
    /// Servers that are deleted and added again. All servers still have their weights.
    moves: Vec<Change>,
    /// Deletions of servers, and edits to weight 0.
    server_deletions: Vec<Change>,
    /// Deletions of services, after all others were added.
    service_deletions: Vec<Change>,
    /// Daemons that are started, or restarted with other settings.
    last: Vec<Change>,
}

impl Stages {
    fn in_order(self) -> Vec<Change> {
        let Self { first: mut all, build, moves, server_deletions, service_deletions, last } = self;
        for stage in [build, moves, server_deletions, service_deletions, last] {
            all.extend(stage);
        }
        all
    }
}

struct Planner<'a> {
    options: &'a Options,
    stages: Stages,
    order_kept: Vec<ServiceKey>,
    order_fixed: Vec<ServiceKey>,
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
                    // The kernel has no command to edit a daemon.
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
                    if !wanted.service.is_met_by(&state.service) {
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
                self.stages.service_deletions.push(Change::DeleteService(state.service.key));
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
                        // Servers that receive new connections come before servers that no longer do.
                        let stages = &mut self.stages;
                        let stage = if server.weight > 0 { &mut stages.build } else { &mut stages.server_deletions };
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
                self.stages.server_deletions.push(Change::DeleteDestination(key, held.key));
            }
        }
        if order == Order::Kernel {
            self.order(&key, &servers, state);
        }
    }

    fn drain(&mut self, key: &ServiceKey, held: &Destination) {
        if held.weight > 0 {
            self.stages.server_deletions.push(Change::EditDestination(*key, Destination { weight: 0, ..*held }));
        }
    }

    /// Plans the order of servers. The kernel has the existing servers in their order, then the added ones. A server
    /// that is added again becomes the last. So the servers that stay must be the first ones in `asked`, and all others
    /// are added again.
    fn order(&mut self, key: &ServiceKey, asked: &[Destination], state: &ServiceState) {
        let held = state.destinations.iter().rev().map(|state| state.destination.key);
        let is_held: HashSet<DestinationKey> = held.clone().collect();
        let come = asked.iter().map(|server| server.key).filter(|key| !is_held.contains(key));
        let mut will_be = held.chain(come);
        let stay = asked.iter().take_while(|server| will_be.any(|key| key == server.key)).count();
        if stay == asked.len() {
            return;
        }
        let moved = &asked[stay..];
        let held: HashMap<DestinationKey, u32> =
            state.destinations.iter().map(|state| (state.destination.key, state.destination.weight)).collect();
        let held_weight = |key: &DestinationKey| held.get(key).copied().unwrap_or(0);
        // Servers that have a weight above 0 before or after the plan have it while servers are moved.
        let mut weighty: HashSet<_> =
            asked.iter().filter(|server| server.weight > 0).map(|server| server.key).collect();
        weighty.extend(held.iter().filter(|(_, weight)| **weight > 0).map(|(key, _)| *key));
        let is_sole = |server: &Destination| weighty.len() == 1 && server.weight > 0 && held_weight(&server.key) > 0;
        let is_fixed = moved.iter().any(is_sole);
        if is_fixed {
            self.order_fixed.push(*key);
        }
        if is_fixed || !self.options.reorder {
            self.order_kept.push(*key);
            return;
        }
        for server in moved {
            // A later change sets the weight to 0.
            let weight = if server.weight == 0 { held_weight(&server.key) } else { server.weight };
            self.stages.moves.push(Change::DeleteDestination(*key, server.key));
            self.stages.moves.push(Change::AddDestination(*key, Destination { weight, ..*server }));
        }
    }
}
