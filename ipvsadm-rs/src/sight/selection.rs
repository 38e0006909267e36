//! The options that select services and servers.

use anyhow::bail;
use clap::Args;
use ipvs::{DestinationKey, DestinationState, Selector, ServiceKey, ServiceState};

use crate::sight::condition::{Assessment, Condition, Problem};
use crate::sight::server_name::ServerName;
use crate::sight::service_options::ServiceOptions;
use crate::terminal::text;

/// The services and servers to show. All if nothing is specified.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Selection {
    #[command(flatten)]
    services: ServiceOptions,
    /// Select these servers, and their services; can be repeated, or separated by commas
    ///
    /// HOST is an address, or a name for all its addresses. Without a port, all ports of the host are selected.
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Vec<String>,
    /// Select services and servers with problems
    ///
    /// These are services that have no servers, that have only servers of weight 0, or that refuse new clients. Full and
    /// draining servers are selected, too.
    #[arg(long)]
    problems: bool,
}

impl Selection {
    /// Looks up the names of servers.
    pub(crate) fn resolve(self) -> anyhow::Result<Selected> {
        let Self { services, server, problems } = self;
        let services = services.selectors();
        Ok(Selected { services, servers: ServerName::read_all(&server)?, only_problems: problems })
    }
}

/// A selection whose names are known.
pub(crate) struct Selected {
    services: Vec<Selector>,
    servers: Vec<ServerName>,
    pub(crate) only_problems: bool,
}

/// A service that is shown.
pub(crate) struct Shown<'s> {
    pub(crate) state: &'s ServiceState,
    pub(crate) problem: Option<Problem>,
    /// The share of new clients that are refused, and the reason.
    pub(crate) refusal: Option<String>,
    /// The servers that are shown, the oldest first.
    pub(crate) servers: Vec<&'s DestinationState>,
}

impl Selected {
    /// Returns whether everything is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.services.is_empty() && self.servers.is_empty() && !self.only_problems
    }

    /// Returns the services and servers that are selected. Fails if there is none for an option.
    pub(crate) fn of<'s>(&self, services: &'s [ServiceState]) -> anyhow::Result<Vec<Shown<'s>>> {
        self.ensure_found(services)?;
        let services = services.iter().filter(|service| self.has_service(&service.service.key));
        Ok(services.filter_map(|service| self.shown(service)).collect())
    }

    /// Returns whether a service is in the scope. Its problems are not considered.
    pub(crate) fn has_service(&self, key: &ServiceKey) -> bool {
        self.services.is_empty() || self.services.iter().any(|selector| selector.selects(key))
    }

    /// Returns whether a server is one of those that were named. Its problems are not considered.
    pub(crate) fn has_server(&self, key: &DestinationKey) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|name| name.is(key))
    }

    /// Returns whether servers were named.
    pub(crate) fn names_servers(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Fails if a selector selects no service, or if no server has a name.
    pub(crate) fn ensure_found(&self, services: &[ServiceState]) -> anyhow::Result<()> {
        for selector in &self.services {
            if !services.iter().any(|service| selector.selects(&service.service.key)) {
                bail!("no service {selector}\nTo list the services, use `ipvsadm-rs show`.");
            }
        }
        let in_scope = |service: &&ServiceState| self.has_service(&service.service.key);
        let services: Vec<&ServiceState> = services.iter().filter(in_scope).collect();
        for name in &self.servers {
            let mut servers = services.iter().flat_map(|service| &service.destinations);
            if !servers.any(|server| name.is(&server.destination.key)) {
                let place = if self.services.is_empty() { "" } else { " in these services" };
                bail!("no server {}{place}\nTo list the servers, use `ipvsadm-rs show`.", text::escaped(&name.text));
            }
        }
        Ok(())
    }

    fn shown<'s>(&self, state: &'s ServiceState) -> Option<Shown<'s>> {
        let Assessment { problem, refusal } = Assessment::of(state);
        let is_named = |server: &&DestinationState| self.has_server(&server.destination.key);
        let servers: Vec<_> = state.destinations.iter().rev().filter(is_named).collect();
        if servers.is_empty() && self.names_servers() || self.only_problems && problem.is_none() {
            return None;
        }
        let mut shown = Shown { state, problem, refusal, servers };
        // If new clients are refused, all servers are of interest.
        if self.only_problems && !problem.is_some_and(Problem::refuses) {
            let is_problem =
                |server: &DestinationState| matches!(Condition::of(server), Condition::Full | Condition::Draining);
            shown.servers.retain(|server| is_problem(server));
        }
        Some(shown)
    }
}
