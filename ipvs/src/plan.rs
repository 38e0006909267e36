//! Plans: the changes from the current table to the desired table, with as few lost connections as possible.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::key::{DestinationKey, ServiceKey};
use crate::scope::Scope;
use crate::state::{Config, DestinationState, Order, ServiceConfig, ServiceState, State};

/// Options of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The services that may be changed.
    pub scope: Scope,
    /// Whether existing servers keep their weights.
    pub keep_weights: bool,
    /// The treatment of servers and services that are not in the desired table.
    pub departing: Departing,
    /// Whether servers are deleted and added again where the desired order ([`Order::Kernel`]) requires it, and the
    /// scheduler [depends on it](crate::Scheduler::depends_on_order). Their connections break for a moment. The only server of a
    /// service with a weight above 0 is not deleted.
    pub reorder: bool,
}

impl Options {
    /// Limits the plan to these services.
    pub fn scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// Sets whether existing servers keep their weights.
    pub fn keep_weights(self, keep_weights: bool) -> Self {
        Self { keep_weights, ..self }
    }

    /// Sets the treatment of servers and services that are not in the desired table.
    pub fn departing(self, departing: Departing) -> Self {
        Self { departing, ..self }
    }

    /// Sets whether servers are moved. See the [field](Self#structfield.reorder).
    pub fn reorder(self, reorder: bool) -> Self {
        Self { reorder, ..self }
    }

    /// Returns options with which a plan is empty as soon as a plan with these options was made.
    pub(crate) fn without_later_deletions(&self) -> Self {
        let departing = match self.departing {
            Departing::DrainThenDelete => Departing::Drain,
            other => other,
        };
        self.clone().departing(departing)
    }
}

/// The treatment of servers and services that are not in the desired table. Limits of the scope apply to all of them.
///
/// Not every scheduler sends new connections to another server if a weight is 0: see
/// [`refuses_clients`](crate::drain::refuses_clients). Persistence templates can still send clients to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Departing {
    /// They are deleted, and their connections are dropped.
    #[default]
    Delete,
    /// The weight of the servers is set to 0. The servers and services stay.
    Drain,
    /// The weight of the servers is set to 0. A later plan deletes a server of weight 0 that has no connections, and a
    /// service all of whose servers are such servers. Until then, the servers are in [`Plan::draining`].
    DrainThenDelete,
}

/// The result of [`plan()`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Plan {
    /// The changes, in order. A service that has a server with a weight above 0 before and after them has one at any
    /// time.
    pub changes: Vec<Change>,
    /// Services whose servers stay in an order other than the desired one, although their scheduler
    /// [depends on it](crate::Scheduler::depends_on_order). See [`Options::reorder`].
    pub order_kept: Vec<ServiceKey>,
    /// Those of [`order_kept`](Self::order_kept) that [`Options::reorder`] does not change. Moving their only server with
    /// a weight above 0 would refuse new connections for a moment.
    pub order_fixed: Vec<ServiceKey>,
    /// The services of the desired table that are outside the scope. The plan does not compare them.
    pub out_of_scope: Vec<ServiceKey>,
    /// The servers that a later plan deletes. See [`Departing::DrainThenDelete`].
    pub draining: Vec<(ServiceKey, DestinationKey)>,
}

impl Plan {
    /// Returns whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Returns a plan with only these changes.
impl From<Vec<Change>> for Plan {
    fn from(changes: Vec<Change>) -> Self {
        Self { changes, ..Self::default() }
    }
}

/// Iterates over the changes.
impl<'a> IntoIterator for &'a Plan {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.iter()
    }
}

/// Prints the changes as lines of ipvsadm's language.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
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
    let mut planner = Planner { options, stages: Stages::default(), plan: Plan::default() };
    planner.globals(desired, current);
    planner.services(desired, current);
    let Planner { stages, plan, .. } = planner;
    Plan { changes: stages.in_order(), ..plan }
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
    /// The plan without its changes.
    plan: Plan,
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
        for wanted in &desired.services {
            if !scope.contains(&wanted.service.key) {
                self.plan.out_of_scope.push(wanted.service.key);
                continue;
            }
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
            let is_left = match self.options.departing {
                Departing::Delete => false,
                Departing::Drain => true,
                Departing::DrainThenDelete => !state.destinations.iter().all(is_drained),
            };
            if is_left {
                state.destinations.iter().for_each(|server| self.drain(&state.service.key, server));
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
        for held in state.destinations.iter().filter(goes) {
            let is_left = match self.options.departing {
                Departing::Delete => false,
                Departing::Drain => true,
                Departing::DrainThenDelete => !is_drained(held),
            };
            if is_left {
                self.drain(&key, held);
            } else {
                self.stages.server_deletions.push(Change::DeleteDestination(key, held.destination.key));
            }
        }
        if order == Order::Kernel && wanted.service.scheduler.depends_on_order() {
            self.order(&key, &servers, state);
        }
    }

    fn drain(&mut self, key: &ServiceKey, held: &DestinationState) {
        let server = held.destination;
        if server.weight > 0 {
            self.stages.server_deletions.push(Change::EditDestination(*key, Destination { weight: 0, ..server }));
        }
        if self.options.departing == Departing::DrainThenDelete {
            self.plan.draining.push((*key, server.key));
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
            self.plan.order_fixed.push(*key);
        }
        if is_fixed || !self.options.reorder {
            self.plan.order_kept.push(*key);
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

/// Returns whether a server can be deleted without dropping a connection.
fn is_drained(state: &DestinationState) -> bool {
    state.destination.weight == 0 && !state.has_connections()
}
