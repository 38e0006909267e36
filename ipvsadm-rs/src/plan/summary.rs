//! The summary of a plan by service, for plans that are too long to read line by line.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};

use ipvs::{Change, Plan, ServiceKey};

use crate::plan::impact::{Dropped, TableIndex};
use crate::terminal::color::Palette;
use crate::terminal::plural::count;

/// The maximum number of services that are listed.
const MAX_SERVICES: usize = 20;

/// The changes of a plan, counted by service.
#[derive(Debug, Default)]
pub(crate) struct ByService {
    /// The services that lose connections come first, those that lose most before others.
    services: Vec<OfService>,
    /// Changes of timeouts and sync daemons.
    globals: usize,
}

/// The changes of one service and its servers.
#[derive(Debug, Default)]
struct OfService {
    name: String,
    is_new: bool,
    is_edited: bool,
    is_deleted: bool,
    servers: Servers,
    /// A side effect of the changes.
    note: Option<&'static str>,
    dropped: Dropped,
}

/// Numbers of servers. Servers of a deleted service are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Servers {
    added: usize,
    edited: usize,
    deleted: usize,
}

impl ByService {
    /// Counts the changes of a plan.
    pub(crate) fn new(plan: &Plan, held: &TableIndex<'_>) -> Self {
        let mut found = Self::default();
        let mut places: HashMap<ServiceKey, usize> = HashMap::new();
        for change in &plan.changes {
            let Some(key) = change.service() else {
                found.globals += 1;
                continue;
            };
            let place = *places.entry(key).or_insert_with(|| {
                found.services.push(OfService { name: key.to_string(), ..OfService::default() });
                found.services.len() - 1
            });
            found.services[place].count(change, held);
        }
        found.services.sort_by_key(|service| Reverse(service.dropped.connections()));
        found
    }

    /// Writes a line for each service, and the totals by kind.
    pub(crate) fn write(&self, out: &mut dyn Write, colors: &Palette) -> io::Result<()> {
        let style = colors.remark;
        for service in self.services.iter().take(MAX_SERVICES) {
            writeln!(out, "{style}# {service}{style:#}")?;
        }
        let rest = self.services.iter().skip(MAX_SERVICES);
        if rest.len() > 0 {
            let services = count(rest.len(), "more service");
            let servers = Servers::total(rest.clone());
            writeln!(
                out,
                "{style}# {services}: {servers}{}{style:#}",
                drops(rest.map(|service| service.dropped).sum())
            )?;
        }
        let number = |is: fn(&OfService) -> bool| self.services.iter().filter(|service| is(service)).count();
        let (new, edited, deleted) = (
            number(|service| service.is_new),
            number(|service| service.is_edited),
            number(|service| service.is_deleted),
        );
        if new + edited + deleted > 0 {
            writeln!(out, "{style}# services: {new} added, {edited} edited, {deleted} deleted{style:#}")?;
        }
        let Servers { added, edited, deleted } = Servers::total(self.services.iter());
        if added + edited + deleted > 0 {
            writeln!(out, "{style}# servers: {added} added, {edited} edited, {deleted} deleted{style:#}")?;
        }
        if self.globals > 0 {
            let changes = count(self.globals, "change");
            writeln!(out, "{style}# timeouts and sync daemons: {changes}{style:#}")?;
        }
        Ok(())
    }
}

impl OfService {
    fn count(&mut self, change: &Change, held: &TableIndex<'_>) {
        match change {
            Change::AddService(_) => self.is_new = true,
            Change::EditService(_) => self.is_edited = true,
            Change::DeleteService(_) => {
                self.is_deleted = true;
                self.servers.deleted += held.servers_of_deleted(change);
            }
            Change::AddDestination(..) => self.servers.added += 1,
            Change::EditDestination(..) => self.servers.edited += 1,
            Change::DeleteDestination(..) => self.servers.deleted += 1,
            _ => {}
        }
        self.note = self.note.or_else(|| held.interruption_by(change));
        self.dropped = [self.dropped, held.dropped_by(change)].into_iter().sum();
    }
}

/// Formats as `TCP 192.0.2.1:80: settings edited, 3 servers added; drops 8 active, 1 inactive connection`.
impl fmt::Display for OfService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, is_new, is_edited, is_deleted, servers, note, dropped } = self;
        write!(f, "{name}: ")?;
        let own = match (is_new, is_edited, is_deleted) {
            (true, ..) => "service added",
            (_, true, _) => "settings edited",
            (.., true) => "service deleted",
            _ => "",
        };
        let separator = if own.is_empty() || servers.is_nothing() { "" } else { ", " };
        write!(f, "{own}{separator}{servers}{}", drops(*dropped))?;
        note.map_or(Ok(()), |note| write!(f, "; {note}"))
    }
}

impl Servers {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn total<'s>(services: impl Iterator<Item = &'s OfService>) -> Self {
        services.fold(Self::default(), |sum, OfService { servers, .. }| Self {
            added: sum.added + servers.added,
            edited: sum.edited + servers.edited,
            deleted: sum.deleted + servers.deleted,
        })
    }
}

/// Formats as `3 servers added, 1 edited`.
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, edited, deleted } = *self;
        let all = [(added, "added"), (edited, "edited"), (deleted, "deleted")];
        for (place, (number, verb)) in all.into_iter().filter(|(number, _)| *number > 0).enumerate() {
            match place {
                0 => write!(f, "{} {verb}", count(number, "server"))?,
                _ => write!(f, ", {number} {verb}")?,
            }
        }
        Ok(())
    }
}

fn drops(dropped: Dropped) -> String {
    if dropped.is_nothing() { String::new() } else { format!("; drops {dropped}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{config, state};

    /// Returns the summary of the plan between two tables. Each server has as many active connections as its weight.
    fn summary(from: &str, to: &str) -> String {
        let mut state = state(from);
        for server in state.services.iter_mut().flat_map(|service| &mut service.destinations) {
            server.active_connections = server.destination.weight;
        }
        let plan = ipvs::plan(&config(to), &state, &Default::default());
        let mut text = Vec::new();
        ByService::new(&plan, &TableIndex::new(&state))
            .write(&mut text, &Palette::default())
            .expect("memory takes all");
        String::from_utf8(text).expect("text")
    }

    fn service(number: usize, weights: &[u32]) -> String {
        let mut text = format!("-A -f {number} -s rr\n");
        for (server, weight) in weights.iter().enumerate() {
            text += &format!("-a -f {number} -r 10.0.0.{server}:80 -m -w {weight}\n");
        }
        text
    }

    #[test]
    fn services_that_lose_most_come_first() {
        let before = [service(1, &[1, 2]), service(2, &[7]), service(3, &[])].concat();
        let after = [service(1, &[1]), service(3, &[]).replace("rr", "wrr"), service(4, &[1, 1])].concat();
        assert_eq!(
            summary(&before, &(after + "--set 1000 0 0\n")),
            "# FWM 2: service deleted, 1 server deleted; drops 7 active, 0 inactive connections\n\
             # FWM 1: 1 server deleted; drops 2 active, 0 inactive connections\n\
             # FWM 3: settings edited; new connections are refused for about 15 ms while the scheduler changes\n\
             # FWM 4: service added, 2 servers added\n\
             # services: 1 added, 1 edited, 1 deleted\n\
             # servers: 2 added, 0 edited, 2 deleted\n\
             # timeouts and sync daemons: 1 change\n"
        );
    }

    #[test]
    fn many_services_are_counted() {
        let all = |weights: &[u32]| (1..=50).map(|number| service(number, weights)).collect::<String>();
        let text = summary(&all(&[3, 0]), &all(&[0]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 22);
        assert_eq!(lines[0], "# FWM 1: 1 server edited, 1 deleted");
        assert_eq!(lines[20], "# 30 more services: 30 servers edited, 30 deleted");
        assert_eq!(lines[21], "# servers: 0 added, 50 edited, 50 deleted");
    }
}
