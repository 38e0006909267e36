//! `ipvsadm-rs drain`: takes servers out of service without dropping their connections.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use ipvs::document::SCHEMA;
use ipvs::drain::refuses_clients;
use ipvs::{
    Change, Client, Counters, Destination, DestinationKey, Plan, Scheduler, Selector, ServiceKey, ServiceState, State,
};
use serde::Serialize;

use super::select::select;
use crate::context::{Context, code, duration};
use crate::journal::Remembered;
use crate::plan::min_up::MinUp;
use crate::plan::progress::Progress;
use crate::plan::recorded;
use crate::plan::signals::Signals;
use crate::plan::transaction::Transaction;
use crate::plan::waiting::{self, Left, Servers, Waited};
use crate::plan::weights::{unremembered, with_fallback};
use crate::sight::server_name::ServerName;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::question;

/// Take servers out of service without dropping connections
///
/// Sets the weight of the servers to 0 in all their services, and remembers the old weights for `undrain`. With --wait,
/// waits until their connections have ended. The table is not locked during the wait.
///
/// Established connections continue. New clients get other servers, with two exceptions. A service with the scheduler sh,
/// mh or dh refuses some of them, unless it has the fallback flag. A persistent service sends its known clients to the
/// drained server as long as they return, unless the sysctl net.ipv4.vs.expire_quiescent_template is 1.
///
/// If a service would refuse new clients, or keep fewer servers than --min-up, `drain` asks on a terminal. Without a
/// terminal it fails.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Drain {
    /// Servers to drain: HOST for all its ports, or HOST:PORT; can be separated by commas
    ///
    /// HOST is an address, or a name for all its addresses. An IPv6 address with a port needs brackets:
    /// [2001:db8::1]:80.
    #[arg(value_name = "SERVER", required = true)]
    servers: Vec<String>,
    /// Drain the servers only in these services; can be repeated
    #[arg(long = "in", value_name = "SCOPE")]
    within: Vec<Selector>,
    /// Wait until the servers have no connections and no persistence templates
    #[arg(long)]
    wait: bool,
    /// Wait for at most DURATION, such as 90s, 2m or 1h; implies --wait
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Delete the servers afterwards; implies --wait
    ///
    /// At the time limit, no server is deleted unless --cut is specified.
    #[arg(long, value_enum)]
    then: Option<Then>,
    /// With --then delete: at the time limit, delete the servers and drop their connections
    #[arg(long, requires = "then", requires = "timeout")]
    cut: bool,
    /// Keep at least N servers, or N percent of them, with a weight above 0 in each service
    #[arg(long, value_name = "N|N%")]
    min_up: Option<MinUp>,
    /// Set the fallback flag of services with sh or mh until `undrain`, so that they do not refuse clients
    #[arg(long)]
    fallback: bool,
    /// Do not ask or fail if a service would refuse new clients, or keep fewer servers than --min-up
    #[arg(long)]
    allow_refused: bool,
}

/// The end of a drain.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Then {
    /// Delete the servers from their services
    Delete,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  The servers are drained; without --wait: their weights are 0
  1  Error
  3  The time limit was reached before all connections had ended

SIGINT, SIGQUIT, SIGTERM and SIGHUP end the wait. The weights stay 0. `undrain`
restores them, and the same `drain` continues the wait.";

/// The result, as JSON.
#[derive(Serialize)]
struct Document<'s> {
    schema: u32,
    status: Status,
    servers: Vec<JsonServer<'s>>,
    left: Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Draining,
    Drained,
    Deleted,
    TimeOver,
}

#[derive(Serialize)]
struct JsonServer<'s> {
    service: &'s ServiceKey,
    server: &'s DestinationKey,
}

impl Drain {
    /// Returns a drain of these servers in one service, without a wait.
    pub(super) fn of(servers: &[DestinationKey], service: ServiceKey) -> Self {
        Self {
            servers: servers.iter().map(ToString::to_string).collect(),
            within: vec![Selector::Service(service)],
            wait: false,
            timeout: None,
            then: None,
            cut: false,
            min_up: None,
            fallback: false,
            allow_refused: false,
        }
    }

    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let named = ServerName::read_all(&self.servers)?;
        let mut director = context.open()?;
        let state = director.state_with(Counters::Skip)?;
        let servers = select(&state, &named, &self.within)?;
        self.agree(&self.concerns(&state, &servers))?;
        self.start(context, &mut director, &named, &servers)?;
        if self.wait || self.timeout.is_some() || self.then.is_some() {
            return self.wait(context, &mut director, &servers);
        }
        let left = waiting::left(&mut director, &servers, &|| false)?;
        let status = if left.is_nothing() { Status::Drained } else { Status::Draining };
        self.print(context, &servers, status, &left)?;
        Ok(code::DONE)
    }

    /// Returns the reasons against the drain.
    fn concerns(&self, state: &State, servers: &Servers) -> Vec<String> {
        let mut concerns = Vec::new();
        for service in &state.services {
            let key = service.service.key;
            let is_leaving = |server: &DestinationKey| servers.contains(&(key, *server));
            let leaving = |state: &&ipvs::DestinationState| is_leaving(&state.destination.key);
            // A service whose named servers all have weight 0 does not change.
            if !service.destinations.iter().filter(leaving).any(|state| state.destination.weight > 0) {
                continue;
            }
            let up =
                service.destinations.iter().filter(|state| state.destination.weight > 0 && !leaving(state)).count();
            let needed = self.min_up.map_or(0, |min_up| min_up.of(service.destinations.len()));
            if up == 0 {
                concerns.push(format!("{key}: no other server has a weight above 0, so all new clients are refused"));
            } else if up < needed {
                concerns.push(format!("{key}: {} would be left, and --min-up needs {needed}", count(up, "server")));
            } else if self.refuses(service, &is_leaving) {
                let scheduler = service.service.scheduler;
                let help = match scheduler {
                    Scheduler::DH => "dh has no fallback flag; `--then delete --timeout 0s --cut` refuses nobody",
                    _ => "--fallback prevents this",
                };
                concerns.push(format!("{key}: {scheduler} refuses the new clients of a server with weight 0; {help}"));
            }
        }
        concerns
    }

    /// Returns whether the service refuses clients although it has other servers.
    fn refuses(&self, service: &ServiceState, is_leaving: &dyn Fn(&DestinationKey) -> bool) -> bool {
        let mut service = service.clone();
        if self.fallback {
            service.service = with_fallback(&service.service);
        }
        refuses_clients(&service, is_leaving)
    }

    /// Asks on a terminal whether to drain in spite of these concerns. Fails if there is no terminal.
    fn agree(&self, concerns: &[String]) -> anyhow::Result<()> {
        /// The maximum number of concerns that are printed.
        const MAX_SHOWN: usize = 10;
        if concerns.is_empty() || self.allow_refused {
            return Ok(());
        }
        let mut text = concerns.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join("\n");
        if concerns.len() > MAX_SHOWN {
            text += &format!("\nand {} more", count(concerns.len() - MAX_SHOWN, "service"));
        }
        if !question::is_possible() {
            bail!("nothing was changed:\n{text}\nUse --allow-refused to drain anyway.");
        }
        print_error(&text);
        if !question::ask("Drain anyway?")? {
            bail!("nothing was changed");
        }
        Ok(())
    }

    /// Sets the weights to 0, and remembers the old ones.
    fn start(
        &self,
        context: &Context,
        director: &mut Client,
        named: &[ServerName],
        agreed: &Servers,
    ) -> anyhow::Result<()> {
        let transaction = Transaction::open(context)?;
        if let Some(journal) = transaction.journal() {
            journal.ensure_none_pending()?;
        }
        let state = director.state_with(Counters::Skip)?;
        if select(&state, named, &self.within)? != *agreed {
            bail!("the servers have changed meanwhile: nothing was changed\nTry again.");
        }
        let (mut remembered, mut unknown) = match transaction.remembered() {
            Ok(remembered) => (remembered, None),
            Err(error) => (Remembered::default(), Some(error)),
        };
        let changes = self.changes(&state, agreed, &mut remembered);
        if unknown.is_none() {
            unknown = transaction.remember(remembered).err();
        }
        let note = recorded::submit(director, &transaction, "drain", &Plan::from(changes.clone()), &state);
        let lost = unknown.filter(|_| !changes.is_empty()).map(|error| unremembered(&transaction, &error));
        drop(transaction);
        print_error(&note?.unwrap_or_default());
        if let Some(lost) = lost {
            let has_flag = changes.iter().any(|change| matches!(change, Change::EditService(_)));
            print_error(&(lost + if has_flag { "\n`undrain` will not clear the fallback flag." } else { "" }));
        }
        Ok(())
    }

    /// Returns the changes that drain servers, and adds the old weights to those that are remembered.
    fn changes(&self, state: &State, agreed: &Servers, remembered: &mut Remembered) -> Vec<Change> {
        let mut changes = Vec::new();
        for service in &state.services {
            let key = service.service.key;
            let leaving = service.destinations.iter().filter(|state| agreed.contains(&(key, state.destination.key)));
            let mut is_touched = false;
            for server in leaving.map(|state| state.destination).filter(|server| server.weight > 0) {
                is_touched = true;
                changes.push(Change::EditDestination(key, Destination { weight: 0, ..server }));
                remembered.insert(key, server.key, server.weight);
            }
            let with_flag = with_fallback(&service.service);
            if is_touched && self.fallback && with_flag != service.service {
                // Before the weights, so that no client is refused.
                changes.insert(0, Change::EditService(with_flag));
                remembered.insert_fallback(key);
            }
        }
        changes
    }

    /// Waits until the connections have ended, and deletes the servers if that was requested.
    fn wait(&self, context: &Context, director: &mut Client, servers: &Servers) -> anyhow::Result<u8> {
        let signals = Signals::catch()?;
        let mut progress = Progress::default();
        let is_stopped = || signals.caught().is_some();
        let waited = waiting::wait(director, servers, self.timeout, &is_stopped, &mut |left, rest| {
            progress.show(&waiting::line(servers, left, rest));
            left.is_nothing()
        });
        progress.end();
        match waited? {
            Waited::Ended => self.end(context, director, servers, &Left::default()),
            Waited::Over(left) if self.cut => self.end(context, director, servers, &left),
            Waited::Over(left) => {
                self.print(context, servers, Status::TimeOver, &left)?;
                Ok(code::TIME_OVER)
            }
            Waited::Stopped => {
                print_error(
                    "note: interrupted: the weights stay 0\nRun the same command to continue the wait, or `ipvsadm-rs undrain` to restore the weights.",
                );
                if let Some(signal) = signals.caught() {
                    drop(signals);
                    signal.end_process();
                }
                Ok(code::ERROR)
            }
        }
    }

    fn end(&self, context: &Context, director: &mut Client, servers: &Servers, cut: &Left) -> anyhow::Result<u8> {
        if self.then != Some(Then::Delete) {
            self.print(context, servers, Status::Drained, &Left::default())?;
            return Ok(code::DONE);
        }
        let transaction = Transaction::open(context)?;
        let state = director.state_with(Counters::Skip)?;
        let mut changes = Vec::new();
        for service in &state.services {
            let key = service.service.key;
            // A server that got a weight again is in service.
            let leaving = service
                .destinations
                .iter()
                .map(|state| state.destination)
                .filter(|server| server.weight == 0 && servers.contains(&(key, server.key)));
            changes.extend(leaving.map(|server| Change::DeleteDestination(key, server.key)));
        }
        let kept = servers.len().saturating_sub(changes.len());
        let note = recorded::submit(director, &transaction, "drain", &Plan::from(changes), &state);
        drop(transaction);
        print_error(&note?.unwrap_or_default());
        if kept > 0 {
            print_error(&format!(
                "note: {} skipped: deleted by another program, or with a weight above 0",
                count(kept, "server")
            ));
        }
        self.print(context, servers, Status::Deleted, cut)?;
        Ok(cut.exit_code())
    }

    fn print(&self, context: &Context, servers: &Servers, status: Status, left: &Left) -> anyhow::Result<()> {
        if context.json {
            let servers = servers.iter().map(|(service, server)| JsonServer { service, server }).collect();
            return context.write_json(&Document { schema: SCHEMA, status, servers, left: *left });
        }
        let number = waiting::number(servers);
        let line = match status {
            Status::Draining => {
                format!("draining {number}: {left} left\nRun the same command with --wait to wait for their end.")
            }
            Status::Drained => format!("drained {number}: no connections left"),
            Status::Deleted if left.connections() > 0 => format!("deleted {number}: dropped {left}"),
            Status::Deleted => format!("drained and deleted {number}"),
            Status::TimeOver => format!("time limit reached: {left} left; nothing was dropped, and the weights stay 0"),
        };
        context.write(|out| writeln!(out, "{line}"))
    }
}
