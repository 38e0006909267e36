//! `--json-lines`: an object for each service.

use ipvs::ServiceState;
use ipvs::document::{SCHEMA, VirtualService};
use serde::Serialize;

use crate::context::Context;
use crate::sight::condition::{Condition, Problem};
use crate::sight::rates::{Rates, TableRates};
use crate::sight::selection::Shown;
use crate::terminal::text;

#[derive(Serialize)]
struct Line<'l> {
    schema: u32,
    /// The network namespace, with `--all-netns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'l str>,
    #[serde(flatten)]
    service: VirtualService,
    /// The state of each server, in the order of the servers.
    states: Vec<&'static str>,
    /// The first problem of the service. `null`: it has none.
    problem: Option<&'static str>,
    /// The share of new clients that are refused, and the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// The rates that `--traffic` measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<Rates>,
    /// Those of each server, in the order of the servers. `null`: the server is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    servers_per_second: Option<Vec<Option<Rates>>>,
}

/// Writes a line for each service.
pub(super) fn write(
    context: &Context,
    services: &[Shown<'_>],
    rates: Option<&TableRates>,
    namespace: Option<&str>,
) -> anyhow::Result<()> {
    context.write(|out| {
        for shown in services {
            let line = serde_json::to_string(&Line::new(shown, rates, namespace))?;
            writeln!(out, "{}", text::json(&line))?;
        }
        Ok(())
    })
}

impl<'l> Line<'l> {
    fn new(shown: &Shown<'_>, rates: Option<&TableRates>, namespace: Option<&'l str>) -> Self {
        let Shown { state, problem, refusal, servers } = shown;
        let key = state.service.key;
        // The newest first, as the kernel lists them.
        let mut part: ServiceState = (*state).clone();
        part.destinations = servers.iter().rev().map(|server| (*server).clone()).collect();
        let of_server = |rates: &TableRates| {
            servers.iter().map(|server| rates.of_server(&key, &server.destination.key).copied()).collect()
        };
        Self {
            schema: SCHEMA,
            namespace,
            service: VirtualService::from(&part),
            states: servers.iter().map(|server| Condition::of(server).name()).collect(),
            problem: problem.map(Problem::name),
            refusal: refusal.clone(),
            per_second: rates.and_then(|rates| rates.of_service(&key)).copied(),
            servers_per_second: rates.map(of_server),
        }
    }
}
