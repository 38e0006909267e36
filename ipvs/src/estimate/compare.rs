//! The comparison of the servers that a service selects before and after a change.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Assumption, Scheduling};
use crate::hash::{LookupTable, Run, TableSizes};
use crate::key::DestinationKey;

/// The servers that a scheduler selects for new clients.
#[derive(Clone, Debug)]
pub enum Selection {
    /// A server for each client, by a hash.
    Table(Box<LookupTable>),
    /// The same server for all clients.
    One(DestinationKey),
    /// Any available server. It does not depend on the client.
    Any,
    /// No server: every client is refused.
    Nothing,
}

/// The server of one new client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selected {
    /// This server.
    Server(DestinationKey),
    /// Any available server.
    Any,
    /// None: the client is refused.
    Nothing,
}

impl Selected {
    fn of(server: Option<DestinationKey>) -> Self {
        server.map_or(Self::Nothing, Self::Server)
    }
}

impl Selection {
    /// Returns the server of a new client from this address (dh: to this address) and port.
    pub fn select(&self, address: IpAddr, port: u16) -> Selected {
        match self {
            Self::Table(table) => Selected::of(table.pick(address, port)),
            Self::One(server) => Selected::Server(*server),
            Self::Any => Selected::Any,
            Self::Nothing => Selected::Nothing,
        }
    }

    fn table(&self) -> Option<&LookupTable> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    fn picks(
        &self,
        clients: usize,
        of_table: impl FnOnce(&LookupTable) -> Vec<Option<DestinationKey>>,
    ) -> Vec<Selected> {
        match self {
            Self::Table(table) => of_table(table).into_iter().map(Selected::of).collect(),
            Self::One(server) => vec![Selected::Server(*server); clients],
            Self::Any => vec![Selected::Any; clients],
            Self::Nothing => vec![Selected::Nothing; clients],
        }
    }

    /// Compares two selections in parts, and returns the result of each part. A caller with little time can stop after
    /// any part: each is an estimate of the whole.
    ///
    /// If a client's server depends only on its slot, there is one part, in which each slot is a client. It is exact.
    /// If only one of them hashes the port, there is one part, too: the slots of a client are independent of each other.
    /// Otherwise there are eight parts of 2048 clients each. The cost of a part is proportional to the number of slots,
    /// also if few servers are available. The clients' addresses are assumed to be evenly distributed.
    pub fn compare<'t>(&'t self, other: &'t Self) -> impl Iterator<Item = Compared> + use<'t> {
        let is_independent =
            matches!((self.table(), other.table()), (Some(one), Some(other)) if !one.uses_port_like(other));
        let slots = slots_that_decide(self.table(), other.table()).filter(|_| !is_independent);
        let runs = if slots.is_some() || is_independent { 0 } else { RUNS };
        let independent = is_independent.then(|| Compared::independent(&self.all_picks(), &other.all_picks()));
        let of_slots = slots.map(|slots| {
            let [before, after] = [self, other].map(|side| side.picks(slots, LookupTable::picks_of_slots));
            Compared::of(&before, &after)
        });
        let of_run = move |number: u32| {
            let run = Run::new(number.wrapping_mul(SPREAD), self.table().into_iter().chain(other.table()));
            let [before, after] = [self, other].map(|side| side.picks(Run::CLIENTS, |table| table.picks(&run)));
            Compared::of(&before, &after)
        };
        independent.into_iter().chain(of_slots).chain((0..runs).map(of_run))
    }

    /// Returns the server of each slot, or those of all runs if slots are not enough.
    fn all_picks(&self) -> Vec<Selected> {
        match self.table().map_or(Some(1), LookupTable::slots_that_decide) {
            Some(slots) => self.picks(slots, LookupTable::picks_of_slots),
            None => (0..RUNS)
                .flat_map(|number| {
                    let run = Run::new(number.wrapping_mul(SPREAD), self.table());
                    self.picks(Run::CLIENTS, |table| table.picks(&run))
                })
                .collect(),
        }
    }
}

/// The number of runs of a comparison. They share the hashes of their fallbacks, so few long runs are cheap. In many
/// short runs, the clients are more independent of each other.
const RUNS: u32 = 8;

/// The distance between the first clients of two runs.
const SPREAD: u32 = 0x61C8_8647;

/// Returns the number of slots to compare. Returns `None` if slots are not enough.
fn slots_that_decide(before: Option<&LookupTable>, after: Option<&LookupTable>) -> Option<usize> {
    match (before, after) {
        (None, None) => Some(1),
        (Some(table), None) | (None, Some(table)) => table.slots_that_decide(),
        (Some(before), Some(after)) if before.has_slots_of(after) => {
            before.slots_that_decide().and(after.slots_that_decide())
        }
        (Some(_), Some(_)) => None,
    }
}

/// The numbers of clients, by the effect of a change on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compared {
    /// All clients that were compared.
    pub clients: usize,
    /// Clients that get another server.
    pub moved: usize,
    /// Clients that get no server and had one.
    pub refused: usize,
    /// Clients that get a server and had none.
    pub served: usize,
    /// Clients that had no server and get none.
    pub still_refused: usize,
}

impl Compared {
    fn of(before: &[Selected], after: &[Selected]) -> Self {
        let mut compared = Self { clients: before.len(), ..Self::default() };
        for picks in before.iter().zip(after) {
            match picks {
                (Selected::Nothing, Selected::Nothing) => compared.still_refused += 1,
                (Selected::Nothing, _) => compared.served += 1,
                (_, Selected::Nothing) => compared.refused += 1,
                (Selected::Server(before), Selected::Server(after)) if before != after => compared.moved += 1,
                _ => {}
            }
        }
        compared
    }

    /// Compares clients whose two servers are independent of each other. Every pair of servers is a client.
    fn independent(before: &[Selected], after: &[Selected]) -> Self {
        let counts = |picks: &[Selected]| {
            let mut counts: HashMap<Selected, usize> = HashMap::new();
            picks.iter().for_each(|selected| *counts.entry(*selected).or_default() += 1);
            counts
        };
        let (counts_before, counts_after) = (counts(before), counts(after));
        let nothing = |counts: &HashMap<Selected, usize>| counts.get(&Selected::Nothing).copied().unwrap_or_default();
        let (none_before, none_after) = (nothing(&counts_before), nothing(&counts_after));
        let servers = counts_before.iter().filter(|(selected, _)| **selected != Selected::Nothing);
        let same = |(selected, count): (&Selected, &usize)| {
            count.saturating_mul(counts_after.get(selected).copied().unwrap_or_default())
        };
        let (served_before, served_after) = (before.len() - none_before, after.len() - none_after);
        let same: usize = servers.map(same).sum();
        Self {
            clients: before.len().saturating_mul(after.len()),
            moved: served_before.saturating_mul(served_after).saturating_sub(same),
            refused: served_before.saturating_mul(none_after),
            served: none_before.saturating_mul(served_after),
            still_refused: none_before.saturating_mul(none_after),
        }
    }

    fn share(&self, clients: usize) -> f64 {
        if self.clients == 0 { 0.0 } else { clients as f64 / self.clients as f64 }
    }
}

impl std::iter::Sum for Compared {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, part| Self {
            clients: sum.clients + part.clients,
            moved: sum.moved + part.moved,
            refused: sum.refused + part.refused,
            served: sum.served + part.served,
            still_refused: sum.still_refused + part.still_refused,
        })
    }
}

/// The selections before and after a change, under each assumption that makes a difference.
#[derive(Clone, Debug)]
pub struct Scenarios {
    best: (Selection, Selection),
    /// `None` if nothing is unknown.
    worst: Option<(Selection, Selection)>,
}

impl Scenarios {
    /// Computes the selections. Returns `None` if they are unknown, because mh has more servers than slots.
    pub fn new(before: &Scheduling, after: &Scheduling, sizes: TableSizes) -> Option<Self> {
        let both = |assumption| Some((before.selection(assumption, sizes)?, after.selection(assumption, sizes)?));
        let has_unknown = before.has_unknown() || after.has_unknown();
        let worst = if has_unknown { Some(both(Assumption::Worst)?) } else { None };
        Some(Self { best: both(Assumption::Best)?, worst })
    }

    /// Returns the selections to compare, before and after: one pair, or two if something is unknown.
    pub fn pairs(&self) -> impl Iterator<Item = &(Selection, Selection)> {
        std::iter::once(&self.best).chain(&self.worst)
    }

    /// Compares all parts of all scenarios.
    pub fn effect(&self) -> Effect {
        Effect::of(self.pairs().map(|(before, after)| before.compare(after).sum()))
    }
}

/// The effect of a change on new clients. Each share is a range, 0 to 1, whose ends are equal if everything is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effect {
    scenarios: Vec<Compared>,
}

impl Effect {
    /// Returns the effect that was compared in these scenarios.
    pub fn of(scenarios: impl IntoIterator<Item = Compared>) -> Self {
        Self { scenarios: scenarios.into_iter().collect() }
    }

    /// Returns the number of clients that were compared in each scenario.
    pub fn clients(&self) -> usize {
        self.scenarios.iter().map(|compared| compared.clients).min().unwrap_or(0)
    }

    /// Returns the share of clients that get another server.
    pub fn moved(&self) -> (f64, f64) {
        self.range(|compared| compared.moved)
    }

    /// Returns the share of clients that get no server and had one.
    pub fn refused(&self) -> (f64, f64) {
        self.range(|compared| compared.refused)
    }

    /// Returns the share of clients that get a server and had none.
    pub fn served(&self) -> (f64, f64) {
        self.range(|compared| compared.served)
    }

    /// Returns the share of clients that had no server and get none.
    pub fn still_refused(&self) -> (f64, f64) {
        self.range(|compared| compared.still_refused)
    }

    /// Returns the share of clients that get no server.
    pub fn refused_after(&self) -> (f64, f64) {
        self.range(|compared| compared.refused + compared.still_refused)
    }

    /// Returns the share of clients that get another server, or a server in only one of both cases.
    pub fn differing(&self) -> (f64, f64) {
        self.range(|compared| compared.moved + compared.refused + compared.served)
    }

    fn range(&self, clients: impl Fn(&Compared) -> usize) -> (f64, f64) {
        let shares = self.scenarios.iter().map(|compared| compared.share(clients(compared)));
        shares.map(|share| (share, share)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default()
    }
}
