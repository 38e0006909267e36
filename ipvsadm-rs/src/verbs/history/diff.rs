//! The changes between the tables of two plans.

use std::collections::HashSet;

use ipvs::document::SCHEMA;
use ipvs::plan::Options;
use ipvs::{Change, Config, Counters, DestinationKey, ServiceKey};
use serde::Serialize;

use crate::context::{Context, code};
use crate::journal::Folder;
use crate::plan::reversal::{state_of, table_after};

#[derive(Serialize)]
struct Diff {
    schema: u32,
    from: u64,
    /// The number of the other plan. Absent for the present table.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    /// The changes as lines of ipvsadm.
    changes: Vec<String>,
}

/// The table after a plan.
struct After {
    config: Config,
    /// The services and servers that the plan changed, if only those are known.
    limit: Option<HashSet<(ServiceKey, Option<DestinationKey>)>>,
}

impl After {
    fn read(folder: &Folder, number: u64) -> anyhow::Result<Self> {
        let entry = folder.plan(number)?;
        let changes = entry.changes();
        let config = table_after(&folder.before(number)?, &changes)?;
        let limit = entry.is_partial.then(|| changes.iter().flat_map(touched).collect());
        Ok(Self { config, limit })
    }

    fn present(context: &Context) -> anyhow::Result<Self> {
        let state = context.open()?.state_with(Counters::Skip)?;
        Ok(Self { config: Config::from(&state), limit: None })
    }
}

/// Returns the service of a change, and its server.
fn touched(change: &Change) -> Vec<(ServiceKey, Option<DestinationKey>)> {
    let Some(service) = change.service() else { return Vec::new() };
    let server = change.destination().map(|server| (service, Some(server)));
    std::iter::once((service, None)).chain(server).collect()
}

/// Prints the changes.
pub(super) fn diff(context: &Context, folder: &Folder, number: u64, other: Option<u64>) -> anyhow::Result<u8> {
    let mut from = After::read(folder, number)?;
    let mut to = other.map_or_else(|| After::present(context), |other| After::read(folder, other))?;
    for limit in [from.limit.take(), to.limit.take()].into_iter().flatten() {
        for config in [&mut from.config, &mut to.config] {
            config.services.retain(|service| limit.contains(&(service.service.key, None)));
            for service in &mut config.services {
                let key = service.service.key;
                service.destinations.retain(|server| limit.contains(&(key, Some(server.key))));
            }
            (config.timeouts, config.daemons) = (None, None);
        }
    }
    let changes = ipvs::plan(&to.config, &state_of(&from.config)?, &Options::default()).changes;
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    if context.json {
        context.write_json(&Diff { schema: SCHEMA, from: number, to: other, changes })?;
    } else if changes.is_empty() {
        context.write(|out| writeln!(out, "no difference"))?;
    } else {
        context.write(|out| changes.iter().try_for_each(|change| writeln!(out, "{change}")))?;
    }
    Ok(code::DONE)
}
