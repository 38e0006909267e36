//! `--all-netns`: the tables of all network namespaces.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context as _;
use ipvs::{Namespace, Selector};

use super::follower::Follower;
use super::reading::{Reading, Table};
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::text;

/// Reads each table that has services, and the own one in any case. Returns the readings, and the number of namespaces
/// and processes that could not be read. Reports these.
pub(super) fn read(only: &[Selector], state_dir: &Path) -> anyhow::Result<(Vec<Reading>, usize)> {
    let found = Namespace::find_all().context("cannot find the network namespaces")?;
    let mut readings = Vec::new();
    let mut unreadable = found.unreadable.len();
    if unreadable > 0 {
        print_error(&format!("note: the network namespaces of {} cannot be read", count(unreadable as u64, "process")));
    }
    let mut used = HashSet::new();
    for namespace in &found.namespaces {
        let mut name = namespace.name().to_string();
        // A name can look like an ID. Two series with the same labels would make Prometheus refuse all.
        if !used.insert(name.clone()) {
            name = format!("{name} ({})", namespace.inode);
        }
        // All files and sockets of this thread are those of the namespace.
        let read = || Table::open().and_then(|mut table| table.read(only, Some(&name)));
        match namespace.within(read).map_err(anyhow::Error::from).and_then(|read| Ok(read?)) {
            Ok(reading) if reading.services.is_empty() && !namespace.is_own => {}
            Ok(mut reading) => {
                reading.totals.follower = Follower::read(state_dir, (!namespace.is_own).then(|| namespace.name()));
                readings.push(reading);
            }
            Err(error) => {
                print_error(&format!("note: network namespace {} is omitted: {error:#}", text::escaped(&name)));
                unreadable += 1;
            }
        }
    }
    Ok((readings, unreadable))
}
