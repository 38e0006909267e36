//! Fields of values by name, for tests that check every field.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::plan::Options;
use crate::{Change, Config, Destination, DestinationKey, Scope, Service, SyncDaemon, Timeouts};

/// A value with fields that have names.
pub trait Fields {
    /// The name of the type.
    const NAME: &'static str;

    /// Returns each field's name and printed value. A new field is a compile error until it is added here.
    fn fields(&self) -> Vec<(&'static str, String)>;
}

// The patterns are not in the macro, because the compiler does not name a missing field in a macro's pattern.
macro_rules! printed {
    ($($field:ident),*) => { vec![$( (stringify!($field), print($field)) ),*] };
}

fn print(value: &impl Debug) -> String {
    format!("{value:?}")
}

impl Fields for Service {
    const NAME: &'static str = "Service";

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { key, scheduler, flags, persistence, netmask, engine, one_packet } = self;
        printed![key, scheduler, flags, persistence, netmask, engine, one_packet]
    }
}

impl Fields for Destination {
    const NAME: &'static str = "Destination";

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { key, forwarding, weight, upper_threshold, lower_threshold } = self;
        printed![key, forwarding, weight, upper_threshold, lower_threshold]
    }
}

impl Fields for DestinationKey {
    const NAME: &'static str = "DestinationKey";

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { address, port } = self;
        printed![address, port]
    }
}

impl Fields for SyncDaemon {
    const NAME: &'static str = "SyncDaemon";

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { role, interface, sync_id, max_length, group, port, ttl } = self;
        printed![role, interface, sync_id, max_length, group, port, ttl]
    }
}

impl Fields for Timeouts {
    const NAME: &'static str = "Timeouts";

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { tcp, tcp_fin, udp } = self;
        printed![tcp, tcp_fin, udp]
    }
}

impl Fields for Config {
    const NAME: &'static str = "Config";

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { timeouts, daemons, services, order } = self;
        printed![timeouts, daemons, services, order]
    }
}

impl Fields for Options {
    const NAME: &'static str = "Options";

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { scope, keep_weights, departing, reorder } = self;
        printed![scope, keep_weights, departing, reorder]
    }
}

impl Fields for Scope {
    const NAME: &'static str = "Scope";

    fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { only, protect, listed, former } = self;
        printed![only, protect, listed, former]
    }
}

/// Compares a value with the result of a round trip, field by field. `way` describes the round trip, and `places` the
/// code to check.
///
/// # Errors
///
/// Returns the first field that differs.
pub fn same<T: Fields>(before: &T, after: &T, way: &str, places: &str) -> Result<(), TestCaseError> {
    for ((name, before), (_, after)) in before.fields().into_iter().zip(after.fields()) {
        let name = format!("{}::{name}", T::NAME);
        prop_assert_eq!(before, after, "`{}` differs after value → {} → value: see {}", name, way, places);
    }
    Ok(())
}

/// Compares two tables like [`same`]: services, destinations and daemons field by field.
///
/// # Errors
///
/// Returns the first field that differs.
pub fn same_table(before: &Config, after: &Config, way: &str, places: &str) -> Result<(), TestCaseError> {
    for (before, after) in before.services.iter().zip(&after.services) {
        same(&before.service, &after.service, way, places)?;
        for (before, after) in before.destinations.iter().zip(&after.destinations) {
            same(before, after, way, places)?;
        }
    }
    for (before, after) in before.daemons.iter().flatten().zip(after.daemons.iter().flatten()) {
        same(before, after, way, places)?;
    }
    if let (Some(before), Some(after)) = (&before.timeouts, &after.timeouts) {
        same(before, after, way, places)?;
    }
    same(before, after, way, places)
}

/// Compares two changes like [`same`].
///
/// # Errors
///
/// Returns the first field that differs, or that the kinds of the changes differ.
pub fn same_change(before: &Change, after: &Change, way: &str, places: &str) -> Result<(), TestCaseError> {
    match (before, after) {
        (Change::AddService(before), Change::AddService(after))
        | (Change::EditService(before), Change::EditService(after)) => same(before, after, way, places)?,
        (Change::AddDestination(_, before), Change::AddDestination(_, after))
        | (Change::EditDestination(_, before), Change::EditDestination(_, after)) => same(before, after, way, places)?,
        (Change::StartDaemon(before), Change::StartDaemon(after)) => same(before, after, way, places)?,
        (Change::SetTimeouts(before), Change::SetTimeouts(after)) => same(before, after, way, places)?,
        _ => {}
    }
    prop_assert_eq!(before, after, "differs after value → {} → value: see {}", way, places);
    Ok(())
}

// The client decodes the attributes.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use ipvs_sys::ToRequest;
    use ipvs_sys::uapi::{CommandAttrs, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
    use ipvs_sys::wire::Wire;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::client::read_one;
    use crate::stats::Counters;
    use crate::testing::random;
    use crate::{DestinationState, Interface, ServiceState};

    const WAY: &str = "attributes → bytes → attributes";

    /// Returns the attributes of the change, as they are sent.
    fn sent(change: &Change) -> Vec<u8> {
        let mut bytes = Vec::new();
        change.write(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn services_survive_the_wire(service in random::service(), is_new: bool) {
            let change = if is_new { Change::AddService(service) } else { Change::EditService(service) };
            let list = |bytes: &[u8]| ServiceState::read(bytes, Counters::Read);
            let read = read_one(&sent(&change), IPVS_CMD_ATTR_SERVICE, list).expect("reads").expect("a service");
            same(&service, &read.service, WAY, "`to_attributes` and `read` in ipvs/src/service.rs")?;
        }

        #[test]
        fn destinations_survive_the_wire(
            (service, server) in random::service_key().prop_flat_map(|key| (Just(key), random::server(key.family()))),
            is_new: bool,
        ) {
            let change = if is_new { Change::AddDestination } else { Change::EditDestination }(service, server);
            let list = |bytes: &[u8]| DestinationState::read(bytes, service.family(), Counters::Read);
            let read = read_one(&sent(&change), IPVS_CMD_ATTR_DEST, list).expect("reads").expect("a destination");
            let places = "`to_attributes` and `read` in ipvs/src/destination.rs";
            same(&server.key, &read.destination.key, WAY, places)?;
            same(&server, &read.destination, WAY, places)?;
        }

        #[test]
        fn daemons_survive_the_wire(
            daemon in random::role().prop_flat_map(random::daemon),
            interface in "[a-z0-9.]{1,15}",
        ) {
            let daemon = SyncDaemon { interface: Interface::new(interface).expect("a name"), ..daemon };
            let attributes = CommandAttrs::read(&sent(&Change::StartDaemon(daemon))).expect("reads");
            let read = attributes.daemon.and_then(SyncDaemon::from_attributes).expect("a daemon");
            same(&daemon, &read, WAY, "`to_attributes` and `from_attributes` in ipvs/src/daemon.rs")?;
        }

        #[test]
        fn timeouts_survive_the_wire(timeouts in random::timeouts()) {
            let attributes = CommandAttrs::read(&sent(&Change::SetTimeouts(timeouts))).expect("reads");
            let places = "`to_attributes` and `From<CommandAttrs>` in ipvs/src/timeouts.rs";
            same(&timeouts, &Timeouts::from_attributes(attributes), WAY, places)?;
        }
    }

    /// Fails if a field of 1000 random values always has the same value. Otherwise no property test would notice that
    /// the field is lost somewhere.
    fn every_field_varies<T: Fields>(values: impl Strategy<Value = T>, constant: &[&str]) {
        let mut runner = TestRunner::deterministic();
        let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for _ in 0..1000 {
            for (name, value) in values.new_tree(&mut runner).expect("a value").current().fields() {
                seen.entry(name).or_default().insert(value);
            }
        }
        for (name, values) in seen {
            assert!(
                values.len() > 1 || constant.contains(&name),
                "`{}::{name}` is {values:?} in 1000 random values: let ipvs/src/testing/random.rs generate all of them",
                T::NAME
            );
        }
    }

    #[test]
    fn random_values_vary_in_every_field() {
        every_field_varies(random::service(), &[]);
        every_field_varies(random::service_key().prop_flat_map(|key| random::server(key.family())), &[]);
        every_field_varies(random::server_key(), &[]);
        // The network of a kernel test has one interface.
        every_field_varies(random::role().prop_flat_map(random::daemon), &["interface"]);
        every_field_varies(random::timeouts(), &[]);
        every_field_varies(random::config(), &[]);
        every_field_varies(random::options(), &[]);
        every_field_varies(random::options().prop_map(|options| options.scope), &[]);
    }
}
