//! The limit of the number of series (`--max-series`).

use super::names::{SCRAPE, SERVERS, SERVICES, TOTALS};
use super::reading::Reading;
use super::scrape::Detail;
use super::text::count;

/// The number of series, services and servers that are omitted because of the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Omitted {
    pub(super) series: usize,
    pub(super) services: usize,
    pub(super) servers: usize,
}

/// The items that have series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Chosen {
    /// The number of services, from the first on.
    pub(super) services: usize,
    /// The number of servers, from the first of the first service on.
    pub(super) servers: usize,
    pub(super) omitted: Omitted,
}

impl Chosen {
    /// Chooses the items of readings. The series of whole tables are never omitted. Services come before servers, in
    /// the order of their keys, so that the choice is the same as long as the table is the same. An item has all its
    /// series or none.
    pub(super) fn of(readings: &[Reading], detail: Detail, max_series: usize) -> Self {
        let shown = readings.iter().filter(|_| detail >= Detail::Services);
        let services = shown.flat_map(|reading| &reading.services);
        let servers = services.clone().filter(|_| detail >= Detail::Servers).flat_map(|service| &service.servers);
        if max_series == 0 {
            return Self { services: services.count(), servers: servers.count(), omitted: Omitted::default() };
        }
        let totals: usize = readings.iter().map(|reading| count(TOTALS, &reading.totals)).sum();
        let mut room = max_series.saturating_sub(SCRAPE.len() + totals);
        let (services, without_services, omitted) = take(services.map(|service| count(SERVICES, service)), &mut room);
        let (servers, without_servers, also_omitted) = take(servers.map(|server| count(SERVERS, server)), &mut room);
        let series = omitted + also_omitted;
        Self { services, servers, omitted: Omitted { series, services: without_services, servers: without_servers } }
    }
}

/// Takes items from the first on while there is room for their series. Returns the number of items that are taken and
/// of those that are not, and the number of series of the latter. If an item is omitted, there is no room for later ones.
fn take(series: impl Iterator<Item = usize>, room: &mut usize) -> (usize, usize, usize) {
    let (mut taken, mut omitted, mut omitted_series) = (0, 0, 0);
    for count in series {
        match room.checked_sub(count) {
            Some(rest) if omitted == 0 => {
                *room = rest;
                taken += 1;
            }
            _ => {
                *room = 0;
                omitted += 1;
                omitted_series += count;
            }
        }
    }
    (taken, omitted, omitted_series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::metrics::tests::reading;

    #[test]
    fn services_are_chosen_before_servers() {
        let readings = [reading()];
        let [reading] = &readings;
        let all = Chosen::of(&readings, Detail::Servers, 0);
        assert_eq!((all.services, all.servers, all.omitted), (3, 3, Omitted::default()));
        assert_eq!(Chosen::of(&readings, Detail::Services, 0).servers, 0);
        assert_eq!(Chosen::of(&readings, Detail::Totals, 0), Chosen::default());

        let totals = SCRAPE.len() + count(TOTALS, &reading.totals);
        let of_services: usize = reading.services.iter().map(|service| count(SERVICES, service)).sum();
        let first = count(SERVERS, &reading.services[0].servers[0]);
        assert_eq!(Chosen::of(&readings, Detail::Servers, totals + of_services + first).servers, 1);
        let few = Chosen::of(&readings, Detail::Servers, totals + of_services - 1);
        assert_eq!((few.services, few.servers), (2, 0), "no server while services are omitted");
        assert_eq!((few.omitted.services, few.omitted.servers), (1, 3));
        let none = Chosen::of(&readings, Detail::Servers, 1);
        assert_eq!((none.services, none.servers), (0, 0));
        for max in [1, totals, totals + 20, totals + of_services, totals + of_services + first, 1000] {
            let chosen = Chosen::of(&readings, Detail::Servers, max);
            let services = reading.services[..chosen.services].iter().map(|service| count(SERVICES, service));
            let servers =
                reading.services.iter().flat_map(|service| &service.servers).map(|server| count(SERVERS, server));
            let shown = totals + services.sum::<usize>() + servers.clone().take(chosen.servers).sum::<usize>();
            assert!(shown <= max.max(totals), "{max}: {shown}");
            assert_eq!(shown + chosen.omitted.series, totals + of_services + servers.sum::<usize>());
        }
    }
}
