//! The line below the table, with sums.

use std::io::{self, Write};

use ipvs::DestinationState;

use super::{Limited, Reading};
use crate::sight::condition::states_of;
use crate::sight::number::{rate, short};
use crate::sight::rates::Rates;
use crate::terminal::plural::count;

/// Writes the sums over the services and servers that are shown. An empty table has none.
pub(super) fn write(out: &mut dyn Write, shown: &Limited<'_>, reading: &Reading) -> io::Result<()> {
    let Limited { services, omitted } = shown;
    if services.is_empty() {
        return match (reading.state.services.len(), *omitted) {
            (0, _) => Ok(()),
            (_, 0) => writeln!(out, "\nno service has a problem"),
            (_, omitted) => writeln!(out, "\n{} omitted", count(omitted, "service")),
        };
    }
    let servers: Vec<&DestinationState> = services.iter().flat_map(|shown| &shown.servers).copied().collect();
    let sum =
        |number: fn(&DestinationState) -> u32| short(servers.iter().map(|server| u64::from(number(server))).sum());
    writeln!(out, "\n{}, {}", count(services.len(), "service"), states_of(servers.iter().copied()))?;
    let (active, inactive) = (sum(|server| server.active_connections), sum(|server| server.inactive_connections));
    write!(out, "{active} active, {inactive} inactive connections")?;
    match &reading.rates {
        None => {
            let average: u64 = services.iter().map(|shown| shown.state.stats.rates.connections).sum();
            writeln!(out, ", {} connections/s", short(average))?;
        }
        Some(rates) => {
            let mut total = Rates::default();
            for shown in services {
                rates.of_service(&shown.state.service.key).iter().for_each(|rates| total.add(rates));
            }
            let Rates { connections, incoming_bytes, outgoing_bytes, .. } = total;
            let [connections, incoming, outgoing] = [connections, incoming_bytes, outgoing_bytes].map(rate);
            // One line would be wider than 80 columns.
            writeln!(out, "\n{connections} connections/s, {incoming} B/s in, {outgoing} B/s out")?;
        }
    }
    if *omitted > 0 {
        writeln!(out, "{} omitted", count(*omitted, "more service"))?;
    }
    Ok(())
}
