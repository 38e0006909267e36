//! History of the commands of ipvsadm that replace much of a table: `-C`, `-R` and ipvsadm-restore.
//!
//! `-A`, `-E`, `-D`, `-a`, `-e`, `-d` and others are not recorded, because scripts run them very often. Nothing here
//! changes standard output or the exit code.

use std::path::Path;
use std::time::Duration;

use ipvs::{Change, Client, Config, Counters, ServiceKey, ServiceState, State};

use crate::context::STATE_DIR;
use crate::journal::{Folder, Journal, Record, audit, changed_part};
use crate::terminal::exit::print_error;

/// The environment variable that switches the history off: `0` or `no`.
pub(crate) const VARIABLE: &str = "IPVSADM_HISTORY";

/// The maximum time to wait for another ipvsadm-rs. The change itself never waits.
const WAIT: Duration = Duration::from_millis(200);

/// The maximum number of services that are read one by one. A longer script reads the whole table.
const FEW: usize = 8;

/// The table from before a command.
pub(crate) struct History {
    command: &'static str,
    before: Before,
}

enum Before {
    Whole(Config),
    /// The services that are changed.
    Part(State),
}

impl History {
    /// Reads the table. Returns `None` if there is nothing to record, or if the table cannot be read, because the
    /// command then fails by itself.
    pub(crate) fn begin(command: &'static str, director: &mut Client, changes: &[Change]) -> Option<Self> {
        if is_off() || changes.is_empty() {
            return None;
        }
        match few_services(changes) {
            Some(services) => {
                let read = |key| -> Option<ServiceState> {
                    let mut service = director.service(&key).ok()?;
                    service.destinations = director.destinations_with(&key, Counters::Skip).ok()?;
                    Some(service)
                };
                let before: Vec<ServiceState> = services.into_iter().filter_map(read).collect();
                Some(Self { command, before: Before::Part(before.into()) })
            }
            None => Self::of(command, &director.state_with(Counters::Skip).ok()?),
        }
    }

    /// Uses a table that was read already. Returns `None` if nothing is to be recorded.
    pub(crate) fn of(command: &'static str, before: &State) -> Option<Self> {
        (!is_off()).then(|| Self { command, before: Before::Whole(Config::from(before)) })
    }

    /// Records the changes that were made. A journal that cannot be written is only a note.
    pub(crate) fn end(self, changes: &[Change]) {
        let is_empty = |config: &Config| config.services.is_empty();
        let is_nothing = match (changes, &self.before) {
            ([], _) => true,
            ([Change::Flush], Before::Whole(before)) => is_empty(before),
            _ => false,
        };
        if is_nothing {
            return;
        }
        let recorded = self.record(changes);
        audit::log(recorded.as_ref().ok().copied().flatten(), self.command, None, changes.len(), "applied");
        if let Err(error) = recorded {
            print_error(&format!("note: this change cannot be undone: {error:#}"));
        }
    }

    fn record(&self, changes: &[Change]) -> anyhow::Result<Option<u64>> {
        let journal = Journal::open(Folder::of(Path::new(STATE_DIR), None)?, WAIT)?;
        let part;
        let (before, is_partial) = match &self.before {
            Before::Whole(before) => (before, false),
            Before::Part(services) => {
                part = changed_part(services, changes);
                (&part, true)
            }
        };
        journal.record(&Record { command: self.command, changes, before, is_partial })
    }
}

/// Returns the services that changes are about. `None` if they are many, or if a change is about the whole table.
fn few_services(changes: &[Change]) -> Option<Vec<ServiceKey>> {
    let mut services = Vec::new();
    for change in changes {
        let key = change.service()?;
        if !services.contains(&key) {
            services.push(key);
        }
        if services.len() > FEW {
            return None;
        }
    }
    Some(services)
}

fn is_off() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "0" || value == "no")
}
