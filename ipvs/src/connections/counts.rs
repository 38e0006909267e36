//! Numbers of connection entries, by any key, in limited memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::AddAssign;

use super::ConnectionEntry;

/// Numbers of connection entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryCount {
    /// The number of connections, without templates.
    pub connections: u64,
    /// The number of persistence templates.
    pub templates: u64,
}

impl EntryCount {
    /// Counts an entry.
    pub fn add(&mut self, entry: &ConnectionEntry) {
        *(if entry.is_template() { &mut self.templates } else { &mut self.connections }) += 1;
    }

    /// Returns the number of connections and templates.
    pub fn total(&self) -> u64 {
        self.connections + self.templates
    }
}

impl AddAssign for EntryCount {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.templates += other.templates;
    }
}

/// The numbers of connection entries for each value of a key, in limited memory.
///
/// The clients choose their addresses, so there can be as many keys as connections. If there are more than
/// [`limit`](Self::with_limit), the half with the smallest numbers is moved to [`others`](Self::others), as often as
/// necessary. Then the following holds:
///
/// - [`total`](Self::total) is exact.
/// - The number of a key is at most [`undercount`](Self::undercount) too low, and never too high.
/// - A key that is missing has at most `undercount` entries.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut counts = ipvs::ConnectionCounts::default();
/// for entry in ipvs::Client::open()?.connections()? {
///     let entry = entry?;
///     counts.add(entry.client_network(24, 64), &entry);
/// }
/// for (network, count) in counts.iter() {
///     println!("{network} {} {}", count.connections, count.templates);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionCounts<K> {
    counts: HashMap<K, EntryCount>,
    limit: usize,
    others: EntryCount,
    undercount: u64,
}

impl<K: Eq + Hash> ConnectionCounts<K> {
    /// The limit of [`default`](Self::default).
    pub const LIMIT: usize = 50_000;

    /// Returns counts of at most `limit` keys. 0 is the same as 1.
    pub fn with_limit(limit: usize) -> Self {
        Self { counts: HashMap::new(), limit: limit.max(1), others: EntryCount::default(), undercount: 0 }
    }

    /// Counts an entry for a key.
    pub fn add(&mut self, key: K, entry: &ConnectionEntry) {
        if self.counts.len() >= self.limit && !self.counts.contains_key(&key) {
            self.make_room();
        }
        self.counts.entry(key).or_default().add(entry);
    }

    /// Returns the keys with their numbers, in no order. No number is 0.
    pub fn iter(&self) -> impl Iterator<Item = (&K, EntryCount)> {
        self.counts.iter().map(|(key, count)| (key, *count))
    }

    /// Returns the numbers of all entries that are not counted for a key.
    pub fn others(&self) -> EntryCount {
        self.others
    }

    /// Returns the number of entries by which the number of a key can be too low. 0: all numbers are exact.
    pub fn undercount(&self) -> u64 {
        self.undercount
    }

    /// Returns the numbers of all entries.
    pub fn total(&self) -> EntryCount {
        let mut total = self.others;
        self.counts.values().for_each(|count| total += *count);
        total
    }

    /// Removes at least half of the keys: those with the smallest numbers.
    #[cold]
    fn make_room(&mut self) {
        let Self { counts, others, undercount, .. } = self;
        let mut totals: Vec<u64> = counts.values().map(EntryCount::total).collect();
        let middle = totals.len() / 2;
        let (_, median, _) = totals.select_nth_unstable(middle);
        let median = *median;
        counts.retain(|_, count| {
            let is_kept = count.total() > median;
            if !is_kept {
                *others += *count;
            }
            is_kept
        });
        // A key that was removed before begins at 0 again, so the errors add up.
        *undercount += median;
    }
}

/// Counts at most [`LIMIT`](Self::LIMIT) keys.
impl<K: Eq + Hash> Default for ConnectionCounts<K> {
    fn default() -> Self {
        Self::with_limit(Self::LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Connections;

    fn entry(port: u16) -> ConnectionEntry {
        let line = format!("Pro \nTCP 0A090001 {port:04X} 0A000001 0050 0A010001 1F90 ESTABLISHED     899\n");
        Connections::new(line.as_bytes()).expect("a title").next().expect("a line").expect("an entry")
    }

    #[test]
    fn connections_and_templates_are_distinguished() {
        let mut counts = ConnectionCounts::default();
        for (key, port) in [("a", 1024), ("a", 0), ("b", 1024), ("a", 1025)] {
            counts.add(key, &entry(port));
        }
        let sorted: BTreeMap<_, _> = counts.iter().map(|(key, count)| (*key, count)).collect();
        let count = |connections, templates| EntryCount { connections, templates };
        assert_eq!(sorted, [("a", count(2, 1)), ("b", count(1, 0))].into());
        assert_eq!((counts.total(), counts.others(), counts.undercount()), (count(3, 1), count(0, 0), 0));
    }

    #[test]
    fn the_most_frequent_keys_stay() {
        let mut counts = ConnectionCounts::with_limit(100);
        // Three of four entries have a key of their own. The others have one of ten.
        for number in 0..100_000_u32 {
            let key = if number % 4 == 0 { number / 4 % 10 } else { 1000 + number };
            counts.add(key, &entry(1024));
        }
        assert!(counts.iter().count() <= 100);
        assert_eq!(counts.total().total(), 100_000);
        assert!(counts.undercount() > 0, "keys were removed");
        for key in 0..10 {
            let (_, count) = counts.iter().find(|(found, _)| **found == key).expect("a frequent key");
            assert!(count.total() <= 2500 && count.total() + counts.undercount() >= 2500, "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_keep_their_promises(limit in 0..8_usize, keys in vec((0..20_u8, any::<bool>()), 0..200)) {
            let mut counts = ConnectionCounts::with_limit(limit);
            let mut exact: BTreeMap<u8, EntryCount> = BTreeMap::new();
            for (key, is_template) in keys {
                let entry = entry(u16::from(!is_template));
                counts.add(key, &entry);
                exact.entry(key).or_default().add(&entry);
                prop_assert!(counts.iter().count() <= limit.max(1));
            }
            let mut total = EntryCount::default();
            exact.values().for_each(|count| total += *count);
            prop_assert_eq!(counts.total(), total);
            let found: BTreeMap<u8, EntryCount> = counts.iter().map(|(key, count)| (*key, count)).collect();
            for (key, exact) in exact {
                let count = found.get(&key).copied().unwrap_or_default();
                prop_assert!(count.connections <= exact.connections && count.templates <= exact.templates);
                prop_assert!(count.total() + counts.undercount() >= exact.total());
            }
        }
    }
}
