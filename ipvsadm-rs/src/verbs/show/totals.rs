//! The line below the table, with sums.

use std::io::{self, Write};

use ipvs::DestinationState;

use super::{Limited, Reading};
use crate::sight::condition::states_of;
use crate::sight::number::{rate, short};
use crate::sight::rates::Rates;
use crate::terminal::plural::count;

/// Writes the sums over the selected services and servers, with those that are omitted. An empty table has none.
pub(super) fn write(out: &mut dyn Write, shown: &Limited<'_>, reading: &Reading) -> io::Result<()> {
    let Limited { services, omitted } = shown;
    if services.is_empty() {
        return if reading.state.services.is_empty() { Ok(()) } else { writeln!(out, "\nno service has a problem") };
    }
    let selected = || services.iter().chain(omitted);
    let servers: Vec<&DestinationState> = selected().flat_map(|shown| &shown.servers).copied().collect();
    let sum =
        |number: fn(&DestinationState) -> u32| short(servers.iter().map(|server| u64::from(number(server))).sum());
    writeln!(out, "\n{}, {}", count(selected().count(), "service"), states_of(servers.iter().copied()))?;
    let (active, inactive) = (sum(|server| server.active_connections), sum(|server| server.inactive_connections));
    write!(out, "{active} active, {inactive} inactive connections")?;
    match &reading.rates {
        None => {
            let average: u64 = selected().map(|shown| shown.state.stats.rates.connections).sum();
            writeln!(out, ", {} connections/s", short(average))?;
        }
        Some(rates) => {
            let mut total = Rates::default();
            for shown in selected() {
                rates.of_service(&shown.state.service.key).iter().for_each(|rates| total.add(rates));
            }
            let Rates { connections, incoming_bytes, outgoing_bytes, .. } = total;
            let [connections, incoming, outgoing] = [connections, incoming_bytes, outgoing_bytes].map(rate);
            // One line would be wider than 80 columns.
            writeln!(out, "\n{connections} connections/s, {incoming} B/s in, {outgoing} B/s out")?;
        }
    }
    if !omitted.is_empty() {
        writeln!(out, "{} omitted", count(omitted.len(), "service"))?;
    }
    Ok(())
}
