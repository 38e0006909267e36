//! Weights that change in steps: `undrain --ramp` and `shift`.

use std::time::{Duration, Instant};

use ipvs::{Change, Counters, Destination, DestinationKey, ServiceKey};

use crate::context::Context;
use crate::plan::transaction::Transaction;
use crate::plan::waiting::sleep;
use crate::terminal::exit::print_error;

/// The minimum time between two steps.
const STEP: Duration = Duration::from_secs(1);

/// The maximum number of steps.
const MAX_STEPS: u32 = 60;

/// The weight of a server, from the start to the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Move {
    pub(crate) service: ServiceKey,
    pub(crate) server: DestinationKey,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Move {
    /// Returns the weight at a step of several. A server that serves at one end has a weight of at least 1 in between.
    fn weight(&self, step: u32, steps: u32) -> u32 {
        if step >= steps {
            return self.to;
        }
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        let weight = from + (to - from) * i64::from(step) / i64::from(steps);
        u32::try_from(weight).unwrap_or_default().max(u32::from(from.max(to) > 0))
    }
}

/// The end of a ramp.
#[derive(Debug, Default)]
pub(crate) struct Ramped {
    /// The servers with the weights that they have got.
    pub(crate) done: Vec<Move>,
    /// Whether it was stopped before the last step.
    pub(crate) is_stopped: bool,
}

/// Changes weights in steps of the same length, so that the last is made after `over`. The table is locked only while a
/// step is made. A server whose weight another program changes meanwhile is left alone.
pub(crate) fn run(
    context: &Context,
    moves: Vec<Move>,
    over: Duration,
    is_stopped: &dyn Fn() -> bool,
    show: &mut dyn FnMut(u32, u32),
) -> anyhow::Result<Ramped> {
    let most = moves.iter().map(|moved| moved.from.abs_diff(moved.to)).max().unwrap_or_default();
    let by_time = u32::try_from(over.as_secs() / STEP.as_secs()).unwrap_or(u32::MAX);
    let steps = most.min(MAX_STEPS).min(by_time).max(1);
    let start = Instant::now();
    let mut ramped = Ramped::default();
    let mut moving: Vec<(Move, u32)> = moves.into_iter().map(|moved| (moved, moved.from)).collect();
    for step in 1..=steps {
        // A single step is made at once, and so is the first of several.
        let due = if steps == 1 { Duration::ZERO } else { over * (step - 1) / (steps - 1) };
        if !sleep(due.saturating_sub(start.elapsed()), is_stopped) {
            ramped.is_stopped = true;
            break;
        }
        make_step(context, &mut moving, step, steps)?;
        show(step, steps);
    }
    ramped.done = moving.into_iter().map(|(moved, weight)| Move { to: weight, ..moved }).collect();
    Ok(ramped)
}

/// Makes one step. Forgets the servers that are left alone.
fn make_step(context: &Context, moving: &mut Vec<(Move, u32)>, step: u32, steps: u32) -> anyhow::Result<()> {
    let mut director = context.open()?;
    let mut notes = Vec::new();
    let transaction = Transaction::open(context)?;
    let mut services: Vec<ServiceKey> = moving.iter().map(|(moved, _)| moved.service).collect();
    services.dedup();
    let mut changes = Vec::new();
    for service in services {
        let held = director.destinations_with(&service, Counters::Skip).unwrap_or_default();
        moving.retain_mut(|(moved, weight)| {
            if moved.service != service {
                return true;
            }
            let found = held.iter().find(|state| state.destination.key == moved.server).map(|state| state.destination);
            match found {
                Some(server) if server.weight == *weight => {
                    *weight = moved.weight(step, steps);
                    if server.weight != *weight {
                        changes.push(Change::EditDestination(service, Destination { weight: *weight, ..server }));
                    }
                    true
                }
                Some(Destination { weight, .. }) => {
                    let server = moved.server;
                    notes.push(format!(
                        "note: {service}, server {server}: another program set weight {weight}; it stays"
                    ));
                    false
                }
                None => {
                    notes.push(format!("note: {service}, server {}: it was deleted", moved.server));
                    false
                }
            }
        });
    }
    // Weights that rise come first, so that a service always has a server.
    changes.sort_by_key(|change| match change {
        Change::EditDestination(service, server) => moving
            .iter()
            .any(|(moved, _)| moved.service == *service && moved.server == server.key && moved.to < moved.from),
        _ => false,
    });
    let refused = director.submit(&changes);
    drop(transaction);
    notes.iter().for_each(|note| print_error(note));
    Ok(refused?.into_result()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_proportions() {
        let moved = |from, to| Move {
            service: ServiceKey::tcp([192, 0, 2, 1], 80),
            server: DestinationKey::from(([10, 0, 0, 1], 80)),
            from,
            to,
        };
        let weights = |from, to, steps| (1..=steps).map(|step| moved(from, to).weight(step, steps)).collect::<Vec<_>>();
        assert_eq!(weights(0, 100, 4), [25, 50, 75, 100]);
        assert_eq!(weights(0, 1, 4), [1, 1, 1, 1], "weight 1 has no steps");
        assert_eq!(weights(8, 0, 4), [6, 4, 2, 0]);
        assert_eq!(weights(1, 0, 4), [1, 1, 1, 0]);
        assert_eq!(weights(3, 3, 2), [3, 3]);
        assert_eq!(weights(0, u32::MAX, 2), [2_147_483_647, u32::MAX]);
    }
}
