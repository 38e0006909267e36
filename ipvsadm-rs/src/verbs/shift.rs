//! `ipvsadm-rs shift`: moves new connections from some servers to others, in steps.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use ipvs::{Counters, Selector, State};

use super::select::select;
use super::undrain::{print_done, ramp_recorded};
use crate::context::{Context, code, duration};
use crate::plan::ramp::Move;
use crate::plan::waiting::{Servers, number};
use crate::plan::weights::OldWeights;
use crate::sight::server_name::ServerName;
use crate::terminal::exit::print_error;

/// Move new connections from some servers to others, in steps
///
/// In each service, the weights of the servers in --to rise, and those of the servers in --from fall to 0. In the end, a
/// server in --to has its weight from before `drain`, or else the highest weight of the servers in --from. A weight that
/// is already higher stays. The weights of the servers in --from are remembered for `undrain`.
///
/// There are at most 60 steps, at least a second apart. The table is locked only during a step. Established connections
/// stay where they are. The health of the servers is not checked.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES, override_usage = "ipvsadm-rs shift [OPTIONS] --from SERVER --to SERVER --over DURATION")]
pub(super) struct Shift {
    /// Servers to move new connections from, separated by commas
    #[arg(long, value_name = "SERVER", required = true)]
    from: Vec<String>,
    /// Servers to move new connections to, separated by commas
    #[arg(long, value_name = "SERVER", required = true)]
    to: Vec<String>,
    /// Duration of the move; 0s makes a single step
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    over: Duration,
    /// Move new connections only in these services; can be repeated
    #[arg(long = "in", value_name = "SCOPE")]
    within: Vec<Selector>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  The move is complete
  1  Error

SIGINT, SIGQUIT, SIGTERM and SIGHUP end the move. The weights stay as they are.
`undo` restores the weights from before the move.";

impl Shift {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let (from, to) = (ServerName::read_all(&self.from)?, ServerName::read_all(&self.to)?);
        let state = context.open()?.state_with(Counters::Skip)?;
        let (from, to) = (select(&state, &from, &self.within)?, select(&state, &to, &self.within)?);
        let old = OldWeights::read(context)?;
        let moves = moves(&state, &from, &to, &old)?;
        if moves.is_empty() {
            bail!("the servers in --from have weight 0 already: nothing was changed");
        }
        if let Some(reason) = old.unknown()
            && moves.iter().any(|moved| moved.from == 0)
        {
            print_error(&format!("note: {reason}\nServers in --to get the highest weight of those in --from."));
        }
        let ramped = ramp_recorded(context, "shift", moves, self.over, &state)?;
        print_done(context, &ramped, &format!("moved from {} to {}", number(&from), number(&to)))?;
        Ok(code::DONE)
    }
}

/// Returns the way of the weights. Fails if a service would have no server at the end.
fn moves(state: &State, from: &Servers, to: &Servers, old: &OldWeights) -> anyhow::Result<Vec<Move>> {
    if let Some((service, server)) = from.intersection(to).next() {
        bail!("{service}, server {server} is in both --from and --to");
    }
    let mut moves = Vec::new();
    for service in &state.services {
        let key = service.service.key;
        let servers = || service.destinations.iter().map(|state| state.destination);
        let leaving = || servers().filter(|server| server.weight > 0 && from.contains(&(key, server.key)));
        let Some(highest) = leaving().map(|server| server.weight).max() else { continue };
        let mut is_served = false;
        for server in servers().filter(|server| to.contains(&(key, server.key))) {
            is_served = true;
            let wanted = old.weight(&key, &server.key).filter(|_| server.weight == 0).unwrap_or(highest);
            if wanted > server.weight {
                moves.push(Move { service: key, server: server.key, from: server.weight, to: wanted });
            }
        }
        if !is_served {
            bail!("{key}: none of its servers is in --to\nUse --in to select the services.");
        }
        moves.extend(leaving().map(|server| Move { service: key, server: server.key, from: server.weight, to: 0 }));
    }
    Ok(moves)
}
