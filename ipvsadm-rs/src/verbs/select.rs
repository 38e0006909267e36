//! The selection of servers for `drain`, `undrain` and `shift`.

use anyhow::bail;
use ipvs::{Selector, ServiceState, State};

use crate::plan::waiting::Servers;
use crate::sight::server_name::ServerName;
use crate::terminal::text;

/// Returns the servers of the table that were named, in the services that were selected. Fails if there is none for a
/// name, or no service for a selector.
pub(super) fn select(state: &State, named: &[ServerName], within: &[Selector]) -> anyhow::Result<Servers> {
    let is_within = |service: &ServiceState| {
        within.is_empty() || within.iter().any(|selector| selector.selects(&service.service.key))
    };
    for selector in within {
        if !state.services.iter().any(|service| selector.selects(&service.service.key)) {
            bail!("no service {selector}\nTo list the services, use `ipvsadm-rs show`.");
        }
    }
    let mut selected = Servers::new();
    for name in named {
        let mut is_known = false;
        for service in state.services.iter().filter(|service| is_within(service)) {
            for server in service.destinations.iter().filter(|server| name.is(&server.destination.key)) {
                is_known = true;
                selected.insert((service.service.key, server.destination.key));
            }
        }
        if !is_known {
            let place = if within.is_empty() { "" } else { " in these services" };
            bail!("no server {}{place}\nTo list the servers, use `ipvsadm-rs show`.", text::escaped(&name.text));
        }
    }
    Ok(selected)
}
