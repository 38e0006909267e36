//! `ipvsadm-rs undrain`: returns drained servers to service.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use ipvs::document::SCHEMA;
use ipvs::{Change, Client, Counters, Destination, SchedulerFlags, Selector, Service, ServiceKey, State};
use serde::Serialize;

use super::select::select;
use crate::context::{Context, code, duration};
use crate::journal::Remembered;
use crate::plan::progress::Progress;
use crate::plan::ramp::{self, Move, Ramped};
use crate::plan::recorded;
use crate::plan::signals::Signals;
use crate::plan::transaction::Transaction;
use crate::plan::waiting::{Servers, number};
use crate::plan::weights::{OldWeights, unremembered};
use crate::sight::server_name::ServerName;
use crate::terminal::exit::print_error;

/// Return drained servers to service
///
/// Restores the weights from before `drain`. Servers that have a weight above 0 are left alone. The fallback
/// flag of `drain --fallback` is cleared as soon as no server of the service is drained any more.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Undrain {
    /// Servers to return to service: HOST for all its ports, or HOST:PORT; can be separated by commas
    ///
    /// HOST is an address, or a name for all its addresses. An IPv6 address with a port needs brackets:
    /// [2001:db8::1]:80.
    #[arg(value_name = "SERVER", required = true)]
    servers: Vec<String>,
    /// Return the servers to only these services; can be repeated
    #[arg(long = "in", value_name = "SCOPE")]
    within: Vec<Selector>,
    /// Weight for servers without a remembered weight, 1 to 2147483647
    ///
    /// No weight is remembered if another program set weight 0, or if the machine was restarted since the drain.
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u32).range(1..=i64::from(Destination::MAX)))]
    weight: Option<u32>,
    /// Raise the weights in steps over DURATION, in the same proportion for all servers
    ///
    /// There are at most 60 steps, at least a second apart. A weight of 1 is set at once. If another program changes the
    /// weight of a server during the steps, the server is left alone.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ramp: Option<Duration>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  The servers have their weights
  1  Error

SIGINT, SIGQUIT, SIGTERM and SIGHUP end a ramp. The weights stay as they are.";

/// The result, as JSON.
#[derive(Serialize)]
struct Document {
    schema: u32,
    servers: Vec<Row>,
}

/// A server with its new weight.
#[derive(Serialize)]
pub(super) struct Row {
    service: ServiceKey,
    server: ipvs::DestinationKey,
    weight: u32,
}

impl Undrain {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let named = ServerName::read_all(&self.servers)?;
        let mut director = context.open()?;
        let state = director.state_with(Counters::Skip)?;
        let servers = select(&state, &named, &self.within)?;
        let old = OldWeights::read(context)?;
        let moves = moves(&state, &servers, &old, self.weight)?;
        if moves.is_empty() {
            bail!("all these servers have a weight above 0: nothing was changed");
        }
        if let Some(reason) = old.unknown() {
            print_error(&format!("note: {reason}\nThe servers get the weight of --weight, and fallback flags stay."));
        }
        let ramped = ramp_recorded(context, "undrain", moves, self.ramp.unwrap_or_default(), &state)?;
        let back: Servers = ramped.done.iter().map(|done| (done.service, done.server)).collect();
        print_done(context, &ramped, &format!("undrained {}", number(&back)))?;
        Ok(code::DONE)
    }
}

/// Returns the way of drained servers to their old weights.
pub(super) fn moves(
    state: &State,
    servers: &Servers,
    old: &OldWeights,
    weight: Option<u32>,
) -> anyhow::Result<Vec<Move>> {
    let mut moves = Vec::new();
    for service in &state.services {
        let key = service.service.key;
        for server in service.destinations.iter().map(|state| state.destination) {
            if server.weight > 0 || !servers.contains(&(key, server.key)) {
                continue;
            }
            let Some(to) = old.weight(&key, &server.key).or(weight) else {
                if let Some(reason) = old.unknown() {
                    bail!("{reason}\nUse --weight to specify the weight of the servers.");
                }
                bail!("{key}, server {}: no weight is remembered\nUse --weight to specify it.", server.key);
            };
            moves.push(Move { service: key, server: server.key, from: 0, to });
        }
    }
    Ok(moves)
}

/// Changes weights in steps, records the outcome, and forgets the weights of servers that are back in service. Clears
/// fallback flags that are not needed any more.
pub(super) fn ramp_recorded(
    context: &Context,
    command: &'static str,
    moves: Vec<Move>,
    over: Duration,
    before: &State,
) -> anyhow::Result<Ramped> {
    if let Ok(folder) = context.folder()
        && let Some((entry, _)) = folder.unfinished().filter(|(entry, _)| entry.pending.is_some())
    {
        bail!("plan {} is pending\nRun `ipvsadm-rs confirm` or `ipvsadm-rs undo`, then try again.", entry.number);
    }
    let signals = Signals::catch()?;
    let mut progress = Progress::default();
    let is_stopped = || signals.caught().is_some();
    let ramped = ramp::run(context, moves, over, &is_stopped, &mut |step, steps| {
        if steps > 1 {
            progress.show(&format!("{command}: step {step} of {steps}"));
        }
    });
    progress.end();
    let ramped = ramped?;
    let transaction = Transaction::open(context)?;
    let mut director = context.open()?;
    // A journal that cannot be locked may still be read.
    let remembered = transaction.remembered().or_else(|_| context.folder()?.remembered());
    let (flags, updated) = match remembered {
        Ok(mut remembered) => {
            let flags = update(&mut remembered, &mut director, &ramped, before);
            (flags, transaction.remember(remembered))
        }
        Err(error) => (Vec::new(), Err(error)),
    };
    let is_drained = ramped.done.iter().any(|done| done.from > 0 && done.to == 0);
    let lost = updated.err().filter(|_| is_drained).map(|error| unremembered(&transaction, &error));
    let edits = ramped.done.iter().filter_map(|done| {
        let service = before.services.iter().find(|service| service.service.key == done.service)?;
        let server = service.destinations.iter().find(|state| state.destination.key == done.server)?;
        Some(Change::EditDestination(done.service, ipvs::Destination { weight: done.to, ..server.destination }))
    });
    let made: Vec<Change> = edits.chain(flags.iter().copied()).collect();
    let refused = director.submit(&flags);
    let note = recorded::record(&transaction, command, &made, before);
    drop(transaction);
    print_error(&note.unwrap_or_default());
    print_error(&lost.unwrap_or_default());
    refused?.into_result()?;
    if let Some(signal) = signals.caught() {
        print_error(&format!(
            "note: {signal}: the weights stay as they are\nRun `ipvsadm-rs undo` to restore the weights from before the command."
        ));
        drop(signals);
        signal.end_process();
    }
    Ok(ramped)
}

/// Forgets the weights of servers that are back in service, and remembers those of servers that left it. Returns the
/// changes that clear fallback flags.
fn update(remembered: &mut Remembered, director: &mut Client, ramped: &Ramped, before: &State) -> Vec<Change> {
    for done in &ramped.done {
        match (done.from, done.to) {
            (0, to) if to > 0 && !ramped.is_stopped => remembered.remove(&done.service, &done.server),
            (from, 0) if from > 0 => remembered.insert(done.service, done.server, from),
            _ => {}
        }
    }
    let mut flags = Vec::new();
    for service in &before.services {
        let (key, flag) = (service.service.key, SchedulerFlags::FALLBACK);
        if remembered.take_fallback(&key)
            && let Ok(now) = director.service(&key)
            && now.service.flags.contains(flag)
        {
            let flags_left = now.service.flags.difference(flag);
            flags.push(Change::EditService(Service { flags: flags_left, ..now.service }));
        }
    }
    flags
}

/// Prints the new weights.
pub(super) fn print_done(context: &Context, ramped: &Ramped, line: &str) -> anyhow::Result<()> {
    if context.json {
        let row = |done: &Move| Row { service: done.service, server: done.server, weight: done.to };
        return context.write_json(&Document { schema: SCHEMA, servers: ramped.done.iter().map(row).collect() });
    }
    context.write(|out| writeln!(out, "{line}"))
}
