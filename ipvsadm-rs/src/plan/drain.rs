//! `--drain`: stops new connections to servers, and deletes the servers when their old connections have ended.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::time::Duration;

use ipvs::apply::apply_plan;
use ipvs::drain::refuses_clients;
use ipvs::plan::{Departing, Options};
use ipvs::{
    Change, Client, Config, Counters, DestinationKey, DestinationState, Plan, ServiceKey, ServiceState, State, plan,
};

use crate::journal::TIMER_DIED;
use crate::plan::progress::{Progress, WithProgress};
use crate::plan::transaction::{Abandoned, Transaction, Unlocked};
use crate::plan::waiting::{self, Left, Servers, Waited};
use crate::terminal::exit::print_error;

/// The minimum time limit for the lock after a drain. Otherwise a short-lived `set` would make a long drain useless.
const LOCK: Duration = Duration::from_secs(10);

/// The limits of a drain.
pub(crate) struct Limits {
    /// For the connections to end.
    pub(crate) drain: Duration,
    /// For the lock, after the drain. At least [`LOCK`] is waited.
    pub(crate) lock: Duration,
    /// Whether connections that are left at the time limit are dropped. Otherwise the plan is abandoned.
    pub(crate) may_drop: bool,
}

/// The outcome of a plan with a drain.
pub(crate) struct Drained {
    /// The changes that were made, except the weights of the servers that were drained. Others may have changed the
    /// table during the drain. Then these are not the changes that were planned before it.
    pub(crate) made: Plan,
    /// The table from before the plan, with the connections from after the drain.
    pub(crate) from: State,
    /// The connections that were dropped, because the limit was reached.
    pub(crate) dropped: Left,
}

/// Makes the changes of a plan. With limits, servers are drained before they are deleted, and the changes are planned
/// again from `desired`.
pub(crate) fn make(
    director: &mut Client,
    transaction: &mut Transaction,
    desired: impl Fn(&State) -> (Config, Options),
    before: State,
    plan: Plan,
    limits: Option<&Limits>,
) -> anyhow::Result<Drained> {
    if let Some(limits) = limits {
        return apply_drained(director, transaction, desired, before, limits);
    }
    let (config, options) = desired(&before);
    apply_plan(&mut WithProgress(director), &config, &options, before.clone(), plan.clone())?;
    Ok(Drained { made: plan, from: before, dropped: Left::default() })
}

/// Sets weights to 0, waits until the connections have ended or the limit is reached, and then applies the plan.
///
/// The table is not locked while this waits. Therefore `desired` is called again afterwards, with the table that others
/// have changed in the meantime.
fn apply_drained(
    director: &mut Client,
    transaction: &mut Transaction,
    desired: impl Fn(&State) -> (Config, Options),
    before: State,
    limits: &Limits,
) -> anyhow::Result<Drained> {
    let (config, options) = desired(&before);
    let whole = plan(&config, &before, &options);
    let to_delete = to_delete(&whole.changes, &before);
    if to_delete.is_empty() {
        apply_plan(&mut WithProgress(director), &config, &options, before.clone(), whole.clone())?;
        return Ok(Drained { made: whole, from: before, dropped: Left::default() });
    }
    let mark = transaction.mark_draining()?;
    // The order is restored at the end, because the servers to be deleted are still there.
    let drain = options.departing(Departing::Drain).reorder(false);
    let first = plan(&config, &before, &drain);
    apply_plan(&mut WithProgress(director), &config, &drain, before.clone(), first.clone())?;
    refusals(&before, &to_delete).iter().for_each(|note| print_error(note));
    let dropped = wait_unlocked(director, transaction, &to_delete, limits, mark)?;
    let state = director.state_with(Counters::Skip)?;
    let (config, options) = desired(&state);
    let last = plan(&config, &state, &options);
    apply_plan(&mut WithProgress(director), &config, &options, state.clone(), last.clone())?;
    let made = made(first, last, &to_delete);
    transaction.record_changes(&made.changes);
    Ok(Drained { made, from: with_connections_of(before, &state), dropped })
}

/// Returns notes about services that refuse new clients while their servers are drained, but not before and not
/// afterwards.
fn refusals(before: &State, to_delete: &ToDelete) -> Vec<String> {
    let mut notes = Vec::new();
    for service in &before.services {
        let key = service.service.key;
        let is_leaving = |server: &DestinationKey| to_delete.contains(&(key, *server));
        let stays = service
            .destinations
            .iter()
            .any(|state| state.destination.weight > 0 && !is_leaving(&state.destination.key));
        let leaves = service.destinations.iter().any(|state| is_leaving(&state.destination.key));
        if leaves && stays && refuses_clients(service, is_leaving) && !refuses_clients(service, |_| false) {
            let scheduler = service.service.scheduler;
            notes.push(format!(
                "note: {key}: {scheduler} refuses the new clients of the servers that are being drained, until they are deleted"
            ));
        }
    }
    notes
}

/// Waits without the lock until the connections have ended or the limit is reached, and returns the connections that are
/// left. Drops the mark of the drain when it holds the lock again. Fails if the drain must end.
fn wait_unlocked(
    director: &mut Client,
    transaction: &mut Transaction,
    to_delete: &ToDelete,
    limits: &Limits,
    mark: Option<File>,
) -> anyhow::Result<Left> {
    let unlocked = transaction.unlock();
    let waited = wait(director, to_delete, limits.drain, &|| is_stopped(transaction, &unlocked));
    let locked = transaction.lock_again(unlocked, limits.lock.max(LOCK));
    drop(mark);
    let signal = transaction.interruption();
    match (locked, signal) {
        (Err(error), Some(signal)) => return Err(error.context(signal)),
        (locked, _) => locked?,
    }
    match (waited, signal) {
        (_, Some(signal)) => Err(Abandoned::from(signal).into()),
        (Err(error), None) => Err(Abandoned::because(format!("{error:#}")).into()),
        (Ok(_), None) if transaction.has_lost_timer() => {
            Err(Abandoned::because(format!("the plan cannot be pending, because {TIMER_DIED}")).into())
        }
        (Ok(Some(left)), None) if !limits.may_drop && left.connections() > 0 => {
            Err(Abandoned::at_time_limit(format!("the time limit of --drain was reached with {left}")).into())
        }
        (Ok(left), None) => Ok(left.unwrap_or_default()),
    }
}

/// Returns the changes of both plans, without the weights of the servers that were drained.
fn made(first: Plan, mut last: Plan, drained: &ToDelete) -> Plan {
    let is_weight = |change: &Change| matches!(change, Change::EditDestination(service, server) if drained.contains(&(*service, server.key)));
    let mut changes = first.changes;
    changes.retain(|change| !is_weight(change));
    changes.append(&mut last.changes);
    last.changes = changes;
    last
}

/// Returns a table with the connections of a later one.
fn with_connections_of(mut table: State, later: &State) -> State {
    let servers = |state: &State| {
        let of = |service: &ServiceState| {
            let key = service.service.key;
            let server = move |server: &DestinationState| ((key, server.destination.key), server.clone());
            service.destinations.iter().map(server).collect::<Vec<_>>()
        };
        state.services.iter().flat_map(of).collect::<HashMap<_, _>>()
    };
    let later = servers(later);
    for service in &mut table.services {
        for server in &mut service.destinations {
            if let Some(now) = later.get(&(service.service.key, server.destination.key)) {
                let then = std::mem::replace(server, now.clone());
                server.destination = then.destination;
            }
        }
    }
    table
}

/// Servers to be deleted, each with its service.
type ToDelete = Servers;

/// Returns the servers that the changes delete, also those of deleted services. Servers that are added again, to
/// restore their order, are not included.
fn to_delete(changes: &[Change], state: &State) -> ToDelete {
    let servers_of = |key: ServiceKey| {
        let services = state.services.iter().filter(move |service| service.service.key == key);
        services.flat_map(|service| &service.destinations).map(move |server| (key, server.destination.key))
    };
    let mut to_delete = BTreeSet::new();
    for change in changes {
        match change {
            Change::DeleteDestination(key, server) => drop(to_delete.insert((*key, *server))),
            Change::DeleteService(key) => to_delete.extend(servers_of(*key)),
            Change::AddDestination(key, server) => drop(to_delete.remove(&(*key, server.key))),
            _ => {}
        }
    }
    to_delete
}

/// Returns whether there is no reason to wait any longer: a signal arrived, or another process ended the plan.
fn is_stopped(transaction: &Transaction, unlocked: &Unlocked) -> bool {
    transaction.interruption().is_some() || unlocked.entry().is_err()
}

/// Waits until no connections are left, or until the limit is reached. Returns those that are left, or `None` if it was
/// stopped.
fn wait(
    director: &mut Client,
    to_delete: &ToDelete,
    limit: Duration,
    is_stopped: &dyn Fn() -> bool,
) -> anyhow::Result<Option<Left>> {
    let mut progress = Progress::default();
    let waited = waiting::wait(director, to_delete, Some(limit), is_stopped, &mut |left, rest| {
        progress.show(&waiting::line(to_delete, left, rest));
        left.connections() == 0
    });
    progress.end();
    Ok(match waited? {
        Waited::Ended => Some(Left::default()),
        Waited::Over(left) => Some(left),
        Waited::Stopped => None,
    })
}
