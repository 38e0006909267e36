//! Lookups for many clients at once.

use super::{Fallback, Kind, LookupTable, MH_KEY_1, mh_hash};
use crate::key::DestinationKey;

/// The hash values of clients in sequence.
pub(crate) struct Run {
    first: u32,
    /// The first hash of mh of `first`, `first + 1` and so on. The values after the clients are those of their
    /// fallbacks. Empty if no table is mh.
    hashes: Vec<u32>,
}

impl Run {
    /// The number of clients of a run.
    pub(crate) const CLIENTS: usize = 2048;

    /// Returns a run for these tables.
    pub(crate) fn new<'t>(first: u32, tables: impl IntoIterator<Item = &'t LookupTable>) -> Self {
        let needed = |table: &LookupTable| match (table.kind, &table.fallback) {
            (Kind::Mh, Fallback::Rehash) => Self::CLIENTS + table.slots.len(),
            (Kind::Mh, _) => Self::CLIENTS,
            (Kind::Sh | Kind::Dh, _) => 0,
        };
        let count = tables.into_iter().map(needed).max().unwrap_or(0) as u32;
        Self { first, hashes: (0..count).map(|at| mh_hash(first.wrapping_add(at), MH_KEY_1)).collect() }
    }
}

impl LookupTable {
    /// Returns the number of slots if the slot alone determines the server of a client. Returns `None` if each client
    /// has a fallback of its own. See `ip_vs_mh_get_fallback`.
    pub(crate) fn slots_that_decide(&self) -> Option<usize> {
        (!matches!(self.fallback, Fallback::Rehash)).then_some(self.slots.len())
    }

    /// Returns whether equal slots of both tables have the same clients.
    pub(crate) fn has_slots_of(&self, other: &Self) -> bool {
        self.kind == other.kind && self.slots.len() == other.slots.len()
    }

    /// Returns whether both tables hash the port of a client, or neither does.
    pub(crate) fn uses_port_like(&self, other: &Self) -> bool {
        self.with_port == other.with_port
    }

    /// Returns the server of each slot.
    pub(crate) fn picks_of_slots(&self) -> Vec<Option<DestinationKey>> {
        (0..self.slots.len()).map(|slot| self.pick_slot(slot)).collect()
    }

    /// Returns the servers of all clients of a run.
    ///
    /// The clients' values are in sequence. So the attempts of a client, `value` to `value + slots - 1`, are mostly
    /// those of the client before it. The end of each search is therefore computed once for all clients.
    pub(crate) fn picks(&self, run: &Run) -> Vec<Option<DestinationKey>> {
        let slots = self.slots.len();
        let slot = |client: usize| self.slot(run.first.wrapping_add(client as u32), || run.hashes[client]);
        let Fallback::Rehash = self.fallback else {
            return (0..Run::CLIENTS).map(|client| self.pick_slot(slot(client)?)).collect();
        };
        let probe = |at: usize| run.hashes[at] as usize % slots;
        // The first attempt from each on that ends a search.
        let mut ends = vec![usize::MAX; Run::CLIENTS + slots];
        let mut end = usize::MAX;
        for (at, entry) in ends.iter_mut().enumerate().rev() {
            if self.is_served(probe(at)) {
                end = at;
            }
            *entry = end;
        }
        let pick = |client: usize| {
            let slot = slot(client)?;
            if self.is_served(slot) {
                return self.pick_slot(slot);
            }
            // The search begins at the slot's number, and continues at 0 after the last one.
            let (first, middle, last) = (client, client + slot, client + slots);
            let found = Some(ends[middle]).filter(|end| *end < last);
            let found = found.or_else(|| Some(ends[first]).filter(|end| *end < middle))?;
            self.pick_slot(probe(found))
        };
        (0..Run::CLIENTS).map(pick).collect()
    }
}
